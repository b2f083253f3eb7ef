"""Transitions of a slide while a process has it. Each one names the attempt it speaks for: an older one changes nothing.

The attempt is the fence. Handing a slide out again raises it, and from then on whatever the earlier process does finds none.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select, tuple_

from converter.errors import Cancelled
from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import SlideRow, as_slide
from flows.ledger.tables import OPEN, State, contents, slides

_UNPUBLISHED = (State.READY, State.SUBMITTED, State.RUNNING, State.FAILED)
_later = slides.alias("later")
_BEFORE = (tuple_(slides.c.seen, slides.c.folder, slides.c.path) < tuple_(_later.c.seen, _later.c.folder, _later.c.path),)
"""That a slide was seen before another one; of those that one look found, by name."""


class Fenced(Cancelled):
    """A newer attempt has the slide, or somebody cancelled it: this process may not publish it any more."""

    kind = "fenced"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a process holds: a slide and the attempt it speaks for."""

    slide: str
    attempt: int

    def holds(self, *states: State) -> ColumnElement[bool]:
        """The condition on the row under which this ticket counts."""
        return and_(slides.c.id == self.slide, slides.c.attempt == self.attempt, slides.c.state.in_(states))


def start(engine: Engine, ticket: Ticket, process: str) -> SlideRow | None:
    """Take the slide for this process. None where another process has it, or the attempt is over, or was cancelled."""
    with writing(engine) as connection:
        now = clock(connection)
        unwanted = slides.update().where(ticket.holds(State.SUBMITTED), slides.c.cancel)
        connection.execute(unwanted.values(state=State.CANCELLED, finished=now, reason="cancelled", cancel=False, told=False))
        values = {"state": State.RUNNING, "process": process, "started": now, "heartbeat": now, "moved": now, "progress": 0.0}
        taken = connection.execute(slides.update().where(ticket.holds(State.SUBMITTED)).values(reason=None, **values))
        if taken.rowcount == 0:
            return None
        return as_slide(connection.execute(select(slides).where(slides.c.id == ticket.slide)).one())


def beat(engine: Engine, ticket: Ticket, progress: float, *, moved: bool = False) -> bool:
    """Say that the process lives and how far it is; `moved`: that it goes on, where progress does not tell.

    False where it should stop: fenced off, or cancelled."""
    with writing(engine) as connection:
        now = clock(connection)
        here = ticket.holds(State.RUNNING, State.PUBLISHED)
        row = connection.execute(select(slides.c.progress, slides.c.cancel, slides.c.state).where(here)).one_or_none()
        if row is None:
            return False
        values: dict[str, Any] = {"heartbeat": now, "progress": progress}
        if moved or progress != row.progress:  # each image of a slide begins at nothing again
            values["moved"] = now
        connection.execute(slides.update().where(here).values(**values))
        return row.state == State.PUBLISHED or not row.cancel  # there is nothing left to be called off


def claim_content(engine: Engine, ticket: Ticket, fingerprint: str, options_hash: str) -> str | None:
    """Note what the slide holds. The id of another slide that has or had the same content and options, else None.

    Of copies the one that was seen first is converted, whichever came to this first: one that was seen later and has not
    published yet becomes its copy, and its process finds that it has no slide any more.
    """
    with alone(engine) as connection:
        connection.execute(slides.update().where(ticket.holds(State.RUNNING)).values(fingerprint=fingerprint))
        key = and_(contents.c.fingerprint == fingerprint, contents.c.options_hash == options_hash)
        owner = connection.execute(select(contents.c.slide).where(key)).scalar_one_or_none()
        if owner is None:
            values = {"fingerprint": fingerprint, "options_hash": options_hash, "slide": ticket.slide}
            connection.execute(contents.insert().values(**values))
        if owner in (None, ticket.slide) or _displaced(connection, ticket, str(owner)):
            return None
        return str(owner)


def _displaced(connection: Connection, ticket: Ticket, owner: str) -> bool:
    """Make the slide that stands for a content a copy of this one, where this one was seen first and that one is not done."""
    c, before = slides.c, select(slides.c.id).where(slides.c.id == ticket.slide, *_BEFORE)
    if connection.execute(before.where(_later.c.id == owner)).one_or_none() is None:
        return False
    reason = f"same content and options as slide {ticket.slide}, which was seen first"
    values = {
        "state": State.DUPLICATE,
        "same_as": ticket.slide,
        "reason": reason,
        "kind": None,
        "finished": clock(connection),
    }
    cleared = {"told": False, "heartbeat": None, "process": None, "cancel": False}
    here = (c.id == owner, c.state.in_(_UNPUBLISHED))
    if connection.execute(slides.update().where(*here).values(**values, **cleared)).rowcount == 0:
        return False
    take_copies(connection, owner, ticket.slide)
    connection.execute(contents.update().where(contents.c.slide == owner).values(slide=ticket.slide))
    return True


def take_copies(connection: Connection, owner: str, other: str) -> None:
    """Copies of a slide are copies of another one from now on."""
    here = (slides.c.same_as == owner, slides.c.state == State.DUPLICATE, slides.c.id != other)
    connection.execute(slides.update().where(*here).values(same_as=other))


def take_over(engine: Engine, ticket: Ticket, fingerprint: str, owner: str) -> bool:
    """Become the slide that stands for this content, where `owner` no longer can."""
    with writing(engine) as connection:
        here = and_(contents.c.fingerprint == fingerprint, contents.c.slide == owner)
        if connection.execute(contents.update().where(here).values(slide=ticket.slide)).rowcount == 0:
            return False
        take_copies(connection, owner, ticket.slide)
        return True


@contextmanager
def publishing(engine: Engine, ticket: Ticket) -> Generator[None]:
    """Around the rename: the row is locked, so that no newer attempt begins in between, then marked as published.

    The whole ledger may be locked meanwhile: only what takes a moment belongs in here. May be entered again, for a
    publication of two steps; from the first on it cannot be cancelled. Raises Fenced where the ticket no longer counts.
    """
    with writing(engine) as connection:
        here = ticket.holds(State.RUNNING, State.PUBLISHED)
        row = connection.execute(select(slides.c.cancel, slides.c.state).where(here).with_for_update()).one_or_none()
        if row is None or (row.cancel and row.state == State.RUNNING):
            raise Fenced(f"slide {ticket.slide}: attempt {ticket.attempt} is over; nothing was published")
        yield
        connection.execute(slides.update().where(here).values(state=State.PUBLISHED))


def finish(engine: Engine, ticket: Ticket, receipt: Mapping[str, Any], put_away: str | None = "") -> bool:
    """The slide is done; `put_away` as in the table. Safe to repeat. False where the ticket no longer counts."""
    with writing(engine) as connection:
        done = {"state": State.DONE, "finished": clock(connection), "progress": 1.0, "receipt": dict(receipt)}
        here = ticket.holds(State.RUNNING, State.PUBLISHED)
        cleared = {"reason": None, "kind": None, "cancel": False, "told": False, "same_as": None, "put_away": put_away}
        return connection.execute(slides.update().where(here).values(**done, **cleared)).rowcount > 0


def leave(connection: Connection, ticket: Ticket, state: State, **values: Any) -> bool:
    """Give the slide back in another state. False where the ticket no longer counts."""
    here = ticket.holds(*OPEN)
    more = {"told": False, "heartbeat": None, "process": None} | values
    return connection.execute(slides.update().where(here).values(state=state, **more)).rowcount > 0
