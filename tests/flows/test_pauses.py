"""What may not begin: pauses, hours; how a service says so, what is wrong with it, and when all is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from converter.errors import OptionError
from flows.cli import run
from flows.hours import hours_of
from flows.ledger.attempts import Ticket, start
from flows.ledger.database import clock
from flows.ledger.rows import mark
from flows.ledger.tables import State, marks
from flows.reports.ending import Ending
from flows.service import pauses
from flows.service.feed import take_along
from flows.service.pauses import closed, pause, resume
from tests.flows.parts import Bench, bench
from tests.flows.test_feed import add, order

TWO = """
[[folders]]
name = "other"
path = "{0}/other"
output = "{0}/out2"
hours = "20:00-06:00 Europe/Berlin"
"""
NOON, NIGHT = datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 1, 23, tzinfo=UTC)


class Clock(datetime):
    """This machine's clock, as the code under test reads it."""

    at: datetime = NOON

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.at.astimezone(tz)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Two folders, of which one has hours; it is noon."""
    monkeypatch.setattr(pauses, "datetime", Clock)
    monkeypatch.setattr(Clock, "at", NOON)
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    found = bench(tmp_path, rest=TWO.format(tmp_path))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("08:00-17:30 UTC", ("08:00", "12:00", "17:29"), ("07:59", "17:30", "23:00")),
        ("20:00-06:00 UTC", ("20:00", "23:59", "00:00", "05:59"), ("06:00", "12:00", "19:59")),
        ("18:00-24:00 UTC", ("18:00", "23:59"), ("00:00", "17:59")),
        ("00:00-24:00 UTC", ("00:00", "12:00", "23:59"), ()),
        ("20:00-06:00,12:00-13:00 UTC", ("12:30", "21:00"), ("13:00", "11:59")),
        ("20:00-06:00 Europe/Berlin", ("18:00", "03:59"), ("04:00", "17:59")),  # summer: two hours before UTC
    ],
)
def test_hours(text: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    def has(word: str) -> bool:
        return hours_of(text).has(datetime.fromisoformat(f"2026-07-01T{word}:00+00:00"))

    assert all(has(word) for word in inside)
    assert not any(has(word) for word in outside)


@pytest.mark.parametrize(
    "text", ["", "20-6", "20:00", "25:00-06:00", "20:00-06:61", "20:00-06:00 Nowhere/None", "20:00 - 06:00"]
)
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        hours_of(text)


def test_hours_of_a_folder(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(here, "day"), add(here, "night", "other")
    here.feed()
    assert order(here) == ["day"]
    monkeypatch.setattr(Clock, "at", NIGHT)
    here.feed()
    assert order(here) == ["day", "night"]
    monkeypatch.setattr(Clock, "at", NOON)
    here.feed()
    assert {row.id: row.state for row in here.rows()} == {"day": State.SUBMITTED, "night": State.READY}  # called back


def test_a_paused_folder_and_all(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "at", NIGHT)
    add(here, "one"), add(here, "two", "other")
    pause(here.engine, here.settings, "in")
    here.feed()
    assert order(here) == ["two"]
    pause(here.engine, here.settings, None)
    assert take_along(here.engine, here.settings, "run") is None
    resume(here.engine, here.settings, None)  # goes on with all
    here.feed()
    assert sorted(order(here)) == ["one", "two", "two"]


def test_what_is_under_way_goes_on_and_what_has_not_begun_does_not(here: Bench) -> None:
    for name in ("running", "queued"):
        add(here, name)
    here.feed()
    assert start(here.engine, Ticket("running", 1), "process") is not None
    pause(here.engine, here.settings, None)
    states = {row.id: row.state for row in here.rows()}
    assert states == {"running": State.RUNNING, "queued": State.READY}
    assert start(here.engine, Ticket("queued", 1), "process") is None  # its run comes, finds nothing, ends
    resume(here.engine, here.settings, None)
    here.feed()
    row = next(row for row in here.rows() if row.id == "queued")
    assert (row.state, row.attempt, row.failures) == (State.SUBMITTED, 2, 0)


def test_folders_that_nobody_knows(here: Bench) -> None:
    with pytest.raises(OptionError, match="nowhere: no folder"):
        pause(here.engine, here.settings, "nowhere")
    with pytest.raises(OptionError, match="nowhere: no folder"):
        resume(here.engine, here.settings, "nowhere")
    pause(here.engine, here.settings, None)
    with pytest.raises(OptionError, match="everything is paused"):
        resume(here.engine, here.settings, "in")


def test_a_folder_that_left_the_settings_can_be_resumed(here: Bench) -> None:
    pause(here.engine, here.settings, "in")
    without = here.settings.model_copy(update={"folders": ()})
    assert resume(here.engine, without, "in") == pauses.Paused()
    with here.engine.connect() as connection:
        assert closed(connection, without).folders == []


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_commands_and_what_status_says(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "pause", "other") == {"paused": {"all": False, "folders": ["other"]}}
    assert said(capsys, "pause") == {"paused": {"all": True, "folders": ["other"]}}
    found = said(capsys, "status")
    assert found["paused"] == {"all": True, "folders": ["other"]}
    assert found["asleep"] == ["other"]
    assert found["empty_in_s"] == 0.0
    assert [place["free"] > 0 for place in found["room"]] == [True]
    run(["status"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "paused: no slide begins until `slidemill resume`",
        "folder other is paused until `slidemill resume other`",
        "folder other is outside its hours: its slides begin later",
    ]
    assert said(capsys, "resume") == {"paused": {"all": False, "folders": []}}
    assert run(["pause", "nowhere"]) == 2


def looked(here: Bench, ago: float = 0.0) -> None:
    """Somebody looked at the folders."""
    with here.engine.begin() as connection:
        mark(connection, "scan", clock(connection) - ago, {})


def test_check(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "status", "--check", code=1)["faults"] == ["nobody has looked at the folders yet"]
    looked(here)
    assert said(capsys, "status", "--check", "--free", "0")["ok"] is True
    full = said(capsys, "status", "--check", "--free", "1e9", code=1)["faults"]
    assert [fault.endswith("GB are free") for fault in full] == [True]
    with here.engine.connect() as connection:
        now = clock(connection)
    add(here, "old", state=State.QUARANTINED, finished=now - 2 * 86400)
    assert said(capsys, "status", "--check", "--free", "0")["ok"] is True
    add(here, "bad", state=State.QUARANTINED, finished=now - 60)
    assert "1 slide came into quarantine" in said(capsys, "status", "--check", "--free", "0", code=1)["faults"][0]
    looked(here, ago=1000)
    assert "nobody has looked at the folders for 100" in said(capsys, "status", "--check", code=1)["faults"][0]


@pytest.fixture
def ending(here: Bench, monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Asked as often as one likes."""
    monkeypatch.setattr("flows.reports.ending._EVERY_S", 0.0)
    return Ending(here.engine)


def asked(here: Bench, ending: Ending, looks: int = 4) -> int | None:
    code = ending.code()
    for _ in range(looks):
        looked(here)
        code = ending.code()
    return code


def test_all_is_done(here: Bench, ending: Ending) -> None:
    assert asked(here, ending, looks=1) is None  # a file may have come since
    assert asked(here, ending) == 0


@pytest.mark.parametrize("state", [State.READY, State.SUBMITTED, State.RUNNING, State.PUBLISHED, State.FAILED])
def test_something_is_to_be_done(here: Bench, ending: Ending, state: State) -> None:
    add(here, "one", state=state)
    assert asked(here, ending) is None
    here.change("one", state=State.DONE)
    assert asked(here, ending) == 0


def test_slides_that_failed_or_wait_for_files(here: Bench, ending: Ending) -> None:
    add(here, "before", state=State.QUARANTINED)
    assert asked(here, ending) == 0  # known before
    add(here, "bad", state=State.QUARANTINED)
    assert asked(here, ending) == 1
    here.change("bad", state=State.WAITING)
    assert asked(here, ending) == 1


def test_one_leaves_quarantine_and_another_comes(here: Bench, ending: Ending) -> None:
    add(here, "before", state=State.QUARANTINED)
    assert asked(here, ending) == 0
    here.change("before", state=State.DONE)
    add(here, "bad", state=State.QUARANTINED)
    assert asked(here, ending) == 1


def test_a_folder_that_cannot_be_listed_is_not_done(here: Bench, ending: Ending) -> None:
    """A batch from cron whose share is not mounted has done nothing, and says so."""
    assert ending.code() is None
    for _ in range(4):
        looked(here)
        with here.engine.begin() as connection:
            mark(connection, "scan", clock(connection), {"unavailable": ["in"]})
        code = ending.code()
    assert code == 1


def test_files_that_are_not_decided(here: Bench, ending: Ending) -> None:
    (here.folder / "still-copied.svs").write_bytes(b"x")
    here.scan()
    assert asked(here, ending) is None


def test_a_ledger_that_is_away_is_asked_again(here: Bench, ending: Ending) -> None:
    marks.drop(here.engine)
    assert ending.code() is None
