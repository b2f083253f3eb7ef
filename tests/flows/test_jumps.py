"""A ledger whose clock is set: files that are still being copied are not taken for complete, and nothing waits for a day."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from flows.ledger.tables import State
from tests.flows.clocks import Clocks, rule
from tests.flows.parts import Bench, bench

QUIET = 30.0
SLIDE = "a.tiff"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path, folder=f"quiet_seconds = {QUIET}")
    yield found
    found.close()


@pytest.fixture
def clocks(here: Bench, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    found = rule(here.engine)
    monkeypatch.setattr("flows.watching.jumps.monotonic", lambda: found.machine)
    return found


def arrive(here: Bench) -> None:
    """A file that any driver refuses at once, so that being asked about is seen by its state."""
    (here.folder / SLIDE).write_bytes(b"II*\0" + bytes(60))


def is_asked(here: Bench) -> bool:
    """Whether the file was taken for complete."""
    return any(row.path == SLIDE and row.state != State.WAITING for row in here.rows())


def looks(here: Bench, clocks: Clocks, count: int, step: float = 5.1) -> list[bool]:
    found = list[bool]()
    for _ in range(count):
        here.scan()
        found.append(is_asked(here))
        clocks.passes(step)
    return found


def test_a_quiet_file(here: Bench, clocks: Clocks) -> None:
    arrive(here)
    assert looks(here, clocks, 7) == [False] * 6 + [True]


@pytest.mark.parametrize("jump", [120.0, -120.0, 86400.0, -86400.0])
def test_a_jump_between_passes(here: Bench, clocks: Clocks, jump: float) -> None:
    arrive(here)
    assert looks(here, clocks, 2) == [False, False]
    clocks.jumps(jump)
    assert looks(here, clocks, 5) == [False] * 4 + [True]  # as if nobody had touched the clock


@pytest.mark.parametrize("jump", [120.0, -120.0])
@pytest.mark.parametrize("before", [True, False], ids=["before it is written down", "after it is written down"])
def test_a_jump_in_a_pass(here: Bench, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, jump: float, before: bool) -> None:
    import flows.watching.scan as scanning

    really = scanning.record

    def record(*arguments: object) -> None:
        if before:
            clocks.jumps(jump)
        really(*arguments)  # type: ignore[arg-type]
        if not before:
            clocks.jumps(jump)

    arrive(here)
    with monkeypatch.context() as patched:
        patched.setattr(scanning, "record", record)
        assert looks(here, clocks, 1) == [False]
    assert looks(here, clocks, 6) == [False] * 5 + [True]


def test_a_pass_on_another_machine_tells_nothing(here: Bench, clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(here)
    assert looks(here, clocks, 2) == [False, False]
    monkeypatch.setattr("flows.watching.jumps.machine", lambda: "another")
    clocks.machine += 1e6  # its own clock began at another moment
    assert looks(here, clocks, 5) == [False] * 4 + [True]


def test_set_back_while_nobody_scanned_nothing_waits_for_as_long(
    here: Bench, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine starts anew, or another one goes on: its monotonic clock tells nothing of the time between."""
    from tests.flows.test_feed import add

    arrive(here)
    assert looks(here, clocks, 2) == [False, False]
    add(here, "failed", state=State.FAILED, not_before=clocks.ledger + 20.0)
    clocks.jumps(-86400.0)
    monkeypatch.setattr("flows.watching.jumps.machine", lambda: "another")
    assert looks(here, clocks, 8)[-1]
    assert here.feed() == 1


def test_a_file_that_was_decided_long_ago_is_still(here: Bench) -> None:
    """`since` lies in the future where the clock was set back after the decision."""
    from flows.watching.asking import Asking, Found
    from flows.watching.compare import Known
    from flows.watching.look import Look
    from flows.watching.register import rule_of

    asking = Asking(here.engine, rule_of(here.settings.folders[0]), here.prober, Found())
    for since, slide, still in ((5000.0, "x", True), (5000.0, None, False), (900.0, "x", True), (990.0, "x", False)):
        assert asking._still(Known(Look(1, 1, 1), since, 2, slide), 1000.0) is still


@pytest.mark.parametrize("jump", [0.0, -86400.0])
def test_what_was_handed_out_and_not_sent_is_sent_again(here: Bench, clocks: Clocks, jump: float) -> None:
    from tests.flows.test_feed import add

    add(here, "a")
    here.dispatcher.away = True
    here.feed()
    here.dispatcher.away = False
    clocks.jumps(jump)
    clocks.passes(6.0)
    assert here.feed() == 1


@pytest.mark.parametrize("jump", [0.0, -86400.0])
def test_what_its_engine_forgot_is_handed_out_again(here: Bench, clocks: Clocks, jump: float) -> None:
    from flows.service.reconcile import reconcile
    from tests.flows.test_feed import add

    add(here, "a")
    here.feed()
    here.dispatcher.gone.add("run-a-1")
    clocks.jumps(jump)
    clocks.passes(20.0)
    assert reconcile(here.engine, here.settings, here.dispatcher).requeued == ["a"]


def test_a_clock_that_is_read_slowly_has_not_jumped(
    here: Bench, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that stands still for seconds between its two readings, as on a machine with too much to do."""
    slow = cycle([0.0, 0.0, 0.0, 8.0])  # every other moment is read slowly

    def monotonic() -> float:
        clocks.passes(next(slow))
        return clocks.machine

    arrive(here)
    monkeypatch.setattr("flows.watching.jumps.monotonic", monotonic)
    looks(here, clocks, 3)
    assert "clock was set" not in caplog.text


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_retries_wait_as_long_as_they_should(here: Bench, clocks: Clocks, jump: float) -> None:
    from tests.flows.test_feed import add

    here.scan()
    add(here, "failed", state=State.FAILED, not_before=clocks.ledger + 60.0)
    clocks.jumps(jump)
    seen = list[int]()
    for _ in range(3):
        here.scan()
        seen.append(here.feed())
        clocks.passes(35.0)
    assert seen == [0, 0, 1]
