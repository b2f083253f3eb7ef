"""Image items that claim one plane or tile: told apart by the stage, a copy counts once, all else is refused."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from drivers.claims import Claims, same_bytes, settled
from drivers.zvi.item import Item
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
    stored = [(item.kind, item.compression, item.size, item.length) for item in (one, other)]
    return stored[0] == stored[1] and same_bytes(one.stream, other.stream, (one.offset, other.offset), one.length)
