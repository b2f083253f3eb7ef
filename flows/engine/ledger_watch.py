"""Whether the ledger can be used, looked at while `up` runs: said once when it fails and once when it works again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from flows.ledger.database import LedgerBroken, LedgerUnavailable, clock
from flows.ledger.faults import told, try_writing
from flows.ledger.migrate import require_current
from flows.ledger.rows import marked

_EVERY_S = 10.0
_OVERDUE_S = 45.0
"""Looks at the folders write; only where they seem to have stopped, this writes to find out why."""


@dataclass(slots=True)
class LedgerWatch:
    """A thread of its own asks: a ledger that somebody has locked answers late."""

    engine: Engine
    url: str
    say: Callable[[str], None]
    scan_seconds: float
    broken: LedgerBroken | None = field(default=None, init=False)
    """What waiting does not help against, once it is known."""
    _said: str = field(default="", init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def start(self) -> None:
        """Begin to look, until `stop`."""
        threading.Thread(target=self._run, name="slidemill-ledger", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def require_whole(self) -> None:
        """Raises LedgerBroken where the ledger is."""
        if self.broken is not None:
            raise self.broken

    def look(self) -> None:
        """Look once, and say what is new."""
        try:
            with told(self.url):
                self._use()
        except LedgerBroken as error:
            self.broken = error
        except LedgerUnavailable as error:
            if str(error) != self._said:
                self._said = str(error)
                self.say(f"{error}; until then nothing is found, begun or published")
        else:
            if self._said:
                self.say("the ledger works again")
            self._said = ""

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - what nobody foresaw must not end the watch
                self.say(f"the ledger cannot be looked at: {type(error).__name__}")

    def _use(self) -> None:
        require_current(self.engine)
        with self.engine.connect() as connection:
            found, now = marked(connection, "scan"), clock(connection)
        if self._said or found is None or abs(now - found[0]) > self.scan_seconds + _OVERDUE_S:
            try_writing(self.engine)
