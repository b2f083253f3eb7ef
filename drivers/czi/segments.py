"""ZISRAW segments: the file header, and any other segment by its place, checked against the file.

Format: ZEISS, "ZISRAW (CZI) File Format"; libCZI documentation. Every segment starts with 32 bytes: its name, the bytes
allocated for it, the bytes in use.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.errors import Damaged
from drivers.files import ByteSource

MAGIC = b"ZISRAWFILE"
HEADER = 32
"""Bytes in front of the data of a segment."""
_FILE = struct.Struct("<iiii16s16siqqiq")


@dataclass(frozen=True, slots=True)
class Region:
    """The bytes of a whole CZI: those of a file, or of an attachment that is itself a CZI."""

    source: ByteSource
    base: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; Damaged where they are not within the region. Safe from any thread."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Damaged(
                f"{self.source.path.name}: {count} bytes at offset {offset} are not within its {self.size} bytes: "
                "it is truncated or damaged; copy it again"
            )
        return self.source.read(self.base + offset, count)


@dataclass(frozen=True, slots=True)
class FileHeader:
    """Where the directory, the metadata and the attachments of a CZI begin; 0 where there are none."""

    part: int
    """0 for the first file of a set."""
    directory: int
    metadata: int
    attachments: int
    pending: bool
    """The writer has not finished, or died."""


def region_of(source: ByteSource) -> Region:
    """All of a file."""
    return Region(source, 0, source.size)


def file_header(region: Region) -> FileHeader:
    """The header; raises Damaged where it is none."""
    data = region.read(0, HEADER + _FILE.size)
    if not data.startswith(MAGIC):
        raise Damaged("no CZI: its first bytes are not ZISRAWFILE")
    fields = _FILE.unpack_from(data, HEADER)
    _, _, _, _, _, _, part, directory, metadata, pending, attachments = fields
    return FileHeader(part, directory, metadata, attachments, bool(pending))


def segment(region: Region, offset: int, name: str) -> tuple[int, int]:
    """(offset, length) of the data of the segment `name` at `offset`; raises Damaged where another or none is there."""
    found, allocated, used = struct.unpack("<16sqq", region.read(offset, HEADER))
    if found.rstrip(b"\0") != name.encode():
        raise Damaged(f"at byte {offset} there is no {name} segment, but {found.rstrip(bytes(1))[:16]!r}")
    length = used or allocated
    if allocated < 0 or used < 0 or offset + HEADER + length > region.size:
        raise Damaged(f"the {name} segment at byte {offset} claims {length} bytes, the file ends at {region.size}")
    return offset + HEADER, length
