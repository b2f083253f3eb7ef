"""What every driver promises, for every sample: those the tests make, and the shared ones where they lie beside the project.

A sample comes with its facts: made ones list them in `MADE` of a module in tests/made, of shared ones support/shared.py
tells what is stated. A new format brings samples and no test code. Of large samples a region is looked at here; `slow`
tests look at all.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.discovery import find_drivers
from drivers.errors import Unsupported
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene, Slide
from drivers.tiles import Grid, Mosaic
from tests.conftest import SHARED_SAMPLES, open_files
from tests.made.omezarr import STORES
from tests.support.oracles import by_tifffile
from tests.support.shared import DRIVERS, REFUSED, Sample, shared_samples

pytestmark = pytest.mark.usefixtures("files_closed")
MANY = 500_000
"""Samples of a level of which everything is read in everyday tests; of a larger one a region."""


def made_samples() -> list[Sample]:
    """Those of all modules in tests/made."""
    modules = [
        import_module(f"tests.made.{path.stem}") for path in sorted((Path(__file__).parents[1] / "made").glob("[!_]*.py"))
    ]
    found = [Sample(name, maker, None, facts) for m in modules for name, maker, facts in getattr(m, "MADE", [])]
    stores = [Sample(name, maker, None, {"driver": "omezarr", "oracle": False} | facts) for name, maker, facts in STORES]
    return found + stores


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


def region(level: Level, many: int = MANY) -> Box:
    """All of a level; of one of more than `many` samples two planes of its lower right part."""
    shape = level.shape
    if Box.of(shape).pixels <= many:
        return Box.of(shape)
    t, c, z = (max(0, n - 2) for n in shape[:3])
    return Box(Shape(t, c, z, max(0, shape.y - 400), max(0, shape.x - 300)), shape)


def is_large(level: Level) -> bool:
    """Whether everyday tests read a region only."""
    return Box.of(level.shape).pixels > MANY


def test_there_are_samples_of_every_driver() -> None:
    known = {sample.facts.get("driver") for sample in SAMPLES}
    assert {found.name for found in find_drivers()} - known == {"isyntax"}, "of which nobody can make a file"
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


def test_shared_samples_are_there() -> None:
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    found = shared_samples()
    assert len(found) > 60
    assert {sample.facts["driver"] for sample in found} == set(DRIVERS.values())
    folders = {path.name for path in SHARED_SAMPLES.iterdir() if path.is_dir()}
    assert folders == {*DRIVERS, "broken"}, "a folder of shared samples that no test knows"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_says_why(name: str) -> None:
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    with pytest.raises(Unsupported, match=REFUSED[name]) as caught:
        open_slide(SHARED_SAMPLES / name)
    assert Path(name).name in str(caught.value)


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
    # A section through a volume has other distances down than across; scanners round the two apart by a part in 10,000.
    x, y = scene.pixel_size.x_um, scene.pixel_size.y_um
    assert x == y or (x is not None and (slide.driver == "lif" or x == pytest.approx(y, rel=1e-4)))


def test_contract_of_slide_and_scenes(path: Path, slide: Slide) -> None:
    assert slide.path == path
    # A DICOM series may be named by its folder; then the files are those in it.
    assert slide.files[0] == path or (path.is_dir() and all(path in file.parents for file in slide.files))
    assert slide.scenes
    for role in slide.associated:
        assert role
        assert role == role.lower()
    for scene in scenes(slide):
        assert scene.name
        assert scene.levels
        assert len(scene.channels) == scene.shape.c
        assert not scene.rgb or scene.shape.c == 3 + (scene.alpha is not None)
        assert scene.alpha in (None, scene.shape.c - 1)
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
        if covered.all():
            continue
        # Only a mosaic may leave places uncovered (CZI tile regions of any outline): they show the fill value.
        assert isinstance(level.index, Mosaic)
        part = region(level)
        assert (paint(level, part)[covered[part.slices()] == 0] == level.fill).all()


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
        chosen: list[Hashable] = [tile.key for tile in level.index.tiles(region(level))][:150]
        alone = {key: level.read(key).tobytes() for key in chosen}
        mixed = chosen * (2 if is_large(level) else max(2, 64 // max(1, len(chosen))))  # each thread has some to read
        random.Random(1).shuffle(mixed)
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda key, read=level.read: read(key).tobytes(), mixed))
        assert all(alone[key] == read for key, read in zip(mixed, together, strict=True))


def assert_boxes_agree(level: Level, part: Box) -> None:
    """Boxes anywhere in `part`, and four that tile it, show what one read of `part` shows."""
    dice = random.Random(2)
    full = paint(level, part)
    assert full.shape == part.shape
    assert full.dtype == level.dtype
    for _ in range(5):
        start = Shape(*(dice.randrange(a, b) for a, b in zip(part.start, part.stop, strict=True)))
        stop = Shape(*(dice.randrange(a, b) + 1 for a, b in zip(start, part.stop, strict=True)))
        np.testing.assert_array_equal(paint(level, Box(start, stop)), full[Box(start, stop).slices(part.start)])
    stitched = np.empty(part.shape, level.dtype)
    height, width = part.shape.y // 2 + 1, part.shape.x // 2 + 1
    for y in range(part.start.y, part.stop.y, height):
        for x in range(part.start.x, part.stop.x, width):
            corner = part.stop._replace(y=min(y + height, part.stop.y), x=min(x + width, part.stop.x))
            box = Box(part.start._replace(y=y, x=x), corner)
            stitched[box.slices(part.start)] = paint(level, box)
    np.testing.assert_array_equal(stitched, full)


def test_boxes_show_their_part_of_the_whole(slide: Slide) -> None:
    for level in levels(slide):
        assert_boxes_agree(level, region(level))


@pytest.mark.slow
def test_all_of_large_levels(slide: Slide) -> None:
    large = [level for level in levels(slide) if is_large(level)]
    if not large:
        pytest.skip("no level of which the everyday tests read a region only")
    for level in large:
        assert_boxes_agree(level, Box.of(level.shape))
        chosen: list[Hashable] = [tile.key for tile in tiles(level)]
        alone = {key: zlib.crc32(np.ascontiguousarray(level.read(key))) for key in chosen}
        random.Random(3).shuffle(chosen)
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda key, read=level.read: zlib.crc32(np.ascontiguousarray(read(key))), chosen))
        assert all(alone[key] == read for key, read in zip(chosen, together, strict=True))


def test_outside_is_fill(slide: Slide) -> None:
    for level in levels(slide):
        _, _, _, y, x = level.shape
        stop = level.shape
        first = region(level).start._replace(y=0, x=0)  # large stacks: two planes
        inner = paint(level, Box(first._replace(y=y - 1, x=x - 1), stop))
        corner = paint(level, Box(first._replace(y=y - 1, x=x - 1), stop._replace(y=y + 9, x=x + 7)))
        np.testing.assert_array_equal(corner[..., :1, :1], inner)
        assert (corner[..., 1:, :] == level.fill).all()
        assert (corner[..., 1:] == level.fill).all()
        left = paint(level, Box(first._replace(y=-4, x=-3), stop._replace(y=1, x=1)))
        assert (left[..., :4, :] == level.fill).all()
        assert (left[..., :3] == level.fill).all()
        assert (paint(level, Box(first._replace(y=y, x=x), stop._replace(y=y + 2, x=x + 2))) == level.fill).all()


def test_unknown_is_none(sample: Sample, slide: Slide) -> None:
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
    if sample.path is not None and slide.driver not in {"gdal", "tiff"}:  # made files and pictures may have no text
        assert slide.raw_metadata


def test_close_closes(path: Path) -> None:
    slide = open_slide(path)
    files = {str(file.resolve()) for file in slide.files}
    opened = files & set(open_files())
    slide.close()
    assert opened or slide.driver == "omezarr"  # whose chunks are opened one by one
    assert not files & set(open_files())


# Without those of which the driver shows other samples than are stored.
@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.facts["oracle"]], ids=lambda sample: sample.name)
def test_level_0_is_what_tifffile_reads(sample: Sample, path: Path, slide: Slide) -> None:
    expected = by_tifffile(path)
    ours = whole(slide.scenes[0].levels[0])
    if expected.dtype == bool:
        expected = expected.astype(np.uint8) * (ours.max() or 1)
    np.testing.assert_array_equal(ours, expected)
