"""Several workers on one queue: every slide is converted once, by whoever holds its attempt."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest

from flows.ledger.tables import State
from tests.service.checks import assert_settled
from tests.service.conftest import NewService
from tests.service.harness import wait_for
from tests.service.toy import Toy, make_toy, readers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
COUNT = 40


def _can_be_another_machine() -> bool:
    return subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode == 0


def test_two_workers_and_forty_slides(new_service: NewService, tmp_path: Path) -> None:
    service, log = new_service(), tmp_path / "readers"
    for number in range(COUNT):
        # Slow enough that the shares do not tell which of the two workers was started sooner.
        make_toy(service.folder / "in" / f"{number}.toy", Toy(seed=number, seconds=0.25, log=str(log)))
    for _ in range(2):
        service.start_worker()
    rows = assert_settled(service, *(f"{number}.toy" for number in range(COUNT)), seconds=800)
    assert [row.state for row in rows.values()] == [State.DONE] * COUNT
    read = readers(log)
    assert sorted(name for _, _, name in read) == sorted(rows), "a slide was converted twice"
    shares = Counter(worker for _, worker, _ in read)
    assert len(shares) == 2
    logging.getLogger(__name__).info("shares: %s", sorted(shares.values()))
    assert min(shares.values()) >= COUNT // 5, shares


@pytest.mark.skipif(not _can_be_another_machine(), reason="another machine is played by a namespace, which takes root")
def test_a_late_orphan(new_service: NewService, tmp_path: Path) -> None:
    """A machine that hangs beyond its lease and wakes up while the next attempt runs on another one."""
    service, log = new_service(), tmp_path / "readers"
    hung = service.start_worker(machine="hung")
    make_toy(service.folder / "in" / "slow.toy", Toy(columns=48, seconds=0.3, log=str(log)))
    _, pid = service.wait_running("slow.toy")
    for process in (pid, hung.pid):
        os.kill(process, signal.SIGSTOP)
    service.start_worker()
    service.wait_running("slow.toy", attempt=2)
    orphan = psutil.Process(pid)
    assert orphan.is_running(), "it is not of this machine: nobody here may kill it"
    for process in (pid, hung.pid):
        os.kill(process, signal.SIGCONT)
    wait_for("the orphan ends", lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 60, service.story)
    row = service.wait_until("slow.toy", State.DONE)
    assert row.failures == 1
    assert '"machine": "hung/' not in str(row.process)
    assert_settled(service)
    assert [machine == "hung" for machine, _, _ in readers(log)] == [True, False]
