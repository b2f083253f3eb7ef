"""Regions: every pixel comes out once, in whole chunks, in whatever order and from however many threads it comes in."""

from __future__ import annotations

import random
import threading
from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converter.writing.regions import Regions
from drivers.geometry import Box, Shape
from drivers.model import Pixels
from tests.support.stores import Array


def pieces(shape: Shape, group: int, step: tuple[int, int]) -> list[Box]:
    """Boxes that tile `shape`, as the halves of jobs do."""
    found: list[Box] = []
    for t, z in product(range(shape.t), range(shape.z)):
        for c, y, x in product(range(0, shape.c, group), range(0, shape.y, step[0]), range(0, shape.x, step[1])):
            start = Shape(t, c, z, y, x)
            stop = Shape(t + 1, min(c + group, shape.c), z + 1, min(y + step[0], shape.y), min(x + step[1], shape.x))
            found.append(Box(start, stop))
    return found


def collect(out: Array, seen: Array, shape: Shape, chunk: Shape, came: list[tuple[Box, Pixels]]) -> None:
    """Put what came out in its place; it must be whole chunks."""
    for box, pixels in came:
        assert pixels.shape == box.shape
        for start, stop, size, n in (
            (box.start.y, box.stop.y, shape.y, chunk.y),
            (box.start.x, box.stop.x, shape.x, chunk.x),
        ):
            assert start % n == 0
            assert stop % n == 0 or stop == size
        out[box.slices()] = pixels
        seen[box.slices()] += 1


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 2), st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([4, 8, 16]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
    st.booleans(),
    st.randoms(),
)
def test_every_pixel_once(  # noqa: PLR0917 - one argument a strategy
    size: tuple[int, ...], side: int, step: tuple[int, int], together: bool, interleaved: bool, order: random.Random
) -> None:
    shape, chunk = Shape(*size), Shape(1, 1, 1, side, side)
    group = shape.c if together else 1
    source = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    if interleaved:
        source = np.ascontiguousarray(source.transpose(0, 2, 3, 4, 1)).transpose(0, 4, 1, 2, 3)
    regions = Regions(shape, chunk, group)
    out, seen = np.zeros_like(source), np.zeros(shape, int)
    boxes = pieces(shape, group, step)
    order.shuffle(boxes)
    for box in boxes[:-1]:
        collect(out, seen, shape, chunk, list(regions.add(box, source[box.slices()])))
    assert (seen == 0).any()
    collect(out, seen, shape, chunk, list(regions.add(boxes[-1], source[boxes[-1].slices()])))
    assert (seen == 1).all()
    assert regions.finished()
    np.testing.assert_array_equal(out, source)


def test_unfinished_is_said() -> None:
    regions = Regions(Shape(1, 1, 1, 16, 16), Shape(1, 1, 1, 16, 16), 1)
    assert regions.finished()
    box = Box(Shape(0, 0, 0, 0, 0), Shape(1, 1, 1, 8, 16))
    assert list(regions.add(box, np.ones(box.shape, np.uint8))) == []
    assert not regions.finished()


def test_from_many_threads() -> None:
    shape, chunk = Shape(1, 3, 1, 500, 430), Shape(1, 1, 1, 64, 64)
    source = np.random.default_rng(1).integers(0, 1 << 16, shape, np.uint16)
    for seed in range(5):
        regions = Regions(shape, chunk, 3)
        out, seen = np.zeros_like(source), np.zeros(shape, int)
        boxes = pieces(shape, 3, (7, 11))
        random.Random(seed).shuffle(boxes)
        came: list[tuple[Box, Pixels]] = []
        begin = threading.Barrier(8)

        def work(mine: list[Box], regions: Regions, came: list[tuple[Box, Pixels]], begin: threading.Barrier) -> None:
            begin.wait()
            for box in mine:
                came.extend(regions.add(box, source[box.slices()]))

        threads = [threading.Thread(target=work, args=(boxes[i::8], regions, came, begin)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        collect(out, seen, shape, chunk, came)
        assert (seen == 1).all()
        assert regions.finished()
        np.testing.assert_array_equal(out, source)
