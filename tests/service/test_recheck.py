"""The slow look at stores that were made: what it notices, in which order, within which budget, and where it goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from converter.checking.slowly import Budget, Part, look_into
from flows.cli import run
from flows.ledger import checks
from flows.ledger.attempts import Ticket
from flows.ledger.checks import Finding, Look, Wrong
from flows.ledger.database import clock, writing
from flows.ledger.rows import mark
from flows.ledger.tables import State, slides
from flows.ledger.tables import checks as table
from flows.reports.metrics import LedgerMetrics
from flows.service import turns
from flows.service.attempt import Watch, run_attempt
from flows.service.recheck import RECHECK, Recheck, rechecking
from flows.settings import Settings
from tests.flows.parts import Bench, bench
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]
FAST = "[schedule]\nrecheck_mb_per_second = 10000\nrecheck_hours = 24\n"
NAMES = ("a", "b", "c")


@pytest.fixture
def here(tmp_path: Path, any_ledger: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with three converted slides."""
    monkeypatch.setattr("flows.service.recheck._SHARE", 0.0)
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    found = bench(tmp_path, folder="options = {chunk = 64, shard = 64}", rest=any_ledger + FAST)
    slide = made(SVS[0][0], SVS[0][1]).read_bytes()
    for number, name in enumerate(NAMES):
        (found.folder / f"{name}.svs").write_bytes(slide + b"x" * number)
    found.scan(2)
    while found.feed():
        for row in found.rows():
            if row.state == State.SUBMITTED:
                assert run_attempt(found.engine, found.settings, Ticket(row.id, row.attempt), Watch()) == State.DONE
    yield found
    found.close()


def looker(here: Bench, name: str = "one") -> Recheck:
    return Recheck(here.engine, here.settings, name, threading.Event())


def at_rate(here: Bench, rate: float) -> Settings:
    schedule = here.settings.schedule.model_copy(update={"recheck_mb_per_second": rate})
    return here.settings.model_copy(update={"schedule": schedule})


def look_at_all(here: Bench) -> None:
    look = looker(here)
    for _ in range(len(NAMES) + 1):
        look.step()


def store(here: Bench, name: str = "a") -> Path:
    return here.place / "out" / f"{name}.ome.zarr"


def chunk(here: Bench, name: str = "a") -> Path:
    """The largest file of a store."""
    return max((path for path in store(here, name).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def known(here: Bench) -> dict[str, Wrong | None]:
    with here.engine.connect() as connection:
        return {row.path[0]: checks.known(connection, row.id).finding.wrong for row in here.rows()}


def flip(here: Bench) -> None:
    data = bytearray(chunk(here).read_bytes())
    data[len(data) // 2] ^= 1
    chunk(here).write_bytes(data)


def another(here: Bench) -> None:
    shutil.rmtree(store(here))
    shutil.copytree(store(here, "b"), store(here))


HARM: dict[str, tuple[Callable[[Bench], object], Wrong]] = {
    "removed": (lambda here: shutil.rmtree(store(here)), Wrong.GONE),
    "moved": (lambda here: store(here).rename(here.place / "x.ome.zarr"), Wrong.GONE),
    "a file removed": (lambda here: chunk(here).unlink(), Wrong.DAMAGED),
    "a file cut": (lambda here: chunk(here).write_bytes(chunk(here).read_bytes()[:-1]), Wrong.DAMAGED),
    "a bit flipped": (flip, Wrong.DAMAGED),
    "a file more": (lambda here: (store(here) / "0" / "more").write_text(""), Wrong.DAMAGED),
    "metadata changed": (lambda here: (store(here) / "zarr.json").write_text("{}"), Wrong.DAMAGED),
    "emptied": (lambda here: [shutil.rmtree(path) for path in store(here).iterdir() if path.is_dir()], Wrong.DAMAGED),
    "another store": (another, Wrong.OTHER),
    "a file in its place": (lambda here: (shutil.rmtree(store(here)), store(here).write_text("x")), Wrong.OTHER),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_noticed(here: Bench, harm: str) -> None:
    look_at_all(here)
    assert known(here) == dict.fromkeys(NAMES)
    act, wrong = HARM[harm]
    act(here)
    with writing(here.engine) as connection:  # a day later
        connection.execute(update(table).values(looked=table.c.looked - 90_000))
        mark(connection, "stores", clock(connection) - 90_000)
    look_at_all(here)
    assert known(here) == {"a": wrong, "b": None, "c": None}
    assert {row.state for row in here.rows()} == {State.DONE}, "looking makes nothing anew"


def test_what_is_back_is_wrong_no_more(here: Bench) -> None:
    aside = here.place / "aside"
    store(here).rename(aside)
    look_at_all(here)
    assert known(here)["a"] == Wrong.GONE
    aside.rename(store(here))
    with writing(here.engine) as connection:
        mark(connection, "stores", 0.0)
    look_at_all(here)
    assert known(here) == dict.fromkeys(NAMES)


def test_the_one_that_was_looked_at_longest_ago_is_first(here: Bench) -> None:
    ids = {row.path[0]: row.id for row in here.rows()}
    with writing(here.engine) as connection:
        now = clock(connection)
        assert checks.due(connection, 3600, 9) == [ids["a"], ids["b"], ids["c"]], "as they were made"
        for name, ago in (("a", 7200), ("b", 9000), ("c", 60)):
            checks.note(connection, Look(ids[name], 1, Finding()))
            connection.execute(update(table).where(table.c.slide == ids[name]).values(looked=now - ago))
        assert checks.due(connection, 3600, 9) == [ids["b"], ids["a"]]
        assert checks.due(connection, 3600, 1) == [ids["b"]]
        checks.go_on(connection, ids["c"], 1, "0/c/0")
        assert checks.due(connection, 3600, 9) == [ids["b"], ids["a"], ids["c"]], "a look is to go on"
        connection.execute(update(table).where(table.c.slide == ids["a"]).values(looked=now + 9e6))
        assert ids["a"] in checks.due(connection, 3600, 9), "the clock was set back"
        connection.execute(update(slides).where(slides.c.id == ids["b"]).values(attempt=2))
        assert checks.due(connection, 3600, 9)[0] == ids["b"], "of its new store nothing is known"
        assert not checks.note(connection, Look(ids["b"], 1, Finding(Wrong.GONE, "old"))), "nor does an old look tell"


def test_a_look_that_was_ended_is_gone_on_with(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is read once, over as many runs as it takes."""
    manifest = json.loads((store(here) / "OME" / "manifest.json").read_text())["files"]
    first = here.row("a.svs")
    reached: list[str] = []
    while True:
        look, before = looker(here), len(reached)

        def cut_off(place: Path, after: str | None, budget: Budget, look: Recheck = look) -> Part:
            def tell(name: str) -> None:
                budget.reached(name)
                reached.append(name)
                if len(reached) % 3 == 0:
                    look.stop.set()

            return look_into(place, after, Budget(budget.most, budget.spend, tell))

        monkeypatch.setattr("flows.service.recheck.look_into", cut_off)
        look()
        assert len(reached) > before
        with here.engine.connect() as connection:
            now = checks.known(connection, first.id)
        if now.looked is not None:
            break
        assert now.goes_on == reached[-1]
    names = sorted(path for path, _, _ in manifest)
    assert len(names) > 6
    assert reached[: len(names)] == names


def test_a_budget_bounds_what_is_read(here: Bench) -> None:
    """Of a store, a part at a time: at least one file, no more bytes than are left."""
    spent: list[int] = []
    after, visits = None, 0
    while True:
        before = len(spent)
        part = look_into(store(here), after, Budget(2000, spent.append, lambda _: None))
        assert part.wrong is None
        assert sum(spent[before + 1 :]) <= 2000 or len(spent) - before == 2
        visits += 1
        after = part.goes_on
        if after is None:
            break
    sizes = [size for _, size, _ in json.loads((store(here) / "OME" / "manifest.json").read_text())["files"]]
    assert visits > 2
    assert sum(spent) == sum(sizes) + visits * 4096 * sum(path.is_file() for path in store(here).rglob("*"))


def test_seconds_for_bytes(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1 MB/s, three stores take at least as many seconds as they have MB, and their names."""
    waited: list[float] = []
    look = Recheck(here.engine, at_rate(here, 1.0), "one", threading.Event())
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(look.stop, "wait", wait)
    for _ in NAMES:
        look.step()
    files = [path for path in (here.place / "out").rglob("*") if path.is_file()]
    listed = [path for path in files if path.name != "manifest.json" and path.parent.suffix != ".zarr"]
    assert sum(waited) == pytest.approx((sum(path.stat().st_size for path in listed) + 4096 * len(files)) / 1e6, rel=0.01)
    assert max(waited) <= 5.0, "it hears within seconds that it is to end"


def test_nothing_is_read_where_it_is_off(tmp_path: Path, here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.service.recheck.look_into", lambda *_: pytest.fail("it read"))
    shutil.rmtree(store(here))
    flip_b = chunk(here, "b")
    flip_b.write_bytes(b"")
    Recheck(here.engine, at_rate(here, 0), "one", threading.Event()).step()
    assert known(here) == {"a": Wrong.GONE, "b": None, "c": None}


def test_names_are_looked_at_now_and_then_whoever_looks(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr("flows.service.recheck.look_for_stores", lambda *_: looks.append(1) or 0)
    for name in ("one", "two", "three"):  # runs of a minute each begin anew
        looker(here, name).step()
    assert len(looks) == 1
    with writing(here.engine) as connection:
        mark(connection, "stores", clock(connection) - 61, {"rest": 60})
    looker(here, "four").step()
    with writing(here.engine) as connection:
        mark(connection, "stores", clock(connection) + 9e6, {"rest": 60})
    looker(here, "five").step()
    assert len(looks) == 3


def test_one_looks_at_a_time(here: Bench) -> None:
    first, second = looker(here, "one"), looker(here, "two")
    turns.take(here.engine, RECHECK, "one")
    assert second._patient_step() == 60.0  # pyright: ignore[reportPrivateUsage]
    assert known(here) == dict.fromkeys(NAMES)
    first.stop.set()
    first()
    assert second._patient_step() < 60.0  # pyright: ignore[reportPrivateUsage]


def test_the_thread_looks_and_ends_with_the_run(here: Bench) -> None:
    flip(here)
    end = time.monotonic() + 60
    with rechecking(here.engine, here.settings, "run", threading.Event()):
        while known(here)["a"] is None:
            assert time.monotonic() < end
            time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "slidemill-recheck"]
    assert turns.is_vacant(here.engine, RECHECK, 240.0)


def test_what_is_found_is_shown_and_made_again(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    digest = hashlib.sha256(chunk(here).read_bytes()).hexdigest()
    flip(here)
    shutil.rmtree(store(here, "b"))
    look_at_all(here)
    assert run(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["stores"]["wrong"] == {"gone": 1, "damaged": 1, "other": 0, "unknown": 0}
    assert (status["stores"]["made"], status["stores"]["looked_into"]) == (3, 3)
    assert {one["path"]: one["store"] for one in status["wrong_stores"]} == {"a.svs": "damaged", "b.svs": "gone"}
    assert run(["list", "--json"]) == 0
    listed = {one["path"]: (one["state"], one["store"]) for one in json.loads(capsys.readouterr().out)["slides"]}
    assert listed == {"a.svs": ("done", "damaged"), "b.svs": ("done", "gone"), "c.svs": ("done", None)}
    assert run(["status"]) == 0
    text = capsys.readouterr().out
    assert "2 stores are not as made (1 gone, 1 damaged): `slidemill audit --found`" in text
    assert run(["list"]) == 0
    assert "b.ome.zarr (gone: it is not there any more)" in capsys.readouterr().out
    assert run(["status", "--check", "--free", "0"]) == 1
    assert "2 stores are not as made" in capsys.readouterr().out
    samples = {
        (one.name, one.labels.get("wrong")): one.value
        for family in LedgerMetrics(here.engine).collect()
        for one in family.samples
    }
    assert samples["slidemill_stores_wrong", "gone"] == samples["slidemill_stores_wrong", "damaged"] == 1.0
    assert samples["slidemill_stores_wrong", "other"] == 0.0
    assert run(["audit", "--found", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["checked"], len(found["wrong"])) == (2, 2), "a quick look alone would not see the bit"
    assert run(["audit", "--found", "--again", "--json"]) == 1
    wrong = json.loads(capsys.readouterr().out)["wrong"]
    told = {one["path"][0]: (one["wrong"], one["queued"], one["aside"]) for one in wrong}
    assert told == {"a": ("damaged", True, "a.ome.zarr.damaged-1"), "b": ("gone", True, None)}
    here.feed()
    for row in here.rows():
        if row.state == State.SUBMITTED:
            assert run_attempt(here.engine, here.settings, Ticket(row.id, row.attempt), Watch()) == State.DONE
    look_at_all(here)
    assert known(here) == dict.fromkeys(NAMES)
    assert hashlib.sha256(chunk(here).read_bytes()).hexdigest() == digest
