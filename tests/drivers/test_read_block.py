"""`read_block` and the other things a slideio user knows."""

from __future__ import annotations

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
    expected = expected.transpose(3, 4, 1, 2, 0)
    expected = expected.squeeze(axis=tuple(axis for axis in (2, 3, 4) if expected.shape[axis] == 1))
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


@pytest.mark.parametrize("rect", [(0, 0, 0, 5), (0, 0, 5, -1)])
def test_an_empty_rect_is_refused(rect: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        scene().read_block(rect)


@pytest.mark.parametrize("wanted", [{"size": (0, 4)}, {"size": (4, -1)}, {"channels": []}])
def test_an_empty_result_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="empty"):
        scene().read_block(**wanted)  # type: ignore[arg-type]


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
    with pytest.raises(IndexError):
        found.get_channel_data_type(3)


def test_unknown_is_none() -> None:
    found = memory_scene([memory_level(FULL, (16, 16))])
    assert found.resolution == (None, None)
    assert found.z_resolution is None
    assert found.t_resolution is None
    assert found.get_zoom_level_info(0).magnification is None
