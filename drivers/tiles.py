"""Placed tiles: where each stored block of a level lies. Grid for regular tilings, Mosaic for everything else."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.geometry import ORIGIN, Box, Shape


@dataclass(frozen=True, slots=True)
class Tile:
    """One stored block and the place its pixels take.

    `box` is in pixels of the level; `key` is what `Level.read` decodes (equal keys are one decode); `crop` is where those
    pixels start in the decoded block. The decoded block may reach past `box` (padding).
    """

    box: Box
    key: Hashable
    crop: Shape = ORIGIN


class TileIndex(Protocol):
    """Answers which tiles touch a box, in the order in which they cover each other (later over earlier)."""

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Tiles that share at least one pixel with `box`."""
        ...

    def gaps(self) -> Sequence[Box]:
        """Places where the file should hold a tile and holds none (missing or zero-length)."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """Regular tiling of `shape` by `tile`; the key of a tile is its grid position (t, c, z, row, column).

    Edge tiles are clipped to the level. `absent` holds the positions of tiles the file leaves out (a sparse file: they show
    the fill value); `empty` those it lists with zero length (damage: reading one raises).
    """

    shape: Shape
    tile: Shape
    absent: frozenset[Shape] = frozenset()
    empty: frozenset[Shape] = frozenset()

    def place(self, key: Shape) -> Box:
        """The box of the tile at grid position `key`."""
        start = Shape(*(k * n for k, n in zip(key, self.tile, strict=True)))
        return Box(start, Shape(*(min(a + n, s) for a, n, s in zip(start, self.tile, self.shape, strict=True))))

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Stored tiles that touch `box`, row by row."""
        part = box & Box.of(self.shape)
        if not part:
            return
        ranges = (range(a // n, -(-b // n)) for a, b, n in zip(part.start, part.stop, self.tile, strict=True))
        for position in product(*ranges):
            key = Shape(*position)
            if key not in self.absent:
                yield Tile(self.place(key), key)

    def gaps(self) -> Sequence[Box]:
        """Boxes of the absent and empty tiles."""
        return [self.place(key) for key in sorted(self.absent | self.empty)]


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Tiles anywhere, of any size; a later tile covers an earlier one."""

    placed: Sequence[Tile]
    _bounds: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _by_top: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    """Tiles in the order of their upper edge, so that a query looks only at those that can reach its rows."""
    _tops: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _tallest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bounds = np.array([(*t.box.start, *t.box.stop) for t in self.placed], dtype=np.int64)
        bounds = bounds.reshape(len(self.placed), 10)
        tops, bottoms = bounds[:, 3], bounds[:, 8]
        object.__setattr__(self, "_bounds", bounds)
        order = np.argsort(tops, kind="stable")
        object.__setattr__(self, "_by_top", order)
        object.__setattr__(self, "_tops", tops[order])
        object.__setattr__(self, "_tallest", int((bottoms - tops).max(initial=0)))

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Tiles that touch `box`, in their given order."""
        if not box:
            return
        near = self._near(box)
        starts, stops = self._bounds[near, :5], self._bounds[near, 5:]
        hit = ((starts < np.array(box.stop)) & (stops > np.array(box.start))).all(axis=1)
        for i in np.sort(near[hit]):
            yield self.placed[int(i)]

    def _near(self, box: Box) -> NDArray[np.int64]:
        """Tiles whose upper edge lies where a tile must begin to touch the rows of `box`."""
        first, last = np.searchsorted(self._tops, (box.start.y - self._tallest, box.stop.y))
        return self._by_top[first:last]

    def gaps(self) -> Sequence[Box]:
        """None: a mosaic may leave places uncovered on purpose."""
        return []
