"""Sub-blocks that claim one place: the mosaic index says who covers whom; with the same index, or none, nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.czi.directory import Block
from drivers.czi.levels import payload
from drivers.czi.segments import Region
from drivers.errors import Damaged


def without_copies(parts: Mapping[int, Region], blocks: Sequence[Block]) -> tuple[list[Block], int]:
    """(blocks, how many were byte for byte another one's and are left out).

    Raises Damaged, with both places in the file, where two of the same mosaic index show different pixels at one place.
    """
    first: dict[tuple[int, ...], Block] = {}
    kept: list[Block] = []
    for block in blocks:
        place = (block.mosaic, block.t, block.c, block.z, block.y, block.x, block.height, block.width)
        known = first.setdefault(place, block)
        if known is block:
            kept.append(block)
        elif _stored(parts, known) != _stored(parts, block):
            raise Damaged(
                f"the sub-blocks at bytes {known.position} and {block.position} claim the same place (t {block.t}, "
                f"c {block.c}, z {block.z}, y {block.y}, x {block.x}, m {block.mosaic}) and differ: the file does not say "
                "which of them counts"
            )
    return kept, len(blocks) - len(kept)


def _stored(parts: Mapping[int, Region], block: Block) -> tuple[int, int, int, bytes]:
    region = parts[block.part]
    start, count = payload(region, block)
    return block.compression, block.stored_height, block.stored_width, region.read(start, count)
