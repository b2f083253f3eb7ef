"""Handing out slides: urgency, windows, shares of folders, keys, and an engine that is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.engine import report
from flows.engine.report import ended
from flows.ledger.database import clock
from flows.ledger.tables import State, slides
from flows.service import feed as feeding
from flows.service.feed import take_along
from tests.flows.parts import Bench, bench

TWO = """
[[folders]]
name = "other"
path = "{0}/other"
output = "{0}/out2"
at_most = 2
[limits]
window = 5
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    """A bench with a second folder of which two slides at most may be under way, and windows of five."""
    found = bench(tmp_path, rest=TWO.format(tmp_path))
    yield found
    found.close()


def add(here: Bench, name: str, folder: str = "in", **values: Any) -> str:
    """A slide that is ready, too large to go along with others."""
    with here.engine.begin() as connection:
        now = clock(connection)
        base: dict[str, Any] = {
            "id": name,
            "folder": folder,
            "root": str(here.place),
            "path": f"{name}.svs",
            "options": {},
            "options_hash": "x",
            "queue": "scheduled",
            "priority": 0,
            "signature": "s",
            "state": State.READY,
            "seen": now,
            "ready": now,
            "bytes": 10**12,
        }
        connection.execute(slides.insert().values(**base | values))
    return name


def order(here: Bench) -> list[str]:
    return [slide for _, slide in here.dispatcher.queues]


def test_priority_then_age(here: Bench) -> None:
    add(here, "late", ready=20.0)
    add(here, "early", ready=10.0)
    add(here, "urgent", ready=30.0, priority=5)
    assert here.feed() == 3
    assert order(here) == ["urgent", "early", "late"]


def test_queues_go_by_urgency(here: Bench) -> None:
    add(here, "a", queue="archive")
    add(here, "i", queue="interactive")
    add(here, "s")
    here.feed()
    assert here.dispatcher.queues == [("interactive", "i"), ("scheduled", "s"), ("archive", "a")]


def test_a_window_a_queue(here: Bench) -> None:
    for i in range(9):
        add(here, f"s{i}")
    add(here, "i", queue="interactive")
    assert here.feed() == 6
    assert here.feed() == 0
    here.change("s0", state=State.DONE)
    assert here.feed() == 1


def test_a_folder_has_its_share(here: Bench) -> None:
    for i in range(4):
        add(here, f"o{i}", "other", ready=float(i))
    for i in range(4):
        add(here, f"s{i}", ready=100.0 + i)
    here.feed()
    assert order(here) == ["s0", "o0", "s1", "o1", "s2"]  # in turn, and two of `other` at most


def test_a_failed_slide_waits_for_its_time(here: Bench) -> None:
    add(here, "a", state=State.FAILED, not_before=9e12)
    add(here, "b", state=State.FAILED, not_before=1.0, attempt=3)
    here.feed()
    assert order(here) == ["b"]
    assert list(here.dispatcher.keys) == ["b:4"]


def test_what_was_not_sent_is_sent_again_under_the_same_key(here: Bench) -> None:
    add(here, "a")
    here.dispatcher.away = True
    assert here.feed() == 0
    assert here.row("a.svs").state == State.SUBMITTED
    here.dispatcher.away = False
    here.change("a", submitted=1.0)
    assert here.feed() == 1
    row = here.row("a.svs")
    assert (row.attempt, row.flow_run) == (1, "run-a-1")
    assert here.feed() == 0


def test_small_slides_go_along(here: Bench) -> None:
    for i in range(7):
        add(here, f"s{i}", ready=float(i), bytes=10)
    here.feed()
    taken = take_along(here.engine, here.settings, "run")
    assert taken is not None
    assert (taken.id, taken.attempt) == ("s2", 1)
    row = here.row("s2.svs")
    assert (row.state, row.flow_run) == (State.SUBMITTED, "run")
    here.change("s3", bytes=10**12)
    assert take_along(here.engine, here.settings, "run") is None
    assert here.row("s3.svs").state == State.READY


def test_a_batch_ends_when_nothing_is_open_or_after_a_day(here: Bench) -> None:
    now = time.time()
    add(here, "done", state=State.DONE, finished=now - 60)
    add(here, "told", state=State.DONE, finished=now - 60, told=True)
    add(here, "cancelled", state=State.CANCELLED)
    add(here, "open", state=State.FAILED)
    assert ended(here.engine) == []
    here.change("open", state=State.SUPERSEDED)
    assert {row.id for row in ended(here.engine)} == {"done", "cancelled"}
    here.change("open", state=State.RUNNING)
    here.change("done", finished=now - 90_000)
    assert {row.id for row in ended(here.engine)} == {"done", "cancelled"}


def test_a_batch_is_reported_whole(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[tuple[str, int, str]] = []
    told: list[str] = []

    def table(key: str, table: list[dict[str, Any]], description: str) -> None:
        tables.append((key, len(table), description))
        assert {tuple(row) for row in table} == {("slide", "folder", "state", "kind", "bytes", "seconds", "attempts")}

    def notify(_settings: object, subject: str, _body: str) -> None:
        told.append(subject)

    monkeypatch.setattr(report, "create_table_artifact", table)
    monkeypatch.setattr(report, "notify", notify)
    for number in range(2100):
        add(here, f"s{number:04d}", state=State.DONE, finished=1.0 + number, receipt={"seconds": 2.5}, bytes=7)
    assert report.report_batch(here.engine, here.settings) == 2100
    assert tables == [
        ("slidemill-batch", 1000, "2100 done (part 1 of 3)"),
        ("slidemill-batch-2", 1000, "2100 done (part 2 of 3)"),
        ("slidemill-batch-3", 100, "2100 done (part 3 of 3)"),
    ]
    assert told == ["slidemill: 2100 done"]
    assert ended(here.engine) == []


def test_what_a_batch_says_of_a_slide(here: Bench) -> None:
    add(here, "one", state=State.DONE, finished=5.0, receipt={"seconds": 2.5}, bytes=7, attempt=2)
    add(here, "two", state=State.QUARANTINED, finished=6.0, kind="damaged", bytes=0)
    assert ended(here.engine) == [
        report.Ended("one", "in", State.DONE, None, 7, 2.5, 2, 5.0),
        report.Ended("two", "in", State.QUARANTINED, "damaged", 0, None, 0, 6.0),
    ]


def test_few_small_slides_wait_for_runs_of_their_own(tmp_path: Path) -> None:
    here = bench(tmp_path, rest="[limits]\nsmall_bytes = 1000\n")
    for i in range(20):
        add(here, f"small{i:02d}", bytes=1000)
    add(here, "large", bytes=1001)
    assert here.feed() == 3
    assert order(here) == ["small00", "small01", "large"]
    assert here.feed() == 0
    assert take_along(here.engine, here.settings, "run") is not None
    here.change("small00", state=State.RUNNING)
    assert here.feed() == 0, "the one that went along waits too, until its run takes it up"
    here.change("small01", state=State.RUNNING)
    assert here.feed() == 1
    for i in range(6):
        here.change(f"small{i:02d}", state=State.RUNNING)
    assert here.feed() == 6, "as many as are under way: more machines have more runs"
    here.close()


def test_small_slides_are_bounded_within_the_share_of_a_folder(tmp_path: Path) -> None:
    here = bench(tmp_path, rest=TWO.format(tmp_path).replace("window = 5", "window = 50"))
    for i in range(3):
        add(here, f"r{i}", bytes=10, state=State.RUNNING)
    for i in range(20):
        add(here, f"a{i:02d}", "other", bytes=10)
    add(here, "b", bytes=10)
    here.feed()
    assert sorted(order(here)) == ["a00", "a01", "b"]
    here.close()


def test_a_cancel_between_choosing_and_handing_out_counts(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL others write between the two; here the same connection plays them."""
    for name in ("a", "b"):
        add(here, name)
    really = feeding._choose

    def choose(connection: Any, *rest: Any, **more: Any) -> Any:
        chosen = really(connection, *rest, **more)
        connection.execute(slides.update().where(slides.c.id == "a").values(state=State.CANCELLED, reason="cancelled"))
        return chosen

    monkeypatch.setattr(feeding, "_choose", choose)
    assert here.feed() == 1
    assert here.states() == {"a.svs": "cancelled", "b.svs": "submitted"}
    assert here.row("a.svs").attempt == 0
