"""What ended, for whoever looks on: a line a slide."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine, select

from flows.ledger.database import clock
from flows.ledger.rows import as_slide
from flows.ledger.tables import State, slides

_TOLD = (State.DONE, State.QUARANTINED, State.DUPLICATE)
_MOST = 10


class News:
    """Slides that ended since this was made, or asked last. For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.connect() as connection:
            self._since = clock(connection)

    def lines(self) -> Iterator[str]:
        """One for each slide; where many ended at a time, the first ones."""
        here = (slides.c.state.in_(_TOLD), slides.c.finished > self._since)
        with self._engine.connect() as connection:
            query = select(slides).where(*here).order_by(slides.c.finished)
            rows = [as_slide(row) for row in connection.execute(query)]
        for row in rows[:_MOST]:
            yield f"{row.path}: {row.state}, {row.output if row.state == State.DONE else row.reason}"
        if len(rows) > _MOST:
            yield f"and {len(rows) - _MOST} more: slidemill list"
        self._since = max((row.finished or 0.0 for row in rows), default=self._since)
