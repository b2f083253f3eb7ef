"""What settings amount to, folder by folder: `slidemill config check`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.reports.health import free_bytes
from flows.settings import Folder, Settings
from flows.share import Share


def details(settings: Settings) -> list[dict[str, Any]]:
    """Of each folder: its rules that are not at their defaults, its options, rights and room of its places."""
    return [_detail(folder, settings) for folder in settings.folders]


def _detail(folder: Folder, settings: Settings) -> dict[str, Any]:
    places = {"path": str(folder.path), "output": folder.output}
    places |= {} if folder.move_to is None else {"move_to": str(folder.move_to)}
    stated = folder.model_dump(mode="json", exclude_unset=True, exclude={"name", "options", *places})
    return {
        "name": folder.name,
        "places": {word: _place(place, settings.share_of(place)) for word, place in places.items()},
        "rules": stated,
        "options": folder.bound().model_dump(mode="json", exclude_defaults=True),
    }


def _place(place: str, share: Share | None) -> dict[str, Any]:
    limit = None if share is None else share.mb_per_second
    if "://" in place:
        return {"path": place, "rights": None, "free": None, "mb_per_second": limit}
    path = Path(place)
    rights = "".join(word for word, right in (("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK)) if os.access(path, right))
    return {"path": place, "rights": rights if path.exists() else None, "free": free_bytes(path), "mb_per_second": limit}


def check_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same for people."""
    for folder in found:
        yield f"folder {folder['name']}"
        for word, place in folder["places"].items():
            yield f"  {word}: {place['path']}{_remarks(place)}"
        for word, values in (("rules", folder["rules"]), ("options", folder["options"])):
            if values:
                yield f"  {word}: {', '.join(f'{key} = {_plain(value)}' for key, value in values.items())}"


def _plain(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _remarks(place: Mapping[str, Any]) -> str:
    limit = "" if place["mb_per_second"] is None else f"at most {place['mb_per_second']:g} MB/s"
    if place["path"].partition("://")[1]:
        return f" ({limit})" if limit else ""
    rights = "is not there yet" if place["rights"] is None else f"rights {place['rights'] or 'none'}"
    room = None if place["free"] is None else f"{place['free'] / 1e9:.1f} GB free"
    return f" ({', '.join(part for part in (rights, room, limit) if part)})"
