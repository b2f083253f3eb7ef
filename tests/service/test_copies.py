"""Copies of slides: which one is converted, what becomes of the others, and of all of them where a store goes away."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.ledger import attempts
from flows.ledger.attempts import Fenced, Ticket
from flows.ledger.tables import State
from flows.service.attempt import Watch, run_attempt
from flows.service.copies import promote_copies
from flows.service.presence import look_for_stores
from flows.service.process import this_process
from flows.service.reconcile import reconcile
from tests.flows.parts import Bench, bench
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]
REST = "[limits]\nattempts = 2\nsmall_bytes = 0\n"


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide."""
    return made(SVS[0][0], SVS[0][1])


@pytest.fixture
def here(tmp_path: Path, any_ledger: str) -> Iterator[Bench]:
    found = bench(tmp_path, rest=any_ledger + REST)
    yield found
    found.close()


@pytest.fixture
def moving(tmp_path: Path, any_ledger: str) -> Iterator[Bench]:
    """A bench whose originals are moved."""
    found = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/archive"', rest=any_ledger + REST)
    yield found
    found.close()


def put(here: Bench, slide: Path, *names: str) -> None:
    """Copies of a slide, found one after the other."""
    for name in names:
        (here.folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(slide, here.folder / name)
        here.scan(2)


def tickets(here: Bench) -> dict[str, Ticket]:
    here.feed()
    return {row.path: Ticket(row.id, row.attempt) for row in here.rows() if row.state == State.SUBMITTED}


def convert(here: Bench, watch: Watch | None = None) -> dict[str, str]:
    """Convert whatever is due, the first that is handed out first; states afterwards."""
    while handed := tickets(here):
        first = next(slide for _, slide in here.dispatcher.queues if slide in {one.slide for one in handed.values()})
        ticket = next(one for one in handed.values() if one.slide == first)
        run_attempt(here.engine, here.settings, ticket, watch or Watch())
    return here.states()


def stores(here: Bench) -> list[str]:
    return sorted(path.relative_to(here.place / "out").as_posix() for path in (here.place / "out").rglob("*.ome.zarr"))


def removed(here: Bench, name: str) -> None:
    """A store is removed, and the service finds out."""
    shutil.rmtree(here.place / "out" / name)
    look_for_stores(here.engine, here.settings)
    reconcile(here.engine, here.settings, here.dispatcher)


@pytest.mark.parametrize("order", [("a.svs", "b.svs", "c.svs"), ("c.svs", "b.svs", "a.svs"), ("b.svs", "c.svs", "a.svs")])
def test_the_copy_that_was_seen_first_is_converted_whichever_begins_first(
    here: Bench, slide: Path, order: tuple[str, ...]
) -> None:
    """All three are handed out at a time, and run in any order."""
    put(here, slide, "b.svs", "c.svs", "a.svs")
    handed, found = tickets(here), dict[str, State | None]()

    def others(name: str, work: Callable[[], object]) -> object:
        if name == "convert":  # the first of them has just seen that it is no copy
            for other in order[1:]:
                found[other] = run_attempt(here.engine, here.settings, handed[other], Watch())
        return work()

    def step(name: str, work: Callable[[], object]) -> object:
        return others("convert", work) if name == "plan" else work()

    run_attempt(here.engine, here.settings, handed[order[0]], Watch(step=step))  # type: ignore[arg-type]
    assert here.states() == {"a.svs": "duplicate", "b.svs": "done", "c.svs": "duplicate"}
    assert {row.same_as for row in here.rows() if row.state == State.DUPLICATE} == {here.row("b.svs").id}
    assert stores(here) == ["b.ome.zarr"]
    assert not list((here.place / "out").glob(".stage/*"))


def test_copies_that_one_look_found_go_by_their_names(here: Bench, slide: Path) -> None:
    for name in ("c.svs", "a.svs", "b.svs"):
        shutil.copy(slide, here.folder / name)
    here.scan(2)
    seen = {row.seen for row in here.rows()}
    for row in here.rows():
        here.change(row.id, seen=min(seen), ready=min(seen))
    assert convert(here) == {"a.svs": "done", "b.svs": "duplicate", "c.svs": "duplicate"}


def test_what_is_published_stays_though_another_was_seen_before(here: Bench, slide: Path) -> None:
    put(here, slide, "a.svs", "b.svs")
    handed = tickets(here)
    assert run_attempt(here.engine, here.settings, handed["b.svs"], Watch()) == State.DONE
    assert run_attempt(here.engine, here.settings, handed["a.svs"], Watch()) == State.DUPLICATE
    assert stores(here) == ["b.ome.zarr"]


def test_who_is_displaced_does_not_publish_and_is_not_tried_again(here: Bench, slide: Path) -> None:
    put(here, slide, "a.svs", "b.svs")
    handed = tickets(here)
    first, second = handed["a.svs"], handed["b.svs"]
    for ticket in (second, first):
        attempts.start(here.engine, ticket, this_process())
        assert attempts.claim_content(here.engine, ticket, "sha256:0", "x") is None
    assert not attempts.beat(here.engine, second, 0.5)
    with pytest.raises(Fenced), attempts.publishing(here.engine, second):
        pytest.fail("it went through the fence")
    assert attempts.claim_content(here.engine, first, "sha256:0", "x") is None
    assert here.states() == {"a.svs": "running", "b.svs": "duplicate"}


def test_a_copy_whose_first_store_is_removed_later_is_converted(here: Bench, slide: Path) -> None:
    put(here, slide, "a.svs", "b.svs", "c.svs")
    assert convert(here) == {"a.svs": "done", "b.svs": "duplicate", "c.svs": "duplicate"}
    removed(here, "a.ome.zarr")
    assert here.states() == {"a.svs": "done", "b.svs": "ready", "c.svs": "duplicate"}, "one of them, the first seen"
    assert convert(here)["b.svs"] == "done"
    assert here.row("c.svs").same_as == here.row("b.svs").id
    assert promote_copies(here.engine) == []
    removed(here, "b.ome.zarr")
    assert convert(here) == {"a.svs": "done", "b.svs": "done", "c.svs": "done"}
    assert stores(here) == ["c.ome.zarr"]


def test_a_store_that_is_removed_while_the_service_is_stopped(here: Bench, slide: Path) -> None:
    put(here, slide, "a.svs", "b.svs")
    convert(here)
    here.engine.dispose()  # nobody looks
    shutil.rmtree(here.place / "out" / "a.ome.zarr")
    look_for_stores(here.engine, here.settings)
    reconcile(here.engine, here.settings, here.dispatcher)
    assert convert(here)["b.svs"] == "done"


@pytest.mark.parametrize("how", ["away", "emptied"])
def test_a_folder_that_is_not_mounted_converts_no_copies(here: Bench, slide: Path, how: str) -> None:
    put(here, slide, "a.svs", "b.svs")
    convert(here)
    (here.place / "out").rename(here.place / "elsewhere")
    if how == "emptied":
        (here.place / "out").mkdir()  # where a disk is mounted otherwise
    for _ in range(2):
        assert look_for_stores(here.engine, here.settings) == 1
        reconcile(here.engine, here.settings, here.dispatcher)
    put(here, slide, "c.svs")
    assert convert(here) == {"a.svs": "done", "b.svs": "duplicate", "c.svs": "duplicate"}
    if how == "emptied":
        (here.place / "out").rmdir()
    (here.place / "elsewhere").rename(here.place / "out")
    assert look_for_stores(here.engine, here.settings) == 0


def test_a_copy_of_what_failed_for_good_is_converted(here: Bench, slide: Path) -> None:
    put(here, slide, "a.svs", "b.svs", "c.svs")
    convert(here)
    here.change(here.row("a.svs").id, state=State.QUARANTINED)
    reconcile(here.engine, here.settings, here.dispatcher)
    assert convert(here) == {"a.svs": "quarantined", "b.svs": "done", "c.svs": "duplicate"}


class TestMoved:
    """With `original = "move"`."""

    def test_copies_are_moved_under_their_own_names(self, moving: Bench, slide: Path) -> None:
        put(moving, slide, "a.svs", "day/b.svs")
        assert convert(moving) == {"a.svs": "done", "day/b.svs": "duplicate"}
        archive = moving.place / "archive"
        assert {path.relative_to(archive).as_posix() for path in archive.rglob("*.svs")} == {"a.svs", "day/b.svs"}
        assert not list(moving.folder.rglob("*.svs"))
        assert {row.put_away for row in moving.rows()} == {str(archive)}

    def test_a_copy_waits_until_the_first_is_done(self, moving: Bench, slide: Path) -> None:
        put(moving, slide, "a.svs", "b.svs")
        handed = tickets(moving)

        def step(name: str, work: Callable[[], object]) -> object:
            if name == "plan":
                assert run_attempt(moving.engine, moving.settings, handed["b.svs"], Watch()) == State.DUPLICATE
                reconcile(moving.engine, moving.settings, moving.dispatcher)
                assert (moving.folder / "b.svs").exists(), "the first may still fail"
            return work()

        assert run_attempt(moving.engine, moving.settings, handed["a.svs"], Watch(step=step)) == State.DONE  # type: ignore[arg-type]
        assert (moving.folder / "b.svs").exists()
        assert reconcile(moving.engine, moving.settings, moving.dispatcher).put_away == [handed["b.svs"].slide]
        assert (moving.place / "archive" / "b.svs").read_bytes() == slide.read_bytes()
        assert not (moving.folder / "b.svs").exists()
        assert reconcile(moving.engine, moving.settings, moving.dispatcher).put_away == []

    def test_a_moved_copy_is_converted_where_the_first_store_is_removed(self, moving: Bench, slide: Path) -> None:
        put(moving, slide, "a.svs", "b.svs")
        convert(moving)
        removed(moving, "a.ome.zarr")
        assert convert(moving) == {"a.svs": "done", "b.svs": "done"}
        assert stores(moving) == ["b.ome.zarr"]
        assert (moving.place / "archive" / "b.svs").exists()
        assert not list(moving.folder.rglob("*.svs"))
        moving.scan(2)
        assert len(moving.rows()) == 2

    def test_what_a_process_left_when_it_ended(self, moving: Bench, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ended between the end of the conversion and the move, or in the middle of that."""
        put(moving, slide, "a.svs", "b.svs")
        with monkeypatch.context() as patch:
            patch.setattr("flows.service.attempt.put_away_slide", lambda *_: False)
            convert(moving)
        assert (moving.folder / "a.svs").exists()
        (moving.place / "archive").mkdir()
        (moving.place / "archive" / "a.svs").hardlink_to(moving.folder / "a.svs")
        (moving.folder / "b.svs").rename(moving.place / "archive" / "b.svs")
        assert len(reconcile(moving.engine, moving.settings, moving.dispatcher).put_away) == 2
        assert not list(moving.folder.rglob("*.svs"))
        assert sorted(path.name for path in (moving.place / "archive").iterdir()) == ["a.svs", "b.svs"]

    def test_a_copy_that_came_again_stays_and_says_why(self, moving: Bench, slide: Path) -> None:
        put(moving, slide, "a.svs")
        convert(moving)
        put(moving, slide, "a.svs")
        assert convert(moving) == {"a.svs": "done", "a.svs#1": "duplicate"}
        assert (moving.folder / "a.svs").exists()
        assert "stays where it is: File exists" in (moving.row("a.svs").reason or "")
        assert "same content" in (moving.row("a.svs").reason or "")
        assert reconcile(moving.engine, moving.settings, moving.dispatcher).put_away == []
