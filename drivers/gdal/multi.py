"""JPEG files of several pictures: the index that the first one holds (CIPA DC-007, "Multi-Picture Format", 5.2)."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.errors import DriverError
from drivers.files import ByteSource

_ENTRIES, _ENTRY_BYTES = 0xB002, 16
_TYPE, _THUMBNAIL = 0xFFFFFF, 1
_SEGMENTS = 200_000
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MARK = b"MPF\0"


@dataclass(frozen=True, slots=True)
class Listed:
    """A further picture of a JPEG file: a JPEG of its own."""

    number: int
    """In the index; the first picture of the file is 1."""
    start: int
    size: int
    """Bytes."""


def markers(source: ByteSource, start: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """(marker, where its body begins, body) of the JPEG at byte `start`, before its first scan.

    The body of frame headers and applications; empty of others.
    """
    at = start + 2
    for _ in range(_SEGMENTS):
        lead, marker, size = struct.unpack(">BBH", source.read(at, 4))
        if lead != 0xFF or marker in (0xDA, 0xD9) or size < 2:
            return
        if marker == 0xFF:
            at += 1
            continue
        wanted = 0xE0 <= marker <= 0xEF or marker in _FRAMES
        yield marker, at + 4, source.read(at + 4, size - 2) if wanted else b""
        at += 2 + size


def frame_of(source: ByteSource, start: int) -> tuple[int, int, int, int] | None:
    """(height, width, components, bits) in the frame header of the JPEG at byte `start`; None where there is none."""
    with contextlib.suppress(DriverError, struct.error):
        if source.read(start, 2) == b"\xff\xd8":
            for marker, _, body in markers(source, start):
                if marker in _FRAMES and len(body) >= 6:
                    bits, height, width, components = struct.unpack_from(">BHHB", body)
                    return height, width, components, bits
    return None


def multi_picture(source: ByteSource) -> list[Listed]:
    """The pictures that the index lists behind the first, without those that it calls smaller copies of the first."""
    with contextlib.suppress(DriverError, struct.error):
        for marker, place, body in markers(source):
            if marker == 0xE2 and body.startswith(_MARK):
                return _listed(body[len(_MARK) :], place + len(_MARK))
    return []


def _listed(index: bytes, base: int) -> list[Listed]:
    """Of a TIFF structure, from whose beginning, at byte `base` of the file, the offsets count."""
    order = "<" if index[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", index, 4)
    (count,) = struct.unpack_from(f"{order}H", index, start)
    for i in range(count):
        tag, _, size, place = struct.unpack_from(f"{order}HHII", index, start + 2 + 12 * i)
        if tag == _ENTRIES:
            entries = [struct.unpack_from(f"{order}III", index, place + at) for at in range(0, size, _ENTRY_BYTES)]
            return [
                Listed(number, base + offset, length)
                for number, (attributes, length, offset) in enumerate(entries, 1)
                if number > 1 and (attributes & _TYPE) >> 16 != _THUMBNAIL
            ]
    return []
