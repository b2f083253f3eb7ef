"""A clock that was set, in or between passes over the folders: waits of files and slides go on from where they were.

Whether a file has been quiet for long enough is told by the ledger's clock. Set forward, it would make a copy that pauses
look complete; set back, files and retries would wait for as long as it was set back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, case

from converter.process import machine, monotonic
from flows.ledger.database import clock
from flows.ledger.rows import marked
from flows.ledger.tables import State, files, slides

_SLACK_S = 2.0
"""Clocks that a daemon sets right little by little are this far apart, and more than that was set."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by the ledger's clock and by a machine's own, seconds."""

    ledger: float
    monotonic: float
    machine: str
    doubt: float = 0.0
    """How far apart the two may have been read: a busy machine may leave seconds between."""

    def noted(self) -> dict[str, Any]:
        """As it is noted with a pass."""
        return asdict(self)


def moment(connection: Connection) -> Moment:
    """This moment."""
    before = monotonic()
    ledger, after = clock(connection), monotonic()
    return Moment(ledger, (before + after) / 2, machine(), (after - before) / 2)


def last_moment(connection: Connection, name: str) -> Moment | None:
    """The moment that was noted with the last pass of that name."""
    found = marked(connection, name)
    noted = found[1].get("moment") if found is not None and isinstance(found[1], dict) else None
    return Moment(**noted) if isinstance(noted, dict) else None


def was_set(before: Moment | None, now: Moment) -> float:
    """By how many seconds the ledger's clock was set between; 0 where it was not, or where nobody can tell.

    Of two moments of two machines, or of two boots, only this can be told: where the later one is the earlier by the ledger's
    clock, that was set back by so much at least.
    """
    if before is None:
        return 0.0
    if before.machine != now.machine or now.monotonic < before.monotonic:
        back = now.ledger - before.ledger
        return back if back < -_SLACK_S else 0.0
    jumped = (now.ledger - before.ledger) - (now.monotonic - before.monotonic)
    return 0.0 if abs(jumped) <= _SLACK_S + before.doubt + now.doubt else jumped


def undo_jump(connection: Connection, before: Moment | None) -> float:
    """Move what waits along with the ledger's clock, where that was set since `before`.

    Returns the seconds by which it was set; 0 where it was not, or nobody can tell.
    """
    now = moment(connection)
    jumped = was_set(before, now)
    if before is None or not jumped:
        return 0.0
    # Of what was seen since, nobody can tell on which side of the jump: it waits anew.
    moved = case((files.c.since <= before.ledger, files.c.since + jumped), else_=now.ledger)
    connection.execute(files.update().where(files.c.slide.is_(None)).values(since=moved))
    waits = (slides.c.state.in_((State.FAILED, State.WAITING)), slides.c.not_before.is_not(None))
    connection.execute(slides.update().where(*waits).values(not_before=slides.c.not_before + jumped))
    return jumped
