"""Image items: one plane, or one tile of a plane, and the coordinates it has.

An item's `Contents` are typed values (among them a block of eight coordinates), a header of seven integers, and the stored
image. In all files that the sources describe the header lies at byte 296; as that depends on objects that AxioVision may put
in front, it is looked for by its mark. Layout: "ZVI Format Specification" as Bio-Formats, slideio, libzvi and MIPAV read it,
and the description of openreadout (docs/formats/zvi.md), which was derived from files alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.errors import Damaged, DriverError, Unsupported
from drivers.limits import LIMITS, check
from drivers.zvi.compound import Compound, Stream
from drivers.zvi.kinds import JPEG_START, ZLIB_HEADER, ZLIB_MARK, Kind, jpeg_kind, kind_of
from drivers.zvi.values import NoValue, Value, integer_of, parse_tags, read_value

_MARK = b"\x00\x20\x00\x10"
_HEADER = 28
_HEAD = 1024
_SEARCHED = 64 << 10
_BLOB, _COORDINATES = 65, 32
_BLOCK = b"\x41\x00\x80\x00\x00\x00"
"""How a block of coordinates of the usual length begins."""
_WIDEST = 1 << 20
_ITEM = re.compile(r"image/item\((\d{1,9})\)/contents")
COLUMN, ROW, Z, C, T, TILE, SCENE = 2817, 2818, 2819, 2820, 2821, 2822, 2827
"""Tags that repeat the coordinates."""


@dataclass(frozen=True, slots=True)
class Item:
    """One stored image."""

    number: int
    stream: Stream = field(repr=False)
    offset: int
    """Of the stored image within the stream."""
    length: int
    height: int
    width: int
    kind: Kind
    compression: str
    valid_bits: int
    z: int
    c: int
    t: int
    scene: int
    tile: int
    tags: Mapping[int, Value] = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def grid(self) -> tuple[int, int]:
        """(row, column) among the tiles of a mosaic; 0, 0 where the file names none."""
        return (integer_of(self.tags, ROW) or 0, integer_of(self.tags, COLUMN) or 0)


def items_of(compound: Compound) -> tuple[list[Item], list[str]]:
    """(items by number, warnings). Raises Damaged where there is none, or one is cut short; Unsupported."""
    numbers = sorted(int(m[1]) for name in compound.entries if (m := _ITEM.fullmatch(name)))
    check("the number of image items", len(numbers), LIMITS.ifds)
    found: list[Item] = []
    warnings: list[str] = []
    for number in numbers:
        try:
            found.append(_item(compound, f"Image/Item({number})", number))
        except Unsupported as error:  # one item out of many
            warnings.append(f"item {number} is left out: {error}")
    if not numbers and _holds_image(compound):
        found.append(_item(compound, "Image", 0))  # a file of a single image may do without items
    if not found:
        raise Unsupported(warnings[0]) if warnings else Damaged("holds no image item: truncated, or no image was saved")
    return found, warnings


def _holds_image(compound: Compound) -> bool:
    entry = compound.entries.get("image/contents")
    return entry is not None and entry.size > _HEAD


def tags_of(compound: Compound, folder: str) -> dict[int, Value]:
    """The tags of an item, or of the whole image; empty where there are none."""
    stream = compound.stream(f"{folder}/Tags/Contents")
    if stream is None:
        return {}
    check("the number of bytes of the tags", stream.size, LIMITS.metadata_bytes)
    return parse_tags(stream.read(0, stream.size))


def _item(compound: Compound, folder: str, number: int) -> Item:
    stream = compound.stream(f"{folder}/Contents")
    assert stream is not None
    try:
        return _read(stream, number, tags_of(compound, folder))
    except DriverError as error:
        raise type(error)(f"{folder}: {error}") from error


def _read(stream: Stream, number: int, tags: Mapping[int, Value]) -> Item:
    head = stream.read(0, min(_HEAD, stream.size))
    at = _header_at(head)
    if at is None:
        head = stream.read(0, min(_SEARCHED, stream.size))
        at = _header_at(head)
    if at is None:
        raise Damaged("has no header in front of its pixels: cut short?")
    width, height, _, pixel_bytes, pixel_format, valid_bits = struct.unpack_from("<6i", head, at + 4)
    offset = at + _HEADER
    kind = kind_of(pixel_format, pixel_bytes)
    compression, skipped = _compression(stream, offset, height * width * kind.bytes, valid_bits)
    if compression == "jpeg":
        kind = jpeg_kind(stream.read(offset, min(_SEARCHED, stream.size - offset)))
    if compression != "none":
        check("the number of pixels of an item", height * width, LIMITS.tile_pixels)
        check("the number of bytes of an item", height * width * kind.bytes, LIMITS.tile_bytes)
    z, c, t, scene, tile = _coordinates(head[:at], tags)
    start = offset + skipped
    length = height * width * kind.bytes if compression == "none" else stream.size - start
    return Item(number, stream, start, length, height, width, kind, compression, valid_bits, z, c, t, scene, tile, tags)


def _header_at(head: bytes) -> int | None:
    """Where the header lies: its mark with sizes behind it that can be; else behind the 17 typed values."""
    at = head.find(_MARK)
    while at >= 0:
        if _fits(head, at):
            return at
        at = head.find(_MARK, at + 1)
    at = 0
    try:
        for _ in range(17):
            _, at = read_value(head, at)
    except NoValue:
        return None
    return at if _fits(head, at) else None


def _fits(head: bytes, at: int) -> bool:
    if at + _HEADER > len(head):
        return False
    width, height, _, pixel_bytes, pixel_format, bits = struct.unpack_from("<6i", head, at + 4)
    return (
        0 < width <= _WIDEST
        and 0 < height <= _WIDEST
        and 0 <= pixel_bytes <= 16
        and 0 <= pixel_format < 100
        and 0 <= bits <= 256
    )


def _compression(stream: Stream, offset: int, size: int, valid_bits: int) -> tuple[str, int]:
    """(name, bytes in front of the stored image)."""
    left = stream.size - offset
    start = stream.read(offset, min(ZLIB_HEADER + 2, left))
    if valid_bits in (0, 1) and left != size:
        if start.startswith(JPEG_START):
            return "jpeg", 0
        if start.startswith(ZLIB_MARK):
            return "deflate", ZLIB_HEADER
    if left >= size:
        return "none", 0
    if valid_bits in (0, 1):
        raise Unsupported(f"an image that is compressed and begins with {start[:4]!r} is not read")
    raise Damaged(f"holds {left} bytes where its pixels need {size}: it is cut short")


def _coordinates(head: bytes, tags: Mapping[int, Value]) -> tuple[int, int, int, int, int]:
    """(z, c, t, scene, position): out of the last block in front of the header, else out of the tags.

    Two blocks may follow each other, of which the first is all zero (MIPAV).
    """
    block = _block(head)
    if block is None:
        z, c, t, scene, tile = (integer_of(tags, number) or 0 for number in (Z, C, T, SCENE, TILE))
        return z, c, t, scene, tile
    _, _, z, c, t, scene, tile, _ = struct.unpack_from("<8i", block)
    return z, c, t, scene, tile


def _block(head: bytes) -> bytes | None:
    at, found = 0, None
    try:
        while at < len(head):
            kind = int.from_bytes(head[at : at + 2], "little")
            value, at = read_value(head, at)
            if kind == _BLOB and isinstance(value, bytes) and len(value) >= _COORDINATES:
                found = value
    except NoValue:
        start = head.rfind(_BLOCK)
        found = head[start + 6 : start + 6 + _COORDINATES] if start >= 0 else found
    return found if found is not None and len(found) >= _COORDINATES else None
