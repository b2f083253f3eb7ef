"""Slides that arrive in parts, the index first: nothing is converted before it is whole, and what was is looked at again."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.ledger.tables import State
from flows.watching.grown import _starts
from tests.drivers import test_companion
from tests.flows.parts import Bench, bench
from tests.made.dicom import Wsi, make_wsi
from tests.made.openslide import Mrxs, make_mrxs

pytest.importorskip("openslide", reason="the extra openslide is not installed")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def mrxs(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    make_mrxs(tmp_path / "made" / "x.mrxs", Mrxs())
    # A real .mrxs is a JPEG, and so a picture to the general driver.
    Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).save(tmp_path / "made" / "x.mrxs", format="JPEG")
    return tmp_path / "made" / "x.mrxs"


def test_mrxs_waits_for_its_folder(here: Bench, mrxs: Path) -> None:
    shutil.copy(mrxs, here.folder)
    here.scan(3)
    assert here.states() == {"x.mrxs": "waiting"}
    assert "Slidedat.ini" in (here.row("x.mrxs").reason or "")
    shutil.copytree(mrxs.with_suffix(""), here.folder / "x")
    here.change(here.row("x.mrxs").id, not_before=0.0)
    here.scan(3)
    row = here.row("x.mrxs")
    assert (row.state, row.driver) == (State.READY, "openslide")
    assert row.files == 1 + sum(path.is_file() for path in (here.folder / "x").iterdir())


def ended(here: Bench, mrxs: Path, **values: object) -> None:
    """The index came alone and was taken for a slide, which ended so."""
    shutil.copy(mrxs, here.folder)
    here.scan(2)
    slide = here.row("x.mrxs")
    here.change(slide.id, not_before=None, **values)
    with here.engine.begin() as connection:
        connection.exec_driver_sql("update files set slide = ?", (slide.id,))
    here.scan(2)
    assert here.states() == {"x.mrxs": values["state"]}


@pytest.mark.parametrize("driver", ["gdal", "openslide"])
def test_what_was_done_too_early_is_looked_at_again(here: Bench, mrxs: Path, driver: str) -> None:
    """As by an earlier version, which took the thumbnail for the slide; or with a part of its files."""
    ended(here, mrxs, state=State.DONE, driver=driver, signature="that of one file")
    output = here.row("x.mrxs").output
    shutil.copytree(mrxs.with_suffix(""), here.folder / "x")
    here.scan(6)
    assert here.states() == {"x.mrxs": "done", "x.mrxs#1": "ready"}
    again = here.row("x.mrxs")
    assert again.driver == "openslide"
    assert again.output != output


@pytest.mark.parametrize("driver", [None, "openslide"], ids=["not known then", "the same then"])
def test_what_was_refused_is_looked_at_again(here: Bench, mrxs: Path, driver: str | None) -> None:
    """As where the part that had come was damaged, or no driver knew what it is."""
    ended(here, mrxs, state=State.QUARANTINED, driver=driver, kind="damaged")
    shutil.copytree(mrxs.with_suffix(""), here.folder / "x")
    here.scan(6)
    assert here.states() == {"x.mrxs": "superseded", "x.mrxs#1": "ready"}


@pytest.mark.parametrize("state", [State.DONE, State.QUARANTINED])
def test_what_is_whole_is_left_alone(here: Bench, mrxs: Path, state: State) -> None:
    shutil.copytree(mrxs.with_suffix(""), here.folder / "x")
    shutil.copy(mrxs, here.folder)
    here.scan(3)
    here.change(here.row("x.mrxs").id, state=state)
    (here.folder / "x.txt").write_text("notes of a pathologist")
    here.scan(4)
    assert here.states() == {"x.mrxs": state}


def series(folder: Path, names: Sequence[str]) -> None:
    """A DICOM slide of three levels, in files of these names."""
    (folder / "made").mkdir()
    make_wsi(folder / "made" / "x", Wsi(codec="none", steps=(2, 4)))
    for name, file in zip(names, sorted((folder / "made").iterdir()), strict=False):
        file.rename(folder / "made" / name)


@pytest.mark.parametrize("names", [["x.dcm", "x.1.dcm", "x.2.dcm"], ["1.2.84", "1.2.85", "1.2.86"], ["IM1", "IM2", "IM3"]])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("state", [State.DONE, State.QUARANTINED])
def test_more_files_of_a_series_are_no_other_slide(here: Bench, names: list[str], first: int, state: State) -> None:
    """Each file of a series stands for the whole: the slide keeps its name, whichever file came first."""
    series(here.place, names)
    made = here.place / "made"
    shutil.copy(made / names[first], here.folder)
    here.scan(3)
    here.change(here.row(names[first]).id, state=state)
    for name in names:
        if name != names[first]:
            shutil.copy(made / name, here.folder)
    here.scan(4)
    over = State.SUPERSEDED if state == State.QUARANTINED else State.DONE
    assert here.states() == {names[first]: over, f"{names[first]}#1": "ready"}
    again = here.row(names[first])
    assert (again.driver, again.files) == ("dicom", len(names))
    here.scan(3)
    assert len(here.states()) == 2


def test_more_files_of_a_series_under_way_wait_for_its_end(here: Bench) -> None:
    names = ["a.dcm", "b.dcm", "c.dcm"]
    series(here.place, names)
    shutil.copy(here.place / "made" / "a.dcm", here.folder)
    here.scan(3)
    here.change(here.row("a.dcm").id, state=State.RUNNING)
    for name in names[1:]:
        shutil.copy(here.place / "made" / name, here.folder)
    here.scan(4)
    assert here.states() == {"a.dcm": "running"}
    here.change(here.row("a.dcm").id, state=State.DONE)
    here.scan(2)
    assert here.states() == {"a.dcm": "done", "a.dcm#1": "ready"}


@pytest.mark.parametrize("binary_only", [True, False])
def test_what_waits_alone_is_over_when_it_is_a_part(here: Bench, *, binary_only: bool) -> None:
    (here.place / "made").mkdir()
    test_companion.make(here.place / "made", binary_only=binary_only)
    for name in ("c0.ome.tif", "c1.ome.tif"):
        shutil.copy(here.place / "made" / name, here.folder)
    here.scan(3)
    assert set(here.states().values()) == {"waiting" if binary_only else "quarantined"}
    shutil.copy(here.place / "made" / "set.companion.ome", here.folder)
    here.scan(3)
    parts = dict.fromkeys(("c0.ome.tif", "c1.ome.tif"), "superseded")
    assert here.states() == {**parts, "set.companion.ome": "ready"}
    assert here.row("c0.ome.tif").reason == "is a file of set.companion.ome"


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        ("x/Slidedat.ini", {"x/Slidedat.", "x."}),
        ("day/_x_/stack1/frame_t.ets", {"day/_x_/stack1/frame_t.", "day/_x_/stack1.", "day/x.", "day."}),
        ("x.ini", {"x."}),
        ("__/a", {"__/a.", "__."}),
    ],
)
def test_what_a_file_may_belong_to(path: str, starts: set[str]) -> None:
    assert set(_starts(path)) == starts
