"""Whether ledger and Prefect's database can be used, looked at while `up` runs: told when one fails, and when it works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from converter.errors import ConverterError
from flows.engine.prefect_database import EngineBroken, require_usable
from flows.ledger.database import LedgerBroken, LedgerUnavailable, clock
from flows.ledger.faults import told, try_writing
from flows.ledger.migrate import require_current
from flows.ledger.rows import marked
from flows.service.dispatch import EngineUnavailable

_EVERY_S = 10.0
_OVERDUE_S = 45.0
"""Looks at the folders write; only where they seem to have stopped, this writes to find out why."""
_LEDGER, _PREFECT = "the ledger", "Prefect's database"
_UNTIL = {_LEDGER: "until then nothing is found, begun or published", _PREFECT: "until then no slide begins"}


@dataclass(slots=True)
class DatabaseWatch:
    """A thread of its own asks: a database that somebody has locked answers late."""

    engine: Engine
    url: str
    own_server: Path | None
    """The state folder, where the service has its own Prefect server."""
    say: Callable[[str], None]
    scan_seconds: float
    broken: ConverterError | None = field(default=None, init=False)
    """What waiting does not help against, once it is known."""
    _said: dict[str, str] = field(default_factory=dict[str, str], init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def start(self) -> None:
        """Begin to look, until `stop`."""
        threading.Thread(target=self._run, name="slidemill-databases", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def require_whole(self) -> None:
        """Raises LedgerBroken, EngineBroken where one of them is."""
        if self.broken is not None:
            raise self.broken

    def look(self) -> None:
        """Look once, and say what is new."""
        self._one(_LEDGER, self._use_ledger)
        if self.own_server is not None:
            state = self.own_server
            self._one(_PREFECT, lambda: require_usable(state))

    def _one(self, name: str, use: Callable[[], None]) -> None:
        try:
            use()
        except (LedgerBroken, EngineBroken) as error:
            self.broken = error
        except (LedgerUnavailable, EngineUnavailable) as error:
            if str(error) != self._said.get(name):
                self._said[name] = str(error)
                self.say(f"{error}; {_UNTIL[name]}")
        else:
            if self._said.pop(name, ""):
                self.say(f"{name} works again")

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - what nobody foresaw must not end the watch
                self.say(f"the databases cannot be looked at: {type(error).__name__}")

    def _use_ledger(self) -> None:
        with told(self.url):
            require_current(self.engine)
            with self.engine.connect() as connection:
                found, now = marked(connection, "scan"), clock(connection)
            overdue = found is None or abs(now - found[0]) > self.scan_seconds + _OVERDUE_S
            if overdue or _LEDGER in self._said:
                try_writing(self.engine)
