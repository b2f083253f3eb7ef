"""A store in one ZIP file (RFC-9 of OME-NGFF, `.ozx`; people also zip stores by hand): the calls of `Files` on it.

The central directory is read once (by zipfile); stored entries are then read in place, so that parts of shards cost no more
than in a folder. Deflated ones, which RFC-9 advises against, are unpacked whole and within the limits.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.errors import Damaged, DriverError, UnsafePath, Unsupported
from drivers.files import ByteSource, open_source, read_head
from drivers.limits import LIMITS, check
from drivers.zarrstore.files import MOST_FILES, joined

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_END = 22
_LOCAL, _LOCAL_SIGNATURE = 30, b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8
_ROOTS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_NO_CONTENT = ("__MACOSX/",)


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: where its local header lies, its bytes as stored and unpacked, how it is packed, its CRC-32."""

    header: int
    stored: int
    size: int
    method: int
    crc: int


@dataclass(frozen=True, slots=True)
class ZipFiles:
    """A ZIP file as a store. `members` by key; `prefix` is a folder in the file that holds the store, "" as RFC-9 asks."""

    path: Path
    members: Mapping[str, Member]
    prefix: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def local(self) -> bool:
        """It is a file of this machine."""
        return True

    def keys(self) -> frozenset[str]:
        """Every entry that is a file."""
        return frozenset(self.members)

    def folders(self, key: str) -> list[str]:
        """Sorted names of the folders in a folder."""
        below = f"{key}/" if key else ""
        inside = (member.removeprefix(below) for member in self.members if member.startswith(below))
        return sorted({rest.partition("/")[0] for rest in inside if "/" in rest})

    def size(self, key: str) -> int | None:
        """Bytes of an entry, unpacked."""
        member = self.members.get(key)
        return None if member is None else member.size

    def whole(self, key: str, limit: int) -> bytes | None:
        """An entry, its CRC-32 checked."""
        member = self.members.get(key)
        if member is None:
            return None
        check(f"the size of {key}", member.size, limit)
        data = self._unpacked(key, member)
        if zlib.crc32(data) != member.crc:
            raise Damaged(f"{self.name}: {key} does not have the CRC-32 that the ZIP states: copy the file again")
        return data

    def part(self, key: str, offset: int, count: int) -> bytes:
        """Part of an entry."""
        member = self.members.get(key)
        if member is None:
            raise Damaged(f"{self.name}: {key} is not in the ZIP")
        if offset + count > member.size:
            raise Damaged(f"{self.name}: {key} ends before {offset + count} bytes: it is truncated; copy it again")
        if member.method == _DEFLATED:
            return self._unpacked(key, member)[offset : offset + count]
        source = open_source(self.path)
        try:
            return source.read(self._start(source, key, member) + offset, count)
        finally:
            source.close()

    def _unpacked(self, key: str, member: Member) -> bytes:
        source = open_source(self.path)
        try:
            data = source.read(self._start(source, key, member), member.stored)
        finally:
            source.close()
        if member.method == _STORED:
            return data
        check(f"the size of {key}", member.size, LIMITS.tile_bytes)
        unpacker = zlib.decompressobj(-15)
        try:
            unpacked = unpacker.decompress(data, member.size + 1)
        except zlib.error as error:
            raise Damaged(f"{self.name}: {key} cannot be unpacked: {error}") from error
        if len(unpacked) != member.size:
            raise Damaged(f"{self.name}: {key} does not unpack to the {member.size} bytes that the ZIP states")
        return unpacked

    def _start(self, source: ByteSource, key: str, member: Member) -> int:
        head = source.read(member.header, _LOCAL)
        if head[:4] != _LOCAL_SIGNATURE:
            raise Damaged(f"{self.name}: {key} has no local header where the ZIP says: copy the file again")
        return member.header + _LOCAL + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")


def is_zipped_store(path: Path, head: bytes) -> bool:
    """Whether a file is a ZIP that holds a Zarr store at its root, or in its only folder. Raises nothing."""
    named = path.name.lower().endswith((".ozx", ".zarr.zip"))  # what is wrong with it is said when it is opened
    return head.startswith(MAGIC) and (named or holds_store(path))


def is_zip_file(path: Path) -> bool:
    """Whether a regular file begins as a ZIP file does. Raises nothing."""
    try:
        return path.is_file() and read_head(path).startswith(MAGIC)
    except (DriverError, OSError):
        return False


def holds_store(path: Path) -> bool:
    """Whether a file is a whole ZIP with a Zarr store in it. Raises nothing."""
    try:
        return any(root in open_zip(path).members for root in _ROOTS)
    except DriverError:
        return False


def open_zip(path: Path) -> ZipFiles:
    """The store in a ZIP file. Raises Damaged, Unsupported (encrypted, another packing), UnsafePath, LimitExceeded."""
    from zipfile import BadZipFile, ZipFile

    open_source(path).close()  # regular files only
    try:
        with ZipFile(path) as archive:
            check("the number of entries", len(archive.infolist()), MOST_FILES)
            members = _members(path.name, archive.infolist())
            _require_end(path, archive.comment)
    except DriverError:
        raise
    except (BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise Damaged(f"{path.name}: is no whole ZIP file ({error}): copy it again") from error
    prefix = _prefix(members)
    inside = {key.removeprefix(prefix): member for key, member in members.items() if key.startswith(prefix)}
    return ZipFiles(path, inside, prefix)


def _require_end(path: Path, comment: bytes) -> None:
    """zipfile takes a comment that is cut short for a short comment."""
    source = open_source(path)
    try:
        end = source.read(source.size - _END - len(comment), _END)
    finally:
        source.close()
    if end[:4] != b"PK\x05\x06" or int.from_bytes(end[20:], "little") != len(comment):
        raise Damaged(f"{path.name}: does not end as a ZIP file does: it is truncated, or something follows it")


def _members(name: str, entries: list[Any]) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for entry in entries:
        key: str = entry.filename
        if entry.is_dir() or key.startswith(_NO_CONTENT):
            continue
        if key.startswith("/") or "\\" in key or any(part in ("", ".", "..") for part in key.split("/")):
            raise UnsafePath(f"{name}: has an entry {key[:120]!r}, which is no path below its root")
        if key in found:
            raise Damaged(f"{name}: has two entries {key[:120]!r}: which of them counts is not known")
        if entry.flag_bits & 0x1:
            raise Unsupported(f"{name}: {key[:120]!r} is encrypted; unpack it and zip it again without")
        if entry.compress_type not in (_STORED, _DEFLATED):
            raise Unsupported(f"{name}: {key[:120]!r} is packed with method {entry.compress_type}; store it unpacked")
        if entry.compress_type == _STORED and entry.compress_size != entry.file_size:
            raise Damaged(f"{name}: {key[:120]!r} is stored, and its two sizes differ")
        found[key] = Member(entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC)
    return found


def _prefix(members: Mapping[str, Member]) -> str:
    if any(root in members for root in _ROOTS):
        return ""
    tops = {key.partition("/")[0] for key in members}
    only = next(iter(tops)) if len(tops) == 1 else ""
    return f"{only}/" if only and any(joined(only, root) in members for root in _ROOTS) else ""
