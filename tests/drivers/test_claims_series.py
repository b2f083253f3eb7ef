"""TIFF whose pages metadata order: none replaces another, and what the metadata do not speak of is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.paint import paint
from tests.made.micromanager import MicroManager, Stored, make_micromanager

pytestmark = pytest.mark.usefixtures("files_closed")
TWO = {"Channels": 2, "Frames": 2}
PLANES = [Stored(10, (0, 0, 0, 0)), Stored(20, (1, 0, 0, 0)), Stored(30, (0, 0, 1, 0)), Stored(40, (1, 0, 1, 0))]


def read(path: Path) -> tuple[list[int], list[str]]:
    """(values of the planes in the order t, c, z; warnings)."""
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        pixels = paint(scene.levels[0], Box.of(scene.shape))
        assert (pixels == pixels[..., :1, :1]).all()
        return pixels[..., 0, 0].ravel().tolist(), list(slide.warnings)


def test_micromanager(tmp_path: Path) -> None:
    path = make_micromanager(tmp_path / "a.tif", MicroManager(PLANES, TWO))
    assert read(path) == ([10, 20, 30, 40], [])
    assert tifffile.imread(path)[..., 0, 0].ravel().tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 0, 1, 2, 3), (1, 4, 0, 3, 2)])
def test_a_plane_that_is_stored_twice(tmp_path: Path, order: tuple[int, ...]) -> None:
    for value in (20, 21):
        stored = [*PLANES, Stored(value, (1, 0, 0, 0))]
        path = make_micromanager(tmp_path / f"{value}.tif", MicroManager([stored[i] for i in order], TWO))
        if value == 20:
            values, (warning,) = read(path)
            assert values == [10, 20, 30, 40]
            assert " (t 0, c 1, z 0, position 0) repeats the page at byte " in warning
            continue
        with pytest.raises(Damaged, match=r"the page at byte \d+ \(t 0, c 1, .*\) and the page at byte \d+ \(t 0, c 1, .*\)"):
            open_slide(path)


def test_pages_that_are_in_no_index(tmp_path: Path) -> None:
    path = make_micromanager(tmp_path / "a.tif", MicroManager([*PLANES, Stored(50, None)], TWO))
    assert read(path) == ([10, 20, 30, 40], ["1 pages are not in the index of Micro-Manager and are left out"])


def test_an_acquisition_that_was_stopped(tmp_path: Path) -> None:
    values, warnings = read(make_micromanager(tmp_path / "a.tif", MicroManager(PLANES[:3], TWO)))
    assert values == [10, 20, 30, 0]
    said = "Micro-Manager speaks of 4 planes, its index of 3: the acquisition was stopped, or the other files of the set are"
    assert warnings == [f"{said} missing", "1 of 4 planes are not stored"]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_imagej_does_not_speak_of(tmp_path: Path, compression: str | None) -> None:
    about = "ImageJ=1.53k\nimages=2\nchannels=2\nhyperstack=true\nmode=grayscale\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for i in range(5):
            more = {"description": about} if i == 0 else {}
            writer.write(np.full((16, 16), 10 * i, "u1"), compression=compression, metadata=None, **more)
    values, warnings = read(tmp_path / "a.tif")
    assert values == [0, 10]
    assert warnings == ["3 pages belong to no plane that the metadata (imagej) speak of and are left out"]


@pytest.mark.parametrize("kind", ["imagej", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_whole_files_tell_nothing(tmp_path: Path, kind: str, compression: str | None) -> None:
    planes = np.arange(6, dtype="u1").reshape(2, 3, 1, 1).repeat(16, 2).repeat(16, 3)
    about = {"photometric": "minisblack", "metadata": {"axes": "TZYX"}, "imagej": kind == "imagej"}
    tifffile.imwrite(tmp_path / "a.tif", planes, compression=compression, **about)
    assert read(tmp_path / "a.tif") == ([0, 1, 2, 3, 4, 5], [])


def test_levels_in_pages_of_their_own_are_no_spare_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.full((64, 64), 7, "u1"), tile=(16, 16), metadata={"axes": "YX"})
        writer.write(np.full((32, 32), 7, "u1"), tile=(16, 16), subfiletype=1, metadata={"axes": "YX"})
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.warnings == []


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_two_reduced_images_of_one_plane_are_not_those_of_two(tmp_path: Path, name: str) -> None:
    about = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'Type="uint8" DimensionOrder="XYZCT" SizeX="64" SizeY="64" SizeZ="1" SizeC="1" SizeT="2"><Channel '
        'ID="Channel:0:0"/><TiffData/></Pixels></Image></OME>'
    )
    how = {"photometric": "minisblack", "tile": (16, 16), "metadata": None}
    with tifffile.TiffWriter(tmp_path / name) as writer:
        first = {"description": about} if "ome" in name else {}
        writer.write(np.full((64, 64), 10, "u1"), subifds=2, **how, **first)
        for _ in range(2):
            writer.write(np.full((32, 32), 10, "u1"), subfiletype=1, **how)
        writer.write(np.full((64, 64), 20, "u1"), **how)
    with open_slide(tmp_path / name) as slide:
        (scene,) = slide.scenes
        assert [level.shape for level in scene.levels] == [(2, 1, 1, 64, 64)]
        assert any("level 32x32 is stored twice for one plane and is left out" in warning for warning in slide.warnings)
