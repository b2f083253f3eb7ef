"""A watched folder that vanishes and returns: nothing of it is told to be gone, nothing is converted twice."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.service.attempt import Watch, run_attempt
from tests.flows.parts import Bench, bench, submitted
from tests.made.afi import MADE as AFI

Made = Callable[[str, Callable[[Path], object]], Path]
Away = Callable[[Bench], Any]


@contextmanager
def an_empty_place(here: Bench) -> Generator[None]:
    """As where a share is not mounted."""
    away = here.place / "away"
    here.folder.rename(away)
    here.folder.mkdir()
    yield
    here.folder.rmdir()
    away.rename(here.folder)


@contextmanager
def no_place(here: Bench) -> Generator[None]:
    """As under an automounter."""
    away = here.place / "away"
    here.folder.rename(away)
    yield
    away.rename(here.folder)


@contextmanager
def not_mounted(here: Bench) -> Generator[None]:
    """The real thing: the folder is a mount, which is taken away and comes back."""
    subprocess.run(["umount", "-l", str(here.folder)], check=True)
    yield
    subprocess.run(["mount", "--bind", str(here.place / "share"), str(here.folder)], check=True)


AWAY = [an_empty_place, no_place, not_mounted]


@pytest.fixture
def here(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    found = bench(tmp_path)
    mounted = "away" in request.fixturenames and request.getfixturevalue("away") is not_mounted
    if mounted:
        (tmp_path / "share").mkdir()
        done = subprocess.run(
            ["mount", "--bind", str(tmp_path / "share"), str(found.folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    yield found
    if mounted:
        subprocess.run(["umount", "-l", str(found.folder)], check=True)
    found.close()


def convert(here: Bench, ticket: Ticket, watch: Watch | None = None) -> State | None:
    return run_attempt(here.engine, here.settings, ticket, watch or Watch())


def again(here: Bench) -> Ticket:
    """The next attempt, at once."""
    here.change(here.row("a.svs").id, not_before=0.0)
    assert here.feed() == 1
    row = here.row("a.svs")
    return Ticket(row.id, row.attempt)


@pytest.mark.parametrize("away", AWAY)
def test_while_a_slide_waits(here: Bench, made: Made, away: Away) -> None:
    source = made(*AFI[0][:2])
    shutil.copy(source, here.folder / source.name)
    here.scan(3)
    before = here.row(source.name)
    assert before.state == State.WAITING
    with away(here):
        for _ in range(3):
            assert here.scan().unavailable == ["in"]
        assert here.states() == {source.name: "waiting"}
    here.scan(3)
    assert here.row(source.name).id == before.id
    assert here.states() == {source.name: "waiting"}


@pytest.mark.parametrize("away", AWAY)
def test_while_a_slide_is_queued_and_once_it_is_done(here: Bench, slide: Path, away: Away) -> None:
    ticket = submitted(here, slide)
    with away(here):
        here.scan(2)
        assert convert(here, ticket) == State.FAILED
        row = here.row("a.svs")
        assert (row.failures, row.kind) == (0, "unreadable"), "this says nothing about the slide"
        assert str(here.folder) in (row.reason or "")
    here.scan(2)
    assert here.states() == {"a.svs": "failed"}
    assert convert(here, again(here)) == State.DONE
    with away(here):
        here.scan(3)
    assert here.scan(3).ready == []
    assert here.states() == {"a.svs": "done"}
    assert [path.name for path in (here.place / "out").glob("*.zarr")] == ["a.ome.zarr"]


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("step", ["fingerprint", "plan", "verify"])
def test_while_a_slide_is_converted(here: Bench, slide: Path, away: Away, step: str) -> None:
    ticket, gone = submitted(here, slide), list[Any]()

    def stepping[T](name: str, work: Callable[[], T], /) -> T:
        if name.startswith(step) and not gone:
            gone.append(away(here))
            gone[0].__enter__()
        return work()

    state = convert(here, ticket, Watch(step=stepping))
    assert gone, "the step was taken"
    assert state == State.FAILED, here.row("a.svs")
    assert here.row("a.svs").failures == 0
    here.scan(2)
    gone[0].__exit__(None, None, None)
    here.scan(2)
    assert here.states() == {"a.svs": "failed"}
    assert convert(here, again(here)) == State.DONE
    assert here.states() == {"a.svs": "done"}


def test_what_was_removed_is_gone(here: Bench, made: Made, slide: Path) -> None:
    """The folder is the same, and empty: whoever emptied it meant that."""
    source = made(*AFI[0][:2])
    shutil.copy(source, here.folder / source.name)
    here.scan(3)
    ticket = submitted(here, slide)
    (here.folder / source.name).unlink()
    (here.folder / "a.svs").unlink()
    assert here.scan().unavailable == []
    assert convert(here, ticket) == State.GONE
    assert here.states() == {source.name: "gone", "a.svs": "gone"}


def test_another_disk_with_files_takes_its_place(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "a.svs")
    here.scan()
    here.folder.rename(here.place / "old")
    here.folder.mkdir()
    shutil.copy(slide, here.folder / "b.svs")
    assert here.scan(3).unavailable == []
    assert here.states() == {"b.svs": "ready"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("call", ["scandir", "lstat"])
def test_a_folder_below_that_cannot_be_read(
    here: Bench, made: Made, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    source = made(*AFI[0][:2])
    below = here.folder / "below"
    below.mkdir()
    shutil.copy(source, below / source.name)
    (here.folder / "other.txt").write_text("words")
    here.scan(3)
    name = f"below/{source.name}"
    before, real = here.row(name), getattr(os, call)

    def fails(path: Any, **more: Any) -> Any:
        if os.fspath(path) == str(below):
            raise OSError(number, os.strerror(number))
        return real(path, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        here.scan(3)
    assert here.states() == {name: "waiting"}
    here.scan(3)
    assert here.row(name).id == before.id


def test_files_that_return_with_other_inodes_are_not_converted_twice(here: Bench, slide: Path) -> None:
    """As on shares whose client numbers files anew at each mount."""
    assert convert(here, submitted(here, slide)) == State.DONE
    here.folder.rename(here.place / "old")
    shutil.copytree(here.place / "old", here.folder)
    here.scan(3)
    assert here.feed() == 1
    row = here.row("a.svs")
    assert convert(here, Ticket(row.id, row.attempt)) == State.DUPLICATE
    assert len(list((here.place / "out").glob("*.zarr"))) == 1
