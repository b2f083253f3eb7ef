"""What every driver promises, for every sample: those the tests make, and the shared ones where they lie beside the project.

A sample comes with its facts: made ones list them in `MADE` of a `made_*.py`, shared ones in SAMPLES.tsv. A new format
brings samples and no test code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Unsupported
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene, Slide
from drivers.tiles import Grid
from tests.conftest import SHARED_SAMPLES, open_files

pytestmark = pytest.mark.usefixtures("files_closed")
FOLDERS = ("svs", "tiff", "ometiff")
REFUSED = {"libvips-subsampled.tif": "YCbCr"}
"""Shared samples that no driver reads, and a word of the reason."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file and what is known of it."""

    name: str
    maker: Callable[[Path], object] | None
    path: Path | None
    facts: dict[str, Any]


def made_samples() -> list[Sample]:
    """Those of all `made_*.py` beside this file."""
    modules = [import_module(f"tests.{path.stem}") for path in sorted(Path(__file__).parent.glob("made_*.py"))]
    return [Sample(name, maker, None, facts) for m in modules for name, maker, facts in getattr(m, "MADE", [])]


def shared_samples() -> list[Sample]:
    """Those of others, in the folders of formats that are read."""
    if not SHARED_SAMPLES.is_dir():
        return []
    rows = [line.split("\t") for line in (SHARED_SAMPLES / "SAMPLES.tsv").read_text("utf-8").splitlines()[1:]]
    stated = {row[0]: row[3] for row in rows}
    paths = sorted(p for folder in FOLDERS for p in (SHARED_SAMPLES / folder).glob("*") if p.is_file())
    names = [p.relative_to(SHARED_SAMPLES).as_posix() for p in paths]
    return [
        Sample(name, None, path, stated_facts(stated.get(name, ""), path.name))
        for name, path in zip(names, paths, strict=True)
        if path.name not in REFUSED
    ]


def stated_facts(text: str, name: str) -> dict[str, Any]:
    """Facts out of a line like `TZYX 7x5x167x439 int8 NONE MINISBLACK strips pages=35 L=1 BE bits=8`."""
    words = text.split()
    if len(words) < 5:
        return {}
    size = dict(zip(words[0], map(int, words[1].split("x")), strict=True))
    # A driver may show another picture than is stored: colours, CMYK, turned.
    as_stored = words[4] in {"RGB", "MINISBLACK", "YCBCR"} and "orient6" not in name and "orient8" not in name
    height, width = (size["X"], size["Y"]) if "orient6" in name or "orient8" in name else (size["Y"], size["X"])
    facts: dict[str, Any] = {"dtype": {"bool": "uint8"}.get(words[2], words[2]), "oracle": as_stored}
    channels = size.get("S", size.get("C", 1))
    if words[4] == "SEPARATED":
        channels = 3
    count = next(int(word[2:]) for word in words if word.startswith("L="))
    return facts | {
        "level0": (size.get("T", 1), channels, size.get("Z", 1), height, width),
        "level_count": count,
        "rgb": channels == 3,
    }


SAMPLES = made_samples() + shared_samples()


@pytest.fixture(params=SAMPLES, ids=lambda sample: sample.name)
def sample(request: pytest.FixtureRequest) -> Sample:
    """Every sample in turn."""
    return request.param


@pytest.fixture
def path(sample: Sample, made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The file of the sample."""
    if sample.path is not None:
        return sample.path
    assert sample.maker is not None
    return made(sample.name, sample.maker)


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    """The sample, open."""
    with open_slide(path) as opened:
        yield opened


def scenes(slide: Slide) -> list[Scene]:
    """Scenes and associated images."""
    return [*slide.scenes, *slide.associated.values()]


def levels(slide: Slide) -> list[Level]:
    """Every level of the slide."""
    return [level for scene in scenes(slide) for level in scene.levels]


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def tiles(level: Level) -> list[Any]:
    """All stored tiles."""
    return list(level.index.tiles(Box.of(level.shape)))


def test_there_are_samples_of_every_driver() -> None:
    known = {sample.facts.get("driver") for sample in SAMPLES}
    assert {"aperio", "tiff", "ometiff"} <= known
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


def test_shared_samples_are_there() -> None:
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    assert len(shared_samples()) > 20
    assert all(sample.facts for sample in shared_samples())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_says_why(shared_samples: Path, name: str) -> None:
    with pytest.raises(Unsupported, match=REFUSED[name]) as caught:
        open_slide(next(shared_samples.rglob(name)))
    assert name in str(caught.value)


def test_recorded_facts(sample: Sample, slide: Slide) -> None:
    assert sample.facts
    scene, facts = slide.scenes[0], sample.facts
    found = {
        "driver": slide.driver,
        "dtype": scene.dtype.name,
        "rgb": scene.rgb,
        "levels": [tuple(level.shape) for level in scene.levels],
        "level0": tuple(scene.shape),
        "level_count": len(scene.levels),
        "scales": [level.scale for level in scene.levels],
        "tile": tuple(scene.levels[0].tile),
        "fill": scene.levels[0].fill,
        "compression": scene.compression,
        "associated": sorted(slide.associated),
        "pixel_size_um": scene.pixel_size.x_um,
        "magnification": scene.magnification,
    }
    recorded = {key: value for key, value in facts.items() if key != "oracle"}
    assert {key: found[key] for key in recorded} == recorded
    assert scene.pixel_size.x_um == scene.pixel_size.y_um


def test_contract_of_slide_and_scenes(path: Path, slide: Slide) -> None:
    assert slide.path == path
    assert slide.files[0] == path
    assert slide.scenes
    for role in slide.associated:
        assert role
        assert role == role.lower()
    for scene in scenes(slide):
        assert scene.name
        assert scene.levels
        assert len(scene.channels) == scene.shape.c
        assert not scene.rgb or scene.shape.c == 3
        assert len({level.dtype for level in scene.levels}) == 1
        assert len({level.shape[:3] for level in scene.levels}) == 1
        assert scene.levels[0].scale == 1
        for finer, coarser in pairwise(scene.levels):
            assert finer.scale < coarser.scale
            assert finer.shape.y >= coarser.shape.y
            assert finer.shape.x >= coarser.shape.x
            assert finer.shape.y * finer.shape.x > coarser.shape.y * coarser.shape.x


def test_contract_of_levels(slide: Slide) -> None:
    for level in levels(slide):
        assert isinstance(level.shape, Shape)
        assert isinstance(level.tile, Shape)
        assert min(level.shape) >= 1
        assert min(level.tile) >= 1
        assert isinstance(level.dtype, np.dtype)
        assert level.dtype.isnative
        assert level.dtype.kind in "uif"
        assert np.asarray(level.fill).astype(level.dtype) == level.fill
        assert level.compression
        assert level.compression == level.compression.lower()
        if isinstance(level.index, Grid):
            assert level.index.shape == level.shape
            assert level.index.tile == level.tile


def test_tiles_cover_the_level_but_for_gaps(slide: Slide) -> None:
    for level in levels(slide):
        covered = np.zeros(level.shape, np.uint8)
        for box in [tile.box for tile in tiles(level)] + list(level.index.gaps()):
            assert Box.of(level.shape).contains(box)
            covered[box.slices()] = 1
        assert covered.all()


def test_blocks_fill_their_places(slide: Slide) -> None:
    for level in levels(slide):
        for tile in tiles(level)[:3] + tiles(level)[-3:]:
            block = level.read(tile.key)
            assert block.ndim == 5
            assert block.dtype == level.dtype
            needed = tile.crop.plus(tile.box.shape)
            assert all(have >= need for have, need in zip(block.shape, needed, strict=True))
            if level.interleaved and block.shape[1] > 1:
                assert block.strides[1] == level.dtype.itemsize


def test_eight_threads_read_what_one_reads(slide: Slide) -> None:
    for level in levels(slide):
        chosen: list[Hashable] = [tile.key for tile in tiles(level)][:150]
        alone = {key: level.read(key).tobytes() for key in chosen}
        mixed = chosen * (2 if len(chosen) > 20 else 8)
        random.Random(1).shuffle(mixed)
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda key, read=level.read: read(key).tobytes(), mixed))
        assert all(alone[key] == read for key, read in zip(mixed, together, strict=True))


def test_boxes_show_their_part_of_the_whole(slide: Slide) -> None:
    dice = random.Random(2)
    for level in levels(slide):
        full = whole(level)
        assert full.shape == level.shape
        assert full.dtype == level.dtype
        for _ in range(5):
            start = Shape(*(dice.randrange(n) for n in level.shape))
            stop = Shape(*(dice.randrange(a, n) + 1 for a, n in zip(start, level.shape, strict=True)))
            np.testing.assert_array_equal(paint(level, Box(start, stop)), full[Box(start, stop).slices()])
        stitched = np.empty(level.shape, level.dtype)
        height, width = level.shape.y // 2 + 1, level.shape.x // 2 + 1
        for y in range(0, level.shape.y, height):
            for x in range(0, level.shape.x, width):
                corner = Shape(*level.shape[:3], min(y + height, level.shape.y), min(x + width, level.shape.x))
                box = Box(Shape(0, 0, 0, y, x), corner)
                stitched[box.slices()] = paint(level, box)
        np.testing.assert_array_equal(stitched, full)


def test_outside_is_fill(slide: Slide) -> None:
    for level in levels(slide):
        t, c, z, y, x = level.shape
        inner = paint(level, Box(Shape(0, 0, 0, y - 1, x - 1), level.shape))
        corner = paint(level, Box(Shape(0, 0, 0, y - 1, x - 1), Shape(t, c, z, y + 9, x + 7)))
        np.testing.assert_array_equal(corner[..., :1, :1], inner)
        assert (corner[..., 1:, :] == level.fill).all()
        assert (corner[..., 1:] == level.fill).all()
        left = paint(level, Box(Shape(0, 0, 0, -4, -3), Shape(t, c, z, 1, 1)))
        assert (left[..., :4, :] == level.fill).all()
        assert (left[..., :3] == level.fill).all()
        assert (paint(level, Box(Shape(0, 0, 0, y, x), Shape(t, c, z, y + 2, x + 2))) == level.fill).all()


def test_unknown_is_none(slide: Slide) -> None:
    for scene in scenes(slide):
        numbers = [scene.magnification, scene.time_step_s, scene.significant_bits, scene.facts.objective_na]
        numbers += [scene.pixel_size.y_um, scene.pixel_size.x_um, scene.pixel_size.z_um]
        for channel in scene.channels:
            numbers += [channel.excitation_nm, channel.emission_nm, channel.exposure_s]
            assert channel.name != ""
            assert channel.color is None or len(bytes.fromhex(channel.color)) == 3
        assert all(number is None or (np.isfinite(number) and number > 0) for number in numbers), numbers
        words = [getattr(scene.facts, field) for field in type(scene.facts).__slots__]
        assert "" not in words
        assert scene.icc != b""
        assert scene.facts.ome_xml is None or "<" in scene.facts.ome_xml
    assert slide.raw_metadata != ""


def test_close_closes(path: Path) -> None:
    slide = open_slide(path)
    opened = open_files().count(str(path.resolve()))
    slide.close()
    assert opened > 0
    assert str(path.resolve()) not in open_files()


def five_axes(pixels: Pixels, axes: str) -> Pixels:
    """tifffile's axes as t c z y x; samples are channels, pages without a meaning are times."""
    letters = ["C" if a == "S" else a if a in "TCZYX" else "T" for a in axes]
    assert len(set(letters)) == len(letters)
    missing = [a for a in "TCZYX" if a not in letters]
    full = pixels.reshape((1,) * len(missing) + pixels.shape)
    return full.transpose([(missing + letters).index(a) for a in "TCZYX"])


def test_level_0_is_what_tifffile_reads(sample: Sample, path: Path, slide: Slide) -> None:
    if not sample.facts["oracle"]:
        pytest.skip("the driver shows other samples than are stored")
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0].levels[0]
        expected = five_axes(series.asarray(), series.axes)
    ours = whole(slide.scenes[0].levels[0])
    if expected.dtype == bool:
        expected = expected.astype(np.uint8) * (ours.max() or 1)
    np.testing.assert_array_equal(ours, expected)
