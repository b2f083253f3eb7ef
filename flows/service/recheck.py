"""The slow look at stores that were made: are they still there, and as they were written? A thread beside the reconciliation.

Names first, again and again: that costs a listing. Then contents, store by store, the one first that nobody looked into for
longest, within a budget of bytes a second; what is left when the service ends is gone on with. One at a time over all
machines, by a turn. Nothing is made anew here: what is found is noted, and shown.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from converter.checking.slowly import Budget, look_into
from converter.errors import ConverterError
from drivers.errors import DriverError
from drivers.location import location
from flows.ledger import checks
from flows.ledger.checks import Finding, Look, Wrong
from flows.ledger.database import clock, is_away, writing
from flows.ledger.rows import SlideRow, mark, marked, slide_by_id
from flows.ledger.tables import State
from flows.service import turns
from flows.service.places import missing, root_of
from flows.service.presence import look_for_stores
from flows.settings import Settings

log = logging.getLogger("slidemill.recheck")

RECHECK = "recheck"
_LEAST_S = 60.0
"""Between two looks at names, and where nothing is due."""
_CALM = 2000.0
"""A look at names is followed by a rest of so many times the processor time it took."""
_SHARE = 600.0
"""Whoever looks into stores rests for so many times the processor time that took."""
_VISIT = 64 << 20
"""Bytes of a store that are read before the next one has its turn."""
_BATCH = 100
_LEASE_S = 240.0
_KEEP_S = 60.0
_TROUBLE_S = 600.0
_END_S = 5.0


class _Ended(Exception):
    """The look is to end now."""


@dataclass(slots=True)
class Recheck:
    """For one thread. `stop` ends it at once, `over` once the file is read that it is at."""

    engine: Engine
    settings: Settings
    run: str
    stop: threading.Event
    over: threading.Event = field(default_factory=threading.Event)
    _due: list[str] = field(default_factory=list[str])
    _kept: float = 0.0
    _used: float = 0.0
    _names_due: float = 0.0

    def __call__(self) -> None:
        """Look until told to end; nothing that goes wrong ends it, or the service."""
        try:
            while not self._is_over:
                self._rest(self._patient_step())
        finally:
            with suppress(SQLAlchemyError):
                turns.leave(self.engine, RECHECK, self.run)

    @property
    def _is_over(self) -> bool:
        return self.stop.is_set() or self.over.is_set()

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_over and (left := end - time.monotonic()) > 0:
            self.over.wait(min(left, _END_S))  # `stop` is another's: it is looked at every few seconds

    def _patient_step(self) -> float:
        try:
            if not self._is_turn():
                return _LEAST_S
            return self.step()
        except _Ended:
            return 0.0
        except Exception as error:
            if is_away(error):
                return _LEAST_S
            log.exception("stores are not looked at for %.0f s", _TROUBLE_S)
            return _TROUBLE_S

    def _is_turn(self) -> bool:
        if self._kept and time.monotonic() < self._kept + _KEEP_S:
            return True
        self._kept = 0.0
        if turns.keep(self.engine, RECHECK, self.run):
            self._kept = time.monotonic()
            return True
        if not turns.is_vacant(self.engine, RECHECK, _LEASE_S):
            return False
        turns.take(self.engine, RECHECK, self.run)
        return True

    def step(self) -> float:
        """One look: at all names, or into one store. Returns how many seconds to rest."""
        rest = self._names()
        self._used = time.thread_time()
        if self.settings.schedule.recheck_mb_per_second == 0:
            return rest
        row = self._next()
        if row is None or row.output is None:
            return rest
        self._look(row, row.output)
        return min(rest, _SHARE * (time.thread_time() - self._used))

    def _names(self) -> float:
        """Look at names where that is due. Returns in how many seconds it is due again."""
        left = self._names_due - time.monotonic()
        if left > 0:
            return left
        with self.engine.connect() as connection:
            found, now = marked(connection, "stores"), clock(connection)
        rest = max(_LEAST_S, float((found[1] or {}).get("rest", 0.0))) if found is not None else 0.0
        since = rest if found is None else now - found[0]
        if not 0.0 <= since < rest:  # in the future: the clock was set back
            start = time.thread_time()
            count = look_for_stores(self.engine, self.settings)
            rest, since = max(_LEAST_S, _CALM * (time.thread_time() - start)), 0.0
            with writing(self.engine) as connection:
                mark(connection, "stores", clock(connection), {"rest": round(rest, 1), "missing": count})
        self._names_due = time.monotonic() + rest - since
        return rest - since

    def _next(self) -> SlideRow | None:
        """The next slide that is done and whose store is to be looked into."""
        with self.engine.connect() as connection:
            if not self._due:
                self._due = checks.due(connection, self.settings.schedule.recheck_hours * 3600.0, _BATCH)
            while self._due:
                row = slide_by_id(connection, self._due.pop(0))
                if row is not None and row.state == State.DONE and row.output is not None:
                    return row
        return None

    def _look(self, row: SlideRow, output: str) -> None:
        with self.engine.connect() as connection:
            known = checks.known(connection, row.id)
        reached: list[str] = []
        try:
            finding, goes_on = self._inside(row, output, known.goes_on, reached)
        except _Ended:
            if reached:
                with writing(self.engine) as connection:
                    checks.go_on(connection, row.id, row.attempt, reached[-1])
            raise
        if finding.wrong is not None and finding.wrong != known.finding.wrong:
            log.warning("slide %s: its store is %s", row.id, finding.wrong)
        with writing(self.engine) as connection:
            checks.note(connection, Look(row.id, row.attempt, finding, goes_on=goes_on))

    def _inside(self, row: SlideRow, output: str, after: str | None, reached: list[str]) -> tuple[Finding, str | None]:
        if "://" not in output and not os.path.lexists(output):
            with self.engine.connect() as connection:
                return missing(connection, root_of(self.settings, row.folder, output), output), None
        try:
            part = look_into(location(output), after, Budget(_VISIT, self._spend, reached.append))
        except (ConverterError, DriverError) as error:
            return Finding(Wrong.UNKNOWN, str(error)), after
        if part.wrong is not None:
            return Finding(Wrong.DAMAGED, part.wrong), part.goes_on
        made = (row.receipt or {}).get("manifest")
        if made is not None and part.manifest != made:
            return Finding(Wrong.OTHER, "it is another store than the one that was made"), None
        return Finding(), part.goes_on

    def _spend(self, count: int) -> None:
        """Wait for as long as that many bytes take, and the processor time used so far is worth; raises where told to end."""
        now = time.thread_time()
        rest = max(count / (self.settings.schedule.recheck_mb_per_second * 1e6), _SHARE * (now - self._used))
        self._used = now
        end = time.monotonic() + rest
        while (left := end - time.monotonic()) > 0:
            if self.stop.wait(min(left, _END_S)):
                raise _Ended("told to end")
            if time.monotonic() > self._kept + _KEEP_S:
                with suppress(SQLAlchemyError):
                    turns.keep(self.engine, RECHECK, self.run)
                self._kept = time.monotonic()


@contextmanager
def rechecking(engine: Engine, settings: Settings, run: str, stop: threading.Event) -> Generator[None]:
    """Look at stores on a thread meanwhile. At the end it is waited for, since it may be at a large file, unless `stop` is
    set: then it is left to itself soon, and dies with the process."""
    look = Recheck(engine, settings, run, stop)
    thread = threading.Thread(target=look, name="slidemill-recheck", daemon=True)
    thread.start()
    try:
        yield
    finally:
        look.over.set()
        while thread.is_alive():
            thread.join(_END_S)
            if stop.is_set():
                break
