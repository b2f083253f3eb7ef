"""The shares of one attempt at a slide: that of its original and that of its store, divided among the machines that use them.

A machine's part goes by the slides that the ledger says are under way.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from converter.pace import Spend, unlimited
from flows.ledger.tables import State, slides
from flows.pace import Pace
from flows.service.process import parsed
from flows.settings import Settings
from flows.share import Share


@dataclass(frozen=True, slots=True)
class Paces:
    """What an attempt at a slide keeps to: the pace of the share that its original lies on, and that of its store's."""

    reading: Pace | None
    writing: Pace | None

    @property
    def read(self) -> Spend:
        """To be told of what was read of the slide."""
        return unlimited if self.reading is None else self.reading.spend

    @property
    def write(self) -> Spend:
        """To be told of what was written of the store."""
        return unlimited if self.writing is None else self.writing.spend

    def divide(self, engine: Engine) -> None:
        """Take this machine's part of what the shares allow, by the slides that are under way now."""
        both = [pace for pace in (self.reading, self.writing) if pace is not None]
        if both:
            with engine.connect() as connection:
                for pace in both:
                    pace.machines = max(1, len(_machines(connection, pace.share)))

    def moved(self) -> tuple[int, ...]:
        """Another value at each call while bytes are let through or have to wait: a slide is slow then, and does not hang."""
        both = [pace for pace in (self.reading, self.writing) if pace is not None]
        return (*(pace.spent for pace in both), time.monotonic_ns() if any(pace.waiting for pace in both) else 0)


def paces(settings: Settings, places: tuple[str, str], stop: threading.Event) -> Paces:
    """The paces of two places: where the original lies, and where the store is to lie."""
    first, second = (settings.share_of(place) for place in places)
    one = None if first is None else Pace(first, stop)
    if second is None or second == first:
        return Paces(one, None if second is None else one)
    return Paces(one, Pace(second, stop))


def _machines(connection: Connection, share: Share) -> set[str]:
    c = slides.c
    query = select(c.root, c.output, c.process).where(c.state.in_((State.RUNNING, State.PUBLISHED)))
    found: set[str] = set()
    for root, output, process in connection.execute(query).tuples():
        known = parsed(process)
        if known is not None and (share.holds(root) or (output is not None and share.holds(output))):
            found.add(str(known.get("machine")))
    return found
