"""The lists of drivers and of profiles, for `slidemill drivers` and `slidemill profiles`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from converter.profiles import PROFILES, REASONS
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
            library = f"{entry['library']} {entry['version'] or 'is not installed'}" if entry["library"] else "-"
            yield f"{entry['name']:12} {' '.join(entry['suffixes']):44} {library}"


def profile_list() -> list[dict[str, Any]]:
    """Every named profile, what it is for, and the options it sets."""
    return [
        {"name": name, "about": REASONS[name], "options": {key: _plain(value) for key, value in options.items()}}
        for name, options in PROFILES.items()
    ]


def _plain(value: Any) -> Any:
    return ",".join(value) if isinstance(value, tuple) else value


def profile_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The profiles for people."""
    for entry in found:
        words = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in entry["options"].items())
        yield f"{entry['name']:8} {entry['about']}"
        yield f"{'':8} {words or 'no option'}"
    yield "A TOML file with the same keys is a profile, too: --profile mine.toml. What is given beside a profile wins."
