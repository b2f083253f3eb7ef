"""What may not begin: folders that somebody paused, and folders outside their hours. What is under way goes on.

A slide that was handed out and that no process has taken yet is called back: its run finds that it has no slide, and ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from converter.errors import OptionError
from flows.hours import hours_of
from flows.ledger.database import alone, clock
from flows.ledger.rows import mark, marked
from flows.ledger.tables import State, slides
from flows.settings import Settings

_MARK = "paused"


@dataclass(frozen=True, slots=True)
class Paused:
    """What somebody paused."""

    everything: bool = False
    folders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Closed:
    """What may not begin now."""

    paused: Paused
    asleep: frozenset[str]
    """Folders outside their hours."""

    @property
    def folders(self) -> list[str]:
        """Those that are paused themselves or outside their hours, whether everything is paused or not."""
        return sorted(self.asleep | self.paused.folders)


def paused(connection: Connection) -> Paused:
    """What is paused now."""
    found: dict[str, Any] = (marked(connection, _MARK) or (0.0, None))[1] or {}
    return Paused(bool(found.get("all")), frozenset(str(name) for name in found.get("folders", ())))


def closed(connection: Connection, settings: Settings, now: datetime | None = None) -> Closed:
    """What may not begin at a moment; default: now, by this machine's clock."""
    at = now or datetime.now(UTC)
    asleep = {folder.name for folder in settings.folders if folder.hours is not None and not hours_of(folder.hours).has(at)}
    return Closed(paused(connection), frozenset(asleep))


def pause(engine: Engine, settings: Settings, folder: str | None) -> Paused:
    """Begin nothing of a folder any more, or nothing at all. Raises OptionError for a folder that is in no settings."""
    _require_known(settings, folder)
    with alone(engine) as connection:
        before = paused(connection)
        after = replace(before, everything=True) if folder is None else replace(before, folders=before.folders | {folder})
        _note(connection, after)
        call_back(connection, closed(connection, settings))
        return after


def resume(engine: Engine, settings: Settings, folder: str | None) -> Paused:
    """Go on with a folder, or with all. Raises OptionError where that folder is unknown, or all are paused."""
    with alone(engine) as connection:
        before = paused(connection)
        if folder is not None and folder not in before.folders:
            _require_known(settings, folder)
            if before.everything:
                raise OptionError(f"{folder}: everything is paused; `slidemill resume` goes on with all folders")
        after = Paused() if folder is None else replace(before, folders=before.folders - {folder})
        _note(connection, after)
        return after


def call_back(connection: Connection, shut: Closed) -> None:
    """Take slides that were handed out and have not begun out of the runs of what is closed."""
    here = [slides.c.state == State.SUBMITTED]
    if not shut.paused.everything:
        here.append(slides.c.folder.in_(shut.folders))
    connection.execute(slides.update().where(*here).values(state=State.READY, flow_run=None))


def _note(connection: Connection, now: Paused) -> None:
    mark(connection, _MARK, clock(connection), {"all": now.everything, "folders": sorted(now.folders)})


def _require_known(settings: Settings, folder: str | None) -> None:
    if folder is not None and settings.folder(folder) is None:
        known = ", ".join(one.name for one in settings.folders) or "none"
        raise OptionError(f"{folder}: no folder of the settings has this name (they have: {known})")
