"""The small picture of a ZVI: a Windows bitmap behind an identifier in the stream `Thumbnail` (openreadout, wsi-rs)."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import ALPHA, RGB_CHANNELS, Channel, Pixels, Scene
from drivers.pictures.whole import whole_level
from drivers.zvi.compound import Compound, Stream

_BEFORE = 256
"""Bytes in which the bitmap begins; 26 were seen in front of it."""


def thumbnail_of(compound: Compound) -> Scene | None:
    """The picture, None where there is none. Raises Damaged, Unsupported, LimitExceeded."""
    stream = compound.stream("Thumbnail")
    if stream is None or not stream.size:
        return None
    check("the number of bytes of the thumbnail", stream.size, LIMITS.tile_bytes)
    head = stream.read(0, min(stream.size, _BEFORE + 26))
    start = _bitmap_at(head, stream.size)
    if start is None:
        raise Unsupported("the thumbnail is no bitmap")
    width, height = (int.from_bytes(head[start + i : start + i + 4], "little", signed=True) for i in (18, 22))
    if width < 1 or not height:
        raise Damaged(f"the thumbnail claims {width}x{height} pixels")
    check("the number of pixels of the thumbnail", width * abs(height), LIMITS.tile_pixels)
    samples = _decoded(stream, start).shape[2]
    shape = Shape(1, samples, 1, abs(height), width)

    def read(_key: Hashable) -> Pixels:
        return _decoded(stream, start).transpose(2, 0, 1)[None, :, None]

    rgb = samples >= 3
    level = whole_level(shape, np.dtype(np.uint8), read, "bmp")
    described = (*RGB_CHANNELS, ALPHA)[:samples] if rgb else (Channel(),)
    return Scene("thumbnail", [level], rgb, described, alpha=3 if samples == 4 else None)


def _bitmap_at(head: bytes, size: int) -> int | None:
    """Where "BM" lies with a size behind it that the stream has room for."""
    at = head.find(b"BM")
    while at >= 0 and at + 26 <= len(head):
        if 26 < int.from_bytes(head[at + 2 : at + 6], "little") <= size - at:
            return at
        at = head.find(b"BM", at + 1)
    return None


def _decoded(stream: Stream, start: int) -> Pixels:
    """Pixels (height, width, samples), red first."""
    import imagecodecs

    try:
        pixels = imagecodecs.bmp_decode(stream.read(start, stream.size - start))
    except Exception as error:
        raise Damaged(f"the thumbnail does not decode: {' '.join(str(error).split())[:200]}") from error
    pixels = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
    if pixels.shape[2] not in (1, 3, 4) or pixels.dtype != np.uint8:
        raise Unsupported(f"a thumbnail of {pixels.shape[2]} samples of {pixels.dtype}")
    return pixels
