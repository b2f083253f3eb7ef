"""The Philips TIFF driver on made files, against what was stored and OpenSlide."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest

from drivers import open_slide, paint
from drivers.discovery import driver_for, find_drivers
from drivers.errors import Damaged, DriverError
from drivers.formats.philips import DRIVER
from drivers.geometry import Box
from drivers.model import Level, Pixels
from tests.made import philips as made_philips
from tests.made.philips import KINDS, MADE, TILE, Philips, make_philips
from tests.made.svs import ICC, tissue

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}
TINY = Philips(size=(256, 256), depth=2, absent=())


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(f"philips-{name}.tiff", MAKERS[f"philips-{name}.tiff"])


def picture(level: Level) -> Pixels:
    """All of a level as (height, width, channels)."""
    return paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)


def expected_level(kind: Philips, number: int) -> Pixels:
    """What is to be seen: the stored pixels, white where no tile is."""
    image = made_philips.level(kind, number).copy()
    across = -(-image.shape[1] // TILE)
    for absent, tile in kind.absent:
        if absent == number:
            y, x = tile // across * TILE, tile % across * TILE
            image[y : y + TILE, x : x + TILE] = 255
    return image


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"jpeg"}))
def test_levels_are_cropped_and_missing_tiles_white(sample: Callable[[str], Path], name: str) -> None:
    kind = KINDS[name]
    numbers = [number for number in range(kind.depth) if number not in kind.skipped]
    with open_slide(sample(name)) as slide:
        for level, number in zip(slide.scenes[0].levels, numbers, strict=True):
            np.testing.assert_array_equal(picture(level), expected_level(kind, number))
        absent = [gap for level in slide.scenes[0].levels for gap in level.index.gaps()]
        assert len(absent) == len(kind.absent)


@pytest.mark.parametrize("name", ["plain", "jpeg", "many-levels", "label-pages"])
def test_pixels_equal_openslide(sample: Callable[[str], Path], name: str) -> None:
    with openslide.OpenSlide(sample(name)) as oracle, open_slide(sample(name)) as slide:
        assert oracle.properties["openslide.vendor"] == "philips"
        assert list(oracle.level_dimensions) == [(level.shape.x, level.shape.y) for level in slide.scenes[0].levels]
        for number, level in enumerate(slide.scenes[0].levels):
            theirs = np.asarray(oracle.read_region((0, 0), number, oracle.level_dimensions[number]))
            over_white = np.where(theirs[..., 3:] == 0, 255, theirs[..., :3])
            np.testing.assert_array_equal(picture(level), over_white)
        assert set(oracle.associated_images) == set(slide.associated)
        for role, image in oracle.associated_images.items():
            np.testing.assert_array_equal(picture(slide.associated[role].levels[0]), np.asarray(image)[..., :3])
        assert float(oracle.properties["openslide.mpp-x"]) == pytest.approx(slide.scenes[0].pixel_size.x_um)


def test_spacing_is_row_then_column(tmp_path: Path) -> None:
    path = make_philips(tmp_path / "a.tiff", replace(TINY, spacing_mm=(0.000226316, 0.000226321)))
    with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
        size = slide.scenes[0].pixel_size
        assert (size.y_um, size.x_um) == (pytest.approx(0.226316), pytest.approx(0.226321))
        assert float(oracle.properties["openslide.mpp-y"]) == pytest.approx(size.y_um)


def test_facts(tmp_path: Path) -> None:
    import base64

    icc = '<Attribute Name="DICOM_ICCPROFILE" PMSVR="IString">&quot;' + base64.b64encode(ICC).decode() + "&quot;</Attribute>"
    with open_slide(make_philips(tmp_path / "a.tiff", replace(TINY, attributes=icc))) as slide:
        facts = slide.scenes[0].facts
        assert (facts.microscope_manufacturer, facts.microscope_serial) == ("PHILIPS", "FMT0123")
        assert facts.acquired == datetime(2016, 7, 18, 12, 23)  # noqa: DTZ001
        assert facts.software == "1.6.6186, x"
        assert slide.scenes[0].icc == ICC
        assert slide.scenes[0].magnification is None


def test_pictures_stay_out_of_the_raw_metadata(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("plain")) as slide:
        assert slide.raw_metadata is not None
        assert "PIM_DP_IMAGE_DATA" in slide.raw_metadata
        assert len(slide.raw_metadata) < 8000
        assert "Jane" not in repr(slide.scenes)
        expected = cv2.imdecode(np.frombuffer(made_philips.jpeg_picture("LABELIMAGE"), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(picture(slide.associated["label"].levels[0]), expected[..., ::-1])


def test_recognised_by_content(tmp_path: Path) -> None:
    path = make_philips(tmp_path / "renamed.svs", TINY)
    assert driver_for(path, [found.driver for found in find_drivers() if found.driver is not None]) is DRIVER


def test_page_of_the_wrong_size_is_left_out(tmp_path: Path) -> None:
    kind = replace(TINY, replaced={"0.000454546": "0.000227273"})
    with open_slide(make_philips(tmp_path / "a.tiff", kind)) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert any("does not fit" in warning for warning in slide.warnings)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"</DataObject>\n": "</DataObjecu>\n"}, "not well-formed"),
        ({'<?xml version="1.0" encoding="UTF-8" ?>\n': '<!DOCTYPE a [<!ENTITY b "c">]>\n'}, "document type"),
    ],
)
def test_broken_descriptions(tmp_path: Path, replaced: dict[str, str], message: str) -> None:
    with pytest.raises(Damaged, match=rf"^odd.tiff: .*{message}"):
        open_slide(make_philips(tmp_path / "odd.tiff", replace(TINY, replaced=replaced)))


@pytest.mark.parametrize(("data", "message"), [("!", "no base64"), ("AAAA", "is no JPEG")])
def test_broken_pictures_are_named_and_left_out(tmp_path: Path, data: str, message: str) -> None:
    replaced = {'"PIM_DP_IMAGE_DATA" Group="0x0028" Element="0x0030" PMSVR="IString">': f'"PIM_DP_IMAGE_DATA">{data}'}
    with open_slide(make_philips(tmp_path / "odd.tiff", replace(TINY, replaced=replaced))) as slide:
        assert not slide.associated
        assert any(
            re.search(rf"the (label|macro) image cannot be read and is left out: .*{message}", w) for w in slide.warnings
        )


def test_truncated_file(tmp_path: Path) -> None:
    path = make_philips(tmp_path / "cut.tiff", TINY)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DriverError, match=r"^cut.tiff"):
        open_slide(path)


def test_white_is_the_ground(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("jpeg")) as slide:
        pixels = picture(slide.scenes[0].levels[0])
        assert (pixels[:TILE, 3 * TILE : 4 * TILE] == 255).all()
        assert np.abs(pixels[:TILE, :TILE].astype(int) - tissue(640, 896, 2)[:TILE, :TILE]).mean() < 6
