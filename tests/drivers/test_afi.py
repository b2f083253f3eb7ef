"""The AFI driver on made files: channels joined, files listed, names confined to the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slideio

from drivers import open_slide, paint
from drivers.afi.slide import channel_names
from drivers.discovery import driver_for, find_drivers
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath
from drivers.formats.afi import DRIVER
from drivers.geometry import Box, Shape
from tests.made import afi as made_afi
from tests.made.afi import KINDS, MADE, Afi, make_afi

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}
TINY = Afi(size=(60, 70), steps=())


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(f"{name}.afi", MAKERS[f"{name}.afi"])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_channel_has_the_pixels_of_its_file(sample: Callable[[str], Path], name: str) -> None:
    with open_slide(sample(name)) as slide:
        scene = slide.scenes[0]
        for step, level in enumerate(scene.levels):
            pixels = paint(level, Box.of(level.shape))
            for number in range(level.shape.c):
                np.testing.assert_array_equal(pixels[0, number, 0], made_afi.level(KINDS[name], number, step))


def test_channels_equal_slideio(sample: Callable[[str], Path]) -> None:
    theirs = slideio.open_slide(str(sample("three-channels")), "AFI")
    with open_slide(sample("three-channels")) as slide:
        assert theirs.num_scenes == 3  # a scene per channel: here they are one
        for number in range(3):
            ours = slide.scenes[0].read_block(channels=[number])
            np.testing.assert_array_equal(np.squeeze(ours), np.squeeze(theirs.get_scene(number).read_block()))


def test_one_scene_with_named_channels_and_all_files(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("three-channels")) as slide:
        assert [channel.name for channel in slide.scenes[0].channels] == ["DAPI", "FITC", "TRITC"]
        assert [file.name for file in slide.files] == [
            "three-channels.afi",
            *(f"three-channels_{word}.svs" for word in made_afi.WORDS),
        ]
        assert "Jane" not in repr(slide.scenes)


def test_boxes_touch_only_the_channels_they_hold(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("three-channels")) as slide:
        level = slide.scenes[0].levels[0]
        box = Box(Shape(0, 1, 0, 100, 200), Shape(1, 3, 1, 300, 301))
        tiles = list(level.index.tiles(box))
        assert {tile.box.start.c for tile in tiles} == {1, 2}
        whole = paint(level, Box.of(level.shape))
        np.testing.assert_array_equal(paint(level, box), whole[box.slices()])


def test_dye_and_wavelengths_of_the_descriptions(tmp_path: Path) -> None:
    fields = "|Dye = Cy5|Excitation Wavelength = 640|Emission Wavelength = 670"
    with open_slide(make_afi(tmp_path / "a.afi", replace(TINY, fields=fields))) as slide:
        channel = slide.scenes[0].channels[0]
        assert (channel.name, channel.excitation_nm, channel.emission_nm) == ("Cy5", 640, 670)


def test_names_of_channels() -> None:
    assert channel_names(["s_1_DAPI", "s_1_FITC"]) == ["DAPI", "FITC"]
    assert channel_names(["s-DAPI", "s-Cy_5"]) == ["DAPI", "Cy_5"]
    assert channel_names(["a", "b"]) == ["a", "b"]
    assert channel_names(["only"]) == [None]


def test_sizes_that_differ_stay_scenes(tmp_path: Path) -> None:
    with open_slide(make_afi(tmp_path / "a.afi", replace(TINY, others=(50, 70)))) as slide:
        assert [scene.shape.y for scene in slide.scenes] == [60, 50, 60]
        assert any("differ" in warning for warning in slide.warnings)


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = make_afi(tmp_path / "a.afi", TINY)
    (tmp_path / "a_FITC.svs").unlink()
    with pytest.raises(Incomplete, match=r"^a.afi: a_FITC.svs is missing"):
        open_slide(path)


@pytest.mark.parametrize(
    "name",
    [
        "../a.svs",
        "/etc/passwd",
        r"C:\slides\a.svs",
        r"\\host\share\a.svs",
        "file:///a.svs",
        "b/a.svs",
        "a&#10;b.svs",
        "a.afi",
    ],
)
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.afi"
    path.write_text(f"<ImageList><Image><Path>{name}</Path></Image></ImageList>")
    with pytest.raises(UnsafePath, match=r"^a.afi"):
        open_slide(path)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("<ImageList></ImageList>", Damaged, "lists 0 images"),
        ("<ImageList><Image></Image></ImageList>", Damaged, "lists 1 images, 0 of them"),
        ("<ImageList><Image><Path>a.svs</Path>", Damaged, "not well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><ImageList>&b;</ImageList>', Damaged, "document type"),
        ("<ImageList>" + "<a>" * 300 + "</a>" * 300 + "</ImageList>", LimitExceeded, "nests deeper"),
        ("<ImageList>" + " " * (1 << 20) + "</ImageList>", LimitExceeded, "bytes of the list"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str, kind: type[DriverError], message: str) -> None:
    path = tmp_path / "a.afi"
    path.write_text(text)
    with pytest.raises(kind, match=rf"^a.afi: .*{message}"):
        open_slide(path)


def test_recognised_by_content(tmp_path: Path) -> None:
    path = make_afi(tmp_path / "list.xml", TINY)
    assert driver_for(path, [found.driver for found in find_drivers() if found.driver is not None]) is DRIVER
