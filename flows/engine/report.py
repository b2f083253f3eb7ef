"""The end of a batch: a table in Prefect's interface, and a word to whoever wants one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from prefect.artifacts import create_table_artifact
from sqlalchemy import Engine, select

from flows.engine.notify import notify
from flows.ledger.database import clock, writing
from flows.ledger.rows import SlideRow, as_slide, mark, slides_in
from flows.ledger.tables import OPEN, QUEUED, State, slides
from flows.settings import Settings

_TOLD = (State.DONE, State.QUARANTINED, State.CANCELLED, State.DUPLICATE)
_MOST = 1000
_NAMED = 20
_LONGEST_S = 24 * 3600.0


def report_batch(engine: Engine, settings: Settings) -> int:
    """Where a batch has ended, report it. Returns how many slides that were."""
    rows = ended(engine)
    if not rows:
        return 0
    words = _words(rows)
    create_table_artifact(key="slidemill-batch", table=[_line(row) for row in rows], description=words)
    notify(settings, f"slidemill: {words}", _body(words, rows))
    with writing(engine) as connection:
        ids = [row.id for row in rows]
        connection.execute(slides.update().where(slides.c.id.in_(ids)).values(told=True))
        mark(connection, "batch", clock(connection), {"slides": len(rows), "summary": words})
    return len(rows)


def ended(engine: Engine) -> list[SlideRow]:
    """The slides of a batch that ended and was not reported: nothing is open any more, or the first one ended a day ago."""
    with engine.connect() as connection:
        query = select(slides).where(slides.c.state.in_(_TOLD), slides.c.told.is_(False)).order_by(slides.c.finished)
        rows = [as_slide(row) for row in connection.execute(query.limit(_MOST))]
        now = clock(connection)
        first = min((row.finished for row in rows if row.finished is not None), default=now)
        open_still = bool(slides_in(connection, (*OPEN, *QUEUED)))
    return [] if open_still and now - first < _LONGEST_S else rows


def _words(rows: Sequence[SlideRow]) -> str:
    counted = Counter(row.state for row in rows)
    return ", ".join(f"{counted[state]} {state}" for state in _TOLD if counted[state])


def _line(row: SlideRow) -> dict[str, str | int | float | None]:
    """Ids only: file names may name a patient, and Prefect keeps artifacts."""
    seconds = row.receipt.get("seconds") if row.receipt else None
    return {
        "slide": row.id,
        "folder": row.folder,
        "state": str(row.state),
        "kind": row.kind,
        "bytes": row.bytes,
        "seconds": seconds,
        "attempts": row.attempt,
    }


def _body(words: str, rows: Sequence[SlideRow]) -> str:
    bad = [row for row in rows if row.state == State.QUARANTINED]
    more = [f"and {len(bad) - _NAMED} more: slidemill quarantine list"] if len(bad) > _NAMED else []
    return "\n".join([words, *(f"{row.id} {row.folder}: {row.kind}" for row in bad[:_NAMED]), *more])
