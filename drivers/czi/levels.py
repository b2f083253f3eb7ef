"""Levels of one scene: sub-blocks placed as tiles, in the order in which they cover each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drivers.czi.directory import ENTRY, Block
from drivers.czi.pixels import COMPRESSIONS, PixelType, check_block, decode, pixel_type, red_first
from drivers.czi.segments import HEADER, Region
from drivers.errors import Damaged, LimitExceeded
from drivers.geometry import ORIGIN, Box, Shape
from drivers.limits import LIMITS, check
from drivers.model import Level, Pixels
from drivers.tiles import Mosaic, Tile

BAND_BYTES = 16 << 20
"""Uncompressed sub-blocks over this size are read in bands of rows."""
PLANES_PER_STORED = 64
"""How many planes a scene may claim for each that it stores."""


class Key(NamedTuple):
    """What one read decodes: a sub-block, or `rows` rows of an uncompressed one."""

    block: int
    top: int
    rows: int


@dataclass(frozen=True, slots=True)
class Frame:
    """The box of a scene in the file's own coordinates, and the order of its channels."""

    x: int
    y: int
    t: int
    z: int
    channels: Mapping[int, int]
    """The file's channel index to the place of the channel's first sample."""
    shape: Shape

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Frame:
        """The frame around blocks of full resolution."""
        x, y = min(b.x for b in blocks), min(b.y for b in blocks)
        t, z = min(b.t for b in blocks), min(b.z for b in blocks)
        samples = pixel_type(blocks[0].pixel_type).samples
        channels = {c: i * samples for i, c in enumerate(sorted({b.c for b in blocks}))}
        shape = Shape(
            max(b.t for b in blocks) - t + 1,
            len(channels) * samples,
            max(b.z for b in blocks) - z + 1,
            max(b.y + b.height for b in blocks) - y,
            max(b.x + b.width for b in blocks) - x,
        )
        check("the number of channels", shape.c, LIMITS.channels)
        check("the number of pixels of a plane", shape.y * shape.x, LIMITS.level_pixels)
        stored = len({(b.t, b.c, b.z) for b in blocks})
        check("the number of planes", shape.t * len(channels) * shape.z, PLANES_PER_STORED * stored)
        return cls(x, y, t, z, channels, shape)


@dataclass(frozen=True, slots=True)
class Reader:
    """Decodes sub-blocks of one level. Thread-safe: positioned reads and codecs without state."""

    parts: Mapping[int, Region]
    blocks: Sequence[Block]

    def read(self, key: Hashable) -> Pixels:
        """The pixels of a `Key`, (1, samples, 1, height, width)."""
        assert isinstance(key, Key)
        block = self.blocks[key.block]
        try:
            pixels = self._pixels(block, key)
        except (Damaged, LimitExceeded) as error:
            raise type(error)(f"{self._name(block)}: {error}") from error
        return pixels.transpose(2, 0, 1)[None, :, None]

    def _pixels(self, block: Block, key: Key) -> Pixels:
        region = self.parts[block.part]
        start, count = payload(region, block)
        kind = pixel_type(block.pixel_type)
        row = block.stored_width * kind.bytes
        if key.rows == block.stored_height:
            return decode(region.read(start, count), block)
        if count < block.stored_height * row:
            raise Damaged(f"holds {count} bytes where its pixels need {block.stored_height * row}")
        import numpy as np

        band = np.frombuffer(region.read(start + key.top * row, key.rows * row), kind.dtype)
        return red_first(band.reshape(key.rows, block.stored_width, kind.samples))

    def _name(self, block: Block) -> str:
        path = self.parts[block.part].source.path
        return f"{path.name}: sub-block at byte {block.position} (t {block.t}, c {block.c}, z {block.z}, m {block.mosaic})"


def payload(region: Region, block: Block) -> tuple[int, int]:
    """(offset, length) of a sub-block's stored pixels; its own header must agree with the directory."""
    start, metadata, _, count = _contents(region, block)
    return start + metadata, count


def metadata_of(region: Region, block: Block) -> tuple[int, int]:
    """(offset, length) of what a sub-block says of itself, an XML."""
    start, metadata, _, _ = _contents(region, block)
    return start, metadata


def attachment_of(region: Region, block: Block) -> tuple[int, int]:
    """(offset, length) of what is attached to a sub-block, behind its pixels."""
    start, metadata, attached, count = _contents(region, block)
    return start + metadata + count, attached


def _contents(region: Region, block: Block) -> tuple[int, int, int, int]:
    """Offset of what follows the fixed part of a sub-block; bytes of metadata, of its attachment, of pixels.

    They lie there in the order metadata, pixels, attachment.
    """
    head = region.read(block.position, HEADER + 16 + ENTRY.size)
    if not head.startswith(b"ZISRAWSUBBLOCK\0"):
        raise Damaged(f"there is no sub-block, but {head[:14].rstrip(bytes(1))!r}")
    metadata, attached, count = (int.from_bytes(head[i:j], "little", signed=True) for i, j in ((32, 36), (36, 40), (40, 48)))
    schema, kind, _, _, compression, _, _, _, dimensions = ENTRY.unpack_from(head, HEADER + 16)
    if (schema, kind, compression) != (b"DV", block.pixel_type, block.compression):
        raise Damaged("the directory and the sub-block contradict each other on how it is stored")
    # The fixed part is 256 bytes, or longer where the entry has many dimensions.
    start = block.position + HEADER + max(256, 16 + ENTRY.size + 20 * dimensions)
    if metadata < 0 or dimensions < 0 or count < 1:
        raise Damaged(f"claims {count} bytes of pixels behind {metadata} of metadata")
    return start, metadata, max(0, attached), count


def build_level(parts: Mapping[int, Region], blocks: Sequence[Block], frame: Frame, factor: int, fill: float) -> Level:
    """The level of blocks of one factor; `blocks` in ascending order of the mosaic index, later ones cover earlier."""
    kind = pixel_type(blocks[0].pixel_type)
    shape = _shape(blocks, frame, factor)
    tiles: list[Tile] = []
    for index, block in enumerate(blocks):
        check_block(block)
        tiles += _tiles(index, block, frame, factor, shape)
    size, _ = Counter((b.stored_height, b.stored_width) for b in blocks).most_common(1)[0]
    band = min(size[0], _band(size[0], size[1], kind)) if not blocks[0].compression else size[0]
    compression, _ = Counter(b.compression for b in blocks).most_common(1)[0]
    return Level(
        shape,
        kind.dtype.newbyteorder("="),
        Mosaic(tiles),
        Reader(parts, blocks).read,
        Shape(1, kind.samples, 1, min(band, shape.y), min(size[1], shape.x)),
        fill,
        float(factor),
        COMPRESSIONS[compression],
        interleaved=kind.samples > 1,
    )


def _shape(blocks: Sequence[Block], frame: Frame, factor: int) -> Shape:
    """Sizes are rounded up or down by the writer: what its blocks reach, between floor and ceil of the quotient."""
    t, c, z, height, width = frame.shape
    if factor == 1:
        return frame.shape
    bottom = max(_place(b.y - frame.y, factor) + b.stored_height for b in blocks)
    right = max(_place(b.x - frame.x, factor) + b.stored_width for b in blocks)
    return Shape(t, c, z, _between(height, bottom, factor), _between(width, right, factor))


def _between(full: int, reached: int, factor: int) -> int:
    return max(1, min(max(reached, full // factor), -(-full // factor)))


def _place(offset: int, factor: int) -> int:
    return (2 * offset + factor) // (2 * factor)


def stored_at(block: Block, frame: Frame, factor: int) -> tuple[int, int]:
    """(row, column) of a block in its level."""
    return _place(block.y - frame.y, factor), _place(block.x - frame.x, factor)


def _tiles(index: int, block: Block, frame: Frame, factor: int, level: Shape) -> list[Tile]:
    kind = pixel_type(block.pixel_type)
    y, x = stored_at(block, frame, factor)
    t, c, z = block.t - frame.t, frame.channels[block.c], block.z - frame.z
    rows = block.stored_height if block.compression else _band(block.stored_height, block.stored_width, kind)
    found: list[Tile] = []
    for top in range(0, block.stored_height, rows):
        count = min(rows, block.stored_height - top)
        start = Shape(t, c, z, y + top, x)
        stop = Shape(t + 1, c + kind.samples, z + 1, y + top + count, x + block.stored_width)
        box = Box(start, stop)
        part = box if factor == 1 else box & Box.of(level)
        if part:  # blocks of coarse levels may reach past the scene
            crop = ORIGIN if part == box else part.start.minus(start)
            found.append(Tile(part, Key(index, top, count), crop))
    return found


def _band(height: int, width: int, kind: PixelType) -> int:
    """Rows of an uncompressed block that are read at once."""
    row = width * kind.bytes
    check("the number of bytes of a row", row, LIMITS.tile_bytes)
    return height if height * row <= 2 * BAND_BYTES else max(1, BAND_BYTES // row)
