"""Two clocks that a test sets: the database's, which may jump, and the machine's monotonic one, which may not."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from sqlalchemy import Engine, event

_JULIAN_DAY_OF_1970 = 2440587.5


@dataclass
class Clocks:
    """`ledger` in seconds since the epoch, `machine` in seconds since some moment."""

    ledger: float
    machine: float = 1000.0

    def passes(self, seconds: float) -> None:
        """Time goes by."""
        self.ledger += seconds
        self.machine += seconds

    def jumps(self, seconds: float) -> None:
        """Somebody sets the database's clock."""
        self.ledger += seconds


def rule(engine: Engine) -> Clocks:
    """Let SQLite itself tell the time of these clocks, on every connection from now on."""
    clocks = Clocks(time.time())

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function("julianday", 1, lambda _now: clocks.ledger / 86400.0 + _JULIAN_DAY_OF_1970)

    engine.dispose()
    event.listen(engine, "connect", prepare)
    return clocks
