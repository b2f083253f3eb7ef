"""OLE2 compound files as streams that any thread may read. Format: Microsoft [MS-CFB].

olefile reads the same container, but a stream as a whole, sector by sector through one seeking handle, which threads cannot
share. Here the sectors of a stream are found once, as runs, and read where they lie.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource, open_source
from drivers.limits import LIMITS, check

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END = 0xFFFFFFFE
_ENTRY = 128
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_SMALL = 4096
_MINI = 64
_ENTRIES = 1_000_000
_LOOKED_AT = 4096
"""Sectors of a directory that recognising a file may read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream as the directory states it."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of a stream, in pieces of the file or, where it is small, in memory. Safe from any thread."""

    source: ByteSource
    size: int
    starts: Sequence[int] = ()
    """Of each piece within the stream."""
    offsets: Sequence[int] = ()
    """Of each piece within the file."""
    content: bytes | None = None

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes at `offset`; Damaged where they are not within the stream."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Damaged(f"bytes {offset} to {offset + count} of a stream of {self.size}: it is cut short")
        if self.content is not None:
            return self.content[offset : offset + count]
        parts: list[bytes] = []
        stop, piece = offset + count, bisect_right(self.starts, offset) - 1
        while offset < stop:
            end = self.starts[piece + 1] if piece + 1 < len(self.starts) else self.size
            length = min(stop, end) - offset
            parts.append(self.source.read(self.offsets[piece] + offset - self.starts[piece], length))
            offset, piece = offset + length, piece + 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Header:
    sector: int
    major: int
    fat_sectors: int
    directory: int
    mini_fat: int
    mini_fat_sectors: int
    difat: int
    first: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Table:
    """A FAT: the sector that follows each sector, and where a run of neighbours ends."""

    following: NDArray[Any]
    breaks: NDArray[np.int64]

    def runs(self, start: int, needed: int | None) -> list[tuple[int, int]]:
        """(first sector, count) of the chain from `start`, up to `needed` sectors or to its end."""
        runs: list[tuple[int, int]] = []
        sector, total = start, 0
        while sector != _END if needed is None else total < needed:
            if sector >= len(self.following):
                raise Damaged(f"a chain of sectors leaves the file after {total} of {needed or 'its'} sectors: truncated?")
            last = int(self.breaks[np.searchsorted(self.breaks, sector)])
            count = last - sector + 1 if needed is None else min(last - sector + 1, needed - total)
            runs.append((sector, count))
            total += count
            if total > len(self.following):
                raise Damaged("a chain of sectors runs in a circle")
            sector = int(self.following[last])
        ordered = sorted(runs)
        if any(a + n > b for (a, n), (b, _) in pairwise(ordered)):
            raise Damaged("a chain of sectors runs in a circle")
        return runs


@dataclass(frozen=True, slots=True)
class Compound:
    """An open compound file."""

    source: ByteSource
    entries: Mapping[str, Entry]
    """Streams by path, in lower case, "/" between: names in compound files do not differ by case."""
    _sector: int
    _table: _Table
    _mini: _Table
    _small: bytes
    """The streams under 4096 bytes, which share one stream."""

    def stream(self, path: str) -> Stream | None:
        """The stream at `path`, None where there is none. Raises Damaged where its sectors are not all there."""
        entry = self.entries.get(path.lower())
        if entry is None:
            return None
        try:
            return self._stream(entry)
        except Damaged as error:
            raise Damaged(f"stream {path!r}: {error}") from error

    def _stream(self, entry: Entry) -> Stream:
        if entry.size >= _SMALL:
            return _pieces(self.source, self._table, self._sector, entry)
        runs = self._mini.runs(entry.start, -(-entry.size // _MINI)) if entry.size else []
        data = b"".join(self._small[a * _MINI : (a + n) * _MINI] for a, n in runs)[: entry.size]
        if len(data) < entry.size:
            raise Damaged(f"holds {len(data)} of {entry.size} bytes")
        return Stream(self.source, entry.size, content=data)


def _pieces(source: ByteSource, table: _Table, sector: int, entry: Entry) -> Stream:
    if entry.size > source.size:
        raise Damaged(f"claims {entry.size} bytes in a file of {source.size}: the file is truncated or damaged")
    starts: list[int] = []
    offsets: list[int] = []
    at = 0
    for first, count in table.runs(entry.start, -(-entry.size // sector)):
        starts.append(at)
        offsets.append((first + 1) * sector)
        at += count * sector
        if offsets[-1] + min(count * sector, entry.size - starts[-1]) > source.size:
            raise Damaged(f"reaches past the end of the file ({source.size} bytes): it is truncated; copy it again")
    return Stream(source, entry.size, starts, offsets)


def _header(source: ByteSource) -> _Header:
    data = source.read(0, 512)
    if not data.startswith(MAGIC):
        raise Unsupported("is no OLE2 compound file")
    major, _, shift, mini_shift = struct.unpack_from("<4H", data, 26)
    if shift not in (9, 12) or mini_shift != 6:
        raise Damaged(f"the header of the compound file claims sectors of 2^{shift} and 2^{mini_shift} bytes")
    fat_sectors, directory, _, _, mini_fat, mini_fat_sectors, difat, _ = struct.unpack_from("<8I", data, 44)
    if (fat_sectors + mini_fat_sectors) << shift > source.size:
        raise Damaged(
            f"claims {fat_sectors} sectors of allocation table in {source.size} bytes: the file is truncated or damaged"
        )
    return _Header(
        1 << shift, major, fat_sectors, directory, mini_fat, mini_fat_sectors, difat, struct.unpack_from("<109I", data, 76)
    )


def _fat_places(source: ByteSource, header: _Header) -> list[int]:
    """Numbers of the sectors that hold the FAT: 109 in the header, the others in a chain of sectors of their own."""
    places = list(header.first)
    per, at = header.sector // 4, header.difat
    while len(places) < header.fat_sectors:
        if at >= source.size // header.sector:
            raise Damaged("the list of sectors of the allocation table ends early: truncated?")
        *more, at = struct.unpack(f"<{per}I", source.read((at + 1) * header.sector, header.sector))
        places += more
    return places[: header.fat_sectors]


def _table(source: ByteSource, header: _Header, places: Sequence[int]) -> _Table:
    data = b"".join(source.read((place + 1) * header.sector, header.sector) for place in places)
    sectors = -(-source.size // header.sector) - 1
    return _linked(np.frombuffer(data, "<u4")[:sectors])


def _linked(following: NDArray[Any]) -> _Table:
    count = len(following)
    breaks = np.flatnonzero(following != np.arange(1, count + 1, dtype=np.uint32))
    return _Table(following, np.append(breaks, max(0, count - 1)).astype(np.int64))


def open_compound(source: ByteSource) -> Compound:
    """Read header, allocation tables and directory. Raises Unsupported, Damaged."""
    header = _header(source)
    table = _table(source, header, _fat_places(source, header))
    directory = _chain(source, header, table, header.directory)
    root, entries = _tree(directory, header.major)
    mini = _chain(source, header, table, header.mini_fat) if header.mini_fat_sectors else b""
    check("the number of bytes of small streams", root.size, LIMITS.tile_bytes)
    small = _pieces(source, table, header.sector, root).read(0, root.size) if root.size else b""
    return Compound(source, entries, header.sector, table, _linked(np.frombuffer(mini, "<u4")), small)


def _chain(source: ByteSource, header: _Header, table: _Table, start: int) -> bytes:
    """All bytes of a chain whose length no one states."""
    size = header.sector
    runs = table.runs(start, None)
    check("the number of bytes of a table", sum(n for _, n in runs) * size, LIMITS.tile_bytes)
    return b"".join(source.read((first + 1) * size, count * size) for first, count in runs)


def _tree(directory: bytes, major: int) -> tuple[Entry, dict[str, Entry]]:
    """(root, streams by path). Children of a storage are a binary tree of siblings: walked without recursion."""
    count = len(directory) // _ENTRY
    check("the number of directory entries", count, _ENTRIES)
    if not count or directory[66] != _ROOT:
        raise Damaged("the directory of the compound file has no root")
    found: dict[str, Entry] = {}
    seen = {0}
    todo = [(struct.unpack_from("<I", directory, 76)[0], "")]
    while todo:
        number, folder = todo.pop()
        if number >= count or number in seen:
            continue  # no entry; writers leave links that lead nowhere, and what is lost by one shows as a missing item
        seen.add(number)
        data = directory[number * _ENTRY : (number + 1) * _ENTRY]
        left, right, child = struct.unpack_from("<3I", data, 68)
        path = folder + _name(data).lower()
        todo += [(left, folder), (right, folder)]
        if data[66] == _STORAGE:
            todo.append((child, path + "/"))
        elif data[66] == _STREAM:
            found.setdefault(path, _entry(data, major))
    return _entry(directory[:_ENTRY], major), found


def _name(data: bytes) -> str:
    length = min(64, int.from_bytes(data[64:66], "little"))
    return data[: max(0, length - 2)].decode("utf-16-le", "replace")


def _entry(data: bytes, major: int) -> Entry:
    start, size = struct.unpack_from("<IQ", data, 116)
    return Entry(start, size & 0xFFFFFFFF if major == 3 else size)  # the upper half is undefined in version 3


def names_image(path: Path) -> bool:
    """Whether the directory has the streams of a ZVI; reads the directory alone. Raises Damaged, Unreadable, ..."""
    source = open_source(path)
    try:
        header = _header(source)
        _, streams = _tree(_directory(source, header, _fat_places(source, header)), header.major)
    finally:
        source.close()
    return any(name == "image/contents" or name.startswith("image/item(") for name in streams)


def _directory(source: ByteSource, header: _Header, places: Sequence[int]) -> bytes:
    """The directory, with no more of the FAT than leads through it: that of a large file takes long to read."""
    found: dict[int, bytes] = {}
    sector, per = header.directory, header.sector // 4
    while sector != _END and len(found) < _LOOKED_AT:
        if sector in found or sector // per >= len(places):
            raise Damaged("the directory of the compound file runs in a circle, or leaves the file")
        found[sector] = source.read((sector + 1) * header.sector, header.sector)
        at = (places[sector // per] + 1) * header.sector + 4 * (sector % per)
        sector = int.from_bytes(source.read(at, 4), "little")
    return b"".join(found.values())
