"""Pixel formats of ZVI and what one stored image decodes to.

Numbers of the formats: "ZVI Format Specification" as libzvi, slideio and Bio-Formats read it. Colour lies as blue, green,
red; only JPEG gives red first (Bio-Formats swaps all but JPEG). 16 bit samples are unsigned (libzvi, Bio-Formats; slideio
calls them signed). Images of which 0 or 1 bits are said to be valid are compressed: JPEG, or "WZL" and a zlib stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.czi.pixels import red_first
from drivers.errors import Damaged, Unsupported
from drivers.pictures.jpeg import check_jpeg, frame_offset

JPEG_START = b"\xff\xd8\xff"
ZLIB_MARK = b"WZL"
ZLIB_HEADER = 8
"""Bytes in front of the zlib stream: the mark, and a length that nothing needs (Bio-Formats skips them too)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Samples of a pixel as they are stored."""

    dtype: np.dtype[Any]
    """Little-endian, as in the file."""
    samples: int
    """1 grey, 3 colour, 4 colour and alpha."""

    @property
    def bytes(self) -> int:
        """Bytes of a pixel."""
        return self.dtype.itemsize * self.samples

    @property
    def channels(self) -> int:
        """Channels that a pixel gives."""
        return self.samples


def _kind(dtype: str, samples: int) -> Kind:
    return Kind(np.dtype(dtype), samples)


FORMATS = {
    1: _kind("<u1", 3),
    2: _kind("<u1", 4),
    3: _kind("<u1", 1),
    4: _kind("<u2", 1),
    5: _kind("<i4", 1),
    6: _kind("<f4", 1),
    7: _kind("<f8", 1),
    8: _kind("<u2", 3),
    9: _kind("<i4", 3),
}
_BY_BYTES = {1: FORMATS[3], 2: FORMATS[4], 3: FORMATS[1], 6: FORMATS[8]}
"""What Bio-Formats goes by: the bytes of a pixel."""


def kind_of(number: int, pixel_bytes: int) -> Kind:
    """The kind of a pixel format, or of its bytes where the two do not agree. Raises Unsupported."""
    kind = FORMATS.get(number)
    if kind is not None and pixel_bytes in (kind.bytes, 0):
        return kind
    if pixel_bytes not in _BY_BYTES:
        raise Unsupported(f"pixels of format {number} with {pixel_bytes} bytes are not read")
    return _BY_BYTES[pixel_bytes]


def jpeg_kind(head: bytes) -> Kind:
    """The kind that a JPEG stream decodes to, out of its frame header (ITU-T T.81 B.2.2)."""
    at = frame_offset(head)
    if at is None or at + 10 > len(head):
        raise Damaged("the JPEG stream has no frame header")
    precision, samples = head[at + 4], head[at + 9]
    if samples not in (1, 3):
        raise Unsupported(f"a JPEG of {samples} components is not read")
    return _kind("<u1" if precision <= 8 else "<u2", samples)


def decode(data: bytes, kind: Kind, shape: tuple[int, int], compression: str) -> NDArray[Any]:
    """Pixels (height, width, channels), red first, in native byte order. Raises Damaged."""
    return _DECODERS[compression](data, kind, shape)


def _raw(data: bytes, kind: Kind, shape: tuple[int, int]) -> NDArray[Any]:
    pixels = np.frombuffer(data, kind.dtype).reshape(*shape, kind.samples)
    if kind.dtype.itemsize <= 2:
        return red_first(pixels)
    pixels = pixels.astype(kind.dtype.newbyteorder("="), copy=False)
    return pixels if kind.samples == 1 else np.ascontiguousarray(pixels[..., 2::-1])


def _zlib(data: bytes, kind: Kind, shape: tuple[int, int]) -> NDArray[Any]:
    size = shape[0] * shape[1] * kind.bytes
    try:
        plain = zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise Damaged(f"the zlib stream does not decode: {error}") from error
    if len(plain) < size:
        raise Damaged(f"the zlib stream holds {len(plain)} bytes where {shape[1]}x{shape[0]} pixels need {size}")
    return _raw(plain, kind, shape)


def _jpeg(data: bytes, kind: Kind, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    check_jpeg(data, *shape)
    try:
        pixels = imagecodecs.jpeg_decode(data)
    except Exception as error:
        raise Damaged(f"the JPEG stream does not decode: {' '.join(str(error).split())[:200]}") from error
    if pixels.size != shape[0] * shape[1] * kind.samples or pixels.shape[:2] != shape or pixels.dtype != kind.dtype:
        raise Damaged(f"the JPEG is {pixels.shape} of {pixels.dtype}, the item {(*shape, kind.samples)} of {kind.dtype}")
    return pixels.reshape(*shape, kind.samples)


_DECODERS: dict[str, Callable[[bytes, Kind, tuple[int, int]], NDArray[Any]]] = {
    "none": _raw,
    "deflate": _zlib,
    "jpeg": _jpeg,
}
