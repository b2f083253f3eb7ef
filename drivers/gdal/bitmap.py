"""Bitmaps (BMP) with an alpha, or whose masks put the colours elsewhere than blue, green, red: GDAL takes no heed of masks.

imagecodecs decodes them, the whole picture at once, into a temporary file. Layout: BITMAPV4HEADER of the Windows API.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource
from drivers.gdal import jp2
from drivers.gdal.dataset import Source
from drivers.gdal.level import Bands, Spooled, spooled
from drivers.gdal.spool import Spool
from drivers.limits import LIMITS, check
from drivers.model import Pixels

_INFO = struct.Struct("<IIiiHHI")
"""Offset of the pixels, size of the header, width, height, planes, bits of a pixel, compression: from byte 10 on."""
_RGB, _MASKS = 0, 3
_COLORS = (0xFF0000, 0xFF00, 0xFF)
_ALPHA = 0xFF000000
_UINT8 = np.dtype("u1")
_BLOCK = 4 << 20
_UNSAID = "the pixels have a fourth byte of which the header says nothing: it is taken for alpha"


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A bitmap that GDAL would not show as it is meant. The first is the last row, where `height` is positive."""

    start: int
    height: int
    width: int
    bits: int
    masks: tuple[int, int, int, int]
    """Of red, green, blue, and the alpha or 0."""
    unsaid: bool = False
    """The alpha is a fourth byte that no header describes."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """As decoded: (height, width, samples)."""
        return abs(self.height), self.width, 4 if self.masks[3] else 3

    @property
    def size(self) -> int:
        """Bytes of the pixels; rows end on four bytes."""
        return (self.bits * self.width + 31) // 32 * 4 * abs(self.height)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it."""
        most = max(mask.bit_count() for mask in self.masks)
        return (*([_UNSAID] if self.unsaid else []), *([f"samples of {most} bits are written with 8"] if most > 8 else []))


def bitmap_of(source: ByteSource) -> Bitmap | None:
    """The bitmap, where GDAL would not show it right."""
    start, header, width, height, _, bits, packed = _INFO.unpack(source.read(10, _INFO.size))
    if packed == _MASKS and bits in (16, 32) and header in (40, 52, 56, 108, 124):
        red, green, blue, alpha = struct.unpack("<4I", source.read(54, 16))  # behind 40 bytes, in the header or after it
        alpha = alpha if header >= 56 else 0
        known = bits == 16 or (red, green, blue) == _COLORS
        return Bitmap(start, height, width, bits, (red, green, blue, alpha)) if alpha or not known else None
    if packed == _RGB and bits == 32 and header != 12:
        found = Bitmap(start, height, width, bits, (*_COLORS, _ALPHA), unsaid=True)
        return found if _varies(source, found) else None
    return None


def _varies(source: ByteSource, bitmap: Bitmap) -> bool:
    """Whether the fourth bytes of pixels, which mean nothing by the format, differ: then they do mean something."""
    stop = min(bitmap.start + bitmap.size, source.size)
    first = source.read(bitmap.start + 3, 1)
    blocks = (source.read(at, min(_BLOCK, stop - at)) for at in range(bitmap.start, stop, _BLOCK))
    return any(block[3::4].strip(first) for block in blocks)


def bitmap_level(source: Source, bitmap: Bitmap) -> Spooled:
    """Its level, its alpha last. Raises Unsupported, LimitExceeded; the level Damaged."""
    shape, name = bitmap.shape, source.name
    if min(shape) < 1:
        raise Damaged(f"{name}: a picture of {shape[1]}x{shape[0]} pixels")
    check(f"{name}: the number of pixels", math.prod(shape[:2]), LIMITS.level_pixels)
    check(f"{name}: the number of bytes to decode the bitmap", jp2.memory(math.prod(shape), _UINT8), jp2.MOST_BYTES)
    if not jp2.fits(math.prod(shape), _UINT8):
        raise Unsupported(f"{name}: a bitmap of {shape[1]}x{shape[0]} pixels with masks takes more memory than is here")
    indexes, alpha = tuple(range(1, shape[2] + 1)), 3 if shape[2] == 4 else None
    bands = Bands(indexes, _UINT8, rgb=True, colors=True, alpha=alpha, warnings=bitmap.notes)
    spool = Spool(shape, _UINT8, lambda first: iter([_decoded(source, bitmap)[first:]]))
    return spooled(spool, bands, source)


def _decoded(source: Source, bitmap: Bitmap) -> Pixels:
    import imagecodecs

    data = np.memmap(source.path, np.uint8, "r")[bitmap.start : bitmap.start + bitmap.size]
    if data.size < bitmap.size:
        raise Damaged(
            f"{source.name}: {data.size} of {bitmap.size} bytes of pixels are there: it is truncated; copy it again"
        )
    try:
        pixels = imagecodecs.bmp_decode(np.concatenate([_header(bitmap), data]))
    except (imagecodecs.BmpError, ValueError) as error:
        raise Damaged(f"{source.name}: the bitmap cannot be decoded: {str(error)[:100]}") from error
    if pixels.shape != bitmap.shape:
        raise Damaged(f"{source.name}: the bitmap decodes to {pixels.shape}, not {bitmap.shape}")
    return pixels


def _header(bitmap: Bitmap) -> Pixels:
    """A header that says all that is known; those of files often state a wrong length, and not what a fourth byte is."""
    head = struct.pack("<2sIHHI", b"BM", 122 + bitmap.size, 0, 0, 122)
    sizes = struct.pack("<IiiHHII", 108, bitmap.width, bitmap.height, 1, bitmap.bits, _MASKS, bitmap.size)
    masks = struct.pack("<4I4I", 0, 0, 0, 0, *bitmap.masks)
    return np.frombuffer(head + (sizes + masks).ljust(108, b"\0"), np.uint8)
