"""Processes that say nothing: lost and hung by a clock that nobody sets, whatever the ledger's clock does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from flows.ledger import attempts
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State, witnesses
from flows.service.process import this_process
from flows.service.reconcile import reconcile
from tests.flows.clocks import Clocks, rule
from tests.flows.parts import Bench, bench, submitted

LEASE, HANG = 90.0, 300.0
REST = f"[limits]\nheartbeat_seconds = 10\nlease_seconds = {LEASE}\nattempts = 9\nhang_seconds = {HANG}\n"
ELSEWHERE = '{"machine": "elsewhere", "pid": 1, "started": "1"}'
STEP = 60.0
"""Between two passes, less than a lease."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path, rest=REST)
    yield found
    found.close()


@pytest.fixture
def clocks(here: Bench, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Clocks to be set by hand; the process of this test is not killed."""
    found = rule(here.engine)
    monkeypatch.setattr("flows.service.witness.monotonic", lambda: found.machine)
    monkeypatch.setattr("flows.service.reconcile._stop_process", lambda _row: None)
    return found


def begun(here: Bench, slide: Path, clocks: Clocks, process: str) -> Ticket:
    """A slide that is being converted."""
    ticket = submitted(here, slide)
    assert attempts.start(here.engine, ticket, process) is not None
    clocks.passes(1.0)
    return ticket


def pass_by(here: Bench, clocks: Clocks, step: float = STEP) -> list[str]:
    """One pass, and the time to the next. Ids of slides that were taken from their process."""
    requeued = reconcile(here.engine, here.settings, here.dispatcher).requeued
    clocks.passes(step)
    return requeued


@pytest.mark.parametrize("process", [this_process(), ELSEWHERE], ids=["of this machine", "of another one"])
def test_a_silent_process_is_lost(here: Bench, slide: Path, clocks: Clocks, process: str) -> None:
    ticket = begun(here, slide, clocks, process)
    assert [pass_by(here, clocks) for _ in range(3)] == [[], [], [ticket.slide]]  # after 0, 60 and 120 s
    assert here.row("a.svs").kind == "lost"


def test_a_process_that_beats_is_not_lost(here: Bench, slide: Path, clocks: Clocks) -> None:
    ticket = begun(here, slide, clocks, ELSEWHERE)
    for progress in range(10):
        assert attempts.beat(here.engine, ticket, progress / 10)
        assert pass_by(here, clocks, 2 * LEASE) == []


@pytest.mark.parametrize("jump", [120.0, 86400.0, -120.0, -86400.0])
def test_a_clock_that_jumps_loses_no_living_process(here: Bench, slide: Path, clocks: Clocks, jump: float) -> None:
    ticket = begun(here, slide, clocks, this_process())
    for progress in range(5):
        clocks.jumps(jump)
        assert pass_by(here, clocks, 1.0) == []  # it has not beaten since
        assert attempts.beat(here.engine, ticket, progress / 10)
    assert here.row("a.svs").state == State.RUNNING


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_jumps_hides_no_loss(here: Bench, slide: Path, clocks: Clocks, jump: float) -> None:
    ticket = begun(here, slide, clocks, ELSEWHERE)
    clocks.jumps(jump)
    assert [pass_by(here, clocks) for _ in range(3)] == [[], [], [ticket.slide]]


def test_an_hour_without_a_look_is_no_silence(here: Bench, slide: Path, clocks: Clocks) -> None:
    """The ledger was away: no process could say that it lives, and nobody could look."""
    begun(here, slide, clocks, ELSEWHERE)
    assert pass_by(here, clocks, 3600.0) == []
    assert pass_by(here, clocks) == []


def test_each_machine_counts_by_its_own_clock(
    here: Bench, slide: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = begun(here, slide, clocks, ELSEWHERE)
    seen = list[list[str]]()
    for look in range(6):  # two machines in turn, whose clocks began at other moments
        monkeypatch.setattr("flows.service.witness.machine", lambda name=f"m{look % 2}": name)
        monkeypatch.setattr("flows.service.witness.monotonic", lambda now=clocks.machine + 5e6 * (look % 2): now)
        seen.append(pass_by(here, clocks, 30.0))
    assert seen == [[], [], [], [], [ticket.slide], []]  # the first has watched for 120 s


def test_a_machine_that_was_started_again_counts_anew(here: Bench, slide: Path, clocks: Clocks) -> None:
    begun(here, slide, clocks, ELSEWHERE)
    assert pass_by(here, clocks, 80.0) == []
    clocks.machine = 5.0
    assert pass_by(here, clocks) == []


def test_what_is_not_open_is_not_watched_any_more(here: Bench, slide: Path, clocks: Clocks) -> None:
    ticket = begun(here, slide, clocks, ELSEWHERE)
    pass_by(here, clocks)
    here.change(ticket.slide, state=State.CANCELLED)
    pass_by(here, clocks)
    with here.engine.connect() as connection:
        assert connection.execute(select(witnesses)).all() == []


def test_one_that_hangs(here: Bench, slide: Path, clocks: Clocks) -> None:
    ticket, looks = begun(here, slide, clocks, ELSEWHERE), 0
    while here.row("a.svs").state == State.RUNNING:
        attempts.beat(here.engine, ticket, 0.0)
        pass_by(here, clocks)
        looks += 1
    assert here.row("a.svs").kind == "hung"
    assert looks == 7  # at 0, 60, ... 360 s, the first beyond 300
