"""What people ask of slides that came to their end: convert them again, let them be; and nothing of it loses anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import run
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.reports.health import faults
from flows.reports.status import status
from flows.service.attempt import Watch, run_attempt
from flows.settings import load_settings
from tests.flows.parts import Bench, bench
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide."""
    return made(SVS[0][0], SVS[0][1])


@pytest.fixture
def here(tmp_path: Path, any_ledger: str, slide: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with a converted slide, and one in quarantine."""
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    found = bench(tmp_path, rest=any_ledger)
    shutil.copy(slide, found.folder / "a.svs")
    (found.folder / "bad.svs").write_bytes(slide.read_bytes()[:300])
    found.scan(2)
    convert(found)
    assert found.states() == {"a.svs": "done", "bad.svs": "quarantined"}
    yield found
    found.close()


def convert(here: Bench) -> None:
    here.feed()
    for row in here.rows():
        if row.state == State.SUBMITTED:
            run_attempt(here.engine, here.settings, Ticket(row.id, row.attempt), Watch())


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def kept(here: Bench) -> list[str]:
    return sorted(path.name for path in (here.place / "out").iterdir() if not path.name.startswith("."))


def written(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_a_slide_that_is_done_is_converted_again(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """With the options of now; what was there is kept, byte for byte."""
    row, out = here.row("a.svs"), here.place / "out"
    before = written(out / "a.ome.zarr")
    text = (here.place / "slidemill.toml").read_text() + "options = {chunk = 64}\n"
    (here.place / "slidemill.toml").write_text(text)
    (one,) = told(capsys, "again", row.id[:8])["slides"]
    assert (one["queued"], one["aside"]) == (True, "a.ome.zarr.before-1")
    here.settings = load_settings(here.place / "slidemill.toml")
    convert(here)
    assert here.states() == {"a.svs": "done", "bad.svs": "quarantined"}
    assert kept(here) == ["a.ome.zarr", "a.ome.zarr.before-1"]
    assert written(out / "a.ome.zarr.before-1") == before
    array = json.loads(
        (out / "a.ome.zarr" / "0" / "0" / "zarr.json").read_text()
        if (out / "a.ome.zarr" / "0" / "0").is_dir()
        else next((out / "a.ome.zarr").rglob("0/zarr.json")).read_text()
    )
    assert "64" in json.dumps(array["codecs"]) + json.dumps(array["chunk_grid"])
    (one,) = told(capsys, "again", row.id)["slides"]
    assert one["aside"] == "a.ome.zarr.before-2", "nothing is overwritten"


def test_one_whose_store_is_gone(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(here.place / "out" / "a.ome.zarr")
    assert told(capsys, "again", here.row("a.svs").id)["slides"][0]["aside"] is None
    convert(here)
    assert kept(here) == ["a.ome.zarr"]


def gone(here: Bench) -> None:
    (here.folder / "a.svs").unlink()


def changed(here: Bench) -> None:
    (here.folder / "a.svs").write_bytes((here.folder / "a.svs").read_bytes() + b"more")


@pytest.mark.parametrize(("act", "words"), [(gone, "went away"), (changed, "changed")])
@pytest.mark.parametrize("is_there", [True, False])
def test_not_without_its_original(
    here: Bench, capsys: pytest.CaptureFixture[str], act: Callable[[Bench], None], words: str, is_there: bool
) -> None:
    """A store that cannot be made again stays where it is."""
    act(here)
    if not is_there:
        shutil.rmtree(here.place / "out" / "a.ome.zarr")
        (here.place / "out").mkdir(exist_ok=True)
    row = here.row("a.svs")
    (one,) = told(capsys, "again", row.id, code=1)["slides"]
    assert (one["queued"], words in one["reason"]) == (False, True)
    if not is_there:
        assert run(["retry", row.id]) == 5
        assert words in capsys.readouterr().err
    assert here.row("a.svs").state == State.DONE
    assert kept(here) == (["a.ome.zarr"] if is_there else [])


def test_a_copy_on_its_own(here: Bench, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(slide, here.folder / "b.svs")
    here.scan(2)
    convert(here)
    row = here.row("b.svs")
    assert row.state == State.DUPLICATE
    assert told(capsys, "again", row.id)["slides"][0]["aside"] is None
    convert(here)
    assert (here.row("a.svs").state, here.row("b.svs").state, kept(here)) == ("done", "done", ["a.ome.zarr", "b.ome.zarr"])


def test_only_what_is_done(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = told(capsys, "again", here.row("bad.svs").id, code=1)["slides"]
    assert "is quarantined, not done" in one["reason"]
    assert run(["again", "nothing"]) == 2


def test_an_original_that_was_moved(
    tmp_path: Path, slide: Path, any_ledger: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read where it is, and stays there; a move that the settings say no more is remembered."""
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    found = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/archive"', rest=any_ledger)
    shutil.copy(slide, found.folder / "a.svs")
    found.scan(2)
    convert(found)
    assert not (found.folder / "a.svs").exists()
    text = (tmp_path / "slidemill.toml").read_text()
    (tmp_path / "slidemill.toml").write_text(text.replace("/archive", "/elsewhere"))
    found.settings = load_settings(tmp_path / "slidemill.toml")
    told(capsys, "again", found.row("a.svs").id)
    convert(found)
    assert found.states() == {"a.svs": "done"}
    assert kept(found) == ["a.ome.zarr", "a.ome.zarr.before-1"]
    assert (tmp_path / "archive" / "a.svs").read_bytes() == slide.read_bytes()
    assert told(capsys, "list")["slides"][0]["put_away"] == str(tmp_path / "archive")
    found.close()


def test_dismissed(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    row = here.row("bad.svs")
    assert any("quarantine" in line for line in faults(here.engine, status(here.engine, here.settings), 0))
    assert told(capsys, "dismiss", row.id)["dismissed"] == [row.id]
    after = here.row("bad.svs")
    assert (after.state, after.reason, after.kind) == (State.DISMISSED, row.reason, row.kind)
    found = status(here.engine, here.settings)
    assert (found["counts"]["quarantined"], found["counts"]["dismissed"], found["quarantined"]) == (0, 1, [])
    assert not any("quarantine" in line for line in faults(here.engine, found, 0))
    assert told(capsys, "quarantine", "list")["quarantined"] == []
    assert [one["id"] for one in told(capsys, "list", "--state", "dismissed")["slides"]] == [row.id]
    assert told(capsys, "retry", "--all")["queued"] == [], "it is not one of all"
    assert run(["dismiss", row.id]) == 2
    here.scan(2)
    assert here.row("bad.svs").state == State.DISMISSED
    assert told(capsys, "retry", row.id)["queued"] == [row.id]
    assert here.row("bad.svs").state == State.READY


def test_dismissed_by_folder_and_kind(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    row = here.row("bad.svs")
    assert told(capsys, "dismiss", "--folder", "other")["dismissed"] == []
    assert told(capsys, "dismiss", "--kind", "nothing")["dismissed"] == []
    assert told(capsys, "dismiss", "--folder", "in", "--kind", str(row.kind))["dismissed"] == [row.id]
    assert run(["dismiss"]) == run(["dismiss", row.id, "--all"]) == 2
    assert run(["dismiss", here.row("a.svs").id]) == 2


def test_a_dismissed_slide_that_is_copied_again_whole(here: Bench, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "dismiss", "--all")
    (here.folder / "bad.svs").write_bytes(slide.read_bytes() + b"whole")
    here.scan(3)
    convert(here)
    assert here.states() == {"a.svs": "done", "bad.svs": "superseded", "bad.svs#1": "done"}
