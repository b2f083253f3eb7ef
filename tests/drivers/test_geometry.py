"""Boxes: intersection, containment and slices agree with sets of pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drivers.factors import nominal, snapped
from drivers.geometry import ORIGIN, Box, Shape

SPACE = Shape(3, 3, 3, 9, 9)
corners = st.builds(Shape, *(st.integers(-2, n + 2) for n in SPACE))
extents = st.builds(Shape, *(st.integers(1, n) for n in SPACE))
full = st.builds(lambda start, extent: Box(start, start.plus(extent)), corners, extents)
boxes = full | st.builds(Box, corners, corners)  # the second kind is nearly always empty


def pixels(box: Box) -> set[tuple[int, ...]]:
    """The pixels of a box, one by one."""
    ranges = [range(a, b) for a, b in zip(box.start, box.stop, strict=True)]
    return {(t, c, z, y, x) for t in ranges[0] for c in ranges[1] for z in ranges[2] for y in ranges[3] for x in ranges[4]}


@given(boxes, boxes)
def test_intersection_is_the_common_pixels(a: Box, b: Box) -> None:
    common = a & b
    assert pixels(common) == pixels(a) & pixels(b)
    assert bool(common) == bool(pixels(common))
    assert pixels(b & a) == pixels(common)


@given(boxes)
def test_shape_and_pixels_count_the_pixels(box: Box) -> None:
    assert box.pixels == len(pixels(box))
    assert min(box.shape) >= 0
    assert bool(box) == (box.pixels > 0)
    assert (box & box).pixels == box.pixels


@given(full, full)
def test_contains_is_subset(a: Box, b: Box) -> None:
    assert a.contains(b) == (pixels(b) <= pixels(a))


@given(boxes, corners)
def test_slices_pick_the_pixels_of_an_array_at_an_origin(box: Box, origin: Shape) -> None:
    array_box = Box(origin, origin.plus(SPACE))
    part = box & array_box
    if not part:
        return
    array = np.arange(Box.of(SPACE).pixels).reshape(SPACE)
    taken = array[part.slices(origin)]
    assert taken.shape == part.shape
    assert taken.flat[0] == array[part.start.minus(origin)]
    assert taken.flat[-1] == array[part.stop.minus(origin).minus(Shape(1, 1, 1, 1, 1))]


@given(corners, corners)
def test_plus_and_minus_undo_each_other(a: Shape, b: Shape) -> None:
    assert a.plus(b).minus(b) == a
    assert a.minus(a) == ORIGIN


# -- factors --

sizes = st.tuples(st.integers(1, 300_000), st.integers(1, 300_000))
large = st.tuples(st.integers(100_000, 300_000), st.integers(100_000, 300_000))


def chain(size: tuple[int, int], steps: list[int], *, up: bool) -> tuple[int, int]:
    """The size after every step, rounded down or up each time."""
    height, width = size
    for step in steps:
        height, width = (-(-height // step), -(-width // step)) if up else (height // step, width // step)
    return height, width


@given(sizes, st.lists(st.integers(2, 8), max_size=5), st.booleans())
def test_chains_of_floors_and_of_ceils_always_snap(size: tuple[int, int], steps: list[int], up: bool) -> None:
    coarse = chain(size, steps, up=up)
    if min(coarse) < 1:
        return
    k = snapped(size, coarse)
    assert k is not None
    assert all(abs(fine - k * small) < k for fine, small in zip(size, coarse, strict=True))
    assert nominal(size, coarse) == k


@given(sizes, st.integers(0, 12), st.booleans())
def test_powers_of_two_are_found_exactly(size: tuple[int, int], halvings: int, up: bool) -> None:
    coarse = chain(size, [2] * halvings, up=up)
    if max(coarse) >= 4 and min(coarse) >= 1:
        assert snapped(size, coarse) == 2**halvings


@given(large, st.integers(2, 64), st.booleans())
def test_a_large_level_has_one_factor_only(size: tuple[int, int], k: int, up: bool) -> None:
    coarse = chain(size, [k], up=up)
    assert snapped(size, coarse) == k


@given(large, st.floats(1.02, 40).filter(lambda f: abs(f - round(f)) > 0.02))
def test_a_quotient_between_integers_does_not_snap(size: tuple[int, int], factor: float) -> None:
    coarse = (round(size[0] / factor), round(size[1] / factor))
    assert snapped(size, coarse) is None
    assert abs(nominal(size, coarse) - factor) < 0.01 * factor


@given(st.integers(500, 100_000), st.integers(2, 16), st.integers(2, 16))
def test_axes_that_disagree_do_not_snap(side: int, down: int, across: int) -> None:
    if down != across and side // max(down, across) > 2 * max(down, across):
        assert snapped((side, side), (side // down, side // across)) is None


def test_factors_of_real_slides() -> None:
    assert snapped((32914, 46000), (8228, 11500)) == 4
    assert snapped((32914, 46000), (2057, 2875)) == 16
    assert snapped((45667, 96999), (482, 1024)) is None
    assert snapped((1215, 1407), (18, 21)) == 64
    assert snapped((1480, 570), (493, 190)) == 3
    assert snapped((768, 574), (768, 574)) == 1
    assert snapped((768, 574), (0, 574)) is None
    assert snapped((100, 100), (200, 200)) is None
