"""The chunks that WebP and PNG files are made of. Layouts: RFC 9649, 2.3; PNG 3rd ed., 5.3."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from drivers.files import ByteSource

_MOST = 200_000
Chunk = tuple[bytes, int, int]
"""Name, start and stop of the contents."""


def riff_chunks(source: ByteSource, at: int, stop: int) -> Iterator[Chunk]:
    """The whole chunks in a part of a RIFF file."""
    for _ in range(_MOST):
        if at + 8 > stop:
            return
        name, size = struct.unpack("<4sI", source.read(at, 8))
        if at + 8 + size > stop:
            return
        yield name, at + 8, at + 8 + size
        at += 8 + size + size % 2


def png_chunks(source: ByteSource) -> Iterator[Chunk]:
    """The whole chunks of a PNG, IEND the last."""
    at = 8
    for _ in range(_MOST):
        if at + 12 > source.size:
            return
        size, name = struct.unpack(">I4s", source.read(at, 8))
        if at + 12 + size > source.size:
            return
        yield name, at + 8, at + 8 + size
        if name == b"IEND":
            return
        at += 12 + size
