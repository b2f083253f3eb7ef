"""Jobs: every pixel once, Z-order, and extents that decode no stored block twice."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.options import Options
from converter.planning.image import LevelPlan, Place, Source, plan_image
from converter.planning.jobs import JOB_BYTES, job_shape, jobs, segments, z_order
from drivers.geometry import Shape
from drivers.model import Level
from tests.converter.test_plan import level_of
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import texture

NATIVE = Source("native", 0)


def planned(shape: Shape, chunk: int, shard: int | None, channels: int = 1) -> LevelPlan:
    """A level with square chunks and shards."""
    unit = None if shard is None else Shape(1, channels, 1, shard, shard)
    return LevelPlan("0", shape, (1.0, 1.0), NATIVE, Shape(1, 1, 1, chunk, chunk), unit)


@given(
    st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 40)] * 2),
    st.tuples(*[st.integers(1, 2)] * 3, *[st.integers(1, 17)] * 2),
)
def test_jobs_cover_each_pixel_once(shape: tuple[int, ...], job: tuple[int, ...]) -> None:
    extent = Shape(1, job[1], 1, job[3], job[4])
    seen = np.zeros(shape, int)
    for box in jobs(Shape(*shape), extent):
        assert box
        assert all(a <= b for a, b in zip(box.shape, extent, strict=True))
        assert all(a % n == 0 for a, n in zip(box.start, extent, strict=True))
        seen[box.slices()] += 1
    assert (seen == 1).all()


@given(st.integers(1, 50), st.integers(1, 50))
def test_z_order_is_a_permutation(rows: int, columns: int) -> None:
    order = z_order(rows, columns)
    assert sorted(map(tuple, order.tolist())) == list(product(range(rows), range(columns)))


def test_z_order_finishes_squares_before_it_goes_on() -> None:
    order = z_order(8, 8)
    for size in (2, 4):
        cells = [(y // size, x // size) for y, x in order.tolist()]
        changes = sum(a != b for a, b in pairwise(cells))
        assert changes == (8 // size) ** 2 - 1


SIDES = st.sampled_from([64, 256, 512])


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.sampled_from([1, 3, 40]),
    SIDES,
    st.sampled_from([None, 512, 2048, 65536]),
    st.sampled_from(["uint8", "uint16", "float64"]),
)
def test_job_extent(y: int, x: int, tile_y: int, tile_x: int, c: int, chunk: int, shard: int | None, dtype: str) -> None:  # noqa: PLR0917 - one argument a strategy
    shape = Shape(1, c, 1, y, x)
    level = level_of(shape, dtype, (min(tile_y, y), min(tile_x, x)), channels=c)
    plan = planned(shape, chunk, shard, 1)
    job = job_shape(level, plan)
    assert job.t == job.z == 1
    assert job.c == c  # stored together, so they travel together
    assert job.y % chunk == job.x % chunk == 0
    assert job.y >= chunk <= job.x
    size = job.c * job.y * job.x * level.dtype.itemsize
    narrow = job.y == chunk and (job.x == chunk or level.tile.x > job.x // 2)
    assert size <= JOB_BYTES or narrow


def test_job_is_the_shard_where_tiles_are_small() -> None:
    shape = Shape(1, 3, 1, 20000, 20000)
    assert job_shape(level_of(shape, "uint8", (240, 240), channels=3), planned(shape, 512, 2048, 3)) == Shape(
        1, 3, 1, 2048, 2048
    )


def test_wide_strips_are_read_in_bands_of_full_width() -> None:
    shape = Shape(1, 1, 1, 5000, 30000)
    job = job_shape(level_of(shape, "uint8", (8, 30000)), planned(shape, 512, 2048))
    assert job.x >= 30000
    assert job.y % 512 == 0


def test_channels_of_planar_rgb_share_a_shard() -> None:
    shape = Shape(1, 3, 1, 5000, 5000)
    assert job_shape(level_of(shape, "uint8", (256, 256)), planned(shape, 512, 2048, 3)).c == 3


@pytest.mark.parametrize("unit", ["dyadic", "native"])
def test_segments_start_at_native_levels(unit: str) -> None:
    array = texture((1, 1, 1, 1024, 1024))
    levels: list[Level] = [memory_level(array[..., ::f, ::f], (64, 64), float(f)) for f in (1, 4, 16)]
    options = Options(chunk=64, shard=128, levels=unit, native_levels="always")  # pyright: ignore[reportArgumentType]
    image = plan_image(memory_scene(levels), {}, options, Place(0, ""))
    parts = segments(image)
    assert [part.native for part in parts] == [0, 1, 2]
    assert [level for part in parts for level in part.levels] == list(image.levels)
    assert all(part.levels[0].source.method == "native" for part in parts)
    assert all(level.source.method != "native" for part in parts for level in part.levels[1:])
