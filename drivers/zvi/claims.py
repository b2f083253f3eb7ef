"""Image items that claim one plane or tile: told apart by the stage, a copy counts once, all else is refused."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from drivers.claims import Claims, same_bytes, settled
from drivers.errors import DriverError
from drivers.zvi.item import Item
from drivers.zvi.kinds import decode
from drivers.zvi.placing import STAGE, tile_of
from drivers.zvi.values import number_of


def positions_of(items: Sequence[Item]) -> list[list[Item]]:
    """Items of one tile by where the stage stood, where each position has the same planes: it is what tells them apart."""
    if len({_plane(item) for item in items}) == len(items):
        return [list(items)]
    for tags in STAGE:
        found: dict[Hashable, list[Item]] = {}
        for item in items:
            found.setdefault(tuple(number_of(item.tags, tag) for tag in tags), []).append(item)
        planes = {frozenset(_plane(item) for item in group) for group in found.values()}
        if len(found) > 1 and len(planes) == 1 and not any(None in place for place in found if isinstance(place, tuple)):
            return list(found.values())
    return [list(items)]


def without_copies(items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """(items, warnings). Raises Damaged, with both items, where two of one place in a scene show different pixels."""
    return settled(items, Claims(lambda item: (*_plane(item), tile_of(item)), _name, _same))


def _plane(item: Item) -> tuple[int, int, int]:
    return item.t, item.c, item.z


def _name(item: Item) -> str:
    return f"image item {item.number} (z {item.z}, c {item.c}, t {item.t}, position {item.tile})"


def _same(one: Item, other: Item) -> bool:
    """Whether two items show the same: stored alike, or decoded alike. One that does not decode is another picture."""
    if one.size != other.size:
        return False
    stored = [(item.kind, item.compression, item.length) for item in (one, other)]
    if stored[0] == stored[1] and same_bytes(one.stream, other.stream, (one.offset, other.offset), one.length):
        return True
    if {one.compression, other.compression} == {"none"}:
        return False
    try:
        shown = [
            decode(item.stream.read(item.offset, item.length), item.kind, item.size, item.compression)
            for item in (one, other)
        ]
    except DriverError:
        return False
    return shown[0].dtype == shown[1].dtype and np.array_equal(*shown, equal_nan=shown[0].dtype.kind == "f")
