"""Stores that are removed, damaged or exchanged after they were made, found and made again."""

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
from flows.service.attempt import Watch, run_attempt
from tests.flows.parts import Bench, bench
from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def here(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with two converted slides."""
    found = bench(tmp_path)
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    slide = made(SVS[0][0], SVS[0][1])
    shutil.copy(slide, found.folder / "a.svs")
    (found.folder / "b.svs").write_bytes(slide.read_bytes() + b"more")
    found.scan(2)
    convert(found)
    yield found
    found.close()


def convert(here: Bench) -> None:
    here.feed()
    for row in here.rows():
        if row.state == State.SUBMITTED:
            assert run_attempt(here.engine, here.settings, Ticket(row.id, row.attempt), Watch()) == State.DONE


def audited(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> dict[str, Any]:
    assert run(["audit", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def gone(store: Path) -> None:
    shutil.rmtree(store)


def cut(store: Path) -> None:
    chunk = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-1])


def exchanged(store: Path) -> None:
    other = store.with_name("b.ome.zarr")
    shutil.rmtree(store)
    shutil.copytree(other, store)


@pytest.mark.parametrize(
    ("harm", "wrong", "aside"),
    [(gone, "gone", None), (cut, "damaged", "a.ome.zarr.damaged-1"), (exchanged, "other", "a.ome.zarr.other-1")],
)
def test_a_store_that_is_not_as_it_was_made(
    here: Bench, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], wrong: str, aside: str | None
) -> None:
    assert audited(capsys, code=0) == {"checked": 2, "wrong": []}
    store = here.place / "out" / "a.ome.zarr"
    harm(store)
    found = audited(capsys)
    assert (found["checked"], [one["wrong"] for one in found["wrong"]]) == (2, [wrong])
    assert here.row("a.svs").state == State.DONE, "looking changes nothing"
    (again,) = audited(capsys, "--again")["wrong"]
    assert (again["queued"], again["aside"]) == (True, aside)
    assert here.row("a.svs").state == State.READY
    convert(here)
    assert audited(capsys, code=0)["checked"] == 2
    kept = {path.name for path in store.parent.iterdir()} - {".stage"}
    assert kept == {"a.ome.zarr", "b.ome.zarr"} | ({aside} if aside else set())


def test_a_chunk_with_another_byte_is_found_at_full_depth(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    store = here.place / "out" / "a.ome.zarr"
    chunk = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    assert [one["wrong"] for one in audited(capsys, "--depth", "full")["wrong"]] == ["damaged"]


def test_a_folder_that_is_not_mounted_makes_nothing_anew(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (here.place / "out").rename(here.place / "elsewhere")
    found = audited(capsys, "--again")["wrong"]
    assert [(one["wrong"], one["queued"]) for one in found] == [("unknown", False)] * 2
    assert {row.state for row in here.rows()} == {State.DONE}


def test_only_a_folder_and_words_for_people(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    gone(here.place / "out" / "a.ome.zarr")
    assert audited(capsys, "--folder", "other", code=0)["checked"] == 0
    assert run(["audit"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.ome.zarr: gone: it is not there any more")
    assert lines[1] == "2 stores looked at, 1 not as they were made"
    assert run(["audit", "--depth", "deep"]) == 2
