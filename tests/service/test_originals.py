"""Originals that are deleted, renamed or replaced, before, while and after they are converted, also while nobody looks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.service.attempt import Watch, run_attempt
from flows.service.originals import put_away
from flows.service.reconcile import reconcile
from flows.watching.look import look
from tests.flows.parts import Bench, bench, touch
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]
Act = Callable[[Path, Path], object]


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide."""
    return made(SVS[0][0], SVS[0][1])


@pytest.fixture
def here(tmp_path: Path, any_ledger: str) -> Iterator[Bench]:
    found = bench(tmp_path, rest=any_ledger)
    yield found
    found.close()


@pytest.fixture
def moving(tmp_path: Path, any_ledger: str) -> Iterator[Bench]:
    found = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/archive"', rest=any_ledger)
    yield found
    found.close()


def put(folder: Path, slide: Path) -> None:
    """Two slides whose contents differ."""
    shutil.copy(slide, folder / "a.svs")
    (folder / "b.svs").write_bytes(slide.read_bytes() + b"b")


def convert(here: Bench, watch: Watch | None = None) -> None:
    here.scan(3)
    while here.feed() or any(row.state == State.SUBMITTED for row in here.rows()):
        for row in here.rows():
            if row.state == State.SUBMITTED:
                run_attempt(here.engine, here.settings, Ticket(row.id, row.attempt), watch or Watch())
        here.scan(3)


def stores(here: Bench) -> dict[str, str]:
    """Every store with a hash of all that is in it; and nothing else lies about."""
    out = here.place / "out"
    found = {store.name: hashlib.sha256() for store in sorted(out.iterdir()) if store.name != ".stage"}
    assert not list(out.glob(".stage/*"))
    for name, digest in found.items():
        for path in sorted((out / name).rglob("*")):
            digest.update(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
    return {name: digest.hexdigest() for name, digest in found.items()}


def fingerprints(here: Bench) -> dict[str, str]:
    """Of slides that are done: SHA-256 of the file they were, as this test knows it, by store."""
    return {Path(str(row.output)).name: str(row.fingerprint) for row in here.rows() if row.state == State.DONE}


def copied_back(folder: Path, slide: Path) -> None:
    (folder / "a.svs").unlink()
    shutil.copy(slide, folder / "a.svs")


def replaced(folder: Path, slide: Path) -> None:
    """By a file of another content, as a program does that writes beside and renames."""
    (folder / "new.part").write_bytes(slide.read_bytes() + b"other")
    (folder / "new.part").rename(folder / "a.svs")


def overwritten(folder: Path, slide: Path) -> None:
    (folder / "a.svs").write_bytes(slide.read_bytes() + b"other")
    touch(folder / "a.svs")


def swapped(folder: Path, _slide: Path) -> None:
    (folder / "a.svs").rename(folder / "x.part")
    (folder / "b.svs").rename(folder / "a.svs")
    (folder / "x.part").rename(folder / "b.svs")


def renamed_over(folder: Path, _slide: Path) -> None:
    (folder / "b.svs").rename(folder / "a.svs")


def folder_made(folder: Path, _slide: Path) -> None:
    (folder / "day").mkdir()
    (folder / "a.svs").rename(folder / "day" / "a.svs")


BOTH = {"a.svs": "done", "b.svs": "done"}
AFTER: dict[str, tuple[Act, dict[str, str], int]] = {
    "deleted": (lambda folder, _: (folder / "a.svs").unlink(), {}, 0),
    "deleted and copied back": (copied_back, {"a.svs#1": "duplicate"}, 0),
    "touched": (lambda folder, _: touch(folder / "a.svs"), {"a.svs#1": "duplicate"}, 0),
    "renamed": (lambda folder, _: (folder / "a.svs").rename(folder / "z.svs"), {"z.svs": "duplicate"}, 0),
    "moved into a folder": (folder_made, {"day/a.svs": "duplicate"}, 0),
    "replaced": (replaced, {"a.svs#1": "done"}, 1),
    "overwritten": (overwritten, {"a.svs#1": "done"}, 1),
    "swapped": (swapped, {"a.svs#1": "duplicate", "b.svs#1": "duplicate"}, 0),
    "renamed over another": (renamed_over, {"a.svs#1": "duplicate"}, 0),
}


@pytest.mark.parametrize("what", AFTER)
def test_after_its_conversion(here: Bench, slide: Path, what: str) -> None:
    """Stores that are there stay byte for byte; only another content gives another store, and the first row says so."""
    put(here.folder, slide)
    convert(here)
    before = stores(here)
    act, more, new = AFTER[what]
    act(here.folder, slide)
    convert(here)
    assert here.states() == BOTH | more
    after = stores(here)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == ({"a-2.ome.zarr"} if new else set())
    first = next(row for row in here.rows() if row.path == "a.svs" and row.generation == 0)
    assert ("a slide of its own" in (first.reason or "")) == ("a.svs#1" in more)
    convert(here)
    assert here.states() == BOTH | more, "it has come to its end"


BEFORE: dict[str, tuple[Act, dict[str, str]]] = {
    "deleted": (lambda folder, _: (folder / "a.svs").unlink(), {"a.svs": "gone", "b.svs": "done"}),
    "renamed": (lambda folder, _: (folder / "a.svs").rename(folder / "z.svs"), {"a.svs": "gone", "z.svs": "done"}),
    "replaced": (replaced, {"a.svs": "superseded", "a.svs#1": "done"}),
    "overwritten": (overwritten, {"a.svs": "superseded", "a.svs#1": "done"}),
    "deleted and copied back": (copied_back, {"a.svs": "superseded", "a.svs#1": "done"}),
    "renamed over another": (renamed_over, {"a.svs": "superseded", "a.svs#1": "done", "b.svs": "gone"}),
}


@pytest.mark.parametrize("what", BEFORE)
@pytest.mark.parametrize("when", ["found", "handed out", "handed out, nobody looks", "converting"])
def test_before_and_while_it_is_converted(here: Bench, slide: Path, what: str, when: str) -> None:
    """What is there in the end is converted once, under its name; nothing of what went is published."""
    put(here.folder, slide)
    here.scan(2)
    act, said = BEFORE[what]
    if when.startswith("handed out"):
        here.feed()
    watch = Watch()
    if when == "converting":
        acted: list[bool] = []

        def step(name: str, work: Callable[[], object]) -> object:
            if name == "verify" and not acted:
                acted.append(True)
                act(here.folder, slide)
            return work()

        here.feed()
        ticket = next(Ticket(row.id, row.attempt) for row in here.rows() if row.path == "a.svs")
        run_attempt(here.engine, here.settings, ticket, Watch(step=step))  # type: ignore[arg-type]
    else:
        act(here.folder, slide)
        if when != "handed out, nobody looks":
            here.scan(2)
    convert(here, watch)
    states = {path: state for path, state in here.states().items() if state not in ("gone", "superseded")}
    there = sorted(path.name for path in here.folder.rglob("*.svs"))
    assert sorted(path.partition("#")[0] for path, state in states.items() if state == "done") == there
    assert set(states.values()) == {"done"}
    assert {path for path, state in said.items() if state == "done"} <= set(states) | {"b.svs"}
    wanted = {hashlib.sha256(path.read_bytes()).hexdigest() for path in here.folder.rglob("*.svs")}
    assert len(fingerprints(here)) == len(wanted)
    names = {f"{Path(name).stem}.ome.zarr" for name in there}
    if when.startswith("handed out"):  # a name that an attempt is bound to is not given away
        names = {name if name in stores(here) else name.replace(".", "-2.", 1) for name in names}
    assert set(stores(here)) == names


class TestMoved:
    """With `original = "move"`."""

    def test_what_comes_to_its_name_before_the_move_is_not_moved(self, moving: Bench, slide: Path) -> None:
        put(moving.folder, slide)
        moving.scan(2)
        moving.feed()
        ticket = next(Ticket(row.id, row.attempt) for row in moving.rows() if row.path == "a.svs")

        def step(name: str, work: Callable[[], object]) -> object:
            done = work()
            if name == "publish":
                replaced(moving.folder, slide)
            return done

        assert run_attempt(moving.engine, moving.settings, ticket, Watch(step=step)) == State.DONE  # type: ignore[arg-type]
        other = slide.read_bytes() + b"other"
        assert (moving.folder / "a.svs").read_bytes() == other
        assert not (moving.place / "archive" / "a.svs").exists()
        assert "another file now" in (moving.row("a.svs").reason or "")
        convert(moving)
        assert moving.row("a.svs").state == State.DONE
        assert (moving.place / "archive" / "a.svs").read_bytes() == other

    def test_another_one_of_the_same_name(self, moving: Bench, slide: Path) -> None:
        """It is converted; it stays in the folder, since the name is taken where it would go."""
        put(moving.folder, slide)
        convert(moving)
        (moving.folder / "a.svs").write_bytes(slide.read_bytes() + b"other")
        convert(moving)
        assert moving.states() == BOTH | {"a.svs#1": "done"}
        assert set(stores(moving)) == {"a.ome.zarr", "a-2.ome.zarr", "b.ome.zarr"}
        assert (moving.place / "archive" / "a.svs").read_bytes() == slide.read_bytes()
        assert (moving.folder / "a.svs").read_bytes() == slide.read_bytes() + b"other"
        assert "stays where it is" in (moving.row("a.svs").reason or "")

    def test_what_was_moved_is_taken_away(self, moving: Bench, slide: Path) -> None:
        put(moving.folder, slide)
        convert(moving)
        shutil.rmtree(moving.place / "archive")
        convert(moving)
        reconcile(moving.engine, moving.settings, moving.dispatcher)
        assert moving.states() == BOTH

    @pytest.mark.parametrize("third", [False, True])
    def test_what_comes_to_its_name_during_the_move(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, third: bool
    ) -> None:
        """No file is deleted, whatever comes between."""
        source, target = tmp_path / "in" / "a.svs", tmp_path / "archive" / "a.svs"
        source.parent.mkdir()
        source.write_text("first")
        seen, really = look(source.stat()), Path.rename

        def rename(path: Path, to: Path) -> Path:
            if path == source:
                source.with_name("x").write_text("second")
                source.with_name("x").replace(source)
                found = really(path, to)
                if third:
                    source.write_text("third")
                return found
            return really(path, to)

        monkeypatch.setattr(Path, "rename", rename)
        put_away({source: seen}, source.parent, target.parent)
        assert target.read_text() == "first"
        left = sorted(path.read_text() for path in source.parent.iterdir())
        assert left == (["second", "third"] if third else ["second"])
        assert source.read_text() == ("third" if third else "second")
