"""What follows from a failed attempt: another one later, quarantine, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from flows.ledger.attempts import Ticket, leave, take_copies
from flows.ledger.database import clock, writing
from flows.ledger.failures import count_failure
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State, files

_LONGEST_WAIT_S = 3600.0
_LONGEST_WAIT_FOR_OTHERS_S = 600.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt ended. `kind` is that of the error, or `crashed`, `lost`, `hung`."""

    kind: str
    message: str
    retryable: bool
    counts: bool = True
    """Whether it counts towards quarantine: a full disk says nothing about the slide."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how soon to try again."""

    attempts: int
    first_wait: float

    def wait(self, failures: int) -> float:
        """Seconds before the next attempt."""
        return min(self.first_wait * 2.0 ** max(0, failures - 1), _LONGEST_WAIT_S)


def failed(connection: Connection, ticket: Ticket, trouble: Trouble, patience: Patience) -> State | None:
    """Note a failed attempt. The state the slide is in now, None where the ticket no longer counts."""
    row = slide_by_id(connection, ticket.slide, lock=True)
    if row is None:
        return None
    now, failures = clock(connection), row.failures + int(trouble.counts)
    said = {"kind": trouble.kind, "failures": failures, "reason": trouble.message}
    if row.cancel:
        return _left(connection, ticket, State.CANCELLED, finished=now, reason="cancelled", kind=None, cancel=False)
    if not trouble.retryable or failures >= patience.attempts:
        times = f" (attempt {failures} of {patience.attempts})" if trouble.retryable else ""
        said["reason"] = f"{trouble.message}{times}"
        return _counted(connection, row, trouble, _left(connection, ticket, State.QUARANTINED, finished=now, **said))
    if trouble.counts:
        wait = patience.wait(failures)
    else:  # a disk or a server that is away comes back for all slides at once: they do not wait long after it
        wait = min(patience.wait(row.attempt - row.failures), _LONGEST_WAIT_FOR_OTHERS_S)
    return _counted(connection, row, trouble, _left(connection, ticket, State.FAILED, not_before=now + wait, **said))


def _counted(connection: Connection, row: SlideRow, trouble: Trouble, left: State | None) -> State | None:
    if left is not None:
        count_failure(connection, row.folder, trouble.kind)
    return left


def _left(connection: Connection, ticket: Ticket, state: State, **values: object) -> State | None:
    return state if leave(connection, ticket, state, **values) else None


def interrupted(engine: Engine, ticket: Ticket) -> None:
    """The process was told to stop: the slide is ready again at once, and nothing is held against it."""
    with writing(engine) as connection:
        row = slide_by_id(connection, ticket.slide, lock=True)
        if row is not None and row.cancel:
            leave(connection, ticket, State.CANCELLED, finished=clock(connection), reason="cancelled", cancel=False)
        else:
            leave(connection, ticket, State.READY, reason="interrupted", progress=None)


def cancelled(engine: Engine, ticket: Ticket) -> None:
    """A wish to cancel that came when nothing was left but to publish. Rows of newer attempts are not touched."""
    with writing(engine) as connection:
        row = slide_by_id(connection, ticket.slide, lock=True)
        if row is not None and row.cancel and row.state == State.RUNNING:
            leave(connection, ticket, State.CANCELLED, finished=clock(connection), reason="cancelled", cancel=False)


def superseded(engine: Engine, ticket: Ticket, reason: str, *, gone: bool = False) -> None:
    """The files are not what they were, or `gone`: they are looked at anew, and become a slide of their own when complete."""
    with writing(engine) as connection:
        if leave(connection, ticket, State.GONE if gone else State.SUPERSEDED, finished=clock(connection), reason=reason):
            undecided(connection, ticket.slide)


def undecided(connection: Connection, slide: str) -> None:
    """Let the next scan decide again what the files of a slide are."""
    again = {"slide": None, "looks": 0, "since": clock(connection)}
    connection.execute(files.update().where(files.c.slide == slide).values(**again))


def duplicate(engine: Engine, ticket: Ticket, owner: SlideRow, put_away: str | None = "") -> None:
    """The same content was or is converted as another slide; `put_away` as in the table."""
    with writing(engine) as connection:
        reason = f"same content and options as slide {owner.id}; its output is {owner.output}"
        values = {"same_as": owner.id, "reason": reason, "put_away": put_away}
        if leave(connection, ticket, State.DUPLICATE, finished=clock(connection), **values):
            take_copies(connection, ticket.slide, owner.id)
