"""`read_block` and zoom level facts as a slideio user knows them, built on `paint`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene
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


def level_info(scene: Scene, index: int) -> LevelInfo:
    """Facts of one stored level."""
    level = scene.levels[index]
    zoomed = None if scene.magnification is None else scene.magnification / level.scale
    return LevelInfo(index, 1 / level.scale, (level.shape.x, level.shape.y), zoomed, (level.tile.x, level.tile.y))


def read_block(scene: Scene, request: BlockRequest) -> Pixels:
    """Region of a scene with axes y, x[, c][, z][, t]; axes of length 1 are dropped, as slideio does.

    Parts outside the scene hold the fill value. With `size`, the coarsest level that is at least as large serves, and
    is averaged to `size` (OpenCV's area interpolation). Raises ValueError where nothing is asked for, or a channel,
    slice or frame that the scene does not have.
    """
    x, y, width, height = request.rect or scene.rect
    size = request.size or (width, height)
    channels = list(request.channels) if request.channels is not None else list(range(scene.shape.c))
    _check(scene, request, (width, height), size, channels)
    level = _level_for(scene, max(1.0, min(width / size[0], height / size[1])))
    fy, fx = scene.shape.y / level.shape.y, scene.shape.x / level.shape.x
    (t0, t1), (z0, z1) = request.frames, request.slices
    start = Shape(t0, 0, z0, round(y / fy), round(x / fx))
    extent = (max(1, round(height / fy)), max(1, round(width / fx)))
    stop = Shape(t1, scene.shape.c, z1, start.y + extent[0], start.x + extent[1])
    pixels = paint(level, Box(start, stop))[:, channels]
    if (extent[1], extent[0]) != tuple(size):
        pixels = _resized(pixels, size)
    moved = pixels.transpose(3, 4, 1, 2, 0)
    drop = tuple(axis for axis in (2, 3, 4) if moved.shape[axis] == 1)
    return np.ascontiguousarray(moved.squeeze(axis=drop))


def _check(
    scene: Scene, request: BlockRequest, rect: tuple[int, int], size: tuple[int, int], channels: Sequence[int]
) -> None:
    if min(rect) <= 0:
        raise ValueError(f"rect {request.rect} is empty: width and height must be positive")
    if min(size) <= 0:
        raise ValueError(f"size {request.size} is empty: width and height must be positive")
    if not channels:
        raise ValueError("channels is empty: name at least one, or none at all for every channel")
    if not all(0 <= c < scene.shape.c for c in channels):
        raise ValueError(f"channels {channels}: the scene has channels 0 to {scene.shape.c - 1}")
    for name, (first, last), count in (
        ("slices", request.slices, scene.shape.z),
        ("frames", request.frames, scene.shape.t),
    ):
        if not 0 <= first < last <= count:
            raise ValueError(f"{name} {(first, last)}: the scene has {count}, and the range is half-open")


def _level_for(scene: Scene, factor: float) -> Level:
    return max((level for level in scene.levels if level.scale <= factor), key=lambda level: level.scale)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    import cv2

    t, c, z, _, _ = pixels.shape
    out = np.empty((t, c, z, size[1], size[0]), pixels.dtype)
    shrinks = size[0] <= pixels.shape[4] and size[1] <= pixels.shape[3]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    for plane in np.ndindex(t, c, z):
        out[plane] = cv2.resize(np.ascontiguousarray(pixels[plane]), size, interpolation=method)
    return out
