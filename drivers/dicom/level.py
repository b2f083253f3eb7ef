"""A level out of placed frames: a grid where they lie on one, else a mosaic."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.parts import Part
from drivers.dicom.tiling import Places, check_count
from drivers.errors import Damaged, DriverError
from drivers.geometry import Box, Shape
from drivers.limits import LIMITS, check
from drivers.model import Level, Pixels
from drivers.tiles import Grid, Mosaic, Tile

BAND_BYTES = 4 << 20
"""Uncompressed frames that are larger are read in bands of rows."""
_MOST_LISTED_GAPS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class FrameReader:
    """`Level.read`: the key is a grid position, or (part, frame) in a mosaic."""

    parts: Sequence[Part]
    table: NDArray[np.int64] | None
    """(part, frame) by t, c, z, row, column."""
    band: int = 0
    """Rows of a block that is a part of an uncompressed frame; 0: a block is a frame."""

    def __call__(self, key: Hashable) -> Pixels:
        if isinstance(key, Shape):
            assert self.table is not None
            at = key._replace(y=0) if self.band else key
            number, frame = (int(i) for i in self.table[at])
        else:
            assert isinstance(key, tuple)
            number, frame = key
        part = self.parts[number]
        try:
            if part.frames.empty(frame):
                raise Damaged("has zero length")
            pixels = (
                self._band(part, frame, key.y)
                if self.band and isinstance(key, Shape)
                else part.decode(part.frames.read(frame))
            )
        except DriverError as error:
            name = part.instance.path.name
            raise type(error)(f"{name}: frame {frame + 1}: {str(error).removeprefix(f'{name}: ')}") from error
        return pixels.transpose(2, 0, 1)[None, :, None]

    def _band(self, part: Part, frame: int, row: int) -> Pixels:
        facts = part.facts
        top = row * self.band
        rows, stride = min(self.band, facts.rows - top), facts.frame_bytes // facts.rows
        data = part.frames.content.read(int(part.frames.offsets[frame]) + top * stride, rows * stride)
        return part.decode.shown(part.decode.raw(data, rows))


def tiled_level(places: Places, size: tuple[int, int], scale: float, fill: float) -> Level:
    """A level of whole-slide frames; `size` (height, width) may cut off what vendors pad."""
    first = places.parts[0].facts
    samples = first.samples
    check("the number of pixels", size[0] * size[1], LIMITS.level_pixels)
    shape = Shape(1, len(places.paths) * samples, len(places.depths_um), *size)
    tile = Shape(1, samples, 1, first.rows, first.columns)
    path, plane, top, left, part, frame = places.at.T
    aligned = not (top % first.rows).any() and not (left % first.columns).any() and min(top.min(), left.min()) >= 0
    grid = (len(places.paths), len(places.depths_um), -(-size[0] // first.rows), -(-size[1] // first.columns))
    table = None
    if aligned and int(np.prod(grid)) - len(path) <= _MOST_LISTED_GAPS:
        check_count(int(np.prod(grid)))
        table = np.full((1, *grid, 2), -1, np.int64)
        row, column = top // first.rows, left // first.columns
        inside = (row < grid[2]) & (column < grid[3])
        table[0, path[inside], plane[inside], row[inside], column[inside]] = np.stack([part, frame], axis=1)[inside]
        index = Grid(shape, tile, _absent(table), _empty(table, places.parts))
    else:
        index = Mosaic(_placed(places, shape, samples))
    return Level(
        shape=shape,
        dtype=first.dtype,
        index=index,
        read=FrameReader(places.parts, table),
        tile=tile,
        fill=fill,
        scale=scale,
        compression=first.compression,
        interleaved=first.interleaved,
    )


def _absent(table: NDArray[np.int64]) -> frozenset[Shape]:
    return frozenset(Shape(*map(int, key)) for key in np.argwhere(table[..., 0] < 0))


def _empty(table: NDArray[np.int64], parts: Sequence[Part]) -> frozenset[Shape]:
    found: list[Shape] = []
    for number, part in enumerate(parts):
        blank = np.flatnonzero(part.frames.lengths <= (8 if part.frames.items else 0))
        if blank.size:
            here = (table[..., 0] == number) & np.isin(table[..., 1], blank)
            found += [Shape(*map(int, key)) for key in np.argwhere(here)]
    return frozenset(found)


def _placed(places: Places, shape: Shape, samples: int) -> list[Tile]:
    first = places.parts[0].facts
    whole, tiles = Box.of(shape), list[Tile]()
    for path, plane, top, left, part, frame in places.at.tolist():
        start = Shape(0, path * samples, plane, top, left)
        box = Box(start, start.plus(Shape(1, samples, 1, first.rows, first.columns))) & whole
        if box:
            tiles.append(Tile(box, (part, frame), box.start.minus(start)))
    return tiles


def stacked_level(part: Part, shape: Shape) -> Level:
    """A level of whole frames along t or z."""
    facts = part.facts
    rows = facts.rows
    if facts.compression == "none" and not facts.planar and facts.frame_bytes > BAND_BYTES:
        rows = max(1, BAND_BYTES * facts.rows // facts.frame_bytes)
        check("the number of bytes of a row", facts.frame_bytes // facts.rows, LIMITS.tile_bytes)
    banded = rows < facts.rows
    tile = Shape(1, facts.samples, 1, rows, facts.columns)
    count = len(part.frames)
    table = np.stack([np.zeros(count, np.int64), np.arange(count)], axis=1).reshape(shape.t, 1, shape.z, 1, 1, 2)
    empty = frozenset[Shape]() if banded else _empty(table, [part])
    return Level(
        shape=shape,
        dtype=facts.dtype,
        index=Grid(shape, tile, empty=empty),
        read=FrameReader([part], table, rows if banded else 0),
        tile=tile,
        fill=0,
        scale=1.0,
        compression=facts.compression,
        interleaved=facts.interleaved,
    )
