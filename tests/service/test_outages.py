"""Servers and disks that go away while slides are converted, and come back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.engine.names import RECONCILE, SCAN
from flows.ledger.tables import State
from tests.service.checks import assert_settled
from tests.service.conftest import NewService
from tests.service.harness import Installation, wait_for
from tests.service.toy import Toy, make_toy, readers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_prefect_server_is_gone_for_a_minute(new_service: NewService, installation: Installation) -> None:
    service = new_service()
    service.start_worker()
    log = service.folder / "readers"
    make_toy(service.folder / "in" / "slow.toy", Toy(columns=48, seconds=0.35, log=str(log)))
    service.wait_running("slow.toy")
    installation.kill_server()
    gone = time.monotonic()
    make_toy(service.folder / "in" / "later.toy", Toy(seed=2, log=str(log)))
    row = service.wait_until("slow.toy", State.DONE, seconds=55)  # the ledger needs no Prefect
    assert row.attempt == 1
    time.sleep(60 - (time.monotonic() - gone))
    installation.start_server()
    service.wait_until("later.toy", State.DONE)
    rows = assert_settled(service)
    assert all(row.failures == 0 for row in rows.values())
    assert sorted(name for _, _, name in readers(log)) == ["later.toy", "slow.toy"]


def test_the_database_is_gone_for_half_a_minute(new_service: NewService, installation: Installation) -> None:
    service = new_service()
    service.start_worker()
    log = service.folder / "readers"
    make_toy(service.folder / "in" / "slow.toy", Toy(columns=48, seconds=0.35, log=str(log)))
    service.wait_running("slow.toy")
    installation.postgres.stop()
    gone = time.monotonic()
    make_toy(service.folder / "in" / "later.toy", Toy(seed=2, log=str(log)))
    time.sleep(30 - (time.monotonic() - gone))
    installation.postgres.start()
    row = service.wait_until("slow.toy", State.DONE)
    assert (row.attempt, row.failures) == (1, 0), "hours of work are not thrown away for a database that restarts"
    service.wait_until("later.toy", State.DONE)
    rows = assert_settled(service)
    assert all(row.failures == 0 for row in rows.values())
    assert sorted(name for _, _, name in readers(log)) == ["later.toy", "slow.toy"]


def test_workers_were_gone_while_the_server_scheduled(new_service: NewService, installation: Installation) -> None:
    service, now = new_service(running=False), datetime.now(UTC)
    missed = [installation.schedule(flow, now - timedelta(minutes=n)) for n in range(5, 45) for flow in (SCAN, RECONCILE)]
    make_toy(service.folder / "in" / "first.toy", Toy())
    service.start_control()
    service.start_worker()
    service.wait_until("first.toy", State.DONE)
    wait_for("none is left", lambda: "SCHEDULED" not in {installation.state_of(run) for run in missed}, 60, service.story)
    states = [installation.state_of(run) for run in missed]
    assert states.count("CANCELLED") >= len(missed) * 3 // 4, "each of them cost a process"
    assert_settled(service)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB, of which conversions want 64 MB to stay free."""
    place = tmp_path / "out"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(place)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_the_disk_is_full(new_service: NewService, small_disk: Path) -> None:
    service = new_service(limits={"attempts": 2})
    service.start_worker()
    make_toy(service.folder / "in" / "slow.toy", Toy(columns=96, seconds=0.1))
    service.wait_running("slow.toy")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    row = service.wait_until("slow.toy", State.FAILED)
    assert row.kind == "no_space"
    # As often as it takes: a full disk says nothing about the slide.
    wait_for("three attempts", lambda: (service.row("slow.toy") or row).attempt >= 4, 200, service.story)
    ballast.unlink()
    service.wait_until("slow.toy", State.DONE)
    assert_settled(service)
