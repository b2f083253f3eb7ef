"""Parts of the service for tests: a ledger, settings, and an engine that only remembers what it was asked."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, event, select

from flows.ledger.attempts import Ticket
from flows.ledger.database import connect
from flows.ledger.migrate import migrate
from flows.ledger.rows import SlideRow, as_slide
from flows.ledger.tables import State, slides
from flows.service.dispatch import EngineUnavailable, Run, RunState
from flows.service.feed import feed
from flows.settings import Settings, load_settings
from flows.watching.probe import Prober, ReaderCrashed
from flows.watching.scan import Found, scan


@dataclass
class RememberingDispatcher:
    """Runs by their idempotency key; `states` says what became of them."""

    keys: dict[str, str] = field(default_factory=dict)
    queues: list[tuple[str, str]] = field(default_factory=list)
    states: dict[str, Run] = field(default_factory=dict)
    ended: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False
    gone: set[str] = field(default_factory=set)
    """Runs that do not exist any more."""

    def submit(self, slide: str, attempt: int, queue: str) -> str:
        if self.away:
            raise EngineUnavailable("away")
        self.queues.append((queue, slide))
        return self.keys.setdefault(f"{slide}:{attempt}", f"run-{slide}-{attempt}")

    def runs(self, ids: Sequence[str]) -> Mapping[str, Run]:
        if self.away:
            raise EngineUnavailable("away")
        return {run: self.states.get(run, Run(RunState.QUEUED, 0.0)) for run in ids if run not in self.gone}

    def end(self, run: str, reason: str) -> None:
        self.ended.append((run, reason))


@dataclass
class Bench:
    """A folder `in`, a folder `out`, a ledger on SQLite, and the passes of the service called by hand."""

    place: Path
    settings: Settings
    engine: Engine
    prober: Prober
    dispatcher: RememberingDispatcher = field(default_factory=RememberingDispatcher)

    @property
    def folder(self) -> Path:
        return self.place / "in"

    def scan(self, times: int = 1) -> Found:
        found = Found()
        for _ in range(times):
            found = scan(self.engine, self.settings, self.prober)
        return found

    def feed(self) -> int:
        return feed(self.engine, self.settings, self.dispatcher)

    def rows(self) -> list[SlideRow]:
        with self.engine.connect() as connection:
            return [as_slide(row) for row in connection.execute(select(slides).order_by(slides.c.path, slides.c.generation))]

    def states(self) -> dict[str, str]:
        return {f"{row.path}#{row.generation}" if row.generation else row.path: str(row.state) for row in self.rows()}

    def row(self, path: str) -> SlideRow:
        return [row for row in self.rows() if row.path == path][-1]

    def change(self, slide: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(slides.update().where(slides.c.id == slide).values(**values))

    def close(self) -> None:
        self.engine.dispose()


@cache
def _empty_ledger() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        engine = connect(f"sqlite:///{path}")
        migrate(engine)
        engine.dispose()
        return path.read_bytes()


def new_ledger(url: str) -> Engine:
    """An engine with an empty ledger. Migrating takes long, as does waiting for a disk that nobody is going to unplug."""
    if not url.startswith("sqlite:///"):
        engine = connect(url)
        migrate(engine)
        return engine
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_empty_ledger())
    engine = connect(url)
    event.listen(engine, "connect", _unsynced)
    return engine


def _unsynced(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF").close()


def shared_prober(seconds: float) -> Prober:
    """The one reader of this test process: starting one costs a third of a second, which is what many tests take."""
    _PROBER.seconds = 60.0
    with suppress(ReaderCrashed):  # one of a test before was ended with its thread; the next question starts another
        _PROBER.ask(Path("/"), Path("/no such slide"))  # from this thread, since it ends with the one that started it
    _PROBER.seconds = seconds
    return _PROBER


_PROBER = Prober(60.0)
atexit.register(_PROBER.close)


def bench(place: Path, *, folder: str = "", rest: str = "") -> Bench:
    """A bench whose folder has these settings beside its own; nothing needs to stay quiet."""
    (place / "in").mkdir(exist_ok=True)
    text = f"""
state = "{place}/state"
{rest}
[[folders]]
name = "in"
path = "{place}/in"
output = "{place}/out"
{"" if "quiet_seconds" in folder or "marker" in folder else "quiet_seconds = 0"}
{folder}
"""
    (place / "slidemill.toml").write_text(text)
    settings = load_settings(place / "slidemill.toml")
    engine = new_ledger(settings.ledger_url)
    return Bench(place, settings, engine, shared_prober(settings.limits.probe_seconds))


def submitted(here: Bench, source: Path, name: str = "a.svs") -> Ticket:
    """A slide that was found and handed out."""
    shutil.copy(source, here.folder / name)
    here.scan(2)
    here.feed()
    row = here.row(name)
    assert row.state == State.SUBMITTED
    return Ticket(row.id, row.attempt)


def touch(path: Path, seconds: float = 5.0) -> None:
    """Make a file look as if it had been written later."""
    now = time.time() + seconds
    os.utime(path, (now, now))
