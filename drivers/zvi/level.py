"""The only level of a scene: ZVI stores no pyramid.

A plane is a grid of bands of rows, so that a merged image of a gigabyte is never read at once; a mosaic places its tiles. Raw
images are read by bands, compressed ones as a whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from drivers.errors import Damaged
from drivers.geometry import Box, Shape
from drivers.limits import check
from drivers.model import Level, Pixels
from drivers.tiles import Grid, Mosaic, Tile
from drivers.zvi.item import Item
from drivers.zvi.kinds import decode
from drivers.zvi.placing import Placed, tile_of

BLOCK_BYTES = 8 << 20
"""About what one read of an uncompressed image takes."""
PLANES = 1_000_000
"""Times, channels and slices that the items may claim, multiplied."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The coordinates that occur along t, c, z: they need not begin at 0, nor follow each other (openreadout, slideio)."""

    t: Mapping[int, int]
    c: Mapping[int, int]
    z: Mapping[int, int]
    """Ranks by coordinate, ascending."""

    def place(self, item: Item) -> Shape:
        """Ranks of the item's coordinates: (t, c, z, 0, 0)."""
        return Shape(self.t[item.t], self.c[item.c], self.z[item.z], 0, 0)


def axes_of(items: Sequence[Item]) -> Axes:
    """Of the items of one scene. Raises LimitExceeded."""
    found = ({item.t for item in items}, {item.c for item in items}, {item.z for item in items})
    axes = Axes(*({value: rank for rank, value in enumerate(sorted(values))} for values in found))
    check("the number of planes", len(axes.t) * len(axes.c) * len(axes.z), PLANES)
    return axes


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads bands of items. Thread-safe: positioned reads and codecs without state."""

    name: str
    items: Mapping[Hashable, Item]
    rows: int
    """Of a band; of the tallest item where items are read as a whole."""

    def read_band(self, key: Hashable) -> Pixels:
        """The block of a grid: its plane, and its band as y."""
        assert isinstance(key, Shape)
        return self._read(self.items[key._replace(y=0)], key.y)

    def read_tile(self, key: Hashable) -> Pixels:
        """The block of a mosaic: (item number, band)."""
        assert isinstance(key, tuple)
        number, band = key
        return self._read(self.items[number], int(band))

    def _read(self, item: Item, band: int) -> Pixels:
        top = band * self.rows
        rows = min(self.rows, item.height - top)
        try:
            if item.compression == "none":
                row = item.width * item.kind.bytes
                data = item.stream.read(item.offset + top * row, rows * row)
            else:
                data = item.stream.read(item.offset, item.length)
            pixels = decode(data, item.kind, (rows, item.width), item.compression)
        except Damaged as error:
            raise Damaged(f"{self.name}: image item {item.number}: {error}") from error
        return pixels.transpose(2, 0, 1)[None, :, None]


def level_of(name: str, items: Sequence[Item], axes: Axes, mosaic: Placed | None) -> Level:
    """The level that items of one kind, each the only one at its place, make."""
    kind = items[0].kind
    height, width = (max(item.size[axis] for item in items) for axis in (0, 1))
    whole = any(item.compression != "none" for item in items)
    rows = height if whole else max(1, min(height, BLOCK_BYTES // (width * kind.bytes)))
    tile = Shape(1, kind.channels, 1, rows, width)
    planes = Shape(len(axes.t), len(axes.c) * kind.channels, len(axes.z), height, width)
    if mosaic is not None:
        shape = planes._replace(y=mosaic.height, x=mosaic.width)
        reader = Reader(name, {item.number: item for item in items}, rows)
        read, index = reader.read_tile, Mosaic(list(_tiles(items, axes, mosaic, tile)))
    else:
        by_place: dict[Hashable, Item] = {axes.place(item): item for item in items}
        shape, reader = planes, Reader(name, by_place, rows)
        read, index = reader.read_band, Grid(shape, tile, absent=_absent(by_place, planes, tile))
    fill = 255 if kind.channels >= 3 and kind.dtype.itemsize == 1 else 0
    names = {item.compression for item in items}
    compression = names.pop() if len(names) == 1 else "mixed"
    dtype = kind.dtype.newbyteorder("=")
    return Level(shape, dtype, index, read, tile, fill, 1.0, compression, interleaved=kind.channels > 1)


def _absent(items: Mapping[Hashable, Item], shape: Shape, tile: Shape) -> frozenset[Shape]:
    """Blocks of the planes that have no item: they show the fill value."""
    everywhere = product(range(shape.t), range(shape.c // tile.c), range(shape.z))
    missing = [place for t, c, z in everywhere if (place := Shape(t, c, z, 0, 0)) not in items]
    return frozenset(place._replace(y=y) for place in missing for y in range(-(-shape.y // tile.y)))


def _tiles(items: Sequence[Item], axes: Axes, mosaic: Placed, tile: Shape) -> Iterator[Tile]:
    """Bands of the tiles, in the order of the items; what reaches past the stated size is cut off."""
    for item in items:
        plane, (y, x) = axes.place(item), mosaic.places[tile_of(item)]
        plane = plane._replace(c=plane.c * tile.c)
        for band in range(-(-item.height // tile.y)):
            top = y + band * tile.y
            start = plane._replace(y=top, x=x)
            bottom = min(top + tile.y, y + item.height, mosaic.height)
            stop = Shape(plane.t + 1, plane.c + tile.c, plane.z + 1, bottom, min(x + item.width, mosaic.width))
            if box := Box(start, stop):
                yield Tile(box, (item.number, band))
