"""Index files of formats with companions: alone they are no slide, also where a general driver could show them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from drivers import open_slide
from drivers.discovery import find_drivers
from drivers.errors import Incomplete, Unsupported
from tests.made.openslide import Mrxs, make_mrxs


def picture(path: Path) -> None:
    Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).save(path, format="JPEG")


def tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((40, 50), np.uint8))


def text(path: Path) -> None:
    path.write_text("nothing yet")


NAMES = ["a.mrxs", "a.vms", "a.vmu", "a.vsi", "a.afi", "a.ndpis", "a.xlef", "a.xlif", "a.xlcf", "DICOMDIR", "A.MRXS", "a.VSI"]
NAMES += ["a.companion.ome"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [picture, tiff, text])
def test_alone_it_waits(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)
    with pytest.raises(Incomplete, match=name) as caught:
        open_slide(tmp_path / name)
    assert caught.value.retryable
    assert "needs" in str(caught.value)


@pytest.mark.parametrize("make", [picture, tiff, text])
def test_a_part_is_no_slide(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Some .ets files are TIFF: one that arrives before its .vsi is not converted by itself."""
    make(tmp_path / "frame_t_0.ets")
    with pytest.raises(Unsupported, match=r"a part of a \.vsi slide; give that"):
        open_slide(tmp_path / "frame_t_0.ets")


@pytest.mark.parametrize("state", ["no folder", "empty folder", "no Slidedat.ini", "folder is a file"])
def test_mrxs_without_its_data_is_no_picture(tmp_path: Path, state: str) -> None:
    picture(tmp_path / "a.mrxs")
    if state == "folder is a file":
        (tmp_path / "a").write_text("x")
    elif state != "no folder":
        (tmp_path / "a").mkdir()
    if state == "no Slidedat.ini":
        (tmp_path / "a" / "Data0000.dat").write_bytes(bytes(100))
    with pytest.raises(Incomplete, match=r"the folder a with Slidedat\.ini"):
        open_slide(tmp_path / "a.mrxs")


def test_mrxs_with_its_data_is_read(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="the extra openslide is not installed")
    make_mrxs(tmp_path / "a.mrxs", Mrxs())
    with open_slide(tmp_path / "a.mrxs") as slide:
        assert slide.driver == "openslide"


def test_a_picture_of_another_name_is_one(tmp_path: Path) -> None:
    picture(tmp_path / "mrxs.jpg")
    with open_slide(tmp_path / "mrxs.jpg") as slide:
        assert slide.driver == "gdal"


def test_every_claimed_name_is_a_suffix_of_its_driver() -> None:
    claimed = [(f.driver, end) for f in find_drivers() if f.driver is not None for end in f.driver.claims]
    assert len(claimed) >= 10
    assert all(end in driver.suffixes or end == "dicomdir" for driver, end in claimed)
    assert all(driver.specific for driver, _ in claimed)
