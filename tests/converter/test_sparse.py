"""Sparse slides: what no tile covers costs no work on pixels, and the store is the one that painting it would give."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.options import Options
from converter.planning.image import Place, plan_image
from converter.publishing.stage import LocalStage
from converter.writing.ngff import Window
from converter.writing.run import Amount, Work, run_image
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene
from drivers.paint import paint, vacant
from drivers.tiles import Mosaic, Tile
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import SMALL, converted, slide_of, stored, texture

pytestmark = pytest.mark.usefixtures("files_closed")


def written(scene: Scene, **options: Any) -> tuple[dict[str, str], Window, int]:
    """Path and digest of every object of a scene's arrays, the range of its last level, and the samples told of."""
    told: list[Amount] = []
    with tempfile.TemporaryDirectory() as folder:
        stage = LocalStage(Path(folder))
        stage.store.mkdir()
        work = Work(stage, Options(**{**SMALL, **options}), progress=told.append)
        work.window.begin(scene.shape.c)
        run_image(scene, plan_image(scene, {}, work.options, Place(0, "")), work)
        stage.sync()
        return {entry.path: entry.sha256 for entry in stage.entries}, work.window.seen(), told[-1].done


def mosaic(shape: Shape, boxes: Sequence[tuple[int, ...]], dtype: str = "uint8", fill: float = 0) -> Level:
    """A level of tiles at (t, c, z, y, x, height, width), cut off at its edges."""
    image, whole = texture(shape, dtype), Box.of(shape)
    tiles: list[Tile] = []
    for t, c, z, y, x, height, width in boxes:
        start = Shape(t % shape.t, c % shape.c, z % shape.z, y % shape.y, x % shape.x)
        place = Box(start, start.plus(Shape(1, 1, 1, height, width))) & whole
        tiles.append(Tile(place, place))

    def read(key: object) -> Pixels:
        assert isinstance(key, Box)
        return image[key.slices()]

    tile = Shape(1, 1, 1, 64, 64)
    return Level(shape, image.dtype, Mosaic(tiles), read, tile, fill, 1.0, "none")


def solid(level: Level) -> Level:
    """The same picture in a level that stores every tile."""
    return memory_level(paint(level, Box.of(level.shape)), (64, 64), fill=level.fill)


PLACES = st.tuples(*[st.integers(0, 3)] * 3, *[st.integers(0, 900)] * 2, *[st.integers(1, 200)] * 2)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 2)] * 3, *[st.integers(1, 900)] * 2),
    st.lists(PLACES, max_size=3),
    st.sampled_from([("uint8", 255.0), ("uint16", 0.0), ("float32", 0.0), ("int16", -3.0)]),
    st.sampled_from(["mean", "mode", "nearest"]),
    st.sampled_from([("0.5", 128), ("0.5", None), ("0.4", 128)]),
)
def test_a_void_is_written_as_if_it_had_been_painted(
    size: tuple[int, ...], boxes: list[tuple[int, ...]], kind: tuple[str, float], method: str, form: tuple[str, int | None]
) -> None:
    sparse = mosaic(Shape(*size), boxes, *kind)
    options = {"downsample": method, "ome_zarr": form[0], "shard": form[1]}
    assert written(memory_scene([sparse]), **options) == written(memory_scene([solid(sparse)]), **options)


def test_tiles_that_a_grid_lacks_are_a_void() -> None:
    array = np.full((1, 3, 1, 700, 900), 255, np.uint8)
    array[..., 256:384, 512:640] = texture((1, 3, 1, 128, 128))
    absent = [(0, 0, 0, y, x) for y in range(11) for x in range(15) if not (4 <= y < 6 and 8 <= x < 10)]
    reads: Counter[Any] = Counter()
    sparse = memory_level(array, (64, 64), fill=255, reads=reads, interleaved=True, absent=absent)
    whole = memory_level(array, (64, 64), fill=255, interleaved=True)
    assert written(memory_scene([sparse], rgb=True)) == written(memory_scene([whole], rgb=True))
    assert len(reads) == 4


def test_nothing_but_void(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, memory_scene([mosaic(Shape(1, 1, 1, 300, 500), [])]))
    receipt = converted(slide, tmp_path / "out.ome.zarr", verify="full")
    assert receipt.status == "done"
    assert not stored(tmp_path / "out.ome.zarr", "0").any()


def test_a_level_of_another_background_is_painted(tmp_path: Path) -> None:
    """What is not stored reads as the image's background, so that of the coarse level must be stored."""
    fine = mosaic(Shape(1, 1, 1, 400, 400), [(0, 0, 0, 0, 0, 400, 400)], fill=255)
    coarse = replace(mosaic(Shape(1, 1, 1, 200, 200), [], fill=7), scale=2.0)
    slide = slide_of(tmp_path, memory_scene([fine, coarse]))
    converted(slide, tmp_path / "out.ome.zarr", native_levels="always")
    assert (stored(tmp_path / "out.ome.zarr", "1") == 7).all()


def test_a_void_of_ten_gigapixels_takes_no_time() -> None:
    """Painted, it took 18 s on the machine where this takes 0.3 s."""
    level = mosaic(Shape(1, 1, 1, 1, 1), [])
    tile = Box(Shape(0, 0, 0, 70_000, 30_000), Shape(1, 1, 1, 70_100, 30_100))
    sparse = replace(
        level,
        shape=Shape(1, 1, 1, 100_000, 100_000),
        index=Mosaic([Tile(tile, "only")]),
        read=lambda _key: np.ones(tile.shape, np.uint8),
    )
    start = time.process_time()
    objects, _, _ = written(memory_scene([sparse]), chunk=512, shard=2048)
    assert time.process_time() - start < 5
    assert 8 <= len(objects) <= 20  # one or two objects a level


def test_vacant() -> None:
    level = mosaic(Shape(1, 1, 1, 100, 100), [(0, 0, 0, 40, 40, 10, 10)])
    assert vacant(level, Box(Shape(0, 0, 0, 50, 0), Shape(1, 1, 1, 100, 100)))
    assert vacant(level, Box(Shape(0, 0, 0, 0, 0), Shape(1, 1, 1, 40, 100)))
    assert not vacant(level, Box(Shape(0, 0, 0, 49, 49), Shape(1, 1, 1, 100, 100)))
