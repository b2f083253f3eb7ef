"""The QPTIFF driver against tifffile and slideio, and what it does with odd and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import slideio
import tifffile

from drivers import open_slide, paint
from drivers.discovery import driver_for, find_drivers
from drivers.errors import Damaged
from drivers.formats.qptiff import DRIVER
from drivers.geometry import Box
from drivers.model import Level, Pixels
from tests.made import qptiff as made_qptiff
from tests.made.qptiff import KINDS, MADE, Qptiff, make_qptiff
from tests.made.svs import reduced, tissue

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(f"{name}.qptiff", MAKERS[f"{name}.qptiff"])


def picture(level: Level) -> Pixels:
    """All of a level as (height, width, channels)."""
    return paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)


def small(**changes: object) -> Qptiff:
    """A quick file of two bands and two levels."""
    return replace(Qptiff(size=(64, 96), bands=2, depth=2), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_level_has_the_pixels_that_were_stored(sample: Callable[[str], Path], name: str) -> None:
    kind = KINDS[name]
    with open_slide(sample(name)) as slide:
        for number in range(kind.bands or 1):
            image = made_qptiff.band(kind, number)
            for level in slide.scenes[0].levels:
                ours = picture(level)
                np.testing.assert_array_equal(ours[..., number] if kind.bands else ours, image)
                image = reduced(image, 2)


def test_a_thumbnail_of_a_levels_size_is_no_level(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("five-bands")) as slide:
        assert sorted(slide.associated) == ["label", "overview", "thumbnail"]
        np.testing.assert_array_equal(picture(slide.associated["thumbnail"].levels[0]), tissue(601, 807, 90)[::2, ::2])
        np.testing.assert_array_equal(picture(slide.associated["overview"].levels[0]), tissue(90, 61, 91))
        np.testing.assert_array_equal(picture(slide.associated["label"].levels[0]), tissue(90, 61, 92))
        tiles = [(level.tile.y, level.tile.x) for level in slide.scenes[0].levels]
        assert tiles[0] == (256, 256)
        assert tiles[1][1] == 403  # strips, joined to bands


def test_real_file_equals_tifffile_and_slideio(shared_samples: Path) -> None:
    path = shared_samples / "qptiff" / "small_vectra.qptiff"
    with tifffile.TiffFile(path) as tiff, open_slide(path) as slide:
        scene = slide.scenes[0]
        ours = picture(scene.levels[0])
        np.testing.assert_array_equal(ours, tiff.series[0].asarray().transpose(1, 2, 0))
        theirs = slideio.open_slide(str(path), "QPTIFF").get_scene(0)
        np.testing.assert_array_equal(ours, theirs.read_block())
        assert scene.magnification == theirs.magnification
        assert scene.resolution == pytest.approx(theirs.resolution)
        assert [channel.name for channel in scene.channels] == [theirs.get_channel_name(i) for i in range(3)]
        for role, page in (("thumbnail", 3), ("overview", 4), ("label", 5)):
            np.testing.assert_array_equal(picture(slide.associated[role].levels[0]), tiff.pages[page].asarray())
        first, second = scene.channels[:2]
        assert (first.color, first.excitation_nm, first.emission_nm, first.exposure_s) == ("0000FF", 391, 453, 0.00263)
        assert (second.excitation_nm, second.emission_nm) == (480, None)  # a long-pass filter


def test_facts(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("five-bands")) as slide:
        scene = slide.scenes[0]
        assert [channel.name for channel in scene.channels] == ["DAPI", "FITC", "Cy3", "Cy5", "AF"]
        assert [channel.color for channel in scene.channels] == ["0000FF", "00FF00", "FFFF00", "FF0000", "808080"]
        assert (scene.channels[0].excitation_nm, scene.channels[0].emission_nm) == (391, 453)
        assert (scene.channels[1].excitation_nm, scene.channels[1].emission_nm) == (480, None)
        assert scene.channels[1].exposure_s == pytest.approx(0.00526)
        assert scene.position is not None
        assert (scene.position.x_um, scene.position.y_um) == (15000, 2500)
        assert scene.facts.software == "VectraPolaris 1.0"
        assert scene.facts.acquired == datetime(2020, 10, 30, 13, 32, 10)  # noqa: DTZ001
        assert "Doe" not in repr(scene)
        assert "SECRET" not in repr(slide)


def test_antibodies_name_the_channels(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("antibodies")) as slide:
        assert [(channel.name, channel.fluor) for channel in slide.scenes[0].channels] == [
            ("CD3", "DAPI"),
            ("CD4", "FITC"),
            ("CD5", "Cy3"),
        ]


def test_without_a_resolution_the_profile_counts(tmp_path: Path) -> None:
    with open_slide(make_qptiff(tmp_path / "a.qptiff", small(resolution=False))) as slide:
        assert slide.scenes[0].pixel_size.x_um == 0.5
        assert slide.scenes[0].position is None


def test_level_that_lacks_a_band_is_left_out(tmp_path: Path) -> None:
    with open_slide(make_qptiff(tmp_path / "a.qptiff", small(depth=3, dropped=1))) as slide:
        assert [level.scale for level in slide.scenes[0].levels] == [1, 2]
        assert any("1 of 2 channels" in warning for warning in slide.warnings)


def test_recognised_by_content(tmp_path: Path) -> None:
    path = make_qptiff(tmp_path / "renamed.tif", small())
    assert driver_for(path, [found.driver for found in find_drivers() if found.driver is not None]) is DRIVER


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<ImageType>FullResolution<", b"<ImageType>FullResolutioX<", "no page says that it is of full resolution"),
        (b"<Objective>20x</Objective>", b"<Objective>20x</Xbjective>", "not well-formed"),
        (b"<DescriptionVersion>2</DescriptionVersion>", b"<!DOCTYPE x []>".ljust(42), "not well-formed|document type"),
    ],
)
def test_broken_descriptions(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = make_qptiff(tmp_path / "odd.qptiff", small())
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(Damaged, match=rf"^odd.qptiff: .*({message})"):
        open_slide(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = make_qptiff(tmp_path / "cut.qptiff", small())
    whole = path.read_bytes()
    path.write_bytes(whole[:-4000])  # in the images beside the slide
    with open_slide(path) as slide:
        assert any("image cannot be read and is left out: " in warning for warning in slide.warnings)
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(Damaged, match=r"^cut.qptiff"):
        open_slide(path)
