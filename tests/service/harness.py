"""An installation of the service as an operator has it: Prefect's server and the ledger on PostgreSQL, workers as processes.

`Installation` is made once a session, `Service` for each test: its own ledger, folders and workers on the same server.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine

from flows.engine.names import CONTROL_POOL, DEPLOYMENT, EVERYWHERE, RECONCILE, SCAN, SERVER_ONLY, SLIDE_POOL
from flows.ledger.database import connect
from flows.ledger.rows import SlideRow, slides_in
from flows.ledger.tables import State
from tests.service.postgres import Postgres, free_port

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"chunk": 128, "shard": 256, "codec": "none"}
"""Small jobs, so that progress moves and a fault finds something to interrupt."""
LIMITS: dict[str, Any] = {
    "slides_at_once": 1,
    "threads_per_slide": 1,
    "attempts": 3,
    "heartbeat_seconds": 1,
    "lease_seconds": 10,
    "hang_seconds": 600,
    "pending_seconds": 90,
    "retry_seconds": 2,
}
SCHEDULE = {"scan_seconds": 1, "scan_run_seconds": 60, "reconcile_seconds": 10}
_READY_S = 240.0


def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own that hears SIGINT."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_prepare,  # noqa: PLW1509
        )


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the tests, however those end


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and everything it started."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """kill -9, parents first."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def wait_for[T](what: str, look: Callable[[], T], seconds: float, story: Callable[[], str] = lambda: "") -> T:
    """What `look` returns once it is true. Fails after `seconds`, with the story."""
    start = time.monotonic()
    while not (found := look()):
        assert time.monotonic() < start + seconds, f"{what}: not within {seconds:g} s\n{story()}"
        time.sleep(0.1)
    log.info("%s: %.1f s", what, time.monotonic() - start)  # figures of docs/RELIABILITY.md: pytest --log-cli-level=INFO
    return found


def tail(path: Path, lines: int = 40) -> str:
    """The end of a log."""
    text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else ["(no log)"]
    return "\n".join([f"--- {path.name}", *text])


def environment(plugins: Path) -> dict[str, str]:
    """Of every process: nothing of the person who runs the tests gets in, toy slides can be read."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SLIDEMILL_", "PG"))}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | {"PYTHONPATH": os.pathsep.join([str(plugins), str(ROOT)]), "NO_COLOR": "1"}


@dataclass(slots=True)
class Installation:
    """PostgreSQL and a Prefect server on it."""

    postgres: Postgres
    folder: Path
    plugins: Path
    port: int = field(default_factory=free_port)
    _server: subprocess.Popen[bytes] | None = None
    _services: int = 0

    @property
    def api(self) -> str:
        """Address of the Prefect API."""
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self) -> dict[str, str]:
        """Of every process."""
        reached = {"PREFECT_API_URL": self.api, "PREFECT_HOME": str(self.folder / "prefect")}
        return environment(self.plugins) | EVERYWHERE | reached

    def start_server(self, *, wait: bool = True) -> None:
        """Start the Prefect server."""
        database = {"PREFECT_API_DATABASE_CONNECTION_URL": self.postgres.url("asyncpg", "prefect")}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._server = started(command, self.environment() | SERVER_ONLY | database, self.folder / "server.log")
        if wait:
            wait_for("the Prefect server is ready", self.is_ready, _READY_S, lambda: tail(self.folder / "server.log"))

    def is_ready(self) -> bool:
        """Whether server and database answer."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.api}/ready", timeout=5).is_success
        return False

    def kill_server(self) -> None:
        """kill -9."""
        assert self._server is not None
        kill_all(family(self._server))
        self._server.wait()

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self.kill_server()

    def service(self, folder: Path, folders: Sequence[str] = ("in",), **settings: Any) -> Service:
        """A service of this installation with watched folders of these names."""
        self._services += 1
        name = f"ledger_{self._services}"
        self.postgres.create_database(name)
        ledger = self.postgres.url("psycopg", name)
        more = {"ledger": ledger, "prefect_api": self.api} | settings.pop("top", {})
        config = write_config(folder, folders, more, **settings)
        made = Service(folder, config, self.environment() | {"SLIDEMILL_CONFIG": str(config)}, connect(ledger))
        self._clear()
        made.run("config", "migrate")
        made.run("config", "deploy")
        return made

    def _clear(self) -> None:
        """Cancel what earlier services left in the queues."""
        scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}}
        for run in httpx.post(f"{self.api}/flow_runs/filter", json=scheduled, timeout=60).raise_for_status().json():
            httpx.post(f"{self.api}/flow_runs/{run['id']}/set_state", json={"state": {"type": "CANCELLED"}, "force": True})

    def start_flows(self) -> None:
        """A scan and a reconciliation at once, as `slidemill up` asks for: schedules begin with the next full interval."""
        for flow in (SCAN, RECONCILE):
            self.schedule(flow, datetime.now(UTC))

    def schedule(self, flow: str, due: datetime) -> str:
        """The id of a new run of a flow."""
        deployment = httpx.get(f"{self.api}/deployments/name/{flow}/{DEPLOYMENT}", timeout=30).raise_for_status().json()
        url = f"{self.api}/deployments/{deployment['id']}/create_flow_run"
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        return str(httpx.post(url, json={"state": state}, timeout=30).raise_for_status().json()["id"])

    def state_of(self, run: str) -> str:
        """What Prefect says of a run."""
        return str(httpx.get(f"{self.api}/flow_runs/{run}", timeout=30).raise_for_status().json()["state_type"])


def write_config(folder: Path, folders: Sequence[str], more: Mapping[str, Any], **settings: Any) -> Path:
    """Settings with short times; `settings` holds changes to limits, schedule and to every folder (`each`)."""
    each: Mapping[str, Any] = {"quiet_seconds": 2, "options": OPTIONS} | settings.get("each", {})
    tables = {"limits": LIMITS | settings.get("limits", {}), "schedule": SCHEDULE | settings.get("schedule", {})}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"state": str(folder / "state"), **more}.items()]
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    for name in folders:
        (folder / name).mkdir()
        own = {"name": name, "path": str(folder / name), "output": str(folder / "out" / name)} | each
        lines += ["[[folders]]", *(f"{key} = {_toml(value)}" for key, value in own.items())]
    path = folder / "service.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


@dataclass(slots=True)
class Service:
    """A service under test; close it. Its ledger is read here with the product's own code."""

    folder: Path
    config: Path
    environment: dict[str, str]
    ledger: Engine
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    up: subprocess.Popen[bytes] | None = None

    @property
    def out(self) -> Path:
        """Folder of the outputs: below it one a watched folder."""
        return self.folder / "out"

    def run(self, *arguments: str) -> dict[str, Any]:
        """A command of the program; its JSON."""
        command = [sys.executable, "-m", "flows.cli", *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def start_control(self) -> subprocess.Popen[bytes]:
        """A worker that scans and reconciles."""
        return self._worker(CONTROL_POOL, 4)

    def start_worker(self, machine: str | None = None) -> subprocess.Popen[bytes]:
        """A worker that converts one slide at a time; `machine`: on another machine, as far as it can tell."""
        return self._worker(SLIDE_POOL, 1, machine)

    def _worker(self, pool: str, limit: int, machine: str | None = None) -> subprocess.Popen[bytes]:
        words = ["-m", "prefect", "worker", "start", "--type", "process", "--pool", pool, "--limit", str(limit)]
        command = [sys.executable, *words]
        if machine is not None:
            command = ["unshare", "--uts", "sh", "-c", f'hostname {machine} && exec "$0" "$@"', *command]
        worker = started(command, self.environment, self.folder / f"{pool}-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def start_up(self) -> subprocess.Popen[bytes]:
        """`slidemill up`."""
        command = [sys.executable, "-m", "flows.cli", "up", "--config", str(self.config)]
        self.up = started(command, self.environment, self.folder / "up.log")
        return self.up

    def rows(self, *states: State) -> list[SlideRow]:
        """Slides of the ledger, of all states where none is named."""
        with self.ledger.connect() as connection:
            return slides_in(connection, states or list(State))

    def row(self, name: str) -> SlideRow | None:
        """The newest row of a file name."""
        found = [row for row in self.rows() if Path(row.path).name == name]
        return max(found, key=lambda row: (row.generation, row.seen), default=None)

    def wait_until(self, name: str, *states: State, seconds: float = 180, attempt: int = 0) -> SlideRow:
        """The row of a slide once it is in one of the states, at that attempt or a later one."""

        def look() -> SlideRow | None:
            row = self.row(name)
            return row if row is not None and row.state in states and row.attempt >= attempt else None

        found = wait_for(f"{name} is {'/'.join(states)}", look, seconds, self.story)
        assert found is not None
        return found

    def wait_running(self, name: str, *, attempt: int = 1, progress: float = 0.05) -> tuple[SlideRow, int]:
        """The row of a slide that is being converted, pixels already on their way, and its process id."""

        def look() -> SlideRow | None:
            row = self.row(name)
            running = row is not None and row.state == State.RUNNING and row.attempt >= attempt
            return row if running and row is not None and (row.progress or 0) >= progress else None

        row = wait_for(f"{name} runs", look, 180, self.story)
        assert row is not None
        return row, int(json.loads(row.process or "")["pid"])

    def story(self) -> str:
        """What is in the ledger and in the logs, for a test that fails."""
        lines = [
            f"{row.path}: {row.state} attempt {row.attempt} failures {row.failures} {row.kind} {row.reason} "
            f"run {row.flow_run} process {row.process} progress {row.progress}"
            for row in self.rows()
        ]
        logs = [*sorted(self.folder.glob("*.log")), *sorted((self.folder / "state" / "logs").glob("*.log"))]
        return "\n".join([*lines, *(tail(log) for log in logs)])

    def close(self) -> None:
        """End everything that was started."""
        for process in [*self.workers, *([self.up] if self.up else [])]:
            kill_all(family(process))
            process.wait()
        for row in self.rows():  # what a kill of the worker alone left
            with suppress(OSError, ValueError, TypeError):
                pid = int(json.loads(row.process or "")["pid"])
                if str(self.config) in Path(f"/proc/{pid}/environ").read_text():
                    os.kill(pid, signal.SIGKILL)
        self.ledger.dispose()
