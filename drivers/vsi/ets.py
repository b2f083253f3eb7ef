"""ETS files: the stored tiles of one image of a .vsi file, with a table of their coordinates.

Facts as in `tags.py`, from slideio's `vsistruct.hpp` and `etsfile.cpp` (BSD-3-Clause), compared with a real file: a header
"SIS", a second one "ETS", and per tile its coordinates (x, y, further dimensions, resolution level), offset and size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource
from drivers.limits import LIMITS, check

_FIRST = struct.Struct("<4sIIIQIIQII")
_SECOND = struct.Struct("<4s9I17I40sII")
_TILES, _DIMENSIONS, _COORDINATE = 5_000_000, 16, 1 << 24
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "i8", 8: "u8", 9: "f4", 10: "f8"}
RAW, JPEG, JPEG2000, JPEG_LOSSLESS, PNG, BMP = 0, 2, 3, 5, 8, 9
NAMES = {RAW: "none", JPEG: "jpeg", JPEG2000: "jpeg2000", JPEG_LOSSLESS: "jpeg-lossless", PNG: "png", BMP: "bmp"}
_PALETTE, _BGR, _HSV = 2, 4, 5


@dataclass(frozen=True, slots=True)
class Header:
    """How the tiles of an ETS file are stored."""

    dtype: np.dtype[Any]
    components: int
    """Samples of a pixel in a tile: 3 for colour."""
    bgr: bool
    compression: int
    tile_width: int
    tile_height: int
    pyramid: bool
    """The last coordinate is the resolution level."""

    @property
    def tile_bytes(self) -> int:
        """Of a decoded tile."""
        return self.tile_width * self.tile_height * self.components * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Ets:
    """An ETS file. The tables have one row a tile."""

    source: ByteSource
    header: Header
    coordinates: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]


def read_ets(source: ByteSource) -> Ets:
    """Read headers and table. Raises Damaged, LimitExceeded, Unsupported before any tile is read."""
    name = source.path.name
    magic, size, _, dimensions, second, _, _, table, count, _ = _FIRST.unpack(source.read(0, _FIRST.size))
    if magic != b"SIS\0" or size != 64:
        raise Damaged(f"{name}: is no ETS file: its header is not SIS")
    if not 2 <= dimensions <= _DIMENSIONS:
        raise Damaged(f"{name}: tiles with {dimensions} coordinates")
    check(f"{name}: the number of its tiles", count, _TILES)
    header = _header(source, second)
    row = np.dtype([("", "<u4"), ("at", "<i4", (dimensions,)), ("offset", "<i8"), ("size", "<u4"), ("_", "<u4")])
    rows = np.frombuffer(source.read(table, count * row.itemsize), row)
    if not count:
        raise Damaged(f"{name}: holds no tile; it was not written to its end")
    offsets, sizes = rows["offset"].astype(np.int64), rows["size"].astype(np.int64)
    if int(offsets.min()) < 0 or int(offsets.max()) > source.size or int((offsets + sizes).max()) > source.size:
        raise Damaged(
            f"{name}: its tiles reach past the end of the file ({source.size} bytes): it is truncated; copy it again"
        )
    coordinates = rows["at"].astype(np.int32)
    if bool(((offsets == 0) & (sizes == 0) & ~coordinates.any(axis=1)).any()):  # the file's own header lies at byte 0
        raise Damaged(f"{name}: entries of its table of tiles are blank: the copy is not whole; copy it again")
    if int(coordinates.min()) < 0 or int(coordinates.max()) > _COORDINATE:
        raise Damaged(f"{name}: tiles at coordinates from {int(coordinates.min())} to {int(coordinates.max())}")
    return Ets(source, header, coordinates, offsets, sizes)


def _header(source: ByteSource, at: int) -> Header:
    name = source.path.name
    magic, _, kind, components, space, compression, _, width, height, depth, *_, order, pyramid = _SECOND.unpack(
        source.read(at, _SECOND.size)
    )
    if magic != b"ETS\0":
        raise Damaged(f"{name}: its second header is not ETS")
    if kind not in _DTYPES:
        raise Unsupported(f"{name}: samples of type {kind} are not read")
    if compression not in NAMES:
        raise Unsupported(f"{name}: tiles of compression {compression} are not read")
    if space in (_PALETTE, _HSV):
        raise Unsupported(f"{name}: tiles of colours of kind {space} (palette 2, HSV 5) are not read: export them as RGB")
    if depth > 1:
        raise Unsupported(f"{name}: tiles of {depth} slices are not read")
    if components < 1 or width < 1 or height < 1:
        raise Damaged(f"{name}: tiles of {width}x{height} pixels with {components} samples")
    check(f"{name}: the number of samples per pixel", components, LIMITS.channels)
    check(f"{name}: the number of pixels of a tile", width * height, LIMITS.tile_pixels)
    header = Header(
        np.dtype(_DTYPES[kind]), components, order == 1 or space == _BGR, compression, width, height, pyramid != 0
    )
    check(f"{name}: the number of bytes of a decoded tile", header.tile_bytes, LIMITS.tile_bytes)
    return header
