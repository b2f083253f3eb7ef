"""Slides in memory: levels, scenes and a slide out of numpy arrays, for tests that need a driver and no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivers.geometry import Box, Shape
from drivers.model import RGB_CHANNELS, Channel, Level, Pixels, Scene, Slide
from drivers.tiles import Grid

PADDING = 0x5A
"""Samples of a stored tile past the edge of its level: paint must never show them."""


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """`Level.read` over an array: whole tiles, padded past the edge as files pad them; `reads` counts decodes."""

    array: Pixels
    grid: Grid
    reads: Counter[Hashable] | None
    interleaved: bool

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        assert key not in self.grid.absent, f"tile {key} is not stored"
        if self.reads is not None:
            self.reads[key] += 1
        place = self.grid.place(key)
        assert place, f"tile {key} lies outside the level"
        t, c, z, y, x = self.grid.tile
        if self.interleaved:
            block = np.full((t, z, y, x, c), PADDING, self.array.dtype).transpose(0, 4, 1, 2, 3)
        else:
            block = np.full(self.grid.tile, PADDING, self.array.dtype)
        block[Box.of(place.shape).slices()] = self.array[place.slices()]
        block.flags.writeable = False
        return block


def memory_level(
    array: Pixels,
    tile: tuple[int, int],
    scale: float = 1.0,
    fill: float = 0,
    *,
    reads: Counter[Any] | None = None,
    interleaved: bool = False,
    absent: Collection[tuple[int, ...]] = (),
) -> Level:
    """A level out of a five-axis array. `tile` is (height, width); `absent` holds positions (t, c, z, row, column).

    A stored tile holds one channel, or all of them side by side when `interleaved`. `reads` counts decodes per key.
    """
    shape = Shape(*array.shape)
    stored = Shape(1, shape.c if interleaved else 1, 1, *tile)
    grid = Grid(shape, stored, frozenset(Shape(*position) for position in absent))
    return Level(
        shape=shape,
        dtype=array.dtype,
        index=grid,
        read=ArrayReader(array, grid, reads, interleaved),
        tile=stored,
        fill=fill,
        scale=scale,
        compression="none",
        interleaved=interleaved,
    )


def memory_scene(levels: Sequence[Level], rgb: bool = False, **facts: Any) -> Scene:
    """A scene out of levels, fine to coarse; `facts` are further fields of Scene."""
    count = levels[0].shape.c
    channels = RGB_CHANNELS if rgb else tuple(Channel(f"channel {i}") for i in range(count))
    return Scene(**{"name": "memory", "levels": levels, "rgb": rgb, "channels": channels} | facts)


def memory_slide(scenes: Sequence[Scene], associated: Mapping[str, Scene] | None = None, **facts: Any) -> Slide:
    """A slide out of scenes; closing it does nothing. `facts` are further fields of Slide."""
    path = Path("memory.slide")
    fixed = {"path": path, "driver": "memory", "files": [path], "close": lambda: None}
    return Slide(**fixed | {"scenes": scenes, "associated": associated or {}} | facts)
