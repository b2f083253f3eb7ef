"""The Leica SCN driver on made files, against what was stored, tifffile and OpenSlide."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.discovery import driver_for, find_drivers
from drivers.errors import Damaged, DriverError, LimitExceeded
from drivers.formats.scn import DRIVER
from drivers.geometry import Box
from drivers.model import Level, Pixels
from tests.made import scn as made_scn
from tests.made.scn import KINDS, MADE, Region, Scn, make_scn
from tests.made.svs import tissue

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}
TINY = Region(size=(90, 110), depth=2)


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(f"{name}.scn", MAKERS[f"{name}.scn"])


def picture(level: Level, c: slice = slice(None), z: int = 0) -> Pixels:
    """All of a slice as (height, width, channels)."""
    return paint(level, Box.of(level.shape))[0, c, z].transpose(1, 2, 0)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"jpeg"}))
def test_every_plane_has_the_pixels_that_were_stored(sample: Callable[[str], Path], name: str) -> None:
    with open_slide(sample(name)) as slide:
        assert len(slide.scenes) == len(KINDS[name].regions)
        for scene, region in zip(slide.scenes, KINDS[name].regions, strict=True):
            for r, level in enumerate(scene.levels):
                for c in range(region.channels or 1):
                    for z in range(region.slices):
                        stored = made_scn.plane(region, r, c, z)
                        ours = picture(level, slice(c, c + 1) if region.channels else slice(None), z)
                        np.testing.assert_array_equal(ours.reshape(stored.shape), stored)


@pytest.mark.parametrize("name", ["two-regions", "jpeg"])
def test_pixels_equal_openslide(sample: Callable[[str], Path], name: str) -> None:
    with openslide.OpenSlide(sample(name)) as oracle, open_slide(sample(name)) as slide:
        assert oracle.properties["openslide.vendor"] == "leica"
        for scene in slide.scenes:
            assert scene.position is not None
            corner = (round(scene.position.x_um * 1000 / made_scn.NM_PER_PIXEL), round(scene.position.y_um * 2))
            expected = oracle.read_region(corner, 0, scene.size)
            np.testing.assert_array_equal(picture(scene.levels[0]), np.asarray(expected)[..., :3])
        macro = np.asarray(oracle.associated_images["macro"])[..., :3]
        np.testing.assert_array_equal(picture(slide.associated["macro"].levels[0]), macro)
        assert float(oracle.properties["openslide.mpp-x"]) == slide.scenes[0].pixel_size.x_um


def test_channels_equal_tifffile(sample: Callable[[str], Path]) -> None:
    with tifffile.TiffFile(sample("fluorescence")) as tiff, open_slide(sample("fluorescence")) as slide:
        for level, theirs in zip(slide.scenes[0].levels, tiff.series[1].levels, strict=True):
            np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, :, 0], np.squeeze(theirs.asarray()))


def test_facts(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("fluorescence")) as slide:
        scene = slide.scenes[0]
        assert scene.name == "region 0"
        assert [(channel.name, channel.color) for channel in scene.channels] == [
            ("Ch 0", "0000FF"),
            ("Ch 1", "00FF00"),
            ("Ch 2", "FF0000"),
        ]
        assert (scene.pixel_size.y_um, scene.pixel_size.z_um, scene.magnification) == (0.5, 1.5, 20)
        assert scene.position is not None
        assert (scene.position.x_um, scene.position.y_um) == (5000, 20000)
        facts = scene.facts
        assert facts.acquired == datetime(2012, 11, 29, 16, 38, 25, 600000, UTC)
        assert (facts.microscope_manufacturer, facts.microscope_model, facts.objective_na) == ("Leica", "Leica SCN400", 0.4)
        np.testing.assert_array_equal(picture(slide.associated["label"].levels[0]), tissue(60, 61, 8))
        macro = slide.associated["macro"]
        assert (macro.magnification, macro.shape.y, len(macro.levels)) == (0.6083, 228, 2)
        assert "Doe" not in repr((slide.scenes, slide.warnings))


def test_file_with_nothing_but_an_overview_shows_it(tmp_path: Path) -> None:
    with open_slide(make_scn(tmp_path / "a.scn", Scn(regions=()))) as slide:
        assert ([scene.name for scene in slide.scenes], slide.associated) == (["overview"], {})


def test_level_that_lacks_a_plane_is_left_out(tmp_path: Path) -> None:
    region = Region(size=(90, 110), depth=2, channels=2, missing=((1, 1, 0),))
    with open_slide(make_scn(tmp_path / "a.scn", Scn(regions=(region,)))) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert any("1 of 2 planes" in warning for warning in slide.warnings)


def test_missing_plane_of_level_0_is_shown_empty(tmp_path: Path) -> None:
    region = Region(size=(90, 110), depth=1, channels=2, slices=2, missing=((0, 1, 0),))
    with open_slide(make_scn(tmp_path / "a.scn", Scn(regions=(region,)))) as slide:
        pixels = paint(slide.scenes[0].levels[0], Box.of(slide.scenes[0].shape))
        assert not pixels[0, 1, 0].any()
        assert pixels[0, 1, 1].any()
        assert any("missing" in warning for warning in slide.warnings)


def test_recognised_by_content(tmp_path: Path) -> None:
    path = make_scn(tmp_path / "renamed.tif", Scn(regions=(TINY,)))
    assert driver_for(path, [found.driver for found in find_drivers() if found.driver is not None]) is DRIVER


@pytest.mark.parametrize(
    ("scn", "message"),
    [
        (Scn(regions=(TINY,), replaced={'ifd="3"': 'ifd="99"'}), "page 99"),
        (Scn(regions=(TINY,), replaced={'ifd="3"': 'ifd="-1"'}), "where a number is needed"),
        (Scn(regions=(TINY,), replaced={'sizeX="110"': 'sizeX="111"'}), "the XML says 111x90"),
        (Scn(regions=(TINY,), replaced={"</collection>": "</collectiom>"}), "not well-formed"),
        (Scn(regions=(TINY,), replaced={"<image ": "<imagf ", "</image>": "</imagf>"}), "lists no image"),
        (Scn(regions=(TINY,), replaced={"<pixels ": "<pixelt ", "</pixels>": "</pixelt>"}), "lists no pages"),
        (Scn(regions=(TINY,), before='<!DOCTYPE scn [<!ENTITY a "b">]>'), "document type"),
    ],
)
def test_broken_descriptions(tmp_path: Path, scn: Scn, message: str) -> None:
    with pytest.raises(Damaged, match=rf"^odd.scn: .*{message}"):
        open_slide(make_scn(tmp_path / "odd.scn", scn))


def test_claimed_planes_are_limited(tmp_path: Path) -> None:
    scn = Scn(regions=(TINY,), macro=False, replaced={'r="0" c="0" z="0"': 'r="0" c="3999" z="999999"'})
    with pytest.raises(LimitExceeded, match="number of planes"):
        open_slide(make_scn(tmp_path / "odd.scn", scn))


def test_truncated_file(tmp_path: Path) -> None:
    path = make_scn(tmp_path / "cut.scn", Scn(regions=(TINY,)))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DriverError, match=r"^cut.scn"):
        open_slide(path)
