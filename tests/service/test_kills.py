"""Processes that are killed while a slide is converted, and slides that kill the processes that read them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from flows.ledger.tables import State
from tests.made.svs import Svs, make_svs
from tests.service.checks import assert_settled, stages
from tests.service.conftest import NewService
from tests.service.harness import family, kill_all
from tests.service.toy import Toy, make_toy, readers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SLOW = Toy(columns=48, seconds=0.2)


def test_the_converting_process(new_service: NewService) -> None:
    service = new_service()
    service.start_worker()
    make_toy(service.folder / "in" / "slow.toy", SLOW)
    _, pid = service.wait_running("slow.toy")
    os.kill(pid, signal.SIGKILL)
    assert stages(service.out), "the kill came too late"
    service.wait_until("slow.toy", State.RUNNING, State.DONE, attempt=2)
    assert service.wait_until("slow.toy", State.DONE).failures == 1
    assert_settled(service)


def test_a_worker_with_its_child(new_service: NewService) -> None:
    service = new_service()
    worker = service.start_worker()
    make_toy(service.folder / "in" / "slow.toy", SLOW)
    service.wait_running("slow.toy")
    kill_all(family(worker))
    worker.wait()
    assert stages(service.out), "the kill came too late"
    service.start_worker()  # as systemd or a container engine does
    service.wait_until("slow.toy", State.RUNNING, State.DONE, attempt=2)
    assert service.wait_until("slow.toy", State.DONE).failures == 1
    assert_settled(service)


def test_poison(new_service: NewService, tmp_path: Path) -> None:
    """Slides that end their process when they are opened, when their pixels are read, or never come back."""
    service = new_service(limits={"attempts": 2, "hang_seconds": 8, "probe_seconds": 5})
    worker = service.start_worker()
    log, folder = tmp_path / "readers", service.folder / "in"
    make_toy(folder / "crashes.toy", Toy(end="segv", log=str(log)))
    make_toy(folder / "hangs.toy", Toy(end="hang", log=str(log)))
    make_toy(folder / "crashes-when-opened.toy", Toy(opening="segv"))
    make_toy(folder / "hangs-when-opened.toy", Toy(opening="hang"))
    make_svs(folder / "good.svs", Svs(size=(300, 300), steps=()))
    rows = assert_settled(service, *(path.name for path in folder.iterdir()), seconds=400)
    assert rows.pop("good.svs").state == State.DONE, "the queue does not move on"
    assert {row.state for row in rows.values()} == {State.QUARANTINED}
    assert [str(rows[name].kind) for name in ("crashes.toy", "hangs.toy")] == ["crashed", "hung"]
    assert "ended" in str(rows["crashes-when-opened.toy"].reason)
    assert "did not come back" in str(rows["hangs-when-opened.toy"].reason)
    assert sorted(name for _, _, name in readers(log)) == ["crashes.toy"] * 2 + ["hangs.toy"] * 2
    assert worker.poll() is None
    assert {entry["kind"] for entry in service.run("quarantine", "list")["quarantined"]} == {"crashed", "hung"}
