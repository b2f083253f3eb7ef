"""For how long a slide's process has given no sign, by a clock that nobody can set.

The ledger's clock jumps: a machine's time is set right, a database moves to another host. A heartbeat that looks two minutes
old may be a second old. So what counts is not its age but that it does not change: each pass notes what it sees, and adds up
the time between passes by the monotonic clock of its own machine, which neither jumps nor counts sleep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from converter.process import machine, monotonic
from flows.ledger.rows import SlideRow
from flows.ledger.tables import witnesses

_NAME = 255


@dataclass(frozen=True, slots=True)
class Silence:
    """Seconds that this machine has seen pass without a new heartbeat, and without progress."""

    silent: float = 0.0
    still: float = 0.0


def watched(connection: Connection, rows: Sequence[SlideRow], longest: float) -> dict[str, Silence]:
    """Note what each open slide says now; how long it has said so, by slide. Slides that are no longer open are forgotten.

    A gap between two passes counts for less than `longest` seconds: where nobody looked for an hour, because the ledger was
    away, one look does not tell that a process is silent; it takes two.
    """
    here, now = machine()[:_NAME], monotonic()
    beating = {row.id: row for row in rows if row.heartbeat is not None}
    w = witnesses.c
    connection.execute(witnesses.delete().where(w.slide.not_in(beating)))
    known = {row["slide"]: row for row in connection.execute(select(witnesses).where(w.machine == here)).mappings()}
    found: dict[str, Silence] = {}
    for slide, row in beating.items():
        last = known.get(slide)
        found[slide] = _since(last, row, now, 0.99 * longest)
        seen = {"attempt": row.attempt, "heartbeat": row.heartbeat, "moved": row.moved, "looked": now}
        values: dict[str, Any] = seen | {"silent": found[slide].silent, "still": found[slide].still}
        if last is None:
            connection.execute(witnesses.insert().values(slide=slide, machine=here, **values))
        else:
            connection.execute(witnesses.update().where(w.slide == slide, w.machine == here).values(**values))
    return found


def _since(last: RowMapping | None, row: SlideRow, now: float, most: float) -> Silence:
    if last is None or last["attempt"] != row.attempt or now < last["looked"]:
        return Silence()
    gap = min(now - last["looked"], most)
    silent = last["silent"] + gap if last["heartbeat"] == row.heartbeat else 0.0
    still = last["still"] + gap if last["moved"] == row.moved else 0.0
    return Silence(silent, still)
