"""The end of a batch: a table in Prefect's interface, and a word to whoever wants one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from prefect.artifacts import create_table_artifact
from prefect.blocks.core import Block
from sqlalchemy import Engine, select

from flows.ledger.database import clock, writing
from flows.ledger.rows import SlideRow, as_slide, mark, slides_in
from flows.ledger.tables import OPEN, QUEUED, State, slides
from flows.settings import Settings

log = logging.getLogger("slidemill.report")

_TOLD = (State.DONE, State.QUARANTINED, State.CANCELLED, State.DUPLICATE)
_MOST = 1000


def report_batch(engine: Engine, settings: Settings) -> int:
    """Where nothing is open any more, report what ended since the last report. Returns how many slides that were."""
    with engine.connect() as connection:
        if slides_in(connection, (*OPEN, *QUEUED)):
            return 0
        query = select(slides).where(slides.c.state.in_(_TOLD), slides.c.told.is_(False)).order_by(slides.c.finished)
        rows = [as_slide(row) for row in connection.execute(query.limit(_MOST))]
    if not rows:
        return 0
    words = _words(rows)
    create_table_artifact(key="slidemill-batch", table=[_line(row) for row in rows], description=words)
    for name in settings.notify:
        _tell(name, words, rows)
    with writing(engine) as connection:
        ids = [row.id for row in rows]
        connection.execute(slides.update().where(slides.c.id.in_(ids)).values(told=True))
        mark(connection, "batch", clock(connection), {"slides": len(rows), "summary": words})
    return len(rows)


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


def _tell(name: str, words: str, rows: Sequence[SlideRow]) -> None:
    bad = [row for row in rows if row.state == State.QUARANTINED]
    body = "\n".join([words, *(f"{row.id} {row.folder}: {row.kind}" for row in bad[:20])])
    try:
        block = Block.load(name)
        block.notify(body=body, subject=f"slidemill: {words}")  # type: ignore[attr-defined] # pyright: ignore
    except Exception as error:  # noqa: BLE001 - a notification that cannot be sent must not stop the service
        log.warning("notification %s could not be sent: %s", name, type(error).__name__)
