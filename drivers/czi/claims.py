"""Sub-blocks that claim one place: the mosaic index says who covers whom; with the same index, or none, nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from drivers.claims import Claims, settled
from drivers.czi.directory import Block
from drivers.czi.levels import Key, Reader, payload
from drivers.czi.pixels import check_block
from drivers.czi.segments import Region
from drivers.errors import Damaged

_COMPARED = 64
"""Overlaps that are compared by their pixels."""


def without_copies(parts: Mapping[int, Region], blocks: Sequence[Block]) -> tuple[list[Block], list[str]]:
    """(blocks without those that are byte for byte another one's, warnings).

    Raises Damaged, with both places in the file, where two of the same mosaic index show different pixels at one place.
    """
    return settled(blocks, Claims(_place, _name, lambda one, other: _stored(parts, one) == _stored(parts, other)))


def check_overlaps(parts: Mapping[int, Region], blocks: Sequence[Block]) -> list[str]:
    """Warnings on blocks of full resolution that overlap in part and have the same mosaic index, or none.

    Raises Damaged where they differ there: nothing says which of them covers the other.
    """
    reader = Reader(parts, blocks)
    for number, (i, k) in enumerate(_overlapping(blocks)):
        one, other = blocks[i], blocks[k]
        if number == _COMPARED:
            return [f"{_name(one)} and others overlap without a mosaic index that orders them: the later one is shown"]
        check_block(one)
        check_block(other)
        top, left = max(one.y, other.y), max(one.x, other.x)
        bottom, right = min(one.y + one.height, other.y + other.height), min(one.x + one.width, other.x + other.width)
        shown = [
            reader.read(Key(n, 0, block.stored_height))[
                ..., top - block.y : bottom - block.y, left - block.x : right - block.x
            ]
            for n, block in ((i, one), (k, other))
        ]
        if not np.array_equal(shown[0], shown[1]):
            raise Damaged(
                f"{_name(one)} and {_name(other)} overlap and differ there: the file does not say which of them counts"
            )
    return []


def _overlapping(blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of one plane and mosaic index; by cells as large as the largest block."""
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for i, b in enumerate(blocks):
        if (b.height, b.width) == (b.stored_height, b.stored_width):
            groups.setdefault((b.t, b.c, b.z, b.mosaic), []).append(i)
    for group in groups.values():
        height, width = max(blocks[i].height for i in group), max(blocks[i].width for i in group)
        cells: dict[tuple[int, int], list[int]] = {}
        for i in group:
            row, column = blocks[i].y // height, blocks[i].x // width
            for down, across in product((-1, 0, 1), repeat=2):
                near = cells.get((row + down, column + across), ())
                yield from ((k, i) for k in near if _share(blocks[k], blocks[i]))
            cells.setdefault((row, column), []).append(i)


def _share(one: Block, other: Block) -> bool:
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    return down > 0 and across > 0


def _place(block: Block) -> tuple[int, ...]:
    return (block.mosaic, block.t, block.c, block.z, block.y, block.x, block.height, block.width)


def _name(block: Block) -> str:
    place = f"t {block.t}, c {block.c}, z {block.z}, y {block.y}, x {block.x}, m {block.mosaic}"
    return f"the sub-block at byte {block.position} ({place})"


def _stored(parts: Mapping[int, Region], block: Block) -> tuple[int, int, int, bytes]:
    region = parts[block.part]
    start, count = payload(region, block)
    return block.compression, block.stored_height, block.stored_width, region.read(start, count)
