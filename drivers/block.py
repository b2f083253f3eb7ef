"""`read_block` and zoom level facts as a slideio user knows them, built on `paint`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivers.geometry import Box, Shape
from drivers.level import Level, Pixels
from drivers.paint import paint


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """slideio's LevelInfo."""

    level: int
    scale: float
    size: tuple[int, int]
    magnification: float | None
    tile_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What to read: `rect` (x, y, width, height) of level 0, `size` (width, height) of the result, ranges half-open."""

    rect: tuple[int, int, int, int] | None
    size: tuple[int, int] | None
    channels: Sequence[int] | None
    slices: tuple[int, int]
    frames: tuple[int, int]


def level_info(levels: Sequence[Level], index: int, magnification: float | None) -> LevelInfo:
    """Facts of one stored level of a scene; `magnification` is that of level 0."""
    level = levels[index]
    zoomed = None if magnification is None else magnification / level.scale
    return LevelInfo(index, 1 / level.scale, (level.shape.x, level.shape.y), zoomed, (level.tile.x, level.tile.y))


def read_block(levels: Sequence[Level], request: BlockRequest) -> Pixels:
    """Region of a scene, given by its levels, with axes y, x[, c][, z][, t]; axes of length 1 are dropped, as slideio does.

    Parts outside the scene hold the fill value. With `size`, the coarsest level that is at least as large serves, and
    is averaged to `size` (OpenCV's area interpolation). Raises ValueError where nothing is asked for, or a channel,
    slice or frame that the scene does not have.
    """
    shape = levels[0].shape
    x, y, width, height = request.rect or (0, 0, shape.x, shape.y)
    size = request.size or (width, height)
    channels = list(request.channels) if request.channels is not None else list(range(shape.c))
    _check(shape, request, (width, height), size, channels)
    level = _level_for(levels, max(1.0, min(width / size[0], height / size[1])))
    fy, fx = shape.y / level.shape.y, shape.x / level.shape.x
    (t0, t1), (z0, z1) = request.frames, request.slices
    start = Shape(t0, 0, z0, round(y / fy), round(x / fx))
    extent = (max(1, round(height / fy)), max(1, round(width / fx)))
    stop = Shape(t1, shape.c, z1, start.y + extent[0], start.x + extent[1])
    pixels = paint(level, Box(start, stop))[:, channels]
    if (extent[1], extent[0]) != tuple(size):
        pixels = _resized(pixels, size)
    moved = pixels.transpose(3, 4, 1, 2, 0)
    drop = tuple(axis for axis in (2, 3, 4) if moved.shape[axis] == 1)
    return np.ascontiguousarray(moved.squeeze(axis=drop))


def _check(
    shape: Shape, request: BlockRequest, rect: tuple[int, int], size: tuple[int, int], channels: Sequence[int]
) -> None:
    if min(rect) <= 0:
        raise ValueError(f"rect {request.rect} is empty: width and height must be positive")
    if min(size) <= 0:
        raise ValueError(f"size {request.size} is empty: width and height must be positive")
    if not channels:
        raise ValueError("channels is empty: name at least one, or none at all for every channel")
    if not all(0 <= c < shape.c for c in channels):
        raise ValueError(f"channels {channels}: the scene has channels 0 to {shape.c - 1}")
    for name, (first, last), count in (
        ("slices", request.slices, shape.z),
        ("frames", request.frames, shape.t),
    ):
        if not 0 <= first < last <= count:
            raise ValueError(f"{name} {(first, last)}: the scene has {count}, and the range is half-open")


def _level_for(levels: Sequence[Level], factor: float) -> Level:
    return max((level for level in levels if level.scale <= factor), key=lambda level: level.scale)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    import cv2

    t, c, z, _, _ = pixels.shape
    out = np.empty((t, c, z, size[1], size[0]), pixels.dtype)
    shrinks = size[0] <= pixels.shape[4] and size[1] <= pixels.shape[3]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    for plane in np.ndindex(t, c, z):
        out[plane] = cv2.resize(np.ascontiguousarray(pixels[plane]), size, interpolation=method)
    return out
