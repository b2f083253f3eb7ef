"""Names that are no UTF-8: of slides, of what lies beside them, of folders; whole, damaged and incomplete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import run
from flows.ledger.tables import State
from flows.watching.look import as_path
from tests.flows.parts import Bench, bench, submitted

ODD = os.fsdecode(b"caf\xe9")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path)
    yield found
    found.close()


def only(here: Bench) -> dict[str, str]:
    return {as_path(row.path): str(row.state) for row in here.rows()}


def test_what_is_no_slide(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / "caf.svs")
    (here.folder / f"{ODD}.txt").write_text("words")
    (here.folder / ODD).mkdir()
    (here.folder / ODD / "more.xml").write_text("<Annotations/>")
    here.scan(3)
    assert only(here) == {"caf.svs": "ready"}
    assert here.scan().new == 0


def test_a_damaged_slide_says_why(here: Bench, slide: Path) -> None:
    (here.folder / f"{ODD}.svs").write_bytes(slide.read_bytes()[:9000])
    here.scan(2)
    assert only(here) == {f"{ODD}.svs": "quarantined"}
    assert "caf" in (here.rows()[0].reason or "")


def test_folders_and_endings(here: Bench, slide: Path) -> None:
    """Each output has a name of its own that a database and any disk can hold."""
    for place in (ODD, "caf%E9"):
        (here.folder / place).mkdir()
        shutil.copy(slide, here.folder / place / "a.svs")
    for name in ("b.svs", f"b.{ODD}", f"{ODD}.svs"):
        shutil.copy(slide, here.folder / name)
    here.scan(2)
    outputs = [row.output or "" for row in here.rows()]
    assert len(set(outputs)) == 5
    assert all(output.encode("utf-8") for output in outputs)
    assert set(only(here).values()) == {"ready"}


def test_more_of_a_slide_arrives(here: Bench, slide: Path) -> None:
    shutil.copy(slide, here.folder / f"{ODD}.svs")
    here.scan(2)
    here.change(here.rows()[0].id, state=State.QUARANTINED, signature="of other files")
    (here.folder / f"{ODD}.txt").write_text("more of it")
    here.scan(4)
    assert sorted(str(row.state) for row in here.rows()) == ["ready", "superseded"]


def test_it_is_handed_out(here: Bench, slide: Path) -> None:
    (here.folder / ODD).mkdir()
    ticket = submitted(here, slide, "a.svs")
    shutil.copy(slide, here.folder / ODD / "b.svs")
    here.scan(2)
    assert here.feed() == 1
    assert ticket.attempt == 1


NASTY = [
    "a[bold]b.svs",
    "c[red].svs",
    "nl\nx.svs",
    "\x1b[2Jy.svs",
    "\x9b31m.svs",
    "\u202eg.svs",
    "-rf.svs",
    "\u2028l.svs",
]


@pytest.mark.parametrize("name", [*NASTY, ODD + ".svs", "x" * 251 + ".svs"])
def test_a_name_is_shown_whole_on_one_line(here: Bench, slide: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither markup nor a command to the terminal."""
    shutil.copy(slide, here.folder / name)
    (here.folder / f"{name[:200]}.tif").write_bytes(slide.read_bytes()[:9000])
    here.scan(2)
    config = ["--config", str(here.place / "slidemill.toml")]
    for command in (["list"], ["status"], ["quarantine", "list"]):
        assert run([*command, *config]) == 0
        said = capsys.readouterr().out
        assert all(line.isprintable() for line in said.split("\n"))
        row = next(row for row in here.rows() if (row.state == State.QUARANTINED) == (command != ["list"]))
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in row.path)
        assert shown in said.replace("\n", "") or command == ["status"]
        assert any(row.id in line for line in said.split("\n"))
