"""The end of a batch: a table in Prefect's interface, and a word to whoever wants one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.artifacts import create_table_artifact
from sqlalchemy import Engine, select

from flows.engine.notify import notify
from flows.ledger.database import clock, writing
from flows.ledger.rows import counts, mark
from flows.ledger.tables import OPEN, QUEUED, State, slides
from flows.settings import Settings

_TOLD = (State.DONE, State.QUARANTINED, State.CANCELLED, State.DUPLICATE)
_PAGE = 1000
"""Rows of one table: Prefect's pages show each whole."""
_NAMED = 20
_LONGEST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A slide of a batch. No path: file names may name a patient, and Prefect keeps artifacts."""

    id: str
    folder: str
    state: State
    kind: str | None
    bytes: int
    seconds: float | None
    """Of its conversion; None where there was none."""
    attempts: int
    finished: float | None


def report_batch(engine: Engine, settings: Settings) -> int:
    """Where a batch has ended, report it: all of it, a table for each thousand slides. Returns how many slides that were."""
    rows = ended(engine)
    if not rows:
        return 0
    words = _words(rows)
    pages = [rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE)]
    for number, page in enumerate(pages, 1):
        last = f" (part {number} of {len(pages)})" if len(pages) > 1 else ""
        key = "slidemill-batch" if number == 1 else f"slidemill-batch-{number}"
        create_table_artifact(key=key, table=[_line(row) for row in page], description=words + last)
    notify(settings, f"slidemill: {words}", _body(words, rows))
    with writing(engine) as connection:
        for page in pages:
            connection.execute(slides.update().where(slides.c.id.in_([row.id for row in page])).values(told=True))
        mark(connection, "batch", clock(connection), {"slides": len(rows), "summary": words})
    return len(rows)


def ended(engine: Engine) -> list[Ended]:
    """The slides of a batch that ended and was not reported: nothing is open any more, or the first one ended a day ago."""
    c = slides.c
    seconds = c.receipt["seconds"].as_float()
    query = select(c.id, c.folder, c.state, c.kind, c.bytes, seconds, c.attempt, c.finished)
    with engine.connect() as connection:
        by_state, now = counts(connection), clock(connection)
        here = (c.state.in_(_TOLD), c.told.is_(False))
        found = connection.execute(query.where(*here).order_by(c.finished, c.id)).tuples()
        rows = [Ended(one[0], one[1], State(one[2]), *one[3:]) for one in found]
    first = min((row.finished for row in rows if row.finished is not None), default=now)
    open_still = any(by_state.get(state) for state in (*OPEN, *QUEUED))
    return [] if open_still and now - first < _LONGEST_S else rows


def _words(rows: Sequence[Ended]) -> str:
    counted = Counter(row.state for row in rows)
    return ", ".join(f"{counted[state]} {state}" for state in _TOLD if counted[state])


def _line(row: Ended) -> dict[str, str | int | float | None]:
    return {
        "slide": row.id,
        "folder": row.folder,
        "state": str(row.state),
        "kind": row.kind,
        "bytes": row.bytes,
        "seconds": row.seconds,
        "attempts": row.attempts,
    }


def _body(words: str, rows: Sequence[Ended]) -> str:
    bad = [row for row in rows if row.state == State.QUARANTINED]
    more = [f"and {len(bad) - _NAMED} more: slidemill quarantine list"] if len(bad) > _NAMED else []
    return "\n".join([words, *(f"{row.id} {row.folder}: {row.kind}" for row in bad[:_NAMED]), *more])
