"""`read_block`, `read_block_from_level` and zoom level facts as a slideio user knows them, built on `paint`.

Names, axes and defaults are those of slideio 2.10 (its Python wrapper and pyscene.cpp). A block that lies outside of the
scene is an error here, where slideio gives background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as whole
from typing import NamedTuple

import numpy as np

from drivers.geometry import Box, Shape
from drivers.level import Level, Pixels
from drivers.paint import paint

_WIDER = {
    "int8": np.dtype(np.int16),
    "bool": np.dtype(np.uint8),
    "float16": np.dtype(np.float32),
    **dict.fromkeys(("int32", "uint32", "int64", "uint64"), np.dtype(np.float64)),
}
"""Sample types that OpenCV does not scale, and the one that is scaled in their place."""
Rect = tuple[int, int, int, int]
Range = tuple[int, int]


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


class Rectangle(NamedTuple):
    """In pixels of one level; `x` and `y` are its upper left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """slideio's LevelInfo."""

    level: int
    scale: float
    size: Size
    magnification: float | None
    tile_size: Size

    @property
    def tile_count(self) -> int:
        """Tiles of a regular grid of `tile_size` over the level."""
        columns, rows = self._grid
        return columns * rows

    def get_tile_rect(self, index: int) -> Rectangle:
        """Place of a tile, row by row, for `read_block_from_level`; those at the edge reach over it, as slideio's do.

        A level of one tile is its own rectangle. Raises IndexError.
        """
        columns, rows = self._grid
        if not 0 <= index < columns * rows:
            raise IndexError(f"tile {index}: the level has tiles 0 to {columns * rows - 1}")
        if columns * rows == 1:
            return Rectangle(0, 0, *self.size)
        row, column = divmod(index, columns)
        return Rectangle(column * self.tile_size.width, row * self.tile_size.height, *self.tile_size)

    @property
    def _grid(self) -> tuple[int, int]:
        return -(-self.size.width // self.tile_size.width), -(-self.size.height // self.tile_size.height)


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What to read: `rect` (x, y, width, height), `size` (width, height) of the result, ranges half-open.

    A width or height of 0 in `rect` reaches to the edge; one of 0 in `size` follows from the other, both: no scaling.
    """

    rect: Rect | None
    size: tuple[int, int] | None
    channels: Sequence[int] | None
    slices: Range
    frames: Range


@dataclass(frozen=True, slots=True)
class _Block:
    """A request with everything filled in."""

    rect: Rect
    size: Size
    channels: Sequence[int]
    slices: Range
    frames: Range
    factor: float
    """How much is shrunk; from the side that was asked for, where the other follows from it."""


def level_info(levels: Sequence[Level], index: int, magnification: float | None) -> LevelInfo:
    """Facts of one stored level of a scene; `magnification` is that of level 0."""
    level = levels[index]
    zoomed = None if magnification is None else magnification / level.scale
    return LevelInfo(index, 1 / level.scale, Size(level.shape.x, level.shape.y), zoomed, Size(level.tile.x, level.tile.y))


def read_block(levels: Sequence[Level], request: BlockRequest) -> Pixels:
    """Region of a scene, given by its levels, with axes [t, ][z, ]y, x[, c]; t, z and c of length 1 are dropped.

    `rect` is in pixels of level 0; parts outside of the scene hold the fill value. With `size`, the coarsest level that is
    at least as large serves, and is averaged to `size` (OpenCV's area interpolation). Raises ValueError where the block is
    empty or wholly outside, or for a channel, slice or frame that the scene does not have.
    """
    block = _filled_in(levels[0].shape, request)
    level = max((level for level in levels if level.scale <= max(1.0, block.factor)), key=lambda level: level.scale)
    fy, fx = levels[0].shape.y / level.shape.y, levels[0].shape.x / level.shape.x
    x, y, width, height = block.rect
    return _taken(level, (round(x / fx), round(y / fy), max(1, round(width / fx)), max(1, round(height / fy))), block)


def read_level_block(level: Level, request: BlockRequest) -> Pixels:
    """As `read_block`, from this level and no other: `rect` is in its own pixels."""
    block = _filled_in(level.shape, request)
    return _taken(level, block.rect, block)


def _taken(level: Level, rect: Rect, block: _Block) -> Pixels:
    """Pixels of `rect` on `level`, scaled to the size of the block."""
    x, y, width, height = rect
    start = Shape(block.frames[0], 0, block.slices[0], y, x)
    stop = Shape(block.frames[1], level.shape.c, block.slices[1], y + height, x + width)
    pixels = paint(level, Box(start, stop))[:, block.channels]
    if (width, height) != block.size:
        pixels = _resized(pixels, block.size)
    moved = pixels.transpose(0, 2, 3, 4, 1)
    drop = tuple(axis for axis in (0, 1, 4) if moved.shape[axis] == 1)
    return np.ascontiguousarray(moved.squeeze(axis=drop))


def _filled_in(shape: Shape, request: BlockRequest) -> _Block:
    rect = _rect(shape, request.rect)
    size, factor = _size(rect, request.size)
    # A sequence of any kind, an array too; a number alone is none, and 0 does not mean all.
    channels = ([] if request.channels is None else [whole(c) for c in request.channels]) or list(range(shape.c))
    if not all(0 <= c < shape.c for c in channels):
        raise ValueError(f"channels {channels}: the scene has channels 0 to {shape.c - 1}")
    slices = _range("slices", request.slices, shape.z)
    return _Block(rect, size, channels, slices, _range("frames", request.frames, shape.t), factor)


def _rect(shape: Shape, given: Rect | None) -> Rect:
    """Of at least one pixel of the scene."""
    x, y, width, height = (0, 0, 0, 0) if given is None else (whole(value) for value in given)
    if min(width, height) < 0:
        raise ValueError(f"rect {given} is empty: width and height must be positive, or 0 for the rest of the scene")
    right = x + width if width else shape.x
    bottom = y + height if height else shape.y
    if x >= shape.x or y >= shape.y or right <= 0 or bottom <= 0:
        raise ValueError(f"rect {given} lies outside of the scene, which is {shape.x} x {shape.y} pixels")
    return (x, y, right - x, bottom - y)


def _size(rect: Rect, given: tuple[int, int] | None) -> tuple[Size, float]:
    """Size of the result and the factor by which it is smaller."""
    _, _, width, height = rect
    wide, high = (0, 0) if given is None else (whole(value) for value in given)
    if min(wide, high) < 0:
        raise ValueError(f"size {given} is empty: width and height must be positive, or 0 for what follows from the other")
    if not wide and not high:
        return Size(width, height), 1.0
    if not high:
        return Size(wide, max(1, int(height * wide / width + 0.5))), width / wide
    if not wide:
        return Size(max(1, int(width * high / height + 0.5)), high), height / high
    return Size(wide, high), min(width / wide, height / high)


def _range(name: str, given: Range, count: int) -> Range:
    first, last = (whole(value) for value in given)
    if (first, last) == (0, 0):  # what slideio calls the first alone
        return (0, 1)
    if not 0 <= first < last <= count:
        raise ValueError(f"{name} {(first, last)}: the scene has {count}, and the range is half-open")
    return (first, last)


def _resized(pixels: Pixels, size: Size) -> Pixels:
    import cv2

    t, c, z, _, _ = pixels.shape
    shrinks = size.width <= pixels.shape[4] and size.height <= pixels.shape[3]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    through = _WIDER.get(pixels.dtype.name, pixels.dtype)
    out = np.empty((t, c, z, size.height, size.width), pixels.dtype)
    for plane in np.ndindex(t, c, z):
        made = cv2.resize(np.ascontiguousarray(pixels[plane], through), size, interpolation=method)
        out[plane] = np.rint(made) if through == np.float64 and pixels.dtype.kind in "iu" else made
    return out
