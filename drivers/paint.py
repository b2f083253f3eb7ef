"""Painting: the only way from stored tiles to pixels."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.level import Level, Pixels
from drivers.tiles import Tile


def blank(level: Level, box: Box) -> Pixels:
    """A new array of the box's shape holding the level's fill; channels interleaved in memory where the level's are."""
    t, c, z, y, x = box.shape
    if level.interleaved:
        return np.full((t, z, y, x, c), level.fill, level.dtype).transpose(0, 4, 1, 2, 3)
    return np.full((t, c, z, y, x), level.fill, level.dtype)


def filler(level: Level, tile: Tile) -> Pixels:
    """What is shown instead of a tile that cannot be read."""
    extent = tile.box.shape.plus(tile.crop)
    return np.broadcast_to(np.array(level.fill, level.dtype), extent)


def vacant(level: Level, box: Box) -> bool:
    """Whether no tile lies in `box`: painting it would give the level's fill and nothing else."""
    return next(iter(level.index.tiles(box)), None) is None


def paint(level: Level, box: Box, read: Callable[[Tile], Pixels] | None = None) -> Pixels:
    """Pixels of `box`, shape `box.shape`, axes t c z y x, the level's dtype; fill where no tile lies or outside the level.

    `read` replaces `level.read(tile.key)`, for callers that keep decoded tiles. Safe from any thread.
    """
    out = blank(level, box)
    for tile in level.index.tiles(box):
        part = tile.box & box
        if not part:
            continue
        block = level.read(tile.key) if read is None else read(tile)
        if block.dtype != level.dtype:
            raise Damaged(f"tile {_name(tile.key)}: decoded to {block.dtype}, the level is {level.dtype}")
        origin = tile.box.start.minus(tile.crop)
        try:
            out[part.slices(box.start)] = _exact(block[part.slices(origin)], part)
        except ValueError as error:
            raise Damaged(f"tile {_name(tile.key)}: {error}") from error
    return out


def _exact(pixels: Pixels, part: Box) -> Pixels:
    # A block smaller than its place would be broadcast silently by numpy where an axis is 1.
    if pixels.shape != part.shape:
        raise ValueError(f"the stored block holds {pixels.shape}, its place is {tuple(part.shape)}")
    return pixels


def _name(key: Hashable) -> str:
    return str(tuple(key)) if isinstance(key, tuple) else str(key)  # pyright: ignore[reportUnknownArgumentType]
