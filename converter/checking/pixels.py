"""The pixels of a level: whether its chunks decode, and whether they equal the slide's.

quick: some boxes of a level. full: all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.checking.report import Report, line_of, raise_unreachable
from converter.checking.rules import Group
from converter.straddlers import Straddlers
from drivers.errors import Damaged, DriverError
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels
from drivers.paint import filler, paint
from drivers.tiles import Tile

_QUICK_BOXES = 3
_QUICK_SIDE = 256
_FULL_SIDE = 2048
_READERS = 2


@dataclass(frozen=True, slots=True)
class _Compared:
    """One box: samples compared with the source and how many differ, or what went wrong."""

    box: Box
    samples: int = 0
    different: int = 0
    fault: str | None = None


def check_pixels(report: Report, group: Group, level: tuple[str, Any], source: Level | None) -> None:
    """Read a level, its path and its array, and compare it with the slide's where there is one."""
    path, array = level
    where, shape = group.at(path), _five(array.shape, group.axes)
    if source is not None and not report.check(shape == source.shape, where, "does not have the shape of the slide's level"):
        return
    full = report.depth == "full"
    boxes = list(_tiling(shape, array, group.axes)) if full else list(_sample(shape))
    kept = Straddlers(boxes[0].shape) if full else None

    def compare(box: Box) -> _Compared:
        try:
            stored = read_box(array, group.axes, box)
        except Exception as error:  # noqa: BLE001 - see `malformed`
            raise_unreachable(report, error)
            return _Compared(box, fault=f"cannot be read: {line_of(error)}")
        if source is None:
            return _Compared(box)
        return _against(source, box, stored, kept, _decoder(source, report.filled))

    with ThreadPoolExecutor(_READERS) as pool:
        for found in pool.map(compare, boxes):
            _count(report, where, found)


def _count(report: Report, where: str, found: _Compared) -> None:
    report.check(found.fault is None, where, found.fault or "")
    if found.samples:
        report.compared = (report.compared or 0) + found.samples
        report.different += found.different
        what = f"{found.different} samples differ from the slide near {tuple(found.box.start)}"
        report.check(found.different == 0, where, what)


_Decoder = Callable[[Tile], Pixels]


def _decoder(source: Level, filled: bool) -> _Decoder:
    def decode(tile: Tile) -> Pixels:
        try:
            return source.read(tile.key)
        except Damaged:
            if not filled:
                raise
            return filler(source, tile)

    return decode


def _against(source: Level, box: Box, pixels: Pixels, kept: Straddlers | None, decode: _Decoder) -> _Compared:
    try:
        true = paint(source, box, decode if kept is None else lambda tile: kept.read(tile, box, decode))
    except DriverError as error:
        return _Compared(box, fault=f"cannot be compared: {error}")
    unequal = pixels != true
    if true.dtype.kind == "f":
        unequal &= ~(np.isnan(pixels) & np.isnan(true))
    return _Compared(box, pixels.size, int(np.count_nonzero(unequal)))


def read_box(array: Any, axes: str, box: Box) -> Pixels:
    """Five-axis pixels of a box of a zarr array with the given axes."""
    full = dict(zip("tczyx", box.slices(), strict=True))
    values = np.asarray(array[tuple(full[a] for a in axes)])
    return values.reshape(box.shape)


def _five(shape: tuple[int, ...], axes: str) -> Shape:
    known = dict(zip(axes, shape, strict=True))
    return Shape(*(int(known.get(a, 1)) for a in "tczyx"))


def _tiling(shape: Shape, array: Any, axes: str) -> Iterator[Box]:
    unit = _five(array.shards or array.chunks, axes)
    y, x = (-(-_FULL_SIDE // n) * n for n in (unit.y, unit.x))
    for t, z in np.ndindex(shape.t, shape.z):
        for top in range(0, shape.y, y):
            for left in range(0, shape.x, x):
                stop = Shape(t + 1, shape.c, z + 1, min(top + y, shape.y), min(left + x, shape.x))
                yield Box(Shape(t, 0, z, top, left), stop)


def _sample(shape: Shape) -> Iterator[Box]:
    """A few boxes: both ends of the image, and its middle."""
    last = Shape(shape.t - 1, 0, shape.z - 1, 0, 0)
    for i in range(_QUICK_BOXES):
        part = i / (_QUICK_BOXES - 1)
        h, w = min(_QUICK_SIDE, shape.y), min(_QUICK_SIDE, shape.x)
        top, left = int((shape.y - h) * part), int((shape.x - w) * part)
        start = Shape(round(last.t * part), 0, round(last.z * part), top, left)
        yield Box(start, Shape(start.t + 1, shape.c, start.z + 1, top + h, left + w))
