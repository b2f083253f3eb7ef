"""The elements of a DICOM data set, found without reading their values (PS3.5, section 7).

Own code, since every header here is of unknown origin: pydicom recurses into nested sequences, inflates a deflated file
whole, and takes the pixel data of a cut file as it is. Values are decoded when they are asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from drivers.errors import Damaged, LimitExceeded

UNDEFINED = 0xFFFFFFFF
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, double and plain pixel data: what an image ends with."""
DEPTH = 64
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"} | {
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US"
}  # fmt: skip
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_AHEAD = 1 << 16


class Bytes(Protocol):
    """A file, or an inflated data set in memory."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes at `offset`; raises Damaged when there are fewer."""
        ...


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that are no file."""

    data: bytes
    name: str

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes at `offset`; raises Damaged when there are fewer."""
        if offset < 0 or offset + count > len(self.data):
            raise Damaged(
                f"{self.name}: {count} bytes at offset {offset} of the data set reach past its end: it is truncated"
            )
        return self.data[offset : offset + count]


@dataclass(frozen=True, slots=True)
class Coding:
    """How elements are written: explicit or implicit value representation, byte order as for `struct`."""

    explicit: bool = True
    order: str = "<"


@dataclass(frozen=True, slots=True)
class Element:
    """Place of a value; `length` is UNDEFINED for sequences and frames that end with a delimiter."""

    tag: int
    vr: bytes
    offset: int
    length: int
    coding: Coding


class Window:
    """Reads small headers one after the other; not shared between threads."""

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self._start, self._data = 0, b""

    def bytes(self, offset: int, count: int) -> bytes:
        """`count` bytes at `offset`, from a block that is read ahead."""
        at = offset - self._start
        if at < 0 or at + count > len(self._data):
            size = max(count, min(_AHEAD, self.source.size - offset))
            self._start, self._data, at = offset, self.source.read(offset, size), 0
        return self._data[at : at + count]


def element_at(window: Window, offset: int, coding: Coding) -> Element:
    """The element whose header starts at `offset`."""
    group, number = struct.unpack(coding.order + "HH", window.bytes(offset, 4))
    tag = group << 16 | number
    if group == 0xFFFE or not coding.explicit:
        (length,) = struct.unpack(coding.order + "I", window.bytes(offset + 4, 4))
        return Element(tag, b"", offset + 8, length, coding)
    vr = window.bytes(offset + 4, 2)
    if vr in _SHORT:
        (length,) = struct.unpack(coding.order + "H", window.bytes(offset + 6, 2))
        return Element(tag, vr, offset + 8, length, coding)
    if vr not in _LONG:
        raise Damaged(f"an element with the unknown value representation {vr!r} at offset {offset}")
    (length,) = struct.unpack(coding.order + "I", window.bytes(offset + 8, 4))
    return Element(tag, vr, offset + 12, length, coding)


def elements(window: Window, start: int, end: int, coding: Coding) -> Iterator[Element]:
    """Elements between two offsets, in file order; those within sequences are skipped. Ends at an item's end."""
    at = start
    while at + 8 <= end:
        element = element_at(window, at, coding)
        if element.tag in (_ITEM_END, _SEQUENCE_END):
            return
        yield element
        if element.tag in PIXELS:
            return
        at = after(window, element, end)


def after(window: Window, element: Element, end: int) -> int:
    """Offset behind an element. What ends with a delimiter is walked through, without recursion."""
    if element.length == UNDEFINED:
        return _closed(window, element, end)
    stop = element.offset + element.length
    if stop > end:
        name = f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X})"
        raise Damaged(f"element {name} of {element.length} bytes reaches past the end of what holds it: it is cut short")
    return stop


def _closed(window: Window, element: Element, end: int) -> int:
    at = element.offset
    open_ends = [(_ITEM_END if element.tag == _ITEM else _SEQUENCE_END, inner_coding(element))]
    while open_ends:
        closing, coding = open_ends[-1]
        inner = element_at(window, at, coding)
        at = inner.offset
        if inner.tag == closing:
            open_ends.pop()
        elif inner.length == UNDEFINED:
            open_ends.append((_ITEM_END if inner.tag == _ITEM else _SEQUENCE_END, inner_coding(inner)))
        else:
            at += inner.length
        if len(open_ends) > 2 * DEPTH:
            raise LimitExceeded(f"sequences nest deeper than {DEPTH}: the file is damaged or not meant to be read here")
        if at > end:
            raise Damaged("a sequence reaches past the end of what holds it: the file is cut short")
    return at


def inner_coding(element: Element) -> Coding:
    """How the items of a sequence are written: of one whose representation is unknown, as implicit (PS3.5, 6.2.2)."""
    return Coding(False, "<") if element.vr == b"UN" else element.coding


def items(window: Window, element: Element) -> Iterator[tuple[int, int]]:
    """(start, end) of every item of a sequence."""
    end = window.source.size if element.length == UNDEFINED else element.offset + element.length
    at = element.offset
    while at + 8 <= end:
        item = element_at(window, at, inner_coding(element))
        if item.tag != _ITEM:
            return
        at = after(window, item, end)
        yield item.offset, at
