"""Halving against brute force: every sample type, odd sizes, axes of one, planar and interleaved memory."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as extra

from converter.halving import halve, halved_box, halved_shape
from drivers.geometry import Box, Shape
from tests.support.stores import Array, by_mean

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))


@st.composite
def arrays(draw: st.DrawFn, dtypes: list[str]) -> Array:
    """Five axes, any values that the type can hold, any memory order."""
    dtype, shape = np.dtype(draw(st.sampled_from(dtypes))), draw(SHAPES)
    if dtype.kind == "f":
        largest = 2.0**13 if dtype.itemsize == 2 else 2.0**100
        elements = st.floats(-largest, largest, width=dtype.itemsize * 8)
    else:
        info = np.iinfo(dtype)
        edges = st.sampled_from([info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3])
        elements = st.one_of(edges, st.integers(int(info.min), int(info.max)))
    array = draw(extra.arrays(dtype, shape, elements=elements))
    if draw(st.booleans()):  # interleaved: channels side by side in memory
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 4, 1)).transpose(0, 4, 1, 2, 3)
    if draw(st.booleans()):  # a part of something larger, as boxes of a decoded block are
        big = np.zeros((*array.shape[:3], array.shape[3] + 3, array.shape[4] + 5), dtype)
        big[..., 1:-2, 2:-3] = array
        array = big[..., 1:-2, 2:-3]
    array.flags.writeable = False
    return array


def quads(array: Array) -> tuple[Shape, list[tuple[tuple[int, ...], list[Any]]]]:
    """The four samples behind each sample of the halved array; along an axis of one the same sample twice."""
    small = halved_shape(Shape(*array.shape))
    found: list[tuple[tuple[int, ...], list[Any]]] = []
    last = (array.shape[3] - 1, array.shape[4] - 1)
    for place in np.ndindex(*small):
        rows = [min(2 * place[3] + d, last[0]) for d in (0, 1)]
        columns = [min(2 * place[4] + d, last[1]) for d in (0, 1)]
        found.append((place, [array[(*place[:3], y, x)] for y, x in product(rows, columns)]))
    return small, found


@given(arrays(INTEGERS))
def test_mean_of_integers_is_exact(array: Array) -> None:
    small, found = quads(array)
    result = halve(array, "mean")
    assert (result.shape, result.dtype) == (tuple(small), array.dtype)
    for place, values in found:
        assert int(result[place]) == (sum(int(v) for v in values) + 2) // 4


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_ties_are_rounded_up_whatever_the_number_of_channels(channels: int, dtype: str) -> None:
    values = np.random.default_rng(channels).integers(0, 6, (1, 1, 130, 514, channels)).astype(dtype)
    for array in (values.transpose(0, 4, 1, 2, 3), np.ascontiguousarray(values.transpose(0, 4, 1, 2, 3))):
        np.testing.assert_array_equal(halve(array, "mean"), by_mean(array))


@given(arrays(FLOATS))
def test_mean_of_floats(array: Array) -> None:
    small, found = quads(array)
    result = halve(array, "mean")
    assert (result.shape, result.dtype) == (tuple(small), array.dtype)
    epsilon = float(np.finfo(array.dtype).eps)
    tiny = float(np.finfo(array.dtype).smallest_subnormal)
    for place, values in found:
        wide = [float(v) for v in values]
        slack = 2 * epsilon * max(abs(v) for v in wide) + 2 * tiny
        assert abs(float(result[place]) - sum(wide) / 4) <= slack


@pytest.mark.parametrize("dtype", FLOATS)
def test_not_a_number_stays_in_its_place(dtype: str) -> None:
    array = np.ones((1, 1, 1, 6, 6), dtype)
    array[..., 2, 3] = np.nan
    array[..., 5, 5] = np.inf
    result = halve(array, "mean")[0, 0, 0]
    assert np.isnan(result[1, 1])
    assert np.isinf(result[2, 2])
    assert (result[np.isfinite(result)] == 1).all()
    assert np.isfinite(result).sum() == 7


@given(arrays([*INTEGERS, *FLOATS]))
def test_mode(array: Array) -> None:
    small, found = quads(array)
    result = halve(array, "mode")
    assert (result.shape, result.dtype) == (tuple(small), array.dtype)
    for place, values in found:
        counts = Counter(v.item() for v in values)
        most = max(counts.values())
        assert result[place].item() == min(v for v, n in counts.items() if n == most)


@given(extra.arrays(np.uint8, (1, 2, 1, 8, 8), elements=st.integers(0, 3)))
def test_mode_of_few_values(array: Array) -> None:
    for place, values in quads(array)[1]:
        counts = Counter(int(v) for v in values)
        most = max(counts.values())
        assert int(halve(array, "mode")[place]) == min(v for v, n in counts.items() if n == most)


@given(arrays([*INTEGERS, *FLOATS]))
def test_nearest(array: Array) -> None:
    small, found = quads(array)
    result = halve(array, "nearest")
    assert (result.shape, result.dtype) == (tuple(small), array.dtype)
    assert all(result[place] == values[0] for place, values in found)


@pytest.mark.parametrize("method", ["mean", "mode"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_interleaved_stays_interleaved(method: str, dtype: str) -> None:
    stored = np.random.default_rng(1).integers(0, 255, (1, 1, 64, 62, 3)).astype(dtype)
    array = stored.transpose(0, 4, 1, 2, 3)
    planar = np.ascontiguousarray(array)
    result = halve(array, method)
    np.testing.assert_array_equal(result, halve(planar, method))
    if method == "mean":
        assert result.strides[1] == result.itemsize


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_halved_shape(y: int, x: int) -> None:
    small = halved_shape(Shape(2, 3, 4, y, x))
    assert small[:3] == (2, 3, 4)
    assert (small.y, small.x) == (max(1, y // 2), max(1, x // 2))


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([2, 4, 8, 16, 64]), st.sampled_from([2, 6, 16, 64]))
def test_boxes_at_even_places_tile_the_halved_level(y: int, x: int, step_y: int, step_x: int) -> None:
    parent = Shape(1, 2, 1, y, x)
    child = halved_shape(parent)
    seen = np.zeros(child, int)
    for top, left in product(range(0, y, step_y), range(0, x, step_x)):
        box = Box(Shape(0, 0, 0, top, left), Shape(1, 2, 1, min(top + step_y, y), min(left + step_x, x)))
        half = halved_box(box, parent)
        assert Box.of(child).contains(half) or not half
        if half:
            seen[half.slices()] += 1
    assert (seen == 1).all()


@given(arrays(["uint8", "uint64", "float64"]), st.sampled_from(["mean", "mode", "nearest"]), st.sampled_from([2, 4]))
def test_halving_by_boxes_is_halving_the_whole(array: Array, method: str, step: int) -> None:
    parent = Shape(*array.shape)
    whole = halve(array, method)
    joined = np.zeros_like(whole)
    for top, left in product(range(0, parent.y, step), range(0, parent.x, step)):
        stop = parent._replace(y=min(top + step, parent.y), x=min(left + step, parent.x))
        box = Box(Shape(0, 0, 0, top, left), stop)
        half = halved_box(box, parent)
        if half:
            part = halve(array[box.slices()], method)
            joined[half.slices()] = part[..., : half.shape.y, : half.shape.x]
    np.testing.assert_array_equal(joined, whole)
