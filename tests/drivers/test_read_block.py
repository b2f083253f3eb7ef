"""`read_block` and the other things a slideio user knows."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import PixelSize, Scene
from tests.support.memory_driver import memory_level, memory_scene

RANDOM = np.random.default_rng(5)
FULL = RANDOM.integers(1, 255, (2, 3, 4, 64, 96), np.uint8)
HALF = FULL[..., ::2, ::2].copy() // 2
FILL = 255


def scene() -> Scene:
    """Two levels, three channels, four slices, two frames."""
    levels = [memory_level(FULL, (16, 16), fill=FILL), memory_level(HALF, (16, 16), 2.0, FILL)]
    return memory_scene(levels, rgb=True, magnification=40.0, pixel_size=PixelSize(0.25, 0.5, 2.0), time_step_s=1.5)


@given(
    st.tuples(st.integers(0, 90), st.integers(0, 60), st.integers(1, 96), st.integers(1, 64)),
    st.lists(st.integers(0, 2), min_size=1, max_size=4),
    st.tuples(st.integers(0, 1), st.integers(1, 2)),
    st.tuples(st.integers(0, 1), st.integers(1, 1)),
)
def test_a_region_is_that_of_numpy(
    rect: tuple[int, int, int, int], channels: list[int], slices: tuple[int, int], frames: tuple[int, int]
) -> None:
    x, y, width, height = rect
    slices = (slices[0], slices[0] + slices[1])
    frames = (frames[0], frames[0] + frames[1])
    wide = np.pad(FULL, [(0, 0)] * 3 + [(0, 64), (0, 96)], constant_values=FILL)
    expected = wide[frames[0] : frames[1], channels, slices[0] : slices[1], y : y + height, x : x + width]
    expected = expected.transpose(0, 2, 3, 4, 1)
    expected = expected.squeeze(axis=tuple(axis for axis in (0, 1, 4) if expected.shape[axis] == 1))
    np.testing.assert_array_equal(scene().read_block(rect, None, channels, slices, frames), expected)


def test_the_whole_scene_by_default() -> None:
    np.testing.assert_array_equal(scene().read_block(), FULL[0, :, 0].transpose(1, 2, 0))


def test_a_smaller_size_reads_the_level_that_fits() -> None:
    np.testing.assert_array_equal(scene().read_block(size=(48, 32)), HALF[0, :, 0].transpose(1, 2, 0))
    part = scene().read_block((16, 8, 32, 16), (16, 8))
    np.testing.assert_array_equal(part, HALF[0, :, 0, 4:12, 8:24].transpose(1, 2, 0))


def test_a_size_between_levels_is_averaged() -> None:
    quarter = scene().read_block(size=(24, 16), channels=[1])
    expected = cv2.resize(np.ascontiguousarray(HALF[0, 1, 0]), (24, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(quarter, expected)


def test_a_larger_size_is_interpolated() -> None:
    assert scene().read_block((0, 0, 10, 10), (25, 15), [0]).shape == (15, 25)


def test_left_of_the_scene_is_fill() -> None:
    block = scene().read_block((-4, -2, 8, 4), channels=[0])
    assert (block[:2] == FILL).all()
    assert (block[:, :4] == FILL).all()
    np.testing.assert_array_equal(block[2:, 4:], FULL[0, 0, 0, :2, :4])


@pytest.mark.parametrize("rect", [(0, 0, -1, 5), (0, 0, 5, -1)])
def test_an_empty_rect_is_refused(rect: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        scene().read_block(rect)


@pytest.mark.parametrize("wanted", [{"size": (-1, 4)}, {"size": (4, -1)}, {"channels": []}])
def test_an_empty_result_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="empty"):
        scene().read_block(**wanted)  # type: ignore[arg-type]


OUTSIDE = [(96, 0, 1, 1), (0, 64, 1, 1), (-4, 0, 4, 4), (0, -9, 4, 9), (96, 0, 0, 4), (5000, 5000, 10, 10), (-9, 0, 4, 0)]


@pytest.mark.parametrize("rect", OUTSIDE)
def test_a_block_outside_of_the_scene_is_refused(rect: tuple[int, int, int, int]) -> None:
    for read in (scene().read_block, lambda rect: scene().read_block_from_level(0, rect)):
        with pytest.raises(ValueError, match="lies outside of the scene, which is 96 x 64 pixels"):
            read(rect)


@pytest.mark.parametrize(
    ("rect", "region"),
    [
        ((0, 0, 0, 0), np.s_[:, :]),
        ((90, 60, 0, 0), np.s_[60:, 90:]),
        ((90, 0, 0, 5), np.s_[:5, 90:]),
        ((3, 60, 5, 0), np.s_[60:, 3:8]),
    ],
)
def test_no_width_or_height_reaches_to_the_edge(rect: tuple[int, int, int, int], region: tuple[slice, slice]) -> None:
    np.testing.assert_array_equal(scene().read_block(rect), FULL[0, :, 0].transpose(1, 2, 0)[region])
    tall = memory_scene([memory_level(FULL, (16, 16)), memory_level(FULL, (16, 16), 2.0)], rgb=True)
    np.testing.assert_array_equal(tall.read_block_from_level(1, rect), FULL[0, :, 0].transpose(1, 2, 0)[region])


@pytest.mark.parametrize(
    ("rect", "size", "shape"),
    [
        ((0, 0, 0, 0), (48, 0), (32, 48)),
        ((0, 0, 0, 0), (0, 48), (48, 72)),
        ((0, 0, 96, 3), (7, 0), (1, 7)),  # 0.2 of a row is one
        ((0, 0, 40, 25), (20, 0), (13, 20)),  # a half is rounded up, as slideio does
        ((0, 0, 96, 64), (0, 0), (64, 96)),
        ((90, 60, 0, 0), (3, 0), (2, 3)),
        ((0, 0, 10, 4), (25, 0), (10, 25)),
    ],
)
def test_one_side_keeps_the_aspect(rect: tuple[int, ...], size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert scene().read_block(rect, size, [1]).shape == shape  # type: ignore[arg-type]


def test_a_side_that_follows_does_not_choose_the_level() -> None:
    """24 of 96 columns and 16.25 of 65 rows: rounded up to 17, which a level of a quarter has not; it serves all the same."""
    levels = [memory_level(np.zeros((1, 1, 1, 66, 96), np.uint8), (16, 16))]
    reads: Counter[object] = Counter()
    levels.append(memory_level(np.ones((1, 1, 1, 16, 24), np.uint8), (16, 16), 4.0, reads=reads))
    block = memory_scene(levels).read_block(size=(24, 0))
    assert block.shape == (17, 24)
    assert (block == 1).all()
    assert reads


def test_no_channel_indices_are_all() -> None:
    everything = scene().read_block()
    np.testing.assert_array_equal(scene().read_block(channel_indices=[]), everything)
    np.testing.assert_array_equal(scene().read_block(channel_indices=[2, 0]), everything[..., [2, 0]])
    np.testing.assert_array_equal(scene().read_block(channels=[2, 0]), everything[..., [2, 0]])
    with pytest.raises(ValueError, match="are the same"):
        scene().read_block(channels=[1], channel_indices=[1])


def test_slices_of_nothing_are_the_first() -> None:
    np.testing.assert_array_equal(scene().read_block(slices=(0, 0), frames=(0, 0)), scene().read_block())


def test_axes_are_those_of_slideio() -> None:
    block = scene().read_block((0, 0, 20, 10), slices=(1, 4), frames=(0, 2))
    np.testing.assert_array_equal(block, FULL[:, :, 1:4, :10, :20].transpose(0, 2, 3, 4, 1))
    assert scene().read_block((0, 0, 20, 10), channel_indices=[1], slices=(1, 4)).shape == (3, 10, 20)


@pytest.mark.parametrize("dtype", ["b", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?"])
def test_every_sample_type_is_scaled(dtype: str) -> None:
    """A mean of 2 x 2 equal samples is the sample, whatever the type."""
    small = RANDOM.integers(0, 2 if dtype == "?" else 100, (1, 1, 1, 6, 8)).astype(dtype)
    large = small.repeat(2, 3).repeat(2, 4)
    block = memory_scene([memory_level(large, (16, 16))]).read_block(size=(8, 0))
    assert block.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(block, small[0, 0, 0])


def test_a_level_tile_by_tile() -> None:
    """The grid covers the level; what reaches over its edge is fill."""
    tall = memory_scene([memory_level(FULL[..., :40, :70], (16, 16), fill=FILL)], rgb=True)
    info = tall.get_zoom_level_info(0)
    assert info.tile_count == 3 * 5
    seen = np.zeros((48, 80, 3), np.uint8)
    for tile in range(info.tile_count):
        place = info.get_tile_rect(tile)
        block = tall.read_block_from_level(0, (place.x, place.y, place.width, place.height))
        seen[place.y : place.y + place.height, place.x : place.x + place.width] = block
    np.testing.assert_array_equal(seen[:40, :70], FULL[0, :, 0, :40, :70].transpose(1, 2, 0))
    assert (seen[40:] == FILL).all()
    assert (seen[:, 70:] == FILL).all()
    with pytest.raises(IndexError, match="0 to 14"):
        info.get_tile_rect(15)


def test_a_level_of_one_tile_is_its_own_rectangle() -> None:
    found = memory_scene([memory_level(FULL[..., :5, :7], (16, 16))]).get_zoom_level_info(0)
    assert (found.tile_count, found.get_tile_rect(0)) == (1, (0, 0, 7, 5))


def test_a_named_level_is_the_one_that_is_read() -> None:
    half = HALF[0, :, 0].transpose(1, 2, 0)
    np.testing.assert_array_equal(scene().read_block_from_level(1), half)
    np.testing.assert_array_equal(scene().read_block_from_level(1, (4, 6, 20, 10)), half[6:16, 4:24])
    assert scene().read_block_from_level(0, (0, 0, 0, 0), (6, 0), [0], (0, 4), (0, 2)).shape == (2, 4, 4, 6)
    for level in (2, -1):
        with pytest.raises(IndexError, match="there are 2"):
            scene().read_block_from_level(level)


@pytest.mark.parametrize("channels", [[3], [-1], [0, 7]])
def test_unknown_channels_are_refused(channels: list[int]) -> None:
    with pytest.raises(ValueError, match="0 to 2"):
        scene().read_block(channels=channels)


@pytest.mark.parametrize("wanted", [{"slices": (0, 5)}, {"slices": (-1, 1)}, {"slices": (2, 2)}, {"frames": (1, 3)}])
def test_slices_and_frames_that_are_not_there_are_refused(wanted: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=next(iter(wanted))):
        scene().read_block(**wanted)  # type: ignore[arg-type]


def test_names_of_slideio() -> None:
    found = scene()
    assert found.rect == (0, 0, 96, 64)
    assert found.size == (96, 64)
    assert found.resolution == (0.5e-6, 0.25e-6)
    assert found.z_resolution == 2e-6
    assert found.t_resolution == 1.5
    assert (found.num_channels, found.num_z_slices, found.num_t_frames, found.num_zoom_levels) == (3, 4, 2, 2)
    assert found.compression == "none"
    assert found.get_channel_name(2) == "Blue"
    assert found.get_channel_data_type(0) == np.uint8
    info = found.get_zoom_level_info(1)
    assert (info.level, info.scale, info.size, info.magnification, info.tile_size) == (1, 0.5, (48, 32), 20.0, (16, 16))
    assert info.size.width == 48
    assert info.tile_size.height == 16
    assert found.origin == (0, 0)
    assert found.get_channel_significant_bits(1) is None
    assert found.get_color_profile() is None
    for ask in (found.get_channel_data_type, found.get_channel_name, found.get_zoom_level_info):
        for number in (3, -1):
            with pytest.raises(IndexError, match="counted from 0"):
                ask(number)


def test_unknown_is_none() -> None:
    found = memory_scene([memory_level(FULL, (16, 16))])
    assert found.resolution == (None, None)
    assert found.z_resolution is None
    assert found.t_resolution is None
    assert found.get_zoom_level_info(0).magnification is None
