"""Placed tiles: a grid covers each pixel once, a mosaic gives what brute force gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drivers.geometry import ORIGIN, Box, Shape
from drivers.tiles import Grid, Mosaic, Tile

SPACE = Shape(2, 3, 2, 11, 13)
shapes = st.builds(Shape, *(st.integers(1, n) for n in SPACE))
tile_shapes = st.builds(Shape, *(st.integers(1, n) for n in (2, 3, 2, 6, 6)))
corners = st.builds(Shape, *(st.integers(-3, n) for n in SPACE))
boxes = st.builds(lambda start, extent: Box(start, start.plus(extent)), corners, shapes)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A grid with some tiles absent and some empty."""
    whole = Grid(draw(shapes), draw(tile_shapes))
    keys = [Shape(*map(int, key)) for key in np.ndindex(*down(whole))]
    absent = draw(st.sets(st.sampled_from(keys), max_size=4))
    empty = draw(st.sets(st.sampled_from(keys), max_size=4)) - absent
    return Grid(whole.shape, whole.tile, frozenset(absent), frozenset(empty))


def down(grid: Grid) -> tuple[int, ...]:
    """Number of tiles per axis."""
    return tuple(-(-n // k) for n, k in zip(grid.shape, grid.tile, strict=True))


@given(grids(), boxes)
def test_grid_covers_every_stored_pixel_of_a_box_once(grid: Grid, box: Box) -> None:
    covered = np.zeros(grid.shape, int)
    for tile in grid.tiles(box):
        assert tile.box & box
        assert Box.of(grid.shape).contains(tile.box)
        covered[tile.box.slices()] += 1
    expected = np.ones(grid.shape, int)
    for key in grid.absent:
        expected[grid.place(key).slices()] = 0
    part = (box & Box.of(grid.shape)).slices() if box & Box.of(grid.shape) else (slice(0, 0),) * 5
    np.testing.assert_array_equal(covered[part], expected[part])


@given(grids())
def test_grid_lists_each_tile_with_its_key_and_place(grid: Grid) -> None:
    tiles = list(grid.tiles(Box.of(grid.shape)))
    assert len({tile.key for tile in tiles}) == len(tiles) == np.prod(down(grid)) - len(grid.absent)
    assert all(tile.box == grid.place(tile.key) and tile.crop == ORIGIN for tile in tiles)
    assert tiles == sorted(tiles, key=lambda tile: tile.key)


@given(grids())
def test_gaps_are_the_absent_and_the_empty_tiles(grid: Grid) -> None:
    assert set(grid.gaps()) == {grid.place(key) for key in grid.absent | grid.empty}


def test_edge_tiles_are_clipped() -> None:
    grid = Grid(Shape(1, 3, 1, 10, 7), Shape(1, 3, 1, 4, 4), absent=frozenset({Shape(0, 0, 0, 2, 1)}))
    corner = Box(Shape(0, 0, 0, 8, 4), Shape(1, 3, 1, 10, 7))
    assert grid.gaps() == [corner]
    assert list(grid.tiles(corner)) == []
    row = [(tile.key[3:], tile.box.start[3:], tile.box.stop[3:]) for tile in grid.tiles(Box.of(grid.shape))][2:]
    assert row == [((1, 0), (4, 0), (8, 4)), ((1, 1), (4, 4), (8, 7)), ((2, 0), (8, 0), (10, 4))]


def test_no_tiles_outside_a_grid() -> None:
    grid = Grid(Shape(1, 1, 1, 10, 10), Shape(1, 1, 1, 4, 4))
    assert not list(grid.tiles(Box(Shape(0, 0, 0, 10, 0), Shape(1, 1, 1, 20, 10))))
    assert not list(grid.tiles(Box(Shape(0, 0, 0, 5, 5), Shape(1, 1, 1, 5, 9))))


@given(st.lists(boxes, max_size=12), boxes)
def test_mosaic_gives_the_touching_tiles_in_order(places: list[Box], box: Box) -> None:
    placed = [Tile(place, number) for number, place in enumerate(places)]
    mosaic = Mosaic(placed)
    assert list(mosaic.tiles(box)) == [tile for tile in placed if tile.box & box]
    assert mosaic.gaps() == []


def test_an_empty_box_touches_no_tile() -> None:
    mosaic = Mosaic([Tile(Box.of(Shape(1, 1, 1, 9, 9)), 0)])
    assert not list(mosaic.tiles(Box(Shape(0, 0, 0, 4, 4), Shape(1, 1, 1, 4, 8))))
    assert not list(Mosaic([]).tiles(Box.of(SPACE)))
