"""What the service is doing, from the ledger alone: it can be asked while Prefect is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from flows.ledger.database import clock
from flows.ledger.rows import SlideRow, counts, marked, newest, slides_in
from flows.ledger.tables import NOT_A_SLIDE, State, files, slides
from flows.reports.health import room
from flows.reports.stores import of_slides, stores, wrong_stores
from flows.service.pauses import Closed, closed
from flows.service.process import is_locked
from flows.settings import Settings

ENDED = "up-ended"
"""The mark of an `up` that ended in order."""
_HOUR = 3600.0
_SHOWN = 200
_LAST = 10
_ENDED = (State.DONE, State.DUPLICATE, State.CANCELLED, State.SUPERSEDED, State.GONE, State.DISMISSED)
_SILENT_S = 20.0
_LOOK_S = 60.0
"""A look at the folders may take this long without a word."""


def status(engine: Engine, settings: Settings) -> dict[str, Any]:
    """One object: counts, what runs and how far it is, throughput, ages, when the service last looked."""
    with engine.connect() as connection:
        now = clock(connection)
        by_state = counts(connection)
        running = slides_in(connection, (State.RUNNING, State.PUBLISHED))
        rate, shut = _throughput(connection, now), closed(connection, settings)
        return {
            "healthy": _healthy(connection, settings, now),
            "stopped": _is_stopped(connection, settings, now),
            "unavailable": _unavailable(connection),
            "paused": {"all": shut.paused.everything, "folders": sorted(shut.paused.folders)},
            "asleep": sorted(shut.asleep),
            "room": room(settings),
            "shares": [share.model_dump(mode="json") for share in settings.shares],
            "counts": _counts(by_state),
            "states": {str(state): by_state.get(state, 0) for state in State},
            "running": [_running(row, now) for row in running],
            "waiting": [_short(row) for row in slides_in(connection, (State.WAITING,))[:_SHOWN]],
            "failed": [_short(row) for row in slides_in(connection, (State.FAILED,))[:_SHOWN]],
            "quarantined": [_short(row) for row in slides_in(connection, (State.QUARANTINED,))[-_SHOWN:]],
            "stores": stores(connection),
            "wrong_stores": wrong_stores(connection),
            "ended": [_short(row) for row in newest(connection, _ENDED, _LAST)],
            "undecided_files": connection.execute(select(func.count()).where(files.c.slide.is_(None))).scalar_one(),
            "throughput": rate,
            "empty_in_s": _empty_in(connection, rate["bytes_per_s"], shut),
            "oldest_waiting_s": _oldest(connection, now),
            "last_scan_s": _age(connection, "scan", now),
            "last_reconcile_s": _age(connection, "reconcile", now),
            "folders": [_folder(connection, name) for name in _folders(connection, settings)],
        }


def _counts(by_state: Mapping[State, int]) -> dict[str, int]:
    """The words that people use."""
    queued = sum(by_state.get(state, 0) for state in (State.READY, State.SUBMITTED))
    running = sum(by_state.get(state, 0) for state in (State.RUNNING, State.PUBLISHED))
    plain = (State.WAITING, State.FAILED, State.QUARANTINED, *_ENDED)
    return {"queued": queued, "running": running} | {str(state): by_state.get(state, 0) for state in plain}


def listed(engine: Engine, text: str, states: Sequence[State], most: int) -> list[dict[str, Any]]:
    """Slides in any of the states whose path has `text` in it, or whose id begins so; the one that changed last first."""
    with engine.connect() as connection:
        rows = newest(connection, states or tuple(State), most, text)
        said = of_slides(connection, rows)
        return [_whole(row) | said[row.id] for row in rows]


def unknown(engine: Engine, text: str, most: int) -> list[dict[str, Any]]:
    """Files that were looked at and are no slides, or parts of none, by folder and path: `list --state unknown`."""
    c = files.c
    with engine.connect() as connection:
        here = (c.slide == NOT_A_SLIDE, c.path.contains(text, autoescape=True))
        rows = connection.execute(
            select(c.folder, c.path, c.size, c.since).where(*here).order_by(c.folder, c.path).limit(most)
        )
        keys = ("folder", "path", "bytes", "seen")
        return [{"id": None, "state": "unknown"} | dict(zip(keys, row, strict=True)) for row in rows.tuples()]


def _whole(row: SlideRow) -> dict[str, Any]:
    receipt = row.receipt or {}
    return _short(row) | {
        "bytes": row.bytes,
        "files": row.files,
        "driver": row.driver,
        "failures": row.failures,
        "fingerprint": row.fingerprint,
        "manifest": receipt.get("manifest"),
        "same_as": row.same_as,
        "put_away": row.put_away or None,
        "seen": row.seen,
        "ready": row.ready,
        "started": row.started,
        "finished": row.finished,
        "seconds": receipt.get("seconds"),
    }


def _running(row: SlideRow, now: float) -> dict[str, Any]:
    since = now - (row.started or now)
    return _short(row) | {"progress": round(row.progress or 0.0, 4), "seconds": round(since, 1), "flow_run": row.flow_run}


def _short(row: SlideRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "folder": row.folder,
        "path": row.path,
        "state": str(row.state),
        "attempt": row.attempt,
        "kind": row.kind,
        "reason": row.reason,
        "output": row.output,
    }


def _throughput(connection: Connection, now: float) -> dict[str, Any]:
    """Of the last hour; the rate over the time since the first of its slides began, None without any."""
    c = slides.c
    sums = (func.count(), func.coalesce(func.sum(c.bytes), 0), func.min(c.started))
    number, size, begun = connection.execute(select(*sums).where(c.state == State.DONE, c.finished > now - _HOUR)).one()
    rate = None if begun is None or now <= begun else round(int(size) / (now - begun), 1)  # PostgreSQL sums to Decimal
    return {"slides_last_hour": int(number), "bytes_last_hour": int(size), "bytes_per_s": rate}


def _empty_in(connection: Connection, rate: float | None, shut: Closed) -> float | None:
    """In how many seconds the queue would be empty at that rate; None where nobody knows, or nothing begins."""
    c = slides.c
    may = c.folder.not_in(shut.folders)
    here = c.state.in_((State.READY, State.SUBMITTED, State.RUNNING, State.FAILED))
    left = int(connection.execute(select(func.coalesce(func.sum(c.bytes), 0)).where(here, may)).scalar_one())
    if shut.paused.everything or not rate:
        return 0.0 if not left else None
    return round(left / rate, 1)


def _oldest(connection: Connection, now: float) -> float | None:
    """Age of the slide that has been complete for longest and is not being converted yet."""
    here = slides.c.state.in_((State.READY, State.SUBMITTED, State.FAILED))
    found = connection.execute(select(func.min(slides.c.ready)).where(here)).scalar_one()
    return None if found is None else round(now - float(found), 1)


def _age(connection: Connection, name: str, now: float) -> float | None:
    found = marked(connection, name)
    return None if found is None else round(now - found[0], 1)


def _healthy(connection: Connection, settings: Settings, now: float) -> bool:
    """Whether somebody looks at the folders: a scan that was due long ago means that nobody does."""
    age = _age(connection, "scan", now)
    longest = 3 * max(_LOOK_S, settings.schedule.scan_seconds) + 60
    fresh = age is not None and age < longest
    return fresh and not _unavailable(connection) and not _is_stopped(connection, settings, now)


def _is_stopped(connection: Connection, settings: Settings, now: float) -> bool:
    """Whether `up` ran on this machine and does not any more, and nobody else looks at the folders."""
    scan, ended = marked(connection, "scan"), marked(connection, ENDED)
    silent = scan is None or now - scan[0] > settings.schedule.scan_seconds + _SILENT_S
    silent = silent or (ended is not None and scan is not None and ended[0] >= scan[0])
    return silent and is_locked(settings.state / "up.lock") is False


def _unavailable(connection: Connection) -> list[str]:
    """Folders that the last look could not list."""
    found = marked(connection, "scan")
    return [] if found is None else [str(name) for name in (found[1] or {}).get("unavailable", ())]


def _folders(connection: Connection, settings: Settings) -> list[str]:
    known = {row[0] for row in connection.execute(select(slides.c.folder).distinct())}
    return sorted(known | {folder.name for folder in settings.folders})


def _folder(connection: Connection, name: str) -> dict[str, Any]:
    query = select(slides.c.state, func.count()).where(slides.c.folder == name).group_by(slides.c.state)
    found = {State(state): int(count) for state, count in connection.execute(query).tuples()}
    return {"name": name} | _counts(found)
