"""`slidemill up`, the whole service of one machine, killed and started again: on SQLite."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from flows.engine.names import SCAN
from flows.ledger.database import connect
from flows.ledger.migrate import migrate
from flows.ledger.rows import marked
from flows.ledger.tables import State
from flows.service.turns import is_vacant
from flows.settings import load_settings
from tests.service.checks import assert_settled
from tests.service.harness import Service, environment, tail, wait_for, write_config
from tests.service.postgres import free_port
from tests.service.toy import Toy, make_toy, readers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def service(tmp_path: Path, plugins: Path) -> Iterator[Service]:
    """A service that is not started yet."""
    config = write_config(tmp_path, ("in",), {"port": free_port()})
    ledger = connect(load_settings(config).ledger_url)
    migrate(ledger)
    made = Service(tmp_path, config, environment(plugins), ledger)
    yield made
    made.close()


def start(service: Service) -> str:
    """Start it; the address that it prints."""
    log = service.folder / "up.log"
    said = log.read_text().count("interface is at") if log.exists() else 0
    service.start_up()
    wait_for("it is up", lambda: log.read_text().count("interface is at") > said, 240, lambda: tail(log))
    return log.read_text().rpartition("interface is at ")[2].split()[0]


def of_the_service(service: Service) -> list[psutil.Process]:
    """Every process that knows the settings or the state folder of the service."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            known = [*process.environ().values(), *process.cmdline()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(service.folder) in value for value in known):
            found.append(process)
    return found


def left_over(service: Service) -> str:
    """What those processes are, and the logs."""
    left: list[str] = []
    for process in of_the_service(service):
        with suppress(psutil.Error):
            left.append(f"{process.pid} of {process.ppid()}: {' '.join(process.cmdline())}")
    return "\n".join([*left, service.story()])


def test_up_itself_is_killed(service: Service) -> None:
    address, log = start(service), service.folder / "readers"
    make_toy(service.folder / "in" / "first.toy", Toy(log=str(log)))
    service.wait_until("first.toy", State.DONE)
    make_toy(service.folder / "in" / "slow.toy", Toy(columns=48, seconds=0.4, seed=2, log=str(log)))
    service.wait_running("slow.toy")
    assert service.up is not None
    os.kill(service.up.pid, signal.SIGKILL)
    service.up.wait()
    wait_for("no process outlives it", lambda: not of_the_service(service), 90, lambda: left_over(service))
    make_toy(service.folder / "in" / "while-down.toy", Toy(seed=3, log=str(log)))
    assert start(service) == address
    for name in ("slow.toy", "while-down.toy"):
        service.wait_until(name, State.DONE)
    rows = assert_settled(service)
    assert rows["first.toy"].attempt == 1
    assert [name for _, _, name in readers(log)].count("first.toy") == 1


def test_up_is_stopped_and_started_again(service: Service) -> None:
    address = start(service)
    for seed, name in enumerate(("slow.toy", "next.toy")):
        make_toy(service.folder / "in" / name, Toy(columns=48, seconds=0.4, seed=seed))
    service.wait_until("next.toy", State.SUBMITTED, State.RUNNING)
    wait_for("one is being converted", lambda: service.rows(State.RUNNING), 120, service.story)
    assert service.up is not None
    os.kill(service.up.pid, signal.SIGINT)
    wait_for("it stops", lambda: service.up is None or service.up.poll() is not None, 60, service.story)
    assert service.up.returncode == 0
    assert not of_the_service(service)
    rows = service.rows()
    given_back = {row.state for row in rows} <= {State.READY, State.SUBMITTED}
    assert given_back, f"{[(row.path, row.state, row.kind, row.reason) for row in rows]}\n{service.story()}"
    assert start(service) == address
    for name in ("slow.toy", "next.toy"):
        assert service.wait_until(name, State.DONE).failures == 0
    assert_settled(service)


def parts(up: psutil.Process) -> dict[str, psutil.Process]:
    """The lasting processes of a service by what they are; the template is what the others are forked from."""
    found: dict[str, psutil.Process] = {}
    for process in up.children(recursive=True):
        with suppress(psutil.Error):
            is_template = process.ppid() == up.pid and "flows.engine.template" in process.cmdline()
            found["template" if is_template else process.name()] = process
    return found


def test_a_password(service: Service, tmp_path: Path) -> None:
    text = service.config.read_text()
    service.config.write_text(f'password = "correct horse"\n{text}')
    address = start(service)
    make_toy(service.folder / "in" / "a.toy", Toy())
    service.wait_until("a.toy", State.DONE)
    filters = f"{address}/api/flow_runs/filter"
    assert httpx.post(filters, json={}).status_code == 401
    assert httpx.post(filters, json={}, auth=("slidemill", "wrong")).status_code == 401
    assert httpx.post(filters, json={}, auth=("slidemill", "correct horse")).status_code == 200
    assert (
        httpx.post(filters, json={}, auth=("slidemill", "correct horse"), headers={"Host": "evil.example"}).status_code == 400
    )
    foreign = {"Origin": "http://evil.example"}
    assert httpx.post(filters, json={}, auth=("slidemill", "correct horse"), headers=foreign).status_code == 403
    logs = [path.read_text() for path in (service.folder / "state" / "logs").iterdir()]
    assert not any("correct horse" in text for text in [*logs, (service.folder / "up.log").read_text()])


def test_parts_of_up_are_killed(service: Service) -> None:
    """Each part of `up` in turn: it is started again, and slides go on."""
    start(service)
    log = service.folder / "readers"
    assert service.up is not None
    up = psutil.Process(service.up.pid)
    for number, word in enumerate(("sm-server", "sm-workers", "template")):
        parts(up)[word].kill()
        make_toy(service.folder / "in" / f"{number}.toy", Toy(seed=number, log=str(log)))
        service.wait_until(f"{number}.toy", State.DONE)
        wait_for(f"{word} runs again", lambda word=word: word in parts(up), 60)
    assert_settled(service)


def scanning(service: Service) -> dict[str, str]:
    """The run of scan whose turn it is; empty where it is nobody's."""
    if is_vacant(service.ledger, SCAN, 60.0):
        return {}
    with service.ledger.connect() as connection:
        found = marked(connection, f"{SCAN}-turn")
    return found[1] if found is not None else {}


def test_a_scan_that_ends_is_missed(service: Service) -> None:
    """A run of scan lasts an hour. Where it is cancelled, or killed so hard that Prefect hears nothing, another begins."""
    address = start(service)
    first = wait_for("a scan is under way", lambda: scanning(service), 120, service.story)
    set_state = f"{address}/api/flow_runs/{first['run']}/set_state"
    httpx.post(set_state, json={"state": {"type": "CANCELLING"}}).raise_for_status()

    def another() -> dict[str, str]:
        now = scanning(service)
        return now if now.get("run") != first["run"] else {}

    second = wait_for("another one begins", another, 120, service.story)
    state = httpx.get(f"{address}/api/flow_runs/{first['run']}").json()["state_type"]
    assert state == "CANCELLED"
    os.kill(json.loads(second["process"])["pid"], signal.SIGKILL)
    make_toy(service.folder / "in" / "later.toy", Toy())
    service.wait_until("later.toy", State.DONE)
    assert scanning(service).get("run") != second["run"]
    assert_settled(service)
