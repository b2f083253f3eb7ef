"""Valid-pixel masks: which pixels of a sub-block are no picture, as bits in its attachment. They do not change what is shown.

Layout: libCZI, "Valid-Pixel Mask Concept": chunks of a GUID, a size and content; the mask has width, height, its kind, bytes
of a row, and rows of bits from the highest on, 1 for valid.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from drivers.associated import associated_images, free_role
from drivers.czi.directory import Block
from drivers.czi.levels import Frame, Key, attachment_of, build_level
from drivers.czi.segments import Region
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.limits import LIMITS, check
from drivers.model import Channel, Pixels, Scene

_MASK = bytes.fromhex("67eae3cbfc5b2b49a16aece378031448")
"""{CBE3EA67-5BFC-492B-A16A-ECE378031448} as it is stored."""
_CHUNK, _BITS = struct.Struct("<16sI"), struct.Struct("<IIII")
_CHUNKS = 64
_LOOKED_AT = 4000
"""Sub-blocks of a level that are asked for a mask, evenly spread over all: a small read each."""
_GRAY8, _PLAIN = 0, 0


class Held(NamedTuple):
    """How many of the sub-blocks that were asked have a mask, and how many an attachment of another kind."""

    masks: int
    others: int


def masks_of(
    parts: Mapping[int, Region], scenes: Mapping[str, Mapping[int, Sequence[Block]]]
) -> tuple[dict[str, Scene], list[str]]:
    """(an image of the masks of each scene whose sub-blocks have some, by role; warnings).

    `scenes`: by name, the blocks by factor. The images are of 0 (not valid) and 255, of the finest level that has masks.
    """
    makers: dict[str, Callable[[], Scene]] = {}
    warnings: list[str] = []
    for name, by_factor in scenes.items():
        held = {factor: _held(parts, blocks) for factor, blocks in sorted(by_factor.items())}
        factor = next((factor for factor, found in held.items() if found.masks), None)
        if factor is not None:
            role = free_role("mask", makers)
            makers[role] = partial(_scene, parts, by_factor, factor, role)
            where = "" if factor == 1 else f" of the level reduced by {factor}"
            warnings.append(
                f"scene {name!r}: masks of sub-blocks{where} call pixels not valid, which are shown as they are stored: "
                f"--associated {role} writes the masks"
            )
        if any(found.others for found in held.values()):
            warnings.append(f"scene {name!r}: what sub-blocks have attached is of no known kind and is left out")
    return associated_images(makers, warnings), warnings


def _held(parts: Mapping[int, Region], blocks: Sequence[Block]) -> Held:
    masks = others = 0
    for block in blocks[:: max(1, -(-len(blocks) // _LOOKED_AT))]:
        region = parts[block.part]
        try:
            start, size = attachment_of(region, block)
            if size:
                found = any(kind == _MASK for kind, _, _ in _chunks(region, start, size))
                masks, others = masks + found, others + (not found)
        except DriverError:  # reading its pixels tells
            continue
    return Held(masks, others)


def _chunks(region: Region, start: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(GUID, offset, length) of the chunks of an attachment; ends where it is none of chunks."""
    at, end = start, start + size
    for _ in range(_CHUNKS):
        if at + _CHUNK.size > end:
            return
        kind, length = _CHUNK.unpack(region.read(at, _CHUNK.size))
        at += _CHUNK.size
        if at + length > end:
            return
        yield kind, at, length
        at += length


def _scene(parts: Mapping[int, Region], by_factor: Mapping[int, Sequence[Block]], factor: int, role: str) -> Scene:
    """Masks of the blocks of a level that are seen: later ones of the mosaic cover earlier ones."""
    frame = Frame.of([_bits_of(b) for b in by_factor[1]])
    planes = {(b.t, b.c, b.z) for b in by_factor[1]}
    blocks = [b for b in by_factor[factor] if (b.t, b.c, b.z) in planes]
    ordered = sorted(blocks, key=lambda b: b.order)
    level = build_level(parts, [_bits_of(b) for b in ordered], frame, factor, 0)
    level = replace(level, scale=1.0, read=_MaskReader(parts, ordered))
    return Scene(role, [level], False, (Channel(),) * frame.shape.c)


def _bits_of(block: Block) -> Block:
    """The block as one of plain bytes, which its mask becomes."""
    return block._replace(pixel_type=_GRAY8, compression=_PLAIN)


@dataclass(frozen=True, slots=True)
class _MaskReader:
    """`Level.read` of the masks of sub-blocks: (1, 1, 1, height, width), 0 or 255; 255 where a block has none."""

    parts: Mapping[int, Region]
    blocks: Sequence[Block]

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Key)
        block = self.blocks[key.block]
        region = self.parts[block.part]
        start, size = attachment_of(region, block)
        found = next((part for part in _chunks(region, start, size) if part[0] == _MASK), None)
        if found is None:
            return np.full((1, 1, 1, key.rows, block.stored_width), 255, np.uint8)
        try:
            bits = _rows(region, found[1:], block)[key.top : key.top + key.rows]
        except DriverError as error:
            raise type(error)(
                f"{region.source.path.name}: mask of the sub-block at byte {block.position}: {error}"
            ) from error
        return (bits * np.uint8(255))[None, None, None]


def _rows(region: Region, place: tuple[int, int], block: Block) -> Pixels:
    """A mask of 0 and 1, as large as the block is stored."""
    start, length = place
    check("its number of bytes", length, LIMITS.tile_bytes)
    data = region.read(start, length)
    if length < _BITS.size:
        raise Damaged(f"has {length} bytes")
    width, height, kind, row = _BITS.unpack_from(data)
    if kind:
        raise Unsupported(f"is stored in a way that is not known ({kind})")
    if (height, width) != (block.stored_height, block.stored_width):
        raise Damaged(f"is {width}x{height} of {block.stored_width}x{block.stored_height} pixels")
    if 8 * row < width or _BITS.size + row * height > length:
        raise Damaged(f"has {length} bytes for {height} rows of {row}")
    rows = np.frombuffer(data, np.uint8, row * height, _BITS.size).reshape(height, row)
    return np.unpackbits(rows, axis=1, count=width)
