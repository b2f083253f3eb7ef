"""Whose turn a job is, and who begins a run of one that nobody does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from flows.engine import keeper
from flows.engine.names import RECONCILE, SCAN
from flows.ledger.database import connect, writing
from flows.ledger.migrate import migrate
from flows.ledger.rows import mark, marked
from flows.ledger.tables import marks
from flows.service.dispatch import EngineUnavailable
from flows.service.process import this_process
from flows.service.turns import is_vacant, keep, leave, take
from flows.settings import Settings


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger."""
    found = connect(f"sqlite:///{tmp_path}/ledger.db")
    migrate(found)
    yield found
    found.dispose()


def test_a_later_run_takes_over(engine: Engine) -> None:
    assert is_vacant(engine, SCAN, 60)
    take(engine, SCAN, "first")
    assert keep(engine, SCAN, "first")
    assert not is_vacant(engine, SCAN, 60)
    take(engine, SCAN, "second")
    assert not keep(engine, SCAN, "first")
    leave(engine, SCAN, "first")  # it is not the first one's any more
    assert keep(engine, SCAN, "second")
    leave(engine, SCAN, "second")
    assert is_vacant(engine, SCAN, 60)
    assert not keep(engine, SCAN, "second")


def test_jobs_have_turns_of_their_own(engine: Engine) -> None:
    take(engine, SCAN, "one")
    assert is_vacant(engine, RECONCILE, 60)


def test_a_turn_whose_process_is_gone(engine: Engine) -> None:
    take(engine, SCAN, "one")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = json.loads(this_process()) | {"pid": ended.pid}
    change(engine, 0.0, {"run": "one", "process": json.dumps(gone)})
    assert is_vacant(engine, SCAN, 60)


@pytest.mark.parametrize(("seconds", "vacant"), [(-30.0, False), (-61.0, True), (61.0, True)])
def test_a_turn_of_another_machine_lasts_as_long_as_its_lease(engine: Engine, seconds: float, vacant: bool) -> None:
    take(engine, SCAN, "one")
    elsewhere = json.loads(this_process()) | {"machine": "other/boot/1"}
    change(engine, seconds, {"run": "one", "process": json.dumps(elsewhere)})
    assert is_vacant(engine, SCAN, 60) == vacant


def change(engine: Engine, seconds: float, value: dict[str, Any]) -> None:
    with writing(engine) as connection:
        found = marked(connection, f"{SCAN}-turn")
        assert found is not None
        mark(connection, f"{SCAN}-turn", found[0] + seconds, value)


class TestKeeper:
    """Asking for runs of jobs that nobody does."""

    def test_of_both_at_first_then_of_what_is_missed(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, str]] = []
        monkeypatch.setattr(keeper.PrefectDispatcher, "begin", lambda _, job, key: asked.append((job, key)))
        monkeypatch.setattr(keeper.time, "time", lambda: 6000.0)
        assert keeper.look(engine, Settings()) == [SCAN, RECONCILE]
        asked.clear()
        take(engine, SCAN, "one")
        assert keeper.look(engine, Settings()) == [RECONCILE]
        take(engine, RECONCILE, "other")
        assert keeper.look(engine, Settings()) == []
        assert asked == [(RECONCILE, "reconcile:100")]

    def test_where_prefect_does_not_answer(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object) -> None:
            raise EngineUnavailable("away")

        monkeypatch.setattr(keeper.PrefectDispatcher, "begin", away)
        assert keeper.look(engine, Settings()) == []

    def test_where_the_ledger_is_away(self, engine: Engine) -> None:
        marks.drop(engine)
        assert keeper.look(engine, Settings()) == []
