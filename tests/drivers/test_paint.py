"""Painting equals numpy slicing of the assembled level, for any grid, mosaic and box."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import Damaged
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels
from drivers.paint import blank, paint
from drivers.tiles import Mosaic, Tile
from tests.support.memory_driver import memory_level

SPACE = Shape(2, 3, 2, 11, 13)
FILL = 9
MARGIN = 4
shapes = st.builds(Shape, *(st.integers(1, n) for n in SPACE))
corners = st.builds(Shape, *(st.integers(-MARGIN, n) for n in SPACE))
boxes = st.builds(lambda start, extent: Box(start, start.plus(extent)), corners, shapes)
seeds = st.integers(0, 99)


def noise(shape: Shape, seed: int) -> Pixels:
    """Random samples, never the fill value."""
    return np.random.default_rng(seed).integers(FILL + 1, 60000, shape, np.uint16)


def taken(array: Pixels, box: Box) -> Pixels:
    """What a box shows of an array that has fill all around it."""
    margin = tuple(max(MARGIN, 2 * n) for n in SPACE)
    wide = np.pad(array, [(m, m) for m in margin], constant_values=FILL)
    return wide[tuple(slice(a + m, b + m) for a, b, m in zip(box.start, box.stop, margin, strict=True))]


@given(shapes, st.tuples(st.integers(1, 7), st.integers(1, 7)), boxes, seeds, st.booleans())
def test_grid(shape: Shape, tile: tuple[int, int], box: Box, seed: int, interleaved: bool) -> None:
    array = noise(shape, seed)
    reads: Counter[Shape] = Counter()
    level = memory_level(array, tile, fill=FILL, reads=reads, interleaved=interleaved)
    painted = paint(level, box)
    assert painted.dtype == level.dtype
    np.testing.assert_array_equal(painted, taken(array, box))
    assert all(count == 1 for count in reads.values())


@given(shapes, boxes, seeds, st.data())
def test_absent_tiles_show_the_fill(shape: Shape, box: Box, seed: int, data: st.DataObject) -> None:
    array = noise(shape, seed)
    keys = [tile.key for tile in memory_level(array, (4, 5)).index.tiles(Box.of(shape))]
    absent = data.draw(st.sets(st.sampled_from(keys)))
    level = memory_level(array, (4, 5), fill=FILL, absent=absent)
    for gap in level.index.gaps():
        array[gap.slices()] = FILL
    np.testing.assert_array_equal(paint(level, box), taken(array, box))


@given(st.lists(st.tuples(boxes, corners), max_size=8), boxes, seeds)
def test_mosaic_later_covers_earlier(places: list[tuple[Box, Shape]], box: Box, seed: int) -> None:
    placed: list[Tile] = []
    blocks: list[Pixels] = []
    assembled = np.full([MARGIN + 2 * n for n in SPACE], FILL, np.uint16)  # from -MARGIN to as far as a box reaches
    origin = Shape(*(-MARGIN for _ in SPACE))
    for number, (place, crop) in enumerate(places):
        tile = Tile(place, number, Shape(*(abs(n) % 3 for n in crop)))
        block = noise(place.shape.plus(tile.crop).plus(Shape(0, 0, 0, 1, 1)), seed + number)
        valid = block[Box(tile.crop, tile.crop.plus(place.shape)).slices()]
        assembled[place.slices(origin)] = valid
        placed.append(tile)
        blocks.append(block)
    level = replace(level_of(blocks), index=Mosaic(placed))
    np.testing.assert_array_equal(paint(level, box), assembled[box.slices(origin)])


def level_of(blocks: list[Pixels]) -> Level:
    """A level whose keys are the numbers of blocks."""
    empty = memory_level(np.zeros(SPACE, np.uint16), (4, 4), fill=FILL)
    return replace(empty, read=lambda key: blocks[key])  # type: ignore[index]


def test_the_reader_of_the_caller_is_used() -> None:
    level = memory_level(noise(Shape(1, 1, 1, 8, 8), 0), (4, 4))
    places: list[Tile] = []

    def read(tile: Tile) -> Pixels:
        places.append(tile)
        return np.full((1, 1, 1, 4, 4), 3, np.uint16)

    assert (paint(level, Box.of(level.shape), read) == 3).all()
    assert len(places) == 4


def test_interleaved_levels_are_painted_interleaved() -> None:
    plain = blank(memory_level(np.zeros((1, 3, 1, 8, 8), "u1"), (4, 4)), Box.of(Shape(1, 3, 1, 5, 5)))
    mixed = blank(memory_level(np.zeros((1, 3, 1, 8, 8), "u1"), (4, 4), interleaved=True), Box.of(Shape(1, 3, 1, 5, 5)))
    assert plain.shape == mixed.shape == (1, 3, 1, 5, 5)
    assert plain.flags.c_contiguous
    assert mixed[0].transpose(1, 2, 3, 0).flags.c_contiguous


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (np.zeros((1, 1, 1, 4, 4), np.float32), "decoded to float32, the level is uint16"),
        (np.zeros((1, 1, 1, 3, 4), np.uint16), "the stored block holds (1, 1, 1, 3, 4), its place is (1, 1, 1, 4, 4)"),
        (np.zeros((1, 1, 1, 1, 4), np.uint16), "the stored block holds (1, 1, 1, 1, 4), its place is (1, 1, 1, 4, 4)"),
        (np.zeros((1, 1, 1, 0, 4), np.uint16), "the stored block holds (1, 1, 1, 0, 4), its place is (1, 1, 1, 4, 4)"),
    ],
)
def test_a_block_that_does_not_fit_is_damage(block: Pixels, says: str) -> None:
    level = replace(memory_level(noise(Shape(1, 1, 1, 8, 8), 0), (4, 4)), read=lambda _: block)
    with pytest.raises(Damaged, match=re.escape(says)):
        paint(level, Box.of(level.shape))
