"""Decisions of a pass, written together: a transaction for many, a short one, so that nobody waits long for the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from flows.ledger.database import alone

_MOST = 32
_LONGEST_S = 0.5

Write = Callable[[Connection], None]
"""Looks whether somebody else has decided, and if not writes a decision down. It may be called again where the ledger was
away, and not at all where the process ends: then the next pass decides anew."""


@dataclass(slots=True)
class Batch:
    """What has been decided and is not written down yet. Whoever fills it flushes it."""

    engine: Engine
    _writes: list[Write] = field(default_factory=list[Write], init=False)
    _since: float = field(default=0.0, init=False)

    def add(self, write: Write) -> None:
        """Take a decision; write all of them down where they are many or the first of them waits for long."""
        if not self._writes:
            self._since = time.monotonic()
        self._writes.append(write)
        if len(self._writes) >= _MOST or time.monotonic() - self._since >= _LONGEST_S:
            self.flush()

    def flush(self) -> None:
        """Write down what there is, in the order in which it was decided."""
        if not self._writes:
            return
        with alone(self.engine) as connection:
            for write in self._writes:
                write(connection)
        self._writes.clear()
