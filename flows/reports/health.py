"""What is wrong with a service, for those who look by program: `slidemill status --check`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from flows.ledger.database import clock
from flows.ledger.tables import State, slides
from flows.reports.stores import fault
from flows.settings import Settings

_DAY_S = 86400.0


def room(settings: Settings) -> list[dict[str, Any]]:
    """Free bytes of each disk that outputs and state are on: `{"path", "free"}`. Object stores have no end."""
    places = [settings.state, *(Path(folder.output) for folder in settings.folders if "://" not in folder.output)]
    found: dict[int, dict[str, Any]] = {}
    for place in places:
        there = _existing(place)
        if there is not None:
            found.setdefault(there.stat().st_dev, {"path": str(place), "free": shutil.disk_usage(there).free})
    return list(found.values())


def free_bytes(place: Path) -> int | None:
    """Free bytes where a folder is or would be made; None where nobody can tell."""
    there = _existing(place)
    return None if there is None else shutil.disk_usage(there).free


def _existing(place: Path) -> Path | None:
    """The place, or the nearest folder above it that there is; None where it may not be looked at."""
    try:
        return next((path for path in (place, *place.parents) if os.access(path, os.F_OK)), None)
    except OSError:
        return None


def faults(engine: Engine, found: Mapping[str, Any], free: int) -> list[str]:
    """Of a status: a line for each thing that somebody should look at; none where all is well."""
    lines: list[str] = []
    if found["stopped"]:
        lines.append("the service is stopped")
    elif found["last_scan_s"] is None:
        lines.append("nobody has looked at the folders yet")
    elif not found["healthy"] and not found["unavailable"]:
        lines.append(f"nobody has looked at the folders for {found['last_scan_s']:.0f} s")
    lines += [f"folder {name} cannot be listed" for name in found["unavailable"]]
    lines += fault(found["stores"])
    grown = _quarantined_lately(engine)
    if grown:
        lines.append(
            f"{grown} {'slide' if grown == 1 else 'slides'} came into quarantine within a day: `slidemill quarantine list`"
        )
    lines += [f"{place['path']}: {place['free'] / 1e9:.1f} GB are free" for place in found["room"] if place["free"] < free]
    return lines


def _quarantined_lately(engine: Engine) -> int:
    with engine.connect() as connection:
        here = (slides.c.state == State.QUARANTINED, slides.c.finished > clock(connection) - _DAY_S)
        return connection.execute(select(func.count()).where(*here)).scalar_one()
