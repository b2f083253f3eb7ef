"""Stored blocks that claim one place: a copy counts once and is named, another picture is refused with both names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.errors import Damaged

_CHUNK = 4 << 20
_NAMED = 5
"""Copies that are named one by one; of more only the number is told."""


class Bytes(Protocol):
    """A file, or a part of one."""

    def read(self, offset: int, count: int, /) -> bytes:
        """Exactly `count` bytes at `offset`."""
        ...


@dataclass(frozen=True, slots=True)
class Claims[T]:
    """What blocks of a format are called, and when two of them are the same."""

    place: Callable[[T], Hashable | None]
    """What no two blocks may share; None: the file states no place."""
    name: Callable[[T], str]
    same: Callable[[T, T], bool]
    """Whether both show the same pixels; asked only where they claim one place."""


def settled[T](blocks: Iterable[T], claims: Claims[T]) -> tuple[list[T], list[str]]:
    """(blocks without those that repeat an earlier one, warnings). Raises Damaged where two differ at one place."""
    first: dict[Hashable, T] = {}
    kept: list[T] = []
    copies: list[tuple[T, T]] = []
    for block in blocks:
        place = claims.place(block)
        known = block if place is None else first.setdefault(place, block)
        if known is block:
            kept.append(block)
        elif claims.same(known, block):
            copies.append((known, block))
        else:
            raise Damaged(
                f"{claims.name(known)} and {claims.name(block)} claim the same place and differ: the file does not say "
                "which of them counts"
            )
    return kept, repeated([(claims.name(one), claims.name(copy)) for one, copy in copies])


def repeated(copies: Sequence[tuple[str, str]]) -> list[str]:
    """Warnings on copies, by (kept, left out)."""
    words = [f"{copy} repeats {kept} at the same place and is left out" for kept, copy in copies[:_NAMED]]
    more = len(copies) - _NAMED
    return [*words, f"{more} more blocks repeat others at their place and are left out"] if more > 0 else words


def same_bytes(one: Bytes, other: Bytes, at: tuple[int, int], size: int) -> bool:
    """Whether `size` bytes at the two places are equal; read in parts, up to the first that differs."""
    if one is other and at[0] == at[1]:
        return True
    parts = range(0, size, _CHUNK)
    return all(one.read(at[0] + i, min(_CHUNK, size - i)) == other.read(at[1] + i, min(_CHUNK, size - i)) for i in parts)
