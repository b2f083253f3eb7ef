"""ND2 frames as levels: all channels of a plane side by side, uncompressed or as one zlib stream."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import Level, Pixels
from drivers.nikon.chunks import STAMP, chunk
from drivers.tiles import Grid

BLOCK_BYTES = 8 << 20
"""About what one read of an uncompressed frame takes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How every frame of a file is stored."""

    height: int
    width: int
    components: int
    dtype: np.dtype[Any]
    row: int
    """Bytes of a row, with padding."""
    deflated: bool
    reversed: bool
    """Samples lie as blue, green, red."""

    @property
    def bytes(self) -> int:
        """Of a whole frame."""
        return self.height * self.row


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads bands of rows of the frames of one scene. Thread-safe: positioned reads and a codec without state."""

    source: ByteSource
    frame: Frame
    offsets: Mapping[Shape, int]
    """Chunk of the frame at (t, 0, z, 0, 0)."""
    numbers: Mapping[Shape, int]
    rows: int

    def read(self, key: Hashable) -> Pixels:
        """The block at grid position `key`."""
        assert isinstance(key, Shape)
        place = Shape(key.t, 0, key.z, 0, 0)
        name = f"ImageDataSeq|{self.numbers[place]}!"
        try:
            return self._rows(self.offsets[place], name.encode(), key.y * self.rows)
        except Damaged as error:
            raise Damaged(f"{self.source.path.name}: frame {self.numbers[place]}: {error}") from error

    def _rows(self, at: int, name: bytes, top: int) -> Pixels:
        start, length = chunk(self.source, at, name)
        frame = self.frame
        rows = min(self.rows, frame.height - top)
        if frame.deflated:
            data = self._inflated(start + STAMP, length - STAMP)
        else:
            if length < STAMP + frame.bytes:
                raise Damaged(f"holds {length - STAMP} bytes where its pixels need {frame.bytes}")
            data = self.source.read(start + STAMP + top * frame.row, rows * frame.row)
        used = frame.width * frame.components * frame.dtype.itemsize
        flat = np.frombuffer(data, np.uint8, rows * frame.row).reshape(rows, frame.row)[:, :used]
        pixels = np.ascontiguousarray(flat).view(frame.dtype).reshape(rows, frame.width, frame.components)
        if frame.reversed:
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        return pixels.astype(frame.dtype.newbyteorder("="), copy=False).transpose(2, 0, 1)[None, :, None]

    def _inflated(self, start: int, length: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(self.source.read(start, length), self.frame.bytes)
        except zlib.error as error:
            raise Damaged(f"its zlib stream does not decode: {error}") from error
        if len(data) < self.frame.bytes:
            raise Damaged(f"its zlib stream holds {len(data)} bytes where its pixels need {self.frame.bytes}")
        return data


def level_of(source: ByteSource, frame: Frame, chunks: Mapping[int, int], numbers: Mapping[Shape, int], rgb: bool) -> Level:
    """The only level of a scene; `numbers` are those of the frames at (t, 0, z, 0, 0)."""
    t, z = (max(place[axis] for place in numbers) + 1 for axis in (0, 2))
    shape = Shape(t, frame.components, z, frame.height, frame.width)
    if frame.deflated:
        check("the number of bytes of a frame", frame.bytes, LIMITS.tile_bytes)
        rows = frame.height
    else:
        rows = max(1, min(frame.height, BLOCK_BYTES // max(1, frame.row)))
    tile = Shape(1, frame.components, 1, rows, frame.width)
    offsets = {place: chunks[number] for place, number in numbers.items() if number in chunks}
    # Frames that a stopped acquisition never wrote show the fill value.
    everywhere = (Shape(i, 0, k, 0, 0) for i in range(t) for k in range(z))
    bands = range(-(-frame.height // rows))
    absent = frozenset(place._replace(y=y) for place in everywhere if place not in offsets for y in bands)
    fill = 255 if rgb and frame.dtype == np.uint8 else 0
    reader = Reader(source, frame, offsets, numbers, rows)
    grid = Grid(shape, tile, absent=absent)
    compression = "deflate" if frame.deflated else "none"
    dtype = frame.dtype.newbyteorder("=")
    return Level(shape, dtype, grid, reader.read, tile, fill, 1.0, compression, interleaved=frame.components > 1)
