"""Sub-blocks that claim one place: the mosaic index says who covers whom; with the same index, or none, nothing does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from drivers.claims import Claims, settled
from drivers.czi.directory import Block
from drivers.czi.levels import Frame, Key, Reader, payload, stored_at
from drivers.czi.pixels import check_block, pixel_type
from drivers.czi.segments import Region
from drivers.errors import CutShort, Damaged, DriverError, Unsupported
from drivers.limits import LIMITS, check
from drivers.model import Pixels

COMPARED_PIXELS = 1 << 29
"""Pixels of overlapping sub-blocks that are decoded at most, of one level; beyond, which of them counts is not known."""
_KEPT_PIXELS = 1 << 24
"""Decoded sub-blocks that are kept for the next comparison."""


def without_copies(parts: Mapping[int, Region], blocks: Sequence[Block]) -> tuple[list[Block], list[str]]:
    """(blocks without those that show the same pixels as another one at its place, warnings).

    Raises Damaged, with both places in the file, where two of the same mosaic index show different pixels at one place.
    """
    return settled(blocks, Claims(_place, _name, lambda one, other: _same(parts, one, other)))


@dataclass(slots=True)
class _Shown:
    """Decoded sub-blocks; the last of them are kept."""

    reader: Reader
    kept: OrderedDict[int, Pixels] = field(default_factory=OrderedDict[int, Pixels])
    pixels: int = 0
    """Decoded so far."""

    def __call__(self, index: int) -> Pixels:
        if index in self.kept:
            self.kept.move_to_end(index)
            return self.kept[index]
        block = self.reader.blocks[index]
        check_block(block)
        size = block.stored_height * block.stored_width
        check("the number of bytes of a sub-block", size * pixel_type(block.pixel_type).bytes, LIMITS.tile_bytes)
        self.pixels += size
        self.kept[index] = self.reader.read(Key(index, 0, block.stored_height))
        while len(self.kept) > 2 and sum(p.shape[-2] * p.shape[-1] for p in self.kept.values()) > _KEPT_PIXELS:
            self.kept.popitem(last=False)
        return self.kept[index]


def check_overlaps(parts: Mapping[int, Region], blocks: Sequence[Block], frame: Frame, factor: int) -> None:
    """Raise Damaged where blocks of one level overlap in part, have the same mosaic index, or one has none, and differ there.

    Nothing says which of them covers the other. Unsupported where more overlap than is compared. At reduced levels places
    are rounded: blocks that share less than one pixel are neighbours.
    """
    shown = _Shown(Reader(parts, blocks))
    places = [stored_at(block, frame, factor) for block in blocks]
    for i, k in _overlapping(blocks, factor):
        one, other = blocks[i], blocks[k]
        if shown.pixels > COMPARED_PIXELS:
            raise Unsupported(
                f"{_name(one)} and {_name(other)} overlap without a mosaic index that orders them, and so do more than are "
                "compared: the file does not say which of them counts"
            )
        top, left = (max(a, b) for a, b in zip(places[i], places[k], strict=True))
        bottom = min(places[i][0] + one.stored_height, places[k][0] + other.stored_height)
        right = min(places[i][1] + one.stored_width, places[k][1] + other.stored_width)
        cut = [shown(n)[..., top - y : bottom - y, left - x : right - x] for n, (y, x) in ((i, places[i]), (k, places[k]))]
        if not np.array_equal(*cut, equal_nan=cut[0].dtype.kind in "fc"):
            raise Damaged(
                f"{_name(one)} and {_name(other)} overlap and differ there: the file does not say which of them counts"
            )


def settled_level(
    parts: Mapping[int, Region], blocks: Sequence[Block], frame: Frame, factor: int
) -> tuple[list[Block] | None, list[str]]:
    """(blocks of a level without copies, warnings); None for a reduced level of which the file does not say what it shows.

    Raises Damaged and Unsupported as `without_copies` and `check_overlaps` do, of full resolution.
    """
    try:
        kept, told = without_copies(parts, blocks)
        check_overlaps(parts, kept, frame, factor)
    except (Damaged, Unsupported) as error:
        if factor == 1 or isinstance(error, CutShort):
            raise
        return None, [f"the level reduced by {factor} is left out: {error}"]
    return kept, told


def _overlapping(blocks: Sequence[Block], factor: int) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of one plane that no mosaic index orders; by cells as large as the largest block."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for i, b in enumerate(blocks):
        groups.setdefault((b.t, b.c, b.z), []).append(i)
    for group in groups.values():
        height, width = max(blocks[i].height for i in group), max(blocks[i].width for i in group)
        cells: dict[tuple[int, int], list[int]] = {}
        for i in group:
            row, column = blocks[i].y // height, blocks[i].x // width
            for down, across in product((-1, 0, 1), repeat=2):
                near = cells.get((row + down, column + across), ())
                yield from ((k, i) for k in near if _share(blocks[k], blocks[i], factor))
            cells.setdefault((row, column), []).append(i)


def _share(one: Block, other: Block, factor: int) -> bool:
    if one.mosaic != other.mosaic and one.mosaic >= 0 and other.mosaic >= 0:
        return False
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    return down >= factor and across >= factor


def _place(block: Block) -> tuple[int, ...]:
    return (block.mosaic, block.t, block.c, block.z, block.y, block.x, block.height, block.width)


def _name(block: Block) -> str:
    place = f"t {block.t}, c {block.c}, z {block.z}, y {block.y}, x {block.x}, m {block.mosaic}"
    return f"the sub-block at byte {block.position} ({place})"


def _same(parts: Mapping[int, Region], one: Block, other: Block) -> bool:
    """Whether two blocks of one place show the same: stored alike, or decoded alike. One that does not decode is another."""
    if (one.stored_height, one.stored_width) != (other.stored_height, other.stored_width):
        return False
    stored = [(b.compression, parts[b.part].read(*payload(parts[b.part], b))) for b in (one, other)]
    if stored[0] == stored[1]:
        return True
    shown = _Shown(Reader(parts, (one, other)))
    try:
        return np.array_equal(shown(0), shown(1), equal_nan=shown(0).dtype.kind in "fc")
    except DriverError:
        return False
