"""Finding slides: when one is complete, what belongs to it, what is none, and what becomes of one that changes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers import open_slide
from flows.ledger.tables import State
from flows.watching import probe
from flows.watching.look import as_path, as_text
from flows.watching.probe import Prober, ReaderCrashed
from flows.watching.tree import Tree
from tests.flows.parts import Bench, bench, touch
from tests.made.afi import MADE as AFI
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """Makes a bench whose folder has more settings."""
    made: list[Bench] = []

    def maker(folder: str = "") -> Bench:
        made.append(bench(tmp_path, folder=folder))
        return made[-1]

    yield maker
    for one in made:
        one.close()


@pytest.fixture
def here(make: Callable[[str], Bench]) -> Bench:
    """A bench with the usual settings."""
    return make("")


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide."""
    name, maker, _ = SVS[0]
    return made(name, maker)


def companions(index: Path) -> list[Path]:
    """The files a made slide needs beside its index."""
    with open_slide(index) as opened:
        return [file for file in opened.files if file != index]


def test_a_slide_is_found_once(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "a.svs")
    assert here.scan().ready == []  # seen once: it may still be growing
    assert len(here.scan().ready) == 1
    assert here.scan(3).ready == []
    row = here.row("a.svs")
    assert (row.state, row.files, row.bytes, row.driver) == (State.READY, 1, slide.stat().st_size, "aperio")
    assert row.output == f"{here.place}/out/a.ome.zarr"


def test_a_file_that_grows_is_not_taken(make: Callable[[str], Bench], slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, data, now = make("quiet_seconds = 60"), slide.read_bytes(), [time.time()]
    monkeypatch.setattr("flows.watching.scan.clock", lambda _: now[0])
    for i in range(1, 6):
        (here.folder / "a.svs").write_bytes(data[: len(data) * i // 5])
        assert here.scan().ready == []
        now[0] += 100
    (here.folder / "a.svs").write_bytes(data + b" ")
    for _ in range(3):
        assert here.scan().ready == []
        now[0] += 25  # seen as it is now 0, 25 and 50 seconds ago
    assert len(here.scan().ready) == 1


def test_a_marker_is_waited_for(make: Callable[[str], Bench], slide: Path) -> None:
    here = make('marker = "{name}.done"')
    shutil.copy(slide, here.folder / "a.svs")
    assert here.scan(3).ready == []
    (here.folder / "a.svs.done").touch()
    here.scan()
    assert here.states() == {"a.svs": "ready"}


def test_what_is_no_slide_is_left_alone(here: Bench, slide: Path) -> None:
    for name in ("notes.txt", ".hidden.svs", "a.svs.part"):
        (here.folder / name).write_bytes(b"some words")
    (here.folder / "link.svs").symlink_to(slide)
    os.mkfifo(here.folder / "pipe.svs")
    here.scan(3)
    assert here.states() == {}


def test_a_broken_slide_goes_to_quarantine_with_its_reason(here: Bench, slide: Path) -> None:
    (here.folder / "a.svs").write_bytes(slide.read_bytes()[:9000])
    found = here.scan(2)
    row = here.row("a.svs")
    assert found.refused == [row.id]
    assert (row.state, row.kind) == (State.QUARANTINED, "damaged")
    assert "a.svs" in (row.reason or "")


def test_a_broken_slide_that_is_copied_again_is_taken(here: Bench, slide: Path) -> None:
    (here.folder / "a.svs").write_bytes(slide.read_bytes()[:9000])
    here.scan(2)
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    assert here.states() == {"a.svs": "superseded", "a.svs#1": "ready"}
    assert (here.row("a.svs").output or "").endswith("/out/a.ome.zarr"), "nobody else has, or had, a store of that name"


def test_companions_belong_to_their_slide(here: Bench, made: Made) -> None:
    name, maker, _ = AFI[0]
    source = made(name, maker)
    for file in companions(source):
        shutil.copy(file, here.folder / file.name)
    shutil.copy(source, here.folder / source.name)
    here.scan(3)
    rows = {row.path: row for row in here.rows()}
    assert list(rows) == [source.name]
    assert rows[source.name].files > 1


def test_companions_that_come_last_are_waited_for(here: Bench, made: Made) -> None:
    name, maker, _ = AFI[0]
    source = made(name, maker)
    shutil.copy(source, here.folder / source.name)
    assert here.scan(3).waiting == 1
    row = here.row(source.name)
    assert (row.state, row.kind) == (State.WAITING, "incomplete")
    for file in companions(source):
        shutil.copy(file, here.folder / file.name)
        here.scan(3)
    again = here.row(source.name)
    assert (again.id, again.state) == (row.id, State.READY)


def test_a_slide_that_changes_before_it_is_converted_is_looked_at_anew(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    touch(here.folder / "a.svs")
    here.scan(2)
    assert here.states() == {"a.svs": "superseded", "a.svs#1": "ready"}


def test_a_converted_slide_that_changes_is_a_new_one_beside_it(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    here.change(here.row("a.svs").id, state=State.DONE)
    touch(here.folder / "a.svs")
    here.scan(2)
    assert here.states() == {"a.svs": "done", "a.svs#1": "ready"}
    outputs = [row.output for row in here.rows()]
    assert len(set(outputs)) == 2


def test_a_slide_that_goes_away_while_it_waits(here: Bench, made: Made) -> None:
    name, maker, _ = AFI[0]
    source = made(name, maker)
    shutil.copy(source, here.folder / source.name)
    here.scan(2)
    (here.folder / source.name).unlink()
    here.scan()
    assert here.states() == {source.name: "gone"}


def test_a_folder_that_is_away_changes_nothing(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    here.folder.rename(here.place / "away")
    assert here.scan().unavailable == ["in"]
    assert here.states() == {"a.svs": "ready"}


def test_names_that_collide_get_outputs_of_their_own(here: Bench, slide: Path) -> None:
    for name in ("a.svs", "a.tif", "a.tiff"):
        shutil.copy(slide, here.folder / name)
    here.scan(2)
    outputs = sorted(Path(row.output or "").name for row in here.rows())
    assert outputs == ["a.ome.zarr", "a.tif.ome.zarr", "a.tiff.ome.zarr"]


def test_patterns_and_exclusions(make: Callable[[str], Bench], slide: Path) -> None:
    here = make('pattern = ["*.svs"]\nexclude = ["old/*"]')
    (here.folder / "old").mkdir()
    for name in ("a.svs", "b.tif", "old/c.svs"):
        shutil.copy(slide, here.folder / name)
    here.scan(2)
    assert here.states() == {"a.svs": "ready"}


def test_names_that_are_no_text(here: Bench, slide: Path) -> None:
    name = os.fsdecode(b"caf\xe9.svs")
    shutil.copy(slide, here.folder / name)
    here.scan(2)
    row = here.rows()[0]
    assert row.state == State.READY
    assert as_path(row.path) == name


@pytest.mark.parametrize("name", ["plain", "a%bytes:b", "%bytes:x", "ü", os.fsdecode(b"\xff\xfe")])
def test_any_name_survives_the_database(name: str) -> None:
    text = as_text(name)
    text.encode("utf-8")
    assert as_path(text) == name


def test_two_scans_at_a_time_find_a_slide_once(here: Bench, slide: Path) -> None:
    other = Bench(here.place, here.settings, here.engine, Prober(60))
    shutil.copy(slide, here.folder / "a.svs")
    here.scan()
    ready = here.scan().ready + other.scan().ready
    assert len(ready) == 1
    other.close()


def test_known_files(here: Bench) -> None:
    """Not a benchmark: that one pass over known files writes nothing and asks nobody."""
    for i in range(20):
        (here.folder / f"{i}.txt").touch()
    here.scan(2)
    before = Tree().look(here.settings.folders[0], ())
    found = here.scan()
    assert (found.files, found.new, found.ready) == (20, 0, [])
    assert Tree().look(here.settings.folders[0], ()) == before


def test_a_reader_that_dies_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import os, sys\nsys.stdin.readline()\nos.kill(os.getpid(), 11)\n")
    _instead(monkeypatch, script)
    with Prober(20) as prober, pytest.raises(ReaderCrashed, match="ended with -11"):
        prober.ask(tmp_path, tmp_path / "x.svs")


def test_a_reader_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "hangs.py"
    script.write_text("import time\ntime.sleep(1000)\n")
    _instead(monkeypatch, script)
    with Prober(0.3) as prober, pytest.raises(ReaderCrashed, match=r"within 0\.3 s"):
        prober.ask(tmp_path, tmp_path / "x.svs")


def _instead(monkeypatch: pytest.MonkeyPatch, script: Path) -> None:
    """Let the prober start another program."""
    real = probe.subprocess.Popen
    monkeypatch.setattr(probe.subprocess, "Popen", lambda _command, **more: real([sys.executable, str(script)], **more))
