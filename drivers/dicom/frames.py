"""Where the frames of an instance lie (PS3.5 A.4): by the offset tables, or by walking from fragment to fragment."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.elements import UNDEFINED, Bytes
from drivers.dicom.instance import Instance
from drivers.dicom.pixels import PixelFacts
from drivers.errors import Damaged
from drivers.limits import LIMITS, check

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_EXTENDED, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_NUMBER_OF_FRAMES = 0x00280008
_EOI = b"\xff\xd9"
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frame i takes `lengths[i]` bytes at `offsets[i]`; where `items`, these are fragments with their headers."""

    content: Bytes
    offsets: Places
    lengths: Places
    items: bool

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.offsets)

    def read(self, index: int) -> bytes:
        """The bytes of a frame, fragments joined; safe from any thread."""
        length = int(self.lengths[index])
        check("the number of bytes of a stored frame", length, LIMITS.tile_bytes)
        data = self.content.read(int(self.offsets[index]), length)
        return _joined(data) if self.items else data

    def empty(self, index: int) -> bool:
        """Whether a frame has zero length."""
        return int(self.lengths[index]) <= (8 if self.items else 0)


def number_of_frames(instance: Instance) -> int:
    """NumberOfFrames, 1 where the element is absent; raises Damaged where it is not positive."""
    if _NUMBER_OF_FRAMES not in instance.data:
        return 1
    text = instance.data.text(_NUMBER_OF_FRAMES)
    count = instance.data.whole(_NUMBER_OF_FRAMES, "s")
    if text is not None and (count is None or count < 1):
        raise Damaged(f"NumberOfFrames is {text}")
    return count or 1


def frames_of(instance: Instance, facts: PixelFacts) -> Frames:
    """Locate every frame; raises Damaged where the file is shorter than they need."""
    pixels, content, count = instance.pixels, instance.content, number_of_frames(instance)
    assert pixels is not None
    check("the number of pixels", facts.rows * facts.columns * count, LIMITS.level_pixels)
    if facts.compression != "none":
        check("the number of pixels of a frame", facts.rows * facts.columns, LIMITS.tile_pixels)
        check("the number of bytes of a decoded frame", facts.frame_bytes, LIMITS.tile_bytes)
    if pixels.length == UNDEFINED:
        return _encapsulated(instance, count)
    if facts.compression != "none":
        raise Damaged(f"its transfer syntax says {facts.compression}, its pixel data is not made of frames")
    size = facts.frame_bytes
    if size * count > pixels.length:
        raise Damaged(f"the pixel data holds {pixels.length} bytes, {count} frames need {size * count}: it is truncated")
    offsets = pixels.offset + size * np.arange(count, dtype=np.int64)
    return Frames(content, offsets, np.full(count, size, np.int64), items=False)


def _encapsulated(instance: Instance, count: int) -> Frames:
    content, pixels = instance.content, instance.pixels
    assert pixels is not None
    tag, length = _item(content, pixels.offset)
    if tag != _ITEM:
        raise Damaged("the pixel data does not begin with an offset table")
    start = pixels.offset + 8 + length
    if count * 8 > content.size - start:
        raise Damaged(f"claims {count} frames, which do not fit into the {content.size - start} bytes that follow")
    extended = _extended(instance, count)
    if extended is not None:
        return _checked(Frames(content, start + 8 + extended[0], extended[1], items=False))
    if length == 4 * count and count > 1:
        basic = np.frombuffer(content.read(pixels.offset + 8, length), "<u4").astype(np.int64)
        # The table of a file over 4 GB wraps around, and some writers leave it zero.
        if basic[0] == 0 and bool((np.diff(basic) > 0).all()) and content.size < 1 << 32:
            end = _walk(content, start + int(basic[-1]))[1]
            offsets = start + basic
            return _checked(Frames(content, offsets, np.diff(np.append(offsets, end)), items=True))
    return _grouped(content, _walk(content, start)[0], count)


def _extended(instance: Instance, count: int) -> tuple[Places, Places] | None:
    tables = [instance.data.raw(tag) or b"" for tag in (_EXTENDED, _EXTENDED_LENGTHS)]
    if any(len(table) != 8 * count for table in tables):
        return None
    offsets, lengths = (np.frombuffer(table, "<u8") for table in tables)
    if int(offsets.max()) >= 1 << 62 or int(lengths.max()) >= 1 << 62:
        raise Damaged("the extended offset table points past any file")
    return offsets.astype(np.int64), lengths.astype(np.int64)


def _walk(content: Bytes, start: int) -> tuple[list[tuple[int, int]], int]:
    """((offset, length) of every fragment from `start` on, without headers; where they end)."""
    found: list[tuple[int, int]] = []
    at = start
    while True:
        tag, length = _item(content, at)
        if tag == _END:
            return found, at
        if tag != _ITEM or length == UNDEFINED or at + 8 + length > content.size:
            raise Damaged(f"no fragment of a frame at offset {at}: the pixel data is damaged or truncated")
        found.append((at + 8, length))
        at += 8 + length


def _grouped(content: Bytes, fragments: list[tuple[int, int]], count: int) -> Frames:
    """Frames out of fragments without a table: one each, all of one, or each to the end marker of its stream."""
    if len(fragments) < count:
        raise Damaged(f"the pixel data holds {len(fragments)} frames where {count} are claimed: it is truncated")
    table = np.array(fragments, np.int64)
    if len(fragments) == count:
        return Frames(content, table[:, 0], table[:, 1], items=False)
    ends = [i for i, (offset, length) in enumerate(fragments) if count == 1 or _ends(content, offset, length)]
    if count == 1:
        ends = [len(fragments) - 1]
    if len(ends) != count:
        raise Damaged(f"{len(fragments)} fragments cannot be told apart as {count} frames")
    starts = [0, *(end + 1 for end in ends[:-1])]
    offsets = table[starts, 0] - 8
    return Frames(content, offsets, table[ends].sum(axis=1) - offsets, items=True)


def _ends(content: Bytes, offset: int, length: int) -> bool:
    tail = content.read(offset + max(0, length - 4), min(length, 4))
    return tail.rstrip(b"\0").endswith(_EOI)


def _checked(frames: Frames) -> Frames:
    end = int((frames.offsets + frames.lengths).max())
    if int(frames.lengths.min()) < 0 or end > frames.content.size:
        raise Damaged(f"frames reach to byte {end}, the file ends at {frames.content.size}: it is truncated; copy it again")
    return frames


def _item(content: Bytes, offset: int) -> tuple[int, int]:
    group, number, length = struct.unpack("<HHI", content.read(offset, 8))
    return group << 16 | number, length


def _joined(data: bytes) -> bytes:
    parts: list[Any] = []
    at, view = 0, memoryview(data)
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHI", data, at)
        if group << 16 | number != _ITEM or at + 8 + length > len(data):
            raise Damaged("its fragments do not follow each other: the offset table is damaged")
        parts.append(view[at + 8 : at + 8 + length])
        at += 8 + length
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
