"""A stage that is one ZIP file (RFC-9 of OME-NGFF: entries stored, ZIP64, root `zarr.json` first, then the other `zarr.json`
breadth first, then the rest by name).

It is written as a stream: each object goes to the end of the file once, from any thread, and is never copied. What must come
first is known last, so room is kept for it at the front, and what is left of that room is padding in the headers (extra
field 0xA220, the "growth hint" of APPNOTE.TXT). zipfile writes neither from several threads nor into such room, hence our
own writer; zipfile, zarr-python and our reader read the result.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from converter.errors import OutputFailed
from converter.manifest import Entry
from converter.publishing.identity import Identity
from converter.publishing.stage import LocalStage, failed
from drivers.zarrstore.zipped import Member, ZipFiles

METADATA = "zarr.json"
COMMENT = json.dumps({"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}).encode()
_STREAMED_VERSION = 45  # ZIP64
_UTF8 = 1 << 11
_DATE, _TIME = (1 << 5) | 1, 0  # 1980-01-01: the same input gives the same headers
_HINT = 0xA220
_HINT_HEAD = 8
_MOST_PADDING = 65_535 - 20
"""An extra field has 65,535 bytes at most, of which ZIP64 takes 20."""
_COPY = 8 << 20
_AT_ONCE = 512  # pwritev takes at most IOV_MAX (1024) buffers


@dataclass(slots=True)
class ZipStage:
    """A ZIP file in the making. `write` may be called from any thread; `discard` it in any case.

    `reserve`: bytes kept at the front for `zarr.json` files; where they need more, the rest is moved up once.
    """

    place: LocalStage
    """The folder that it is written in, and whose it is."""
    reserve: int
    entries: list[Entry] = field(default_factory=list[Entry])
    bytes_written: int = 0
    held: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _members: dict[str, Member] = field(default_factory=dict[str, Member])
    _first: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What goes to the front."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: int = 0
    _fd: int = -1

    def __post_init__(self) -> None:
        try:
            self.place.store.rmdir()
            self._fd = os.open(self.store, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise failed(f"{self.store.name}: cannot be written", error) from error
        self._end = self.reserve

    @property
    def folder(self) -> Path:
        """A local folder, for what writers keep aside."""
        return self.place.folder

    @property
    def run(self) -> str:
        """None: see LocalStage."""
        return ""

    @property
    def store(self) -> Path:
        """The file that becomes the store."""
        return self.place.store

    @property
    def files(self) -> ZipFiles:
        """The entries written so far."""
        return ZipFiles(self.store, self._members)

    def write(self, path: str, parts: Sequence[bytes], *, listed: bool = True, early: bool = True) -> Entry:  # noqa: ARG002
        """Write a new entry; `zarr.json` files wait for `write_root`, and one `sync` serves all. Raises OutputFailed."""
        digest, size, crc = hashlib.sha256(), 0, 0
        for part in parts:
            digest.update(part)
            crc = zlib.crc32(part, crc)
            size += len(part)
        if path.rpartition("/")[2] == METADATA:
            self._first[path] = b"".join(parts)
        else:
            self._append(path, parts, (size, crc))
        entry = Entry(path, size, digest.hexdigest())
        with self._lock:
            self.bytes_written += size
            if listed:
                self.entries.append(entry)
        return entry

    def _append(self, path: str, parts: Sequence[bytes], about: tuple[int, int]) -> None:
        size, crc = about
        header = local_header(path, size, crc)
        with self._lock:
            start, self._end = self._end, self._end + len(header) + size
        self._put(path, [header, *parts], start)
        with self._lock:
            self._members[path] = Member(start, size, size, 0, crc)

    def _put(self, path: str, parts: Sequence[bytes], start: int) -> None:
        try:
            _write_at(self._fd, parts, start)
        except OSError as error:
            raise failed(f"{path}: cannot be written", error) from error

    def write_root(self, name: str, data: bytes) -> None:
        """Write all `zarr.json` to the front and the directory to the end: from now on the file is a ZIP."""
        self.write(name, [data], listed=False, early=False)
        order = sorted(self._first, key=lambda path: (path.count("/"), path))
        others = sorted(self._members)
        needed = sum(len(local_header(path, 0, 0)) + len(self._first[path]) for path in order)
        if not 0 <= self.reserve - needed <= _MOST_PADDING * len(order) or 0 < self.reserve - needed < _HINT_HEAD:
            self._move(needed - self.reserve)
        start, spare = 0, self.reserve - needed
        for path, padding in zip(order, reversed(list(_paddings(spare, len(order)))), strict=True):
            content = self._first[path]
            header = local_header(path, len(content), zlib.crc32(content), padding)
            self._put(path, [header, content], start)
            self._members[path] = Member(start, len(content), len(content), 0, zlib.crc32(content))
            start += len(header) + len(content)
        rows = directory([(path, self._members[path]) for path in [*order, *others]], self._end)
        self._put("the directory", [rows], self._end)

    def _move(self, count: int) -> None:
        """Make `count` bytes more room at the front: the metadata was larger than anyone thought."""
        position = self._end
        try:
            while position > self.reserve:
                length = min(_COPY, position - self.reserve)
                position -= length
                _write_at(self._fd, [os.pread(self._fd, length, position)], position + count)
        except OSError as error:
            raise failed(f"{self.store.name}: cannot be written", error) from error
        moved = {path: Member(m.header + count, m.stored, m.size, m.method, m.crc) for path, m in self._members.items()}
        self._members.update(moved)
        self._end += count
        self.reserve += count

    def sync(self) -> None:
        """Everything written so far is on the disk when this returns. Raises OutputFailed."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise failed("syncing the output failed", error) from error

    def own(self, ours: Identity | None, old: Identity | None, since: int) -> None:
        """See LocalStage."""
        self.place.own(ours, old, since)

    def settled(self) -> None:
        """See LocalStage."""
        self.place.settled()

    def keep(self) -> None:
        """See LocalStage."""
        self.place.keep()

    def discard(self) -> None:
        """Remove the stage."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.close(fd)
        self.place.discard()


def _write_at(fd: int, parts: Sequence[bytes], position: int) -> None:
    for first in range(0, len(parts), _AT_ONCE):
        rest = [memoryview(part) for part in parts[first : first + _AT_ONCE] if len(part)]
        while rest:
            done = os.pwritev(fd, rest, position)
            position += done
            while rest and done >= len(rest[0]):
                done -= len(rest.pop(0))
            if rest and done:
                rest[0] = rest[0][done:]


def local_header(path: str, size: int, crc: int, padding: int = 0) -> bytes:
    """The header before an entry, ZIP64, with an extra field of `padding` bytes (0, or 8 to 65,515)."""
    name = path.encode()
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    if padding:
        extra += struct.pack("<HHHH", _HINT, padding - 4, 0xA028, 0) + bytes(padding - _HINT_HEAD)
    fixed = struct.pack(
        "<4sHHHHHIIIHH",
        b"PK\x03\x04",
        _STREAMED_VERSION,
        _UTF8,
        0,
        _TIME,
        _DATE,
        crc,
        2**32 - 1,
        2**32 - 1,
        len(name),
        len(extra),
    )
    return fixed + name + extra


def _paddings(spare: int, count: int) -> Iterator[int]:
    """How much of the spare room each of `count` headers takes: nothing, or enough for a field."""
    for _ in range(count):
        taken = min(spare, _MOST_PADDING)
        if 0 < spare - taken < _HINT_HEAD:
            taken -= _HINT_HEAD
        spare -= taken
        yield taken


def directory(members: Sequence[tuple[str, Member]], start: int) -> bytes:
    """Central directory, its ZIP64 end, and the end, which lies at `start` in the file."""
    rows = b"".join(_row(path, member) for path, member in members)
    count = len(members)
    end64 = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, _STREAMED_VERSION, _STREAMED_VERSION, 0, 0, count, count, len(rows), start
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(rows), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, len(COMMENT))
    return rows + end64 + locator + end + COMMENT


def _row(path: str, member: Member) -> bytes:
    name = path.encode()
    extra = struct.pack("<HHQQQ", 1, 24, member.size, member.size, member.header)
    unix = 3 << 8 | _STREAMED_VERSION
    fixed = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        b"PK\x01\x02", unix, _STREAMED_VERSION, _UTF8, 0, _TIME, _DATE, member.crc, 2**32 - 1, 2**32 - 1,
        len(name), len(extra), 0, 0, 0, 0o100644 << 16, 2**32 - 1,
    )  # fmt: skip
    return fixed + name + extra


def open_zip_stage(place: LocalStage, arrays: int) -> ZipStage:
    """A stage for a ZIP file of so many arrays, in the place of a local one, which is discarded on OutputFailed."""
    try:
        return ZipStage(place, _FIXED_ROOM + arrays * _ROOM_AN_ARRAY)
    except OutputFailed:
        place.discard()
        raise


_FIXED_ROOM = 48 << 10
_ROOM_AN_ARRAY = 6 << 10
"""Room kept for metadata: an array's document has 1 to 2 kB, and the root tells of each level and warning."""
