"""The tag tree of a .vsi file, which follows the TIFF header: volumes of fields, each with a number, a type and a value.

The layout is no published one; these are the facts that slideio (Booritas/slideio, BSD-3-Clause) states in its sources
`vsistruct.hpp` and `vsifile.cpp`, compared with real files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.errors import Damaged
from drivers.limits import check

HEADER_AT = 8
SIGNATURE = b"\x18\0\x49\x53"  # size of a volume header (24), its magic number (21321)
_VOLUME = struct.Struct("<HHIqII")
_FIELD = struct.Struct("<IiiI")
_EXTENDED, _EXTRA, _INLINE = 1 << 28, 1 << 27, 1 << 30
_COUNT = 0xFFFFFFF
_NESTED = {0, 1, 2}
_UTF16, _TEXT, _INT = 8192, 13, {1, 3, 5, 7}
_FORMATS = {
    1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "q", 8: "Q", 9: "f", 10: "d", 12: "B", 14: "I", 17: "Q",
    256: "2i", 257: "3i", 258: "4i", 259: "4i", 260: "2d", 261: "3d", 262: "4d", 263: "4d",
    274: "2i", 275: "3i", 276: "4i", 277: "5i", 279: "2d", 280: "3d", 8199: "2i",
}  # fmt: skip
_REPEATED = {267: "i", 268: "d", 270: "B", 8195: "i", 8200: "i"}
_FIELDS, _DEPTH = 500_000, 32

Value = int | float | str | tuple[int | float, ...] | None


@dataclass(frozen=True, slots=True)
class Node:
    """A field: its tag, the index beside it where it has one, its value or the fields within."""

    tag: int
    index: int | None
    value: Value
    children: tuple[Node, ...] = ()

    def all(self, tag: int) -> Iterator[Node]:
        """Fields with that tag directly within."""
        return (node for node in self.children if node.tag == tag)

    def first(self, *path: int) -> Node | None:
        """The first field at the end of a path of tags; None where there is none."""
        node: Node | None = self
        for tag in path:
            node = None if node is None else next(node.all(tag), None)
        return node

    def walk(self) -> Iterator[Node]:
        """This field and all within, in their order."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_tags(data: bytes, name: str) -> Node:
    """The whole tree as the children of a root; `data` is the file. Raises Damaged, LimitExceeded."""
    if data[HEADER_AT : HEADER_AT + 4] != SIGNATURE:
        raise Damaged(f"{name}: the tag tree of a VSI file is missing")
    reader = _Reader(data, name)
    return Node(0, None, None, tuple(reader.volume(HEADER_AT, 0)))


@dataclass(slots=True)
class _Reader:
    data: bytes
    name: str
    count: int = 0

    def volume(self, at: int, depth: int) -> Iterator[Node]:
        """Fields of the volume whose header lies at `at`; offsets within count from there."""
        check(f"{self.name}: the nesting of its tags", depth, _DEPTH)
        *_, first, flags, _ = _VOLUME.unpack_from(self.data, at)
        place, seen = at + first, set[int]()
        for _ in range(flags & _COUNT):
            if place in seen or not at < place <= len(self.data) - _FIELD.size:
                raise Damaged(
                    f"{self.name}: the tags lead to byte {place}, which cannot be; the file is cut short or damaged"
                )
            seen.add(place)
            self.count += 1
            check(f"{self.name}: the number of its tags", self.count, _FIELDS)
            following, node = self._field(place, depth)
            yield node
            if not following and len(seen) < flags & _COUNT:
                raise self._blank(place)
            place = at + following

    def _field(self, place: int, depth: int) -> tuple[int, Node]:
        kind, tag, following, size = _FIELD.unpack_from(self.data, place)
        at = place + _FIELD.size
        index = None
        if kind & _EXTRA:
            index, at = struct.unpack_from("<i", self.data, at)[0] if at + 4 <= len(self.data) else None, at + 4
        if kind & _EXTENDED:
            nested = kind & 0xFFFFFF in _NESTED and self.data[at : at + 4] == SIGNATURE and at + 24 <= len(self.data)
            if kind & 0xFFFFFF in _NESTED and not any(self.data[at : at + 4]):
                raise self._blank(at)
            children = tuple(self.volume(at, depth + 1)) if nested else ()
            return following, Node(tag, index, None, children)
        value = self._inline(kind & 0xFFFFFF, size) if kind & _INLINE else self._value(kind & 0xFFFFFF, at, size)
        return following, Node(tag, index, value)

    def _blank(self, place: int) -> Damaged:
        """In real files each volume has all of its fields, so one that ends early lacks the rest."""
        return Damaged(
            f"{self.name}: the tags end at byte {place} before all are told: it is cut short or damaged; copy it again"
        )

    @staticmethod
    def _inline(kind: int, size: int) -> Value:
        return struct.unpack("<i", struct.pack("<I", size))[0] if kind in _INT else size

    def _value(self, kind: int, at: int, size: int) -> Value:
        letter = _REPEATED.get(kind, "B")
        pattern = _FORMATS.get(kind, "")
        known = kind in (_UTF16, _TEXT) or kind in _REPEATED
        needed = size if known else struct.calcsize("<" + pattern)
        if at + needed > len(self.data):
            raise Damaged(f"{self.name}: a tag at byte {at} reaches past the end of the file; copy it again")
        if kind in (_UTF16, _TEXT):
            return self._text(kind, self.data[at : at + size])
        if kind in _REPEATED:
            return struct.unpack_from(f"<{size // struct.calcsize(letter)}{letter}", self.data, at)
        values = struct.unpack_from("<" + pattern, self.data, at) if needed <= size else ()
        return values[0] if len(values) == 1 else values or None

    @staticmethod
    def _text(kind: int, data: bytes) -> str:
        """One type has two bytes a character; the other has been met with two, and may have one."""
        wide = kind == _UTF16 or len(data) < 2 or data[1] == 0
        return data.decode("utf-16-le" if wide else "utf-8", "replace").partition("\0")[0].strip()
