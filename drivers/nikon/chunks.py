"""ND2 chunks: where the frames lie, checked against the file. Layout: nd2 (BSD-3), `_parse/_chunk_decode.py`.

A chunk is a header (magic, length of its name, length of its data), its name, its data. The last 40 bytes of a file say
where the map of all chunks is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial

from drivers.claims import Claims, same_bytes, settled
from drivers.errors import Damaged, Incomplete
from drivers.files import ByteSource
from drivers.limits import check

MAGIC = b"\xda\xce\xbe\x0a"
SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_MAP_AT_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_MAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_FRAME = b"ImageDataSeq|"
_MASKS = re.compile(rb"CustomDataSeq\|(RleZipBinarySequence[^|!]*)\|(\d+)!(.{16})", re.DOTALL)
"""Binary layers: masks that were drawn or computed in NIS-Elements, a chunk for each frame."""
STAMP = 8
"""A frame's data begin with its time."""
_HEADER = struct.Struct("<4sIQ")
_MAP_BYTES = 1 << 30


def frames_of(source: ByteSource) -> tuple[dict[int, int], dict[str, dict[int, int]], list[str]]:
    """(offset of the chunk of every frame by its number, of every mask by its layer and frame, warnings).

    The map names chunks in the order in which they were written and says of none that it replaces another: Damaged where
    two frames of one number differ.
    """
    if source.size < 40:
        raise Damaged("the file ends within its header: it is truncated")
    end = source.read(source.size - 40, 40)
    if end[:32] != _MAP_AT_END:
        raise Incomplete("does not end with a chunk map: it is truncated, or its writer has not finished")
    start, length = chunk(source, int.from_bytes(end[32:], "little"), _MAP)
    check("the length of the chunk map", length, _MAP_BYTES)
    data = source.read(start, length)
    kept, warnings = settled(dict.fromkeys(_entries(data)), Claims(_number, _name, partial(_same, source)))
    return dict(kept), _layers(data, warnings), warnings


def _layers(data: bytes, warnings: list[str]) -> dict[str, dict[int, int]]:
    """The chunks of the masks, by layer and frame. A layer of which two chunks claim one frame is left out, with a word."""
    found: dict[str, dict[int, int]] = {}
    twice: set[str] = set()
    for tag, number, place in _MASKS.findall(data):
        at = int.from_bytes(place[:8], "little")
        name = tag.decode("latin-1")
        if found.setdefault(name, {}).setdefault(int(number), at) != at:
            twice.add(name)
    warnings += [f"the binary layer {name} is left out: two of its masks claim one frame" for name in sorted(twice)]
    return {name: chunks for name, chunks in found.items() if name not in twice}


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    """(number, offset) of every frame that the map names."""
    at = 0
    while True:
        stop = data.find(b"!", at) + 1
        name = data[at:stop]
        if not stop or name == _MAP_AT_END:
            return
        if stop + 16 > len(data):
            raise Damaged("the chunk map ends within an entry")
        number = name[len(_FRAME) : -1]
        if name.startswith(_FRAME) and number.isdigit():
            yield int(number), int.from_bytes(data[stop : stop + 8], "little")
        at = stop + 16


def _number(frame: tuple[int, int]) -> int:
    return frame[0]


def _name(frame: tuple[int, int]) -> str:
    return f"the chunk of frame {frame[0]} at byte {frame[1]}"


def _same(source: ByteSource, one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two chunks hold the same pixels, whatever their times."""
    (first, size), (second, length) = (chunk(source, at, b"%s%d!" % (_FRAME, number)) for number, at in (one, other))
    return size == length and same_bytes(source, source, (first + STAMP, second + STAMP), max(0, size - STAMP))


def chunk(source: ByteSource, at: int, name: bytes) -> tuple[int, int]:
    """(offset, length) of the data of the chunk `name` at byte `at`; Damaged where another or none is there."""
    magic, name_length, length = _HEADER.unpack(source.read(at, _HEADER.size))
    if magic != MAGIC or name_length < len(name) or source.read(at + _HEADER.size, len(name)) != name:
        raise Damaged(f"at byte {at} there is no chunk {name.decode()!r}")
    start = at + _HEADER.size + name_length
    if start + length > source.size:
        raise Damaged(f"the chunk {name.decode()!r} reaches past the end of the file: it is truncated")
    return start, length
