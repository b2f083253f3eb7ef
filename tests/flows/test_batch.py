"""Decisions are written many at a time; what is not written yet when a pass ends early is decided by the next one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from flows.ledger.tables import State
from flows.watching import asking, batch
from flows.watching.batch import Batch
from flows.watching.probe import Prober
from tests.flows.parts import Bench, bench

COUNT = 40


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path)
    yield found
    found.close()


@pytest.fixture
def many(here: Bench, slide: Path) -> Bench:
    """Slides that have been seen once, and an annotation of each."""
    for i in range(COUNT):
        shutil.copy(slide, here.folder / f"{i:02d}.svs")
        (here.folder / f"{i:02d}.xml").write_text("<Annotations/>")
    here.scan()
    return here


def commits(engine: Engine) -> list[int]:
    """Counts the transactions that write, from now on."""
    found = [0]

    def count(connection: Connection) -> None:
        found[0] += bool(connection.get_execution_options().get("writes"))

    event.listen(engine, "commit", count)
    return found


def test_slides_that_arrive_together_are_written_together(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_LONGEST_S", 60.0)  # however busy the machine is
    written = commits(many.engine)
    found = many.scan()
    assert (len(found.ready), found.waiting, found.unasked) == (COUNT, 0, 0)
    assert written[0] <= 6, "begin and end of the pass, what differs, two batches, what is no slide"
    assert set(many.states().values()) == {"ready"}


def test_nothing_waits_for_long(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, pending = list[int](), Batch(here.engine)
    pending.add(lambda _: seen.append(1))
    assert seen == []
    monkeypatch.setattr(batch, "_LONGEST_S", 0.0)
    pending.add(lambda _: seen.append(2))
    assert seen == [1, 2]


@pytest.mark.parametrize("after", [0, 5, COUNT + 20])
def test_a_pass_that_ends_early_loses_nothing(many: Bench, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """As where the process is killed: what was not written is decided again, what was is not."""
    really, asked = Prober.ask, [0]

    def ask(*arguments: Any) -> Any:
        asked[0] += 1
        if asked[0] > after:
            raise KeyboardInterrupt
        return really(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Prober, "ask", ask)
        with pytest.raises(KeyboardInterrupt):
            many.scan()
    before = {row.id for row in many.rows()}
    many.scan()
    assert set(many.states()) == {f"{i:02d}.svs" for i in range(COUNT)}
    assert set(many.states().values()) == {"ready"}
    assert before <= {row.id for row in many.rows()}


def test_a_ledger_that_is_away_loses_nothing(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: Batch) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "flush", away)
        with pytest.raises(OSError, match="away"):
            many.scan()
    assert len(many.scan().ready) == COUNT


def test_what_another_scan_decided_meanwhile_stays(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process decides everything between the answers and their transaction."""
    really, other = Batch.flush, Bench(many.place, many.settings, many.engine, Prober(60))
    once = [True]

    def flush(self: Batch) -> None:
        if once[0]:
            once[0] = False
            other.scan()
        really(self)

    monkeypatch.setattr(Batch, "flush", flush)
    assert many.scan().ready == []
    assert set(many.states()) == {f"{i:02d}.svs" for i in range(COUNT)}
    other.close()


def test_what_is_beside_an_ended_slide_counts_even_where_a_pass_ends_early(
    here: Bench, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slide is looked at again before the file that came is decided."""
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    here.change(here.row("a.svs").id, state=State.QUARANTINED, signature="of other files")
    (here.folder / "a.txt").write_text("more of it")
    here.scan()

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(asking, "look_again", broken)
        with pytest.raises(KeyboardInterrupt):
            here.scan()
    here.scan(4)
    assert here.states() == {"a.svs": "superseded", "a.svs#1": "ready"}
