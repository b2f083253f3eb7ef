"""Where a level is compared with the finer one: places so spread that nothing of 1/16 of the area lies between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels

_POINTS, _TURN = 55, 34
_FEW, _FEW_TURN = 34, 21
"""Points i/n, i*turn/n mod 1 for two neighbouring Fibonacci numbers: the largest axis-parallel rectangle that holds none of
them has 2/n of the area (Breneis and Hinrichs, "Fibonacci lattices have minimal dispersion on the two-dimensional torus"):
1/27 for 55 of them, 1/17 for 34."""
_EDGES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0), (1.0, 0.5))
"""Scanners leave empty tiles at the edges."""
_TEXTURED = 8
_DEAR = 16
"""Stored blocks of the finer level under one place, from which fewer places must do."""
_LEAST, _MOST = 220, 660
"""Places compared over all planes. Between them as many as `_BYTES` of decoded blocks allow."""
_MOST_OF_SMALL = 3000
"""Of stacks that are no larger as a whole: 43 planes then have all their places, in 0.5 to 0.9 s (0.3 s for 660)."""
_BYTES = 128 << 20
_PER_PLANE = 4
_CELL = 16
_SURVEYED = 8 << 20

Spot = tuple[float, float]
"""A place as a share of the free height and width."""


def places(fine: Level, coarse: Level, ratio: int, textured: Sequence[Spot]) -> list[Box]:
    """Boxes of `coarse` to compare, plane by plane, all channels that are stored together in one box.

    Every plane is met where there are not too many, else every time point, channel and slice by itself; the places of one
    plane lie between those of the next. A level so small that the places would cover it is compared as a whole.
    """
    height, width = min(coarse.shape.y, fine.shape.y // ratio), min(coarse.shape.x, fine.shape.x // ratio)
    if height < 1 or width < 1:
        return []
    side = max(8, min(32, 256 // ratio))
    size = (min(side, height), min(side, width))
    cost = -(-size[0] * ratio // fine.tile.y) * -(-size[1] * ratio // fine.tile.x)
    spots = [*lattice(_FEW, _FEW_TURN)] if cost > _DEAR else [*_EDGES, *textured, *lattice(_POINTS, _TURN)]
    tiling = -(-height // size[0]) * -(-width // size[1])
    if tiling <= len(spots):
        corners = [(y, x) for y in _steps(height, size[0]) for x in _steps(width, size[1])]
    else:
        corners = [_corner(spot, (height, width), size, fine, ratio) for spot in spots]
    group = max(1, min(fine.tile.c, coarse.tile.c))
    planes, per = _planes(coarse.shape, group, len(corners), _budget(fine, coarse))
    found: list[Box] = []
    for j, (t, c, z) in enumerate(planes):
        stop = min(c + group, coarse.shape.c)
        step = -(-len(corners) // per)
        for y, x in sorted(set(corners[j % step :: step])):
            found.append(Box(Shape(t, c, z, y, x), Shape(t + 1, stop, z + 1, y + size[0], x + size[1])))
    return found


def lattice(count: int, turn: int) -> Iterator[Spot]:
    """Evenly spread points of the unit square, (y, x)."""
    for i in range(count):
        yield (i + 0.5) / count, ((i * turn) % count + 0.5) / count


def _steps(length: int, size: int) -> list[int]:
    return [*range(0, length - size, size), length - size]


def _corner(spot: Spot, room: tuple[int, int], size: tuple[int, int], fine: Level, ratio: int) -> tuple[int, int]:
    """Upper left of a place, moved a little where that spares decoding a stored block of the finer level."""
    tiles = (fine.tile.y, fine.tile.x)
    y, x = (_within(int(p * (r - n)), n, t, ratio) for p, r, n, t in zip(spot, room, size, tiles, strict=True))
    return y, x


def _within(start: int, size: int, tile: int, ratio: int) -> int:
    over = start * ratio % tile + size * ratio - tile
    if over <= 0 or size * ratio > tile:
        return start
    return max(0, start - -(-over // ratio))


def _budget(fine: Level, coarse: Level) -> int:
    if sum(math.prod(level.shape) * level.dtype.itemsize for level in (fine, coarse)) <= _BYTES:
        return _MOST_OF_SMALL
    block = sum(level.tile.c * level.tile.y * level.tile.x * level.dtype.itemsize for level in (fine, coarse))
    return max(_LEAST, min(_MOST, _BYTES // max(1, block)))


def _planes(shape: Shape, group: int, corners: int, budget: int) -> tuple[list[tuple[int, int, int]], int]:
    """(t, first channel, z) of the planes to look at, and how many places in each."""
    counts = (shape.t, -(-shape.c // group), shape.z)
    total, most = counts[0] * counts[1] * counts[2], budget // _PER_PLANE
    if total <= most:
        chosen = list(product(*(range(n) for n in counts)))
    else:
        longest = min(max(counts), most)
        each = [tuple(_nth(j, longest, n) for n in counts) for j in range(longest)]
        spread = [np.unravel_index(i * total // most, counts) for i in range(most - longest)]
        chosen = sorted({(int(t), int(c), int(z)) for t, c, z in [*each, *spread]})
    per = max(_PER_PLANE, min(corners, budget // len(chosen)))
    return [(t, c * group, z) for t, c, z in chosen], per


def _nth(j: int, longest: int, count: int) -> int:
    """Every one of `count` in turn where `longest` allows, else evenly spread ones."""
    return j % count if count <= longest else j * count // longest


def most_textured(level: Level, read: Callable[[Box], Pixels]) -> list[Spot]:
    """Where the picture has most structure, seen on the middle plane of the coarsest level; none where that is large."""
    t, c, z, y, x = level.shape
    rows, columns = y // _CELL, x // _CELL
    if c * y * x * level.dtype.itemsize > _SURVEYED or min(rows, columns) < 2:
        return []
    pixels = read(Box(Shape(t // 2, 0, z // 2, 0, 0), Shape(t // 2 + 1, c, z // 2 + 1, y, x)))[0, :, 0]
    cells = pixels[:, : rows * _CELL, : columns * _CELL].astype(np.float32).reshape(c, rows, _CELL, columns, _CELL)
    with np.errstate(all="ignore"):
        spread = np.nan_to_num(cells.std(axis=(2, 4)), nan=0.0, posinf=0.0)
        score = (spread / np.maximum(spread.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)).max(axis=0)
    best = np.argsort(-score, axis=None, kind="stable")[:_TEXTURED]
    return [(i // columns / max(1, rows - 1), i % columns / max(1, columns - 1)) for i in (int(n) for n in best)]
