"""Times of the planes of Leica images: every plane holds its own place in storage as its pixel value, and as its stamp.

Truth: the pixels as they were written; and liffile's list of stamps of a real file.
"""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from xml.etree import ElementTree as ET

import liffile
import numpy as np
import pytest

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide
from drivers.model import Scene
from tests.made.lif import Image, Lif, make_lif
from tests.support.stores import SMALL

SIZES = {"T": 3, "C": 2, "Z": 2, "M": 2, "E": 2, "A": 3, "Y": 5, "X": 7}
FIRST = 0x1D71114EB8B44F0


def ranks(axes: str) -> Image:
    """Planes that hold how many planes were stored before them."""
    planes = np.arange(prod(SIZES[axis] for axis in axes if axis not in "YX"), dtype="u1")
    return np.repeat(planes, SIZES["Y"] * SIZES["X"]).reshape([SIZES[axis] for axis in axes])


def listed(stamps: list[int], old: bool = False) -> str:
    """A TimeStampList; `old`: as LAS before 3.1 wrote it."""
    each = [f'<TimeStamp HighInteger="{s >> 32}" LowInteger="{s & 0xFFFFFFFF}"/>' for s in stamps]
    text = "".join(each) if old else " ".join(f"{stamp:x}" for stamp in stamps)
    return f'<TimeStampList NumberOfTimeStamps="{len(stamps)}">{text}</TimeStampList>'


def told(scene: Scene) -> dict[tuple[int, int, int], float | None]:
    """Seconds by (t, c, z)."""
    return {(plane.t, plane.c, plane.z): plane.delta_t_s for plane in scene.planes}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "axes", ["TZCYX", "TCZYX", "CTZYX", "ZTCYX", "MTZCYX", "TMCYX", "TECYX", "CZYX", "AZCYX", "TYX", "YX"]
)
def test_each_plane_has_its_stamp(tmp_path: Path, axes: str, old: bool) -> None:
    pixels = ranks(axes)
    stamps = [FIRST + 2_500_000 * i for i in range(int(pixels.max()) + 1)]
    path = make_lif(tmp_path / "a.lif", [Lif("a", axes, pixels, more=listed(stamps, old))])
    with open_slide(path) as slide:
        assert len(slide.scenes) == (SIZES["M"] if "M" in axes else 1)
        for scene in slide.scenes:
            places = list(product(range(scene.shape.t), range(scene.shape.c), range(scene.shape.z)))
            held = {(t, c, z): scene.read_block(channels=[c], slices=(z, z + 1), frames=(t, t + 1)) for t, c, z in places}
            assert told(scene) == {place: pytest.approx(0.25 * float(block.flat[0])) for place, block in held.items()}


@pytest.mark.parametrize("axes", ["TZCYX", "TCZYX", "MTCYX", "TYXC"])
def test_a_stamp_for_all_channels(tmp_path: Path, axes: str) -> None:
    shape = [SIZES[axis] for axis in axes]
    frames = prod(SIZES[axis] for axis in axes if axis not in "YXC")
    stamps = [FIRST + 10_000_000 * i for i in range(frames)]
    lif = Lif("a", axes, np.zeros(shape, "u1"), more=listed(stamps))
    with open_slide(make_lif(tmp_path / "a.lif", [lif])) as slide:
        for m, scene in enumerate(slide.scenes):
            before = 0 if "M" not in axes else m * SIZES["T"]
            slices = scene.shape.z
            expected = {
                (t, c, z): float(before + t * slices + z)
                for t, c, z in product(range(SIZES["T"]), range(scene.shape.c), range(slices))
            }
            assert told(scene) == expected


@pytest.mark.parametrize(
    ("axes", "stamps"),
    [
        ("TZCYX", list(range(1, 6))),  # too few
        ("YZX", [1, 2]),  # a volume stored section by section
        ("YZX", [1, 2, 3, 4, 5]),
        ("TYX", [0, 0, 0]),  # not recorded
    ],
)
def test_stamps_that_belong_to_no_plane(tmp_path: Path, axes: str, stamps: list[int]) -> None:
    shape = [SIZES[axis] for axis in axes]
    path = make_lif(tmp_path / "a.lif", [Lif("a", axes, np.zeros(shape, "u1"), more=listed(stamps))])
    with open_slide(path) as slide:
        assert told(slide.scenes[0]) == {}


def test_only_the_planes_whose_stamps_make_sense(tmp_path: Path) -> None:
    stamps = [FIRST, 0, FIRST - 5, FIRST + 70_000_000]
    path = make_lif(tmp_path / "a.lif", [Lif("a", "TYX", np.zeros((4, 5, 6), "u1"), more=listed(stamps))])
    with open_slide(path) as slide:
        assert told(slide.scenes[0]) == {(0, 0, 0): 0.0, (3, 0, 0): 7.0}


def test_the_mean_interval_of_tiles_that_were_taken_one_after_the_other(tmp_path: Path) -> None:
    stamps = [FIRST + 10_000_000 * i for i in (0, 2, 4, 100, 102, 104)]
    lif = Lif("a", "MTYX", np.zeros((2, 3, 5, 6), "u1"), more=listed(stamps))
    with open_slide(make_lif(tmp_path / "a.lif", [lif])) as slide:
        assert [scene.time_step_s for scene in slide.scenes] == [2.0, 2.0]


def test_tiles_lie_where_the_list_says_in_z_too(tmp_path: Path) -> None:
    tiles = "".join(f'<Tile FieldX="{i}" FieldY="0" PosX="{i}e-3" PosY="0" PosZ="-{i}e-6"/>' for i in range(2))
    lif = Lif("a", "MYX", np.zeros((2, 5, 6), "u1"), more=f'<Attachment Name="TileScanInfo">{tiles}</Attachment>')
    path = make_lif(tmp_path / "a.lif", [lif])
    with open_slide(path) as slide, liffile.LifFile(path) as file:
        scan = file.images[0].tilescan
        assert scan is not None
        for scene, tile in zip(slide.scenes, scan.tiles, strict=True):
            assert scene.position is not None
            found = (scene.position.z_um, scene.position.y_um, scene.position.x_um)
            assert found == pytest.approx(tuple(1e6 * float(tile[name]) for name in ("pos_z", "pos_y", "pos_x")))


def test_the_ome_xml_tells_the_times(tmp_path: Path) -> None:
    stamps = [FIRST + 2_500_000 * i for i in range(12)]
    path = make_lif(tmp_path / "a.lif", [Lif("a", "TZCYX", ranks("TZCYX"), more=listed(stamps))])
    convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL)))
    planes = ET.parse(tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").iterfind(".//{*}Plane")
    found = {tuple(int(p.get(f"The{axis}", "")) for axis in "TZC"): float(p.get("DeltaT", "")) for p in planes}
    assert found == {(t, z, c): 0.25 * (4 * t + 2 * z + c) for t in range(3) for z in range(2) for c in range(2)}


def test_a_real_file_against_liffile(shared_samples: Path) -> None:
    path = shared_samples / "lif" / "testdata_2channel_xz.lif"
    with open_slide(path) as slide, liffile.LifFile(path) as file:
        stamps = file.images[0].timestamps
        assert stamps is not None
        seconds = (stamps - stamps[0]).astype(float) / 1000  # liffile rounds to milliseconds
        times, channels = slide.scenes[0].shape[:2]
        assert len(seconds) == times * channels
        expected = {
            (t, c, 0): pytest.approx(seconds[t * channels + c], abs=2e-3) for t in range(times) for c in range(channels)
        }
        assert told(slide.scenes[0]) == expected
        assert slide.scenes[1].planes == ()  # its planes were taken as sections
