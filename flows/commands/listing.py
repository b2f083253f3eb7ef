"""The list of drivers, for `slidemill drivers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from drivers.discovery import Found, find_drivers


def driver_list() -> list[dict[str, Any]]:
    """Every driver found, or why it could not be loaded."""
    return [_entry(found) for found in find_drivers()]


def _entry(found: Found) -> dict[str, Any]:
    driver = found.driver
    if driver is None:
        return {"name": found.name, "suffixes": [], "library": None, "version": None, "error": found.error}
    return {
        "name": driver.name,
        "suffixes": list(driver.suffixes),
        "library": driver.library or None,
        "version": _version(driver.library),
        "error": None,
    }


def _version(library: str) -> str | None:
    try:
        return version(library) if library else None
    except PackageNotFoundError:
        return None


def driver_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The list for people."""
    for entry in found:
        if entry["error"]:
            yield f"{entry['name']:12} could not be loaded: {entry['error']}"
        else:
            library = f"{entry['library'] or '-'} {entry['version'] or ''}".strip()
            yield f"{entry['name']:12} {' '.join(entry['suffixes']):44} {library}"
