"""Whether everything that is there has come to its end: `slidemill up --until-empty`, a batch of a service."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from flows.ledger.database import clock
from flows.ledger.rows import counts, marked
from flows.ledger.tables import State, files, slides

_EVERY_S = 2.0
_LOOKS = 2
OPEN = (State.READY, State.SUBMITTED, State.RUNNING, State.PUBLISHED, State.FAILED)


@dataclass(slots=True)
class Ending:
    """Asks the ledger now and then. For one thread.

    All is done once two looks at the folders have ended that began after this was made, nothing is queued or under way, and
    no file is undecided but those of slides that wait for more of their files.
    """

    engine: Engine
    _due: float = field(default=0.0, init=False)
    _looks: set[float] = field(default_factory=set[float], init=False)
    _begun: float | None = field(default=None, init=False)
    _bad: set[str] = field(default_factory=set[str], init=False)
    """Slides that were in quarantine before."""

    def code(self) -> int | None:
        """None where there is still something to do; else 0, or 1 where slides came into quarantine or still wait for files,
        or a folder cannot be listed."""
        if time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + _EVERY_S
        try:
            with self.engine.connect() as connection:
                return self._code(connection)
        except SQLAlchemyError:
            return None  # the ledger is away for a moment

    def _code(self, connection: Connection) -> int | None:
        by_state = counts(connection)
        bad = set(connection.execute(select(slides.c.id).where(slides.c.state == State.QUARANTINED)).scalars())
        if self._begun is None:
            self._begun, self._bad = clock(connection), bad
        found = marked(connection, "scan")
        if found is None or found[0] <= self._begun:
            return None
        self._looks.add(found[0])
        if any(by_state.get(state) for state in OPEN) or not self._is_decided(connection):
            self._looks.clear()
            return None
        if len(self._looks) <= _LOOKS:
            return None
        unlisted = (found[1] or {}).get("unavailable")
        return 1 if bad - self._bad or by_state.get(State.WAITING) or unlisted else 0

    def _is_decided(self, connection: Connection) -> bool:
        undecided = connection.execute(select(func.count()).where(files.c.slide.is_(None))).scalar_one()
        waiting = select(func.coalesce(func.sum(slides.c.files), 0)).where(slides.c.state == State.WAITING)
        return undecided <= connection.execute(waiting).scalar_one()
