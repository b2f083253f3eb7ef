"""Image file directories (IFDs) read by hand: the checks that come before a TIFF library is trusted with a file.

TIFF 6.0 section 2 and the BigTIFF proposal. Nothing is allocated by a count the file claims.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource
from drivers.limits import LIMITS, check

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUB_IFDS = 330
_ICC_PROFILE = 34675
_EXTENTS = {256: "the image width", 257: "the image height", 322: "the tile width", 323: "the tile height"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_OFFSET_FORMATS = {4: "I", 13: "I", 16: "Q", 18: "Q"}
_BYTES = {1, 2, 7}
_ASCII = 2
_NESTING = 32


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte order and kind of a TIFF, and where its first directory lies."""

    order: str
    big: bool
    first: int
    wide: bool = False
    """Hamamatsu NDPI: 32-bit entries, but 64-bit pointers, whose high words for tags follow the directory."""

    @property
    def pointer(self) -> str:
        """Format of the offset of a directory or of a value."""
        return self.order + ("Q" if self.big or self.wide else "I")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of a directory. `inline` is its value field: the value where that fits, else its offset."""

    code: int
    kind: int
    count: int
    inline: bytes

    @property
    def size(self) -> int:
        """Bytes of the value, by what the entry claims."""
        return self.count * _SIZES.get(self.kind, 1)


def layout_of(source: ByteSource, *, ndpi: bool = False) -> Layout:
    """Read the header; raises Unsupported where it is not that of a TIFF, Damaged where it is cut short.

    `ndpi`: the caller knows from the file's own tags that it is Hamamatsu's variant of a little-endian classic TIFF.
    """
    head = source.read(0, min(16, source.size))
    if head[:4] not in MAGIC:
        raise Unsupported(f"{source.path.name}: not a TIFF file")
    order, big = ("<" if head[:2] == b"II" else ">"), b"+" in head[2:4]
    wide = ndpi and order == "<" and not big
    if len(head) < (16 if big else 12 if wide else 8):
        raise Damaged(f"{source.path.name}: the TIFF header is cut short; copy the file again")
    layout = Layout(order, big, 0, wide)
    return replace(layout, first=struct.unpack_from(layout.pointer, head, 8 if big else 4)[0])


def read_directory(source: ByteSource, layout: Layout, offset: int) -> tuple[list[Entry], int | None]:
    """Entries of the directory at `offset`, and the offset of the next one (0: none; None: the file ends before it)."""
    width, size = (8, 20) if layout.big else (2, 12)
    count = struct.unpack(layout.order + ("Q" if layout.big else "H"), source.read(offset, width))[0]
    if count == 0:
        raise Damaged(f"{source.path.name}: the image directory at offset {offset} is empty")
    if count > LIMITS.ifds:
        raise Damaged(f"{source.path.name}: the image directory at offset {offset} claims {count} entries")
    data = source.read(offset + width, count * size)
    if any(not any(data[at : at + size]) for at in range(0, len(data), size)):
        raise Damaged(f"{source.path.name}: the image directory at offset {offset} is blank in parts: copy the file again")
    pattern = struct.Struct(layout.order + ("HHQ8s" if layout.big else "HHI4s"))
    end, pointer = offset + width + count * size, struct.calcsize(layout.pointer)
    following = None
    if end != source.size:  # some writers leave the last pointer out, which cannot be told from a file that lacks its end
        following = struct.unpack(layout.pointer, source.read(end, pointer))[0]
    entries = [Entry(*fields) for fields in pattern.iter_unpack(data)]
    if layout.wide:
        high = source.read(end + pointer, count * 4)
        entries = [replace(entry, inline=entry.inline + high[i * 4 : i * 4 + 4]) for i, entry in enumerate(entries)]
    return entries, following


def value_of(source: ByteSource, layout: Layout, entry: Entry) -> bytes:
    """The bytes of an entry's value. Raises Damaged where they reach past the end, LimitExceeded over the limit."""
    offset = _outside(layout, entry)
    if offset is None:
        return entry.inline[: entry.size]
    if offset + entry.size <= source.size:
        check(f"{source.path.name}: the number of bytes of tag {entry.code}", entry.size, LIMITS.metadata_bytes)
    return source.read(offset, entry.size)


@dataclass(frozen=True, slots=True)
class Directories:
    """What a walk over all directories found: the offsets of the main ones; whether the last one's pointer is absent."""

    main: frozenset[int]
    is_open: bool = False


def check_directories(source: ByteSource, *, ndpi: bool = False) -> Directories:
    """Walk all directories.

    Raises Damaged (a circle, none at all, past the end), LimitExceeded, Unsupported.
    """
    name, layout = source.path.name, layout_of(source, ndpi=ndpi)
    seen: set[int] = set()
    offset: int | None = layout.first
    total, is_open = 0, False
    while offset:
        if offset in seen:
            raise Damaged(f"{name}: the chain of image directories runs in a circle at offset {offset}")
        seen.add(offset)
        pending = [(offset, frozenset[int]())]
        while pending:
            at, above = pending.pop()
            if at in above:
                raise Damaged(f"{name}: the sub-directories run in a circle at offset {at}")
            check(f"{name}: the nesting of image directories", len(above), _NESTING)
            total += 1
            check(f"{name}: the number of image directories", total, LIMITS.ifds)
            entries, following = read_directory(source, layout, at)
            if not above:
                offset, is_open = following, following is None
            _check_values(source, layout, entries)
            _check_sizes(source, layout, entries)
            inside = above | {at}
            pending += [(below, inside) for below in _sub_directories(source, layout, entries)]
    if not seen:
        raise Damaged(f"{name}: the TIFF holds no image; the file is truncated or damaged")
    return Directories(frozenset(seen), is_open)


def _sub_directories(source: ByteSource, layout: Layout, entries: list[Entry]) -> Iterator[int]:
    for entry in entries:
        if entry.code == SUB_IFDS and entry.kind in _OFFSET_FORMATS:
            check(f"{source.path.name}: the number of image directories", entry.count, LIMITS.ifds)
            values = value_of(source, layout, entry)
            pattern = f"{layout.order}{entry.count}{_OFFSET_FORMATS[entry.kind]}"
            yield from (offset for offset in struct.unpack(pattern, values) if offset)


def _check_values(source: ByteSource, layout: Layout, entries: list[Entry]) -> None:
    # A library drops a tag whose value lies past the end, and with it what the tag said: OME-XML stands at the end of
    # many files, and a copy that lacks its last bytes would lose its dimensions without a word.
    name = source.path.name
    for entry in entries:
        at = _outside(layout, entry)
        if at is not None and at + entry.size > source.size:
            raise Damaged(
                f"{name}: the value of tag {entry.code} ({entry.size} bytes at offset {at}) reaches past the end of the "
                f"file ({source.size}): it is truncated; copy it again"
            )
        if entry.kind in _BYTES and entry.code != _ICC_PROFILE:  # a large ICC profile costs a warning
            check(f"{name}: the number of bytes of tag {entry.code}", entry.size, LIMITS.metadata_bytes)


def _outside(layout: Layout, entry: Entry) -> int | None:
    """Where the value lies, when not in the entry itself; None too for a type that TIFF does not know, which is skipped."""
    if entry.kind not in _SIZES or not entry.count:
        return None
    # NDPI keeps 4 bytes in place beside the high word, and text never (as tifffile reads it).
    if entry.size <= (4 if layout.wide else len(entry.inline)) and not (layout.wide and entry.kind == _ASCII):
        return None
    return struct.unpack(layout.pointer, entry.inline)[0]


def _check_sizes(source: ByteSource, layout: Layout, entries: list[Entry]) -> None:
    # tifffile divides by a tile width of 0, and takes an image with one for an image in strips.
    for entry in entries:
        if entry.code in _EXTENTS and entry.count == 1 and not any(value_of(source, layout, entry)):
            raise Damaged(f"{source.path.name}: {_EXTENTS[entry.code]} is 0")
