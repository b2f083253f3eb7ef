"""The pictures of an animated GIF. Layout: GIF89a, sections 17 to 23."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.gdal.animation import Animation, Canvas, Left, Part, uncovered
from drivers.model import Pixels

_BLOCKS = 200_000
_LEFT = {2: Left.CLEARED, 3: Left.RESTORED}
_GREYS = bytes(value for value in range(256) for _ in range(3))
"""A colour table that shows indices."""


@dataclass(slots=True)
class _Control:
    """The extension that speaks of the next picture."""

    after: Left = Left.KEPT
    clear: int | None = None
    """The index that leaves the canvas as it is."""


def gif_pictures(source: ByteSource) -> Animation:
    """All whole pictures; those that the file's end cuts off are not among them."""
    head = source.read(0, 13)
    width, height = struct.unpack("<HH", head[6:10])
    parts: list[Part] = []
    clear, whole = False, True
    try:
        for part, transparent in _parts(source, head[10]):
            parts.append(part)
            clear |= transparent
    except Damaged:
        whole = False
    if parts and not (width and height):  # some writers leave the size to the first picture
        width, height = parts[0].width, parts[0].height
    canvas = Canvas(height, width, 4, np.dtype("u1"), 255)
    return Animation(canvas, parts, clear or uncovered(canvas, parts), whole=whole)


def _parts(source: ByteSource, flags: int) -> Iterator[tuple[Part, bool]]:
    """(picture, whether it leaves pixels of the canvas as they are)."""
    at = 13
    shared, at = _table(source, at, flags)
    control = _Control()
    for _ in range(_BLOCKS):
        if at >= source.size:
            return  # some writers leave the trailer out
        lead = source.read(at, 1)[0]
        if lead == 0x21:
            control = _control(source, at) or control
            at = _behind(source, at + 2)
        elif lead == 0x2C:
            left, top, width, height = (int.from_bytes(source.read(at + 1 + i, 2), "little") for i in (0, 2, 4, 6))
            kind = source.read(at + 9, 1)[0]
            own, start = _table(source, at + 10, kind)
            at = _behind(source, start + 1)
            table = own if kind & 0x80 else shared
            stored = _Stored(source, start, at, (height, width), kind & 0x40, table, control.clear)
            yield Part(top, left, height, width, partial(_decoded, stored), control.after), control.clear is not None
            control = _Control()
        else:
            return


def _table(source: ByteSource, at: int, flags: int) -> tuple[NDArray[np.uint8], int]:
    """(colour table of 256 entries, of those at `at`; where it ends)."""
    size = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    table[: size // 3, :3] = np.frombuffer(source.read(at, size), np.uint8).reshape(-1, 3)
    return table, at + size


def _control(source: ByteSource, at: int) -> _Control | None:
    if source.read(at + 1, 2) != b"\xf9\x04":
        return None
    flags, index = source.read(at + 3, 1)[0], source.read(at + 6, 1)[0]
    return _Control(_LEFT.get(flags >> 2 & 7, Left.KEPT), index if flags & 1 else None)


def _behind(source: ByteSource, at: int) -> int:
    """Where a chain of sub-blocks ends."""
    while size := source.read(at, 1)[0]:
        at += 1 + size
    return at + 1


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where the samples of a picture lie, and what they mean."""

    source: ByteSource
    start: int
    stop: int
    size: tuple[int, int]
    interlaced: int
    table: NDArray[np.uint8]
    clear: int | None


def _decoded(stored: _Stored) -> Pixels:
    """The picture decoded alone, as indices, out of a file that holds nothing else."""
    import imagecodecs

    sizes = b"".join(n.to_bytes(2, "little") for n in reversed(stored.size))
    screen = b"GIF89a" + sizes + b"\xf7\0\0" + _GREYS
    samples = stored.source.read(stored.start, stored.stop - stored.start)
    data = b"".join([screen, b",\0\0\0\0", sizes, bytes([stored.interlaced]), samples, b";"])
    try:
        pixels: Any = imagecodecs.gif_decode(data, index=0)
    except (imagecodecs.GifError, ValueError, IndexError) as error:
        raise Damaged(f"a picture cannot be decoded: {str(error)[:100]}") from error
    if pixels.shape[:2] != stored.size:
        raise Damaged(f"a picture decodes to {pixels.shape}, not {stored.size}")
    indices = pixels[..., 0]
    shown = stored.table[indices]
    if stored.clear is not None:
        shown[indices == stored.clear] = 0
    return shown
