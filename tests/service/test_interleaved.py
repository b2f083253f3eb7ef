"""What others do to a row of the ledger between two statements of ours, on PostgreSQL, where they really can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from flows.ledger import attempts, outcomes
from flows.ledger.attempts import Ticket
from flows.ledger.database import connect, writing
from flows.ledger.outcomes import Patience, Trouble
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State
from flows.service import feed as feeding
from flows.service import reconcile as reconciling
from flows.service.feed import take_along
from flows.service.orders import cancel
from flows.service.reconcile import reconcile
from tests.flows.parts import Bench, bench
from tests.flows.test_feed import add
from tests.service.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def here(tmp_path: Path, postgres: Postgres) -> Iterator[Bench]:
    name = f"interleaved{uuid4().hex[:8]}"
    postgres.create_database(name)
    found = bench(tmp_path, rest=f'ledger = "{postgres.url("psycopg", name)}"\n[limits]\nlease_seconds = 90\n')
    assert found.engine.dialect.name == "postgresql"
    yield found
    found.close()


@pytest.fixture
def other(here: Bench) -> Iterator[Engine]:
    """Another process's way to the same ledger."""
    engine = connect(here.settings.ledger_url)
    yield engine
    engine.dispose()


def between(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[], object]) -> None:
    """Let `act` happen once, right after the first call of that function that found something, on another thread."""
    really, once = getattr(module, name), threading.Event()

    def call(*arguments: Any, **more: Any) -> Any:
        found = really(*arguments, **more)
        if found and not once.is_set():
            once.set()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(act).result(timeout=60)
        return found

    monkeypatch.setattr(module, name, call)


@pytest.mark.parametrize("way", ["feed", "along"])
def test_a_cancel_between_choosing_and_handing_out(
    here: Bench, other: Engine, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    add(here, "a", priority=1)
    add(here, "b")
    row = here.row("a.svs")
    between(monkeypatch, feeding, "_choose", lambda: cancel(other, row))
    if way == "feed":
        assert here.feed() == 1
        assert here.states() == {"a.svs": "cancelled", "b.svs": "submitted"}
    else:
        assert take_along(here.engine, here.settings, "run") is None
        assert here.states() == {"a.svs": "cancelled", "b.svs": "ready"}
    assert here.row("a.svs").attempt == 0


def running(here: Bench) -> tuple[SlideRow, Ticket]:
    """A slide that is being converted on another machine."""
    add(here, "a")
    here.feed()
    ticket = Ticket("a", 1)
    process = '{"machine": "elsewhere", "pid": 1, "started": "1"}'
    assert attempts.start(here.engine, ticket, process) is not None
    return here.row("a.svs"), ticket


@pytest.mark.parametrize("what", ["beat", "finish"])
def test_a_sign_of_life_between_judging_and_taking(
    here: Bench, other: Engine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    _, ticket = running(here)
    acts: dict[str, Callable[[], object]] = {
        "beat": lambda: attempts.beat(other, ticket, 0.5),
        "finish": lambda: attempts.finish(other, ticket, {}),
    }
    for seconds in (0.0, 60.0, 120.0):  # at the third look it has been silent for more than its lease
        monkeypatch.setattr("flows.service.witness.monotonic", lambda now=seconds: now)
        if seconds < 120.0:
            assert reconcile(here.engine, here.settings, here.dispatcher).requeued == []
    between(monkeypatch, reconciling, "_judge", acts[what])
    assert reconcile(here.engine, here.settings, here.dispatcher).requeued == []
    assert here.row("a.svs").state == (State.DONE if what == "finish" else State.RUNNING)


def test_two_passes_at_a_time_watch_the_same_slides(here: Bench, other: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins when the first has looked and has not said so yet: it waits, and finds what the first noted."""
    running(here)
    really, second = reconciling.watched, list[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def watched(connection: Connection, *rest: Any) -> Any:
            found = really(connection, *rest)
            if not second:
                second.append(pool.submit(reconcile, other, here.settings, here.dispatcher))
                wait_for_lock(here)
            return found

        monkeypatch.setattr(reconciling, "watched", watched)
        assert reconcile(here.engine, here.settings, here.dispatcher).requeued == []
        assert second[0].result(timeout=60).requeued == []


def wait_for_lock(here: Bench) -> None:
    """Until somebody waits for a lock of this database."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    for _ in range(600):
        with here.engine.connect() as connection:
            if connection.execute(query).scalar_one():
                return
        time.sleep(0.1)
    pytest.fail("nobody waits")


def test_a_cancel_while_it_is_published_comes_too_late(here: Bench, other: Engine) -> None:
    row, ticket = running(here)
    with ThreadPoolExecutor(1) as pool:
        with attempts.publishing(here.engine, ticket):
            asked = pool.submit(cancel, other, row)
        assert asked.result(timeout=60) == State.RUNNING
    assert attempts.beat(here.engine, ticket, 1.0), "there is nothing left to be called off"
    assert attempts.finish(here.engine, ticket, {})
    assert here.row("a.svs").state == State.DONE


@pytest.mark.parametrize("how", ["fails", "is interrupted"])
@pytest.mark.parametrize("first", ["the cancel", "the end"])
def test_a_cancel_while_an_attempt_ends_is_not_lost(
    here: Bench, other: Engine, monkeypatch: pytest.MonkeyPatch, how: str, first: str
) -> None:
    """The attempt has looked at the row, or written it, and has not committed."""
    row, ticket = running(here)

    def end() -> None:
        if how == "fails":
            with writing(here.engine) as connection:
                outcomes.failed(connection, ticket, Trouble("output", "disk", retryable=True), Patience(9, 30.0))
        else:
            outcomes.interrupted(here.engine, ticket)

    asked: list[Future[Any]] = []
    with ThreadPoolExecutor(1) as pool:

        def before(*given: Any, **more: Any) -> Any:
            found = slide_by_id(*given, **more)
            asked.append(pool.submit(cancel, other, row))
            wait_for_lock(here)
            return found

        def after(*given: Any, **more: Any) -> Any:
            done = attempts.leave(*given, **more)
            asked.append(pool.submit(cancel, other, row))
            wait_for_lock(here)
            return done

        with monkeypatch.context() as patch:
            patch.setattr(outcomes, *(("slide_by_id", before) if first == "the cancel" else ("leave", after)))
            end()
        assert asked[0].result(timeout=60) == State.CANCELLED
    assert (here.row("a.svs").state, here.row("a.svs").cancel) == (State.CANCELLED, False)
