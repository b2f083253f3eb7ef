"""A run that remembers what it saw decides as one that looks at everything each time: at once, or within two minutes where
a file that is decided was written over in place."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from flows.ledger.database import writing
from flows.ledger.outcomes import undecided
from flows.ledger.tables import State
from flows.watching import scan as scanning
from flows.watching import tree
from flows.watching.memory import Memory
from flows.watching.probe import Probed, Prober
from flows.watching.scan import scan
from tests.flows.parts import Bench, bench

TWO_MINUTES = 16
"""Looks, one each ten seconds, and some more to decide what was found."""


@dataclass
class Ticks:
    """The monotonic clock of the trees: ten seconds a look."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Answers:
    """A prober without a process: what ends in .tiff is a slide, one that begins with b is damaged."""

    asked: list[str] = field(default_factory=list)

    def ask(self, _root: Path, path: Path, _meanwhile: Callable[[], None] | None = None) -> Probed:
        self.asked.append(path.name)
        if path.suffix not in (".tiff", ".zarr"):
            return Probed(path, None, (), "unsupported", "no slide", known_suffix=False)
        if path.name.startswith("b"):
            return Probed(path, "made", (), "damaged", "is damaged")
        return Probed(path, "made", (path,))

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    found = Ticks()
    monkeypatch.setattr(tree, "time", found)
    return found


@dataclass
class Pair:
    """One folder, and two ledgers that watch it: with a memory and without."""

    ticks: Ticks
    kept: Bench
    plain: Bench
    memory: Memory = field(default_factory=Memory)

    @property
    def folder(self) -> Path:
        return self.kept.folder

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.ticks.now += 10
            scan(self.kept.engine, self.kept.settings, self.kept.prober, memory=self.memory)
            scan(self.plain.engine, self.plain.settings, self.plain.prober)

    def same(self) -> None:
        found, expected = decisions(self.kept), decisions(self.plain)
        assert found == expected


def decisions(here: Bench) -> tuple[object, object]:
    def of(output: str | None) -> str:
        return (output or "").removeprefix(f"{here.place}/")

    rows = {(row.path, row.generation): (row.state, of(row.output), row.bytes, row.files) for row in here.rows()}
    paths = {row.id: row.path for row in here.rows()}
    with here.engine.connect() as connection:
        found = connection.exec_driver_sql("select path, size, mtime_ns, inode, slide from files").all()
    return rows, {path: (*looks, paths.get(slide, slide)) for path, *looks, slide in found}


@pytest.fixture
def pair(tmp_path: Path, ticks: Ticks) -> Iterator[Pair]:
    benches = list[Bench]()
    for name in ("kept", "plain"):
        place = tmp_path / name
        place.mkdir()
        if benches:
            (place / "in").symlink_to(benches[0].folder)
        benches.append(bench(place))
        benches[-1].prober = cast("Prober", Answers())
    yield Pair(ticks, *benches)
    for one in benches:
        one.close()


def step_aside() -> None:
    """Let the file system's clock go on: kernels read it every four milliseconds."""
    time.sleep(0.012)


def write(path: Path, text: str = "words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    step_aside()
    path.write_text(text)
    return path


def over(path: Path, text: str) -> None:
    """In place: same inode, and the folder's times stay."""
    step_aside()
    with path.open("r+") as file:
        file.truncate(0)
        file.write(text)


# What happens to files that are decided, or not, and is seen at the next look.
def new_file(pair: Pair) -> None:
    write(pair.folder / "day" / "new.tiff")


def replaced(pair: Pair) -> None:
    write(pair.folder / "x.tmp", "others").replace(pair.folder / "day" / "a.tiff")


def removed(pair: Pair) -> None:
    (pair.folder / "day" / "a.tiff").unlink()


def renamed(pair: Pair) -> None:
    (pair.folder / "day" / "a.tiff").rename(pair.folder / "day" / "c.tiff")


def folder_renamed(pair: Pair) -> None:
    (pair.folder / "day").rename(pair.folder / "night")


def folder_removed(pair: Pair) -> None:
    shutil.rmtree(pair.folder / "day")


def folder_removed_early(pair: Pair) -> None:
    """Before what is in it was decided."""
    write(pair.folder / "day" / "sub" / "new.tiff")
    pair.look()
    shutil.rmtree(pair.folder / "day" / "sub")


def folder_returned(pair: Pair) -> None:
    (pair.folder / "day").rename(pair.kept.place / "away")
    pair.look()
    (pair.kept.place / "away").rename(pair.folder / "day")


def times_set_back(pair: Pair) -> None:
    """As copy programs do with the folders that they fill."""
    before = (pair.folder / "day").stat()
    write(pair.folder / "day" / "new.tiff")
    os.utime(pair.folder / "day", ns=(before.st_atime_ns, before.st_mtime_ns))


def store_made(pair: Pair) -> None:
    (pair.folder / "day" / "z.zarr").mkdir()
    pair.look(3)
    write(pair.folder / "day" / "z.zarr" / "zarr.json", "{}")


def reopened(pair: Pair) -> None:
    """An attempt found the slide changed: its files are decided anew."""
    for here in (pair.kept, pair.plain):
        with writing(here.engine) as connection:
            undecided(connection, here.row("day/a.tiff").id)


def forgotten(pair: Pair) -> None:
    """Somebody takes the file out of the ledger."""
    for here in (pair.kept, pair.plain):
        with writing(here.engine) as connection:
            connection.exec_driver_sql("delete from files where path = 'day/a.tiff'")


FOLDERS = [folder_renamed, folder_removed, folder_removed_early, folder_returned, times_set_back, store_made]


@pytest.mark.parametrize("act", [new_file, replaced, removed, renamed, *FOLDERS, reopened, forgotten])
def test_what_is_seen_at_once(pair: Pair, act: Callable[[Pair], None]) -> None:
    for name in ("a.tiff", "b.tiff", "notes.txt"):
        write(pair.folder / "day" / name)
    pair.look(5)
    pair.same()
    act(pair)
    for _ in range(4):
        pair.look()
        pair.same()


def test_a_file_that_is_not_decided_is_looked_at_each_time(pair: Pair) -> None:
    file = write(pair.folder / "day" / "a.tiff")
    for i in range(6):
        over(file, "more " * i)
        pair.look()
        pair.same()
        assert pair.kept.rows() == []
    pair.look(2)
    assert pair.kept.states() == {"day/a.tiff": "ready"}


@pytest.mark.parametrize("name", ["a.tiff", "b.tiff", "notes.txt"])
def test_a_decided_file_written_over_is_seen_within_two_minutes(pair: Pair, name: str) -> None:
    file = write(pair.folder / "day" / name)
    pair.look(5)
    over(file, "something else")
    pair.look(12)
    size = "select size from files where path = ?"
    with pair.kept.engine.connect() as connection:
        assert connection.exec_driver_sql(size, (f"day/{name}",)).scalar_one() == len("something else")
    pair.look(4)
    pair.same()


def test_a_look_where_nothing_changed_lists_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        write(pair.folder / f"{i}" / "a.txt")
    pair.look(4)
    listed, written = list[object](), list[object]()
    really = tree._entries
    monkeypatch.setattr(tree, "_entries", lambda place, before: listed.append(place) or really(place, before))
    monkeypatch.setattr(scanning, "compare", lambda *_: written.append(1))
    pair.ticks.now += 10
    found = scan(pair.kept.engine, pair.kept.settings, pair.kept.prober, memory=pair.memory)
    assert (found.files, listed, written) == (20, [], [])


def test_folders_whose_times_do_not_tell(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system that gives all folders the same times for ever."""
    really = tree._stamp

    def stamp(place: Any) -> Any:
        found = really(place)
        return None if found is None else found._replace(mtime_ns=1, ctime_ns=1)

    monkeypatch.setattr(tree, "_stamp", stamp)
    write(pair.folder / "day" / "a.tiff")
    pair.look(5)
    write(pair.folder / "day" / "new.tiff")
    pair.look(TWO_MINUTES)
    pair.same()
    assert "do not tell" in caplog.text
    write(pair.folder / "day" / "newer.tiff")  # from now on, at once
    pair.look()
    pair.same()


def test_two_changes_within_the_grain_of_the_clock(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes right after a listing has the time of what came before."""
    really = tree._stamp

    def stamp(place: Any) -> Any:
        found = really(place)
        return None if found is None else found._replace(mtime_ns=1, ctime_ns=1)

    monkeypatch.setattr(tree, "_stamp", stamp)
    write(pair.folder / "a.txt")
    pair.look()
    write(pair.folder / "c.txt")
    pair.look(3)
    pair.same()


def test_a_ledger_that_was_away_misses_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    write(pair.folder / "day" / "a.tiff")
    pair.look(4)
    write(pair.folder / "day" / "new.tiff")

    def away(*_: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(scanning, "record", away)
        pair.ticks.now += 10
        with pytest.raises(OSError, match="away"):
            scan(pair.kept.engine, pair.kept.settings, pair.kept.prober, memory=pair.memory)
    pair.look(3)
    assert pair.kept.states() == {"day/a.tiff": "ready", "day/new.tiff": "ready"}


def test_the_folder_itself_goes_and_returns(pair: Pair) -> None:
    write(pair.folder / "day" / "a.tiff")
    pair.look(4)
    away = pair.kept.place / "away"
    pair.folder.rename(away)
    found = scan(pair.kept.engine, pair.kept.settings, pair.kept.prober, memory=pair.memory)
    assert found.unavailable == ["in"]
    write(away / "day" / "new.tiff")
    pair.look(2)
    assert pair.kept.states() == {"day/a.tiff": "ready"}
    pair.folder.mkdir()  # as the place of a share that is not there is an empty folder
    pair.look(2)
    pair.same()
    pair.folder.rmdir()
    away.rename(pair.folder)
    pair.look(3)
    pair.same()
    assert pair.kept.states() == {"day/a.tiff": "ready", "day/new.tiff": "ready"}


def test_another_scan_of_the_same_ledger(pair: Pair) -> None:
    """What it finds first is not taken back, nor found twice."""
    other = Memory()
    for i in range(12):
        write(pair.folder / "day" / f"{i}.tiff")
        pair.look()
        scan(pair.kept.engine, pair.kept.settings, pair.kept.prober, memory=other)
    pair.look(3)
    assert pair.kept.states() == {f"day/{i}.tiff": "ready" for i in range(12)}


@pytest.mark.parametrize("before", [None, "words"], ids=["new", "changed"])
def test_another_scan_between_the_look_and_its_record(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """It has found, recorded and decided everything that this one is about to record."""
    if before is not None:
        write(pair.folder / "a.tiff", before)
        pair.look(4)
    write(pair.folder / "x.tmp", "something else").replace(pair.folder / "a.tiff")
    really, once = scanning.compare, [True]

    def compare(*arguments: Any) -> Any:
        found = really(*arguments)
        if once[0]:
            once[0] = False
            for _ in range(4):
                scan(pair.kept.engine, pair.kept.settings, pair.kept.prober)
        return found

    monkeypatch.setattr(scanning, "compare", compare)
    pair.look(4)
    pair.same()


class Storm:
    """Random things that happen to a folder."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair, self.random = pair, random.Random(seed)
        self.count = 0
        self.in_place = False

    def step(self) -> None:
        self.in_place = False
        for _ in range(self.random.randint(0, 3)):
            step_aside()
            acts = (self.new, self.new, self.over, self.remove, self.move, self.folder, self.set_back, self.ledger)
            self.random.choice(acts)()

    def _files(self) -> list[Path]:
        return sorted(path for path in self.pair.folder.rglob("*") if path.is_file())

    def _folders(self) -> list[Path]:
        return [self.pair.folder, *sorted(path for path in self.pair.folder.rglob("*") if path.is_dir())]

    def new(self) -> None:
        self.count += 1
        name = self.random.choice(["a{}.tiff", "b{}.tiff", "c{}.txt", "d{}.zarr/zarr.json", "e{}.zarr/f", "g{}/h.tiff"])
        write(self.random.choice(self._folders()) / name.format(self.count), "x" * self.random.randint(1, 9))

    def over(self) -> None:
        if files := self._files():
            self.in_place = True
            over(self.random.choice(files), "y" * self.random.randint(10, 99))

    def remove(self) -> None:
        if files := self._files():
            self.random.choice(files).unlink()
            self.in_place = True  # the metadata of a store are seen by turns

    def move(self) -> None:
        if files := self._files():
            self.count += 1
            file = self.random.choice(files)
            file.rename(self.random.choice(self._folders()) / f"m{self.count}{file.suffix}")
            self.in_place = True

    def folder(self) -> None:
        if len(folders := self._folders()) > 1:
            self.count += 1
            found = self.random.choice(folders[1:])
            if self.random.random() < 0.3:
                shutil.rmtree(found)
            else:
                found.rename(self.pair.folder / f"n{self.count}{found.suffix}")
            self.in_place = True

    def set_back(self) -> None:
        found = self.random.choice(self._folders())
        before = found.stat()
        self.count += 1
        write(found / f"s{self.count}.tiff")
        os.utime(found, ns=(before.st_atime_ns, before.st_mtime_ns))

    def ledger(self) -> None:
        """An attempt says that a slide's files are others."""
        rows = [row for row in self.pair.kept.rows() if row.state == State.READY]
        if rows:
            path = self.random.choice(rows).path
            for here in (self.pair.kept, self.pair.plain):
                with writing(here.engine) as connection:
                    undecided(connection, here.row(path).id)


def storm(pair: Pair, seed: int, steps: int) -> None:
    found = Storm(pair, seed)
    for _ in range(steps):
        found.step()
        pair.look(TWO_MINUTES if found.in_place else found.random.randint(1, 4))
        if found.in_place:
            pair.look(2)
        pair.same()


@pytest.mark.parametrize("seed", range(3))
def test_the_same_decisions(pair: Pair, seed: int) -> None:
    storm(pair, seed, 6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 130))
def test_the_same_decisions_through_long_storms(pair: Pair, seed: int) -> None:
    storm(pair, seed, 25)
