"""The pictures of an animated WebP. Layout: RFC 9649, sections 2.5 to 2.7."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.gdal.animation import Animation, Canvas, Left, Part, uncovered
from drivers.gdal.chunks import riff_chunks
from drivers.model import Pixels
from drivers.pictures.frames import picture_size

_HAS_ALPHA = 0x10
_WEBP = 50001
_PICTURE = {b"ALPH", b"VP8 ", b"VP8L"}


def webp_pictures(source: ByteSource) -> Animation | None:
    """All whole pictures of an animation, as RGB and opacity; None where the file is no animation."""
    if source.read(12, 4) != b"VP8X":
        return None
    flags, size = source.read(20, 1)[0], source.read(24, 6)
    canvas = Canvas(_number(size[3:]) + 1, _number(size[:3]) + 1, 4, np.dtype("u1"), 255)
    parts = list(_parts(source))
    if not parts:
        return None
    clear = bool(flags & _HAS_ALPHA) or uncovered(canvas, parts)
    return Animation(canvas, parts, clear, whole=8 + _number(source.read(4, 4)) <= source.size)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _parts(source: ByteSource) -> Iterator[Part]:
    for name, start, stop in riff_chunks(source, 12, source.size):
        if name == b"ANMF" and stop - start > 16:
            head = source.read(start, 16)
            left, top, width, height = (_number(head[at : at + 3]) for at in (0, 3, 6, 9))
            after = Left.CLEARED if head[15] & 1 else Left.KEPT
            size = height + 1, width + 1
            decode = partial(_decoded, source, (start + 16, stop), size)
            yield Part(2 * top, 2 * left, *size, decode, after, blend=not head[15] & 2)


def _decoded(source: ByteSource, place: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """The picture decoded alone, out of a file that holds nothing else."""
    import imagecodecs

    chunks = [(name, source.read(a, b - a)) for name, a, b in riff_chunks(source, *place) if name in _PICTURE]
    height, width = ((n - 1).to_bytes(3, "little") for n in size)
    head = (b"VP8X", bytes([_HAS_ALPHA if chunks and chunks[0][0] == b"ALPH" else 0, 0, 0, 0]) + width + height)
    stored = [head, *chunks] if head[1][0] else chunks
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in stored)
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    if picture_size(_WEBP, data.ljust(30, b"\0")) != size:
        raise Damaged(f"a picture is not of {size[1]}x{size[0]} pixels, as the animation says")
    try:
        pixels: Any = imagecodecs.webp_decode(data, hasalpha=True)
    except (imagecodecs.WebpError, ValueError) as error:
        raise Damaged(f"a picture cannot be decoded: {str(error)[:100]}") from error
    if pixels.shape != (*size, 4):
        raise Damaged(f"a picture decodes to {pixels.shape}, not {(*size, 4)}")
    return pixels
