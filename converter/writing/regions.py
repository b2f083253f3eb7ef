"""Regions that do not yet fill a chunk wait here until their neighbours have come.

A region without pixels is all background: nothing is stored there. What is put together of such regions alone has no pixels
either, so that the void of a sparse slide costs no memory and no work on pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from drivers.fill import Fill
from drivers.geometry import Box, Shape
from drivers.model import Pixels


@dataclass(slots=True)
class _Block:
    box: Box
    missing: int
    pixels: Pixels | None = None
    voids: bool = False
    """Whether a part without pixels has come."""


@dataclass(slots=True)
class Regions:
    """Gathers disjoint regions of one level into whole chunks. Any thread; holds only chunks begun and not finished."""

    shape: Shape
    chunk: Shape
    group: int
    """Channels that travel together."""
    fill: Fill = 0
    """What stands where there are no pixels."""
    _blocks: dict[tuple[int, ...], _Block] = field(default_factory=dict[tuple[int, ...], _Block])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, box: Box, pixels: Pixels | None) -> Iterator[tuple[Box, Pixels | None]]:
        """Give what fills `box`, None for a void; yields what is whole now: the region itself, or the chunks it completed."""
        if self._whole(box):
            yield box, pixels
            return
        steps = (1, self.group, 1, self.chunk.y, self.chunk.x)
        places = (range(a // n, -(-b // n)) for a, b, n in zip(box.start, box.stop, steps, strict=True))
        for place in product(*places):
            with self._lock:
                block = self._blocks.get(place) or self._begin(place, steps)
                target = self._target(block, pixels)
            part = block.box & box
            if target is not None:
                target[part.slices(block.box.start)] = self.fill if pixels is None else pixels[part.slices(box.start)]
            with self._lock:
                block.missing -= part.pixels
                done = block.missing == 0
                if done:
                    del self._blocks[place]
            if done:
                yield block.box, block.pixels

    def finished(self) -> bool:
        """Whether nothing waits any more."""
        return not self._blocks

    def _whole(self, box: Box) -> bool:
        return all(
            getattr(box.start, a) % getattr(self.chunk, a) == 0
            and (getattr(box.stop, a) % getattr(self.chunk, a) == 0 or getattr(box.stop, a) == getattr(self.shape, a))
            for a in "yx"
        )

    def _begin(self, place: tuple[int, ...], steps: tuple[int, ...]) -> _Block:
        start = Shape(*(p * n for p, n in zip(place, steps, strict=True)))
        stop = Shape(*(min(a + n, s) for a, n, s in zip(start, steps, self.shape, strict=True)))
        box = Box(start, stop)
        block = self._blocks[place] = _Block(box, box.pixels)
        return block

    def _target(self, block: _Block, like: Pixels | None) -> Pixels | None:
        """Where a part goes; None while all parts are void."""
        if like is None:
            block.voids = True
        elif block.pixels is None:
            block.pixels = _room(block.box.shape, like)
            if block.voids:  # the rest is written anyway
                block.pixels[...] = self.fill
        return block.pixels


def _room(shape: Shape, like: Pixels) -> Pixels:
    """Zeros in the dtype and the memory order of `like`."""
    t, c, z, y, x = shape
    if like.strides[1] == like.itemsize and c > 1:
        return np.zeros((t, z, y, x, c), like.dtype).transpose(0, 4, 1, 2, 3)
    return np.zeros(shape, like.dtype)
