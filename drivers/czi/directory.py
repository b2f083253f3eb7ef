"""The sub-block directory: what each stored block shows, where it lies, and how it is stored.

It is read here and not through czifile: that takes 13 µs an entry and knows no limits, and a slide has 10^5 of them.
Format: ZEISS, "ZISRAW (CZI) File Format", directory entry of schema DV.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from drivers.czi.segments import Region, segment
from drivers.errors import Damaged, Unsupported
from drivers.limits import check

BLOCKS = 4_000_000
"""Entries a directory may claim."""
DIMENSIONS = 40
ENTRY = struct.Struct("<2siqiiBB4si")
"""Schema, pixel type, file position, file part, compression, pyramid type, reserved, reserved, number of dimensions."""
_LETTERS = frozenset("XYZCTSMHRIVB")
OTHERS = "HVIRB"
"""Phase, view, illumination, rotation, acquisition block."""


_LAST = 1 << 31


class Block(NamedTuple):
    """A sub-block. Starts are as the file counts them; -1 where a scene or a mosaic index is not given."""

    position: int
    """Offset of its segment in the file."""
    part: int
    pixel_type: int
    compression: int
    scene: int
    mosaic: int
    t: int
    c: int
    z: int
    y: int
    x: int
    height: int
    """Of the place it shows, in pixels of full resolution."""
    width: int
    stored_height: int
    stored_width: int
    others: tuple[int, ...]
    """Starts of the dimensions `OTHERS`."""

    @property
    def order(self) -> int:
        """In which blocks of a plane are drawn, later ones over earlier ones; those without a mosaic index come last."""
        return self.mosaic if self.mosaic >= 0 else _LAST


def blocks_of(region: Region, offset: int) -> list[Block]:
    """All entries of the directory at `offset`; raises Damaged, LimitExceeded or Unsupported."""
    start, length = segment(region, offset, "ZISRAWDIRECTORY")
    data = region.read(start, length)
    if length < 128:
        raise Damaged(f"the sub-block directory has {length} bytes")
    count = int.from_bytes(data[:4], "little", signed=True)
    check("the number of sub-blocks", count, BLOCKS)
    if count < 0 or 128 + count * ENTRY.size > length:
        raise Damaged(f"the sub-block directory claims {count} entries in {length} bytes")
    return list(_entries(data, count))


def _entries(data: bytes, count: int) -> Iterator[Block]:
    at, known = 128, dict[bytes, _Layout]()
    for _ in range(count):
        if at + ENTRY.size > len(data):
            raise Damaged("the sub-block directory ends within an entry")
        schema, pixel_type, position, part, compression, _, _, _, dimensions = ENTRY.unpack_from(data, at)
        if schema != b"DV":
            raise Unsupported(f"directory entries of schema {schema!r} are not read, only DV")
        check("the number of dimensions of a sub-block", dimensions, DIMENSIONS)
        at += ENTRY.size
        if dimensions < 2 or at + 20 * dimensions > len(data):
            raise Damaged(f"a directory entry with {dimensions} dimensions reaches past the directory")
        names = b"".join(data[i : i + 4] for i in range(at, at + 20 * dimensions, 20))
        layout = known.get(names) or known.setdefault(names, _Layout.of(names))
        yield layout.block((position, part, pixel_type, compression), data, at)
        at += 20 * dimensions


class _Layout(NamedTuple):
    """How to take apart entries whose dimensions come in one order. Places are indices into `fields`; -1: not there."""

    fields: struct.Struct
    """Start, size and stored size of each dimension."""
    x: int
    y: int
    planes: tuple[int, int, int]
    """t, c, z"""
    scene: int
    mosaic: int
    others: tuple[int, ...]
    single: tuple[int, ...]
    """Dimensions of which a block shows one: all but x, y, scene and mosaic."""

    @classmethod
    def of(cls, names: bytes) -> _Layout:
        letters = [names[i : i + 4].rstrip(b"\0").decode("latin-1") for i in range(0, len(names), 4)]
        unknown = sorted(set(letters) - _LETTERS)
        if unknown:
            raise Unsupported(f"sub-blocks with the dimension {unknown[0]!r} are not read")
        if len(set(letters)) != len(letters) or not {"X", "Y"} <= set(letters):
            raise Damaged(f"sub-blocks with the dimensions {''.join(letters)}")
        place = {letter: 3 * i for i, letter in enumerate(letters)}
        t, c, z, scene, mosaic, *others = (place.get(letter, -1) for letter in "TCZSM" + OTHERS)
        single = tuple(i for letter, i in place.items() if letter not in "XYSM")
        fields = struct.Struct("<" + "4xii4xi" * len(letters))
        return cls(fields, place["X"], place["Y"], (t, c, z), scene, mosaic, tuple(others), single)

    def block(self, head: tuple[int, int, int, int], data: bytes, at: int) -> Block:
        values = self.fields.unpack_from(data, at)
        (t, c, z), y, x = self.planes, self.y, self.x
        height, width = values[y + 1], values[x + 1]
        block = Block(
            *head,
            -1 if self.scene < 0 else values[self.scene],
            -1 if self.mosaic < 0 else values[self.mosaic],
            0 if t < 0 else values[t],
            0 if c < 0 else values[c],
            0 if z < 0 else values[z],
            values[y],
            values[x],
            height,
            width,
            values[y + 2] or height,
            values[x + 2] or width,
            tuple([0 if i < 0 else values[i] for i in self.others]),
        )
        if height < 1 or width < 1 or block.stored_height < 1 or block.stored_width < 1:
            raise Damaged(f"a sub-block of {width}x{height} pixels, stored as {block.stored_width}x{block.stored_height}")
        for i in self.single:
            if values[i + 1] != 1:
                raise Unsupported(f"a sub-block that holds {values[i + 1]} planes is not read, only blocks of one plane")
        return block
