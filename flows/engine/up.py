"""`slidemill up`: everything on one machine. A Prefect server, workers, schedules; ends in order, goes on where it was."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from converter.errors import Refused
from flows.engine import prefect_database
from flows.engine.children import Child, python, with_environment
from flows.engine.databases import DatabaseWatch
from flows.engine.forked import SOCKET as TEMPLATE_SOCKET
from flows.engine.forked import Entry, is_listening, sockets
from flows.engine.guard import Guard
from flows.engine.logs import keep_small
from flows.engine.names import (
    CONTROL_LIMIT,
    CONTROL_POOL,
    EVERYWHERE,
    ONE_MACHINE,
    RECONCILE,
    SCAN,
    SERVER_ONLY,
    SLIDE_POOL,
)
from flows.engine.private import keep_private
from flows.engine.server import (
    ServerEnded,
    access,
    api_url,
    choose_port,
    is_anybody_there,
    listens,
    server_environment,
    wait_until_ready,
)
from flows.ledger.database import LedgerUnavailable, clock, connect, writing
from flows.ledger.faults import require_usable, told
from flows.ledger.migrate import migrate
from flows.ledger.rows import counts, mark, slides_in
from flows.ledger.tables import State
from flows.outcome import INTERRUPTED
from flows.reports.ending import OPEN, Ending
from flows.reports.news import News
from flows.reports.status import ENDED
from flows.service import turns
from flows.service.dispatch import EngineUnavailable
from flows.service.process import pid_here
from flows.settings import CONFIG_VARIABLE, Settings

_LOOK_S = 0.5
_DRAIN_S = 45.0
_STOPPING = "stopping"
_TRIES_S = 5.0
_NEWS_S = 2.0
_LOGS_S = 10.0
_LOCK_TRIES = 5
_BUSY_S = 10.0
"""This process waits so long for a ledger that is locked: it has others to look after."""
_PORTS = 5
_IMPORTS_S = 180.0
_WORDS = (
    "every slide that is there has come to its end",
    "not every slide could be converted, or not every folder be listed: `slidemill status` tells which",
)
"""What is said when a batch has ended, by its code."""
_LASTING = {"SLIDEMILL_SCHEDULE__SCAN_RUN_SECONDS": "3600"}
"""One run of scan an hour: the workers of `up` see to it that a killed one is followed by another."""

log = logging.getLogger("slidemill.up")

Say = Callable[[str], None]


@dataclass(slots=True)
class Service:
    """The running service. `stop` may be set from a signal handler."""

    settings: Settings
    config: Path | None
    say: Say
    begin: Callable[[], None] = lambda: None
    """Called once nobody else can be running with the state folder."""
    tells: bool = False
    """Whether each slide that ended is named: to a person who looks on, not in a log that is kept."""
    until_empty: bool = False
    """Whether to end once all slides have come to their end."""
    stop: threading.Event = field(default_factory=threading.Event)
    children: list[Child] = field(default_factory=list[Child])
    template: Child | None = None
    server: Child | None = None
    guard: Guard = field(default_factory=Guard)
    api: str = ""
    port: int = 0

    def run(self) -> int:
        """Start everything, look after it until `stop` (or until all is done), end it in order. Returns an exit code.

        Raises Refused where the service runs already with this state folder, EngineUnavailable, LedgerUnavailable.
        """
        with only_one(self.settings.state):
            self.begin()
            keep_private(self.settings)
            url = self.settings.ledger_url
            engine = connect(url, _BUSY_S)
            try:
                with told(url):
                    migrate(engine)
                    require_usable(engine)
                    if self.settings.prefect_api is None:
                        prefect_database.require_usable(self.settings.state)
                    return self._run(engine)
            finally:
                engine.dispose()

    def _run(self, engine: Engine) -> int:
        metrics = self._metrics(engine)
        watch = self._watch(engine)
        try:
            self._start()
            watch.start()
            news, due, small = News(engine), 0.0, 0.0
            ending = Ending(engine) if self.until_empty else None
            while not self.stop.wait(_LOOK_S):
                self.guard.look_after()
                now = time.monotonic()
                if self.tells and now > due:
                    due = now + _NEWS_S
                    self._tell(news)
                if now > small:
                    small = now + _LOGS_S
                    keep_small(child.log for child in self._all())
                if ending is not None and (code := ending.code()) is not None:
                    self.say(_WORDS[code])
                    return code
                self._require_ours()
                watch.require_whole()
                for child in self._all():
                    child.look_after()
        except EngineUnavailable:
            if not self.stop.is_set():  # else what was starting was told to end
                raise
        finally:
            watch.stop()
            self._end(engine)
            self.guard.dismiss()
            metrics()
        return INTERRUPTED if self.until_empty else 0

    def _watch(self, engine: Engine) -> DatabaseWatch:
        own = self.settings.state if self.settings.prefect_api is None else None
        every = self.settings.schedule.scan_seconds
        return DatabaseWatch(engine, self.settings.ledger_url, own, self.say, every)

    def _tell(self, news: News) -> None:
        try:
            for line in news.lines():
                self.say(line)
        except SQLAlchemyError as error:
            log.debug("the ledger cannot be asked: %s", type(error).__name__)

    def _metrics(self, engine: Engine) -> Callable[[], None]:
        port = self.settings.metrics_port
        if port is None:
            return lambda: None
        from flows.reports.metrics import serve_metrics

        try:
            return serve_metrics(engine, port, folders=[folder.name for folder in self.settings.folders])
        except OSError as error:
            raise Refused(f"metrics_port {port}: {error.strerror or error}; choose another") from error

    def _all(self) -> list[Child]:
        return [child for child in (self.template, self.server, *self.children) if child is not None]

    def _start(self) -> None:
        self.guard.look_after()
        os.environ.update(self.guard.environment)
        environment = self._start_server()
        self._patiently(lambda: self._deploy(environment))
        self._start_workers(environment)
        self._announce()

    def _deploy(self, environment: Mapping[str, str]) -> None:
        child = self._child("the deployment", Entry.DEPLOY, environment)
        child.start()
        while child.alive and not self.stop.wait(0.05):
            pass
        if child.code:
            raise EngineUnavailable(f"the Prefect API does not answer (see {child.log})")

    def _announce(self) -> None:
        for folder in self.settings.folders:
            when = "when its marker is there" if folder.marker else f"{folder.quiet_seconds:g} s after its copy has ended"
            self.say(f"watching {folder.path}: a slide is taken {when}; stores go to {folder.output}")
        address = self.api.removesuffix("/api")
        self.say(f"Prefect's interface is at {address} ; `slidemill status` tells of slides; Ctrl-C stops")

    def _start_server(self) -> dict[str, str]:
        """Start what everything else asks. Returns the environment of everything else."""
        state = self.settings.state
        if self.settings.prefect_api is not None:
            self.api = self.settings.prefect_api
            environment = self._environment({"PREFECT_API_URL": self.api})
            wait_until_ready(self.api, lambda: not self.stop.is_set())
            self._start_template(environment)
            return environment
        taken = set[int]()
        while True:
            port = choose_port(state, self.settings.port, fixed=self.settings.names_port, taken=taken)
            try:
                return self._start_server_at(port)
            except EngineUnavailable as error:
                # Between looking for a free port and using it, another program may take it.
                is_taken = isinstance(error, ServerEnded) and is_anybody_there(port)
                if self.stop.is_set() or not is_taken or len(taken) == _PORTS:
                    prefect_database.require_usable(state, whole=True)  # what it says is of more use
                    raise
                taken.add(port)
                self.say(f"port {port} was taken by another program just now")

    def _start_server_at(self, port: int) -> dict[str, str]:
        self.api, self.port = api_url(port), port
        password = self.settings.password
        guarded = {} if password is None else access(password.get_secret_value())
        environment = self._environment(SERVER_ONLY | server_environment(self.settings.state, port) | guarded)
        self.say("starting the Prefect server (the first start takes up to a minute)")
        self._start_template(environment)
        server = self._child("the Prefect server", Entry.SERVER, environment, [str(port)])
        self.server = server
        server.start()
        wait_until_ready(self.api, lambda: server.alive and not self.stop.is_set(), self._is_ours)
        return environment

    def _environment(self, reached: Mapping[str, str]) -> dict[str, str]:
        config = {} if self.config is None else {CONFIG_VARIABLE: str(self.config.absolute())}
        lasting = {} if "scan_run_seconds" in self.settings.schedule.model_fields_set else _LASTING
        return with_environment(EVERYWHERE, ONE_MACHINE, reached, config, lasting, sockets(self.settings.state))

    def _start_template(self, environment: Mapping[str, str]) -> None:
        """The process that all others are forked from."""
        if self.template is not None:
            self.template.stop(signal.SIGTERM, 10.0)
        command = python("-m", "flows.engine.template", environment[TEMPLATE_SOCKET])
        template = self._child("the template of all processes", command, environment)
        self.template = template
        template.start()
        end = time.monotonic() + _IMPORTS_S
        while not is_listening(environment[TEMPLATE_SOCKET]):
            if not template.alive or self.stop.wait(0.05) or time.monotonic() > end:
                raise EngineUnavailable(f"Prefect cannot be imported (see {template.log})")

    def _child(
        self, name: str, command: Sequence[str] | Entry, environment: Mapping[str, str], more: Sequence[str] = ()
    ) -> Child:
        word = command.value if isinstance(command, Entry) else "template"
        return Child(name, command, environment, self.settings.state / "logs" / f"{word}.log", self.say, more)

    def _is_ours(self) -> bool:
        """Whether what answers at the port is the server that this service started."""
        return self.server is not None and self.server.pid is not None and listens(self.server.pid, self.port)

    def _require_ours(self) -> None:
        """Raises EngineUnavailable where the server went away and another program has its port: workers would ask that."""
        server = self.server
        if server is not None and not server.alive and is_anybody_there(self.port) and not self._is_ours():
            raise EngineUnavailable(f"port {self.port}, that of the Prefect server, is used by another program; start anew")

    def _start_workers(self, environment: Mapping[str, str]) -> None:
        limits = {SLIDE_POOL: self.settings.limits.slides_at_once, CONTROL_POOL: CONTROL_LIMIT}
        pools = [f"{pool}={limit}" for pool, limit in limits.items()]
        child = self._child("the workers", Entry.WORKERS, environment, pools)
        child.start()
        self.children.append(child)

    def _patiently(self, work: Callable[[], None]) -> None:
        """A server that just came up may still refuse a call or two."""
        end = time.monotonic() + 60.0
        while True:
            try:
                work()
                return
            except EngineUnavailable:
                if time.monotonic() > end or self.stop.wait(_TRIES_S):
                    raise

    def _end(self, engine: Engine) -> None:
        """Those who hand out work, then slides, each of which gives its row back, then the server they report to."""
        self.say("stopping")
        self._hold_turns(engine)
        for child in self.children:
            child.pause()  # what was handed out is not begun; slides are processes of their own
        self._drain(engine)
        for child in self.children:
            child.stop(signal.SIGINT, 10.0)
        for child in (self.server, self.template):
            if child is not None:
                child.stop(signal.SIGINT, 10.0)
        self._hold_turns(engine, leave=True)
        self.say(f"stopped{self._left(engine)}")

    def _left(self, engine: Engine) -> str:
        """What is said of slides that have not come to their end; the ledger knows from here on that nobody looks."""
        try:
            with writing(engine) as connection:
                mark(connection, ENDED, clock(connection))
                left = sum(counts(connection).get(state, 0) for state in OPEN)
        except SQLAlchemyError:
            return "; what was under way begins again with the next start"
        return f"; {left} {'slide' if left == 1 else 'slides'} not done yet: the next start goes on with them" if left else ""

    def _hold_turns(self, engine: Engine, *, leave: bool = False) -> None:
        """Nobody looks any more while all ends: a look would take slides whose processes are just being ended for lost."""
        with suppress(SQLAlchemyError):  # the first that fails is the last: each waits for a ledger that is locked
            for job in (SCAN, RECONCILE):
                (turns.leave if leave else turns.take)(engine, job, _STOPPING)

    def _drain(self, engine: Engine) -> None:
        signalled: set[int] = set()
        end = time.monotonic() + _DRAIN_S
        while time.monotonic() < end:
            try:
                with engine.connect() as connection:
                    found = [pid_here(row.process) for row in slides_in(connection, (State.RUNNING, State.PUBLISHED))]
            except SQLAlchemyError:
                return  # nobody can tell which they are: they end with their workers
            pids = {pid for pid in found if pid is not None}
            if not pids:
                return
            for pid in pids - signalled:
                with suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
            signalled |= pids
            time.sleep(0.2)


@contextmanager
def only_one(state: Path) -> Generator[None]:
    """Hold the lock of the state folder; the system lets go of it however this process ends."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = (state / "up.lock").open("w")
    except OSError as error:
        raise LedgerUnavailable(f"state {state}: cannot be written: {error.strerror or error}") from error
    with opened as file:
        for more in range(_LOCK_TRIES, 0, -1):  # `status` holds it for a moment, when it asks whether somebody does
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if more == 1:
                    said = "slidemill runs already with this state folder; give one command all folders, or another --state"
                    raise Refused(f"{state}: {said}") from error
                time.sleep(0.05)
        yield
