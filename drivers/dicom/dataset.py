"""Values of a DICOM data set, decoded when they are asked for; what is absent, empty or no number is None."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.dicom.elements import UNDEFINED, Coding, Element, Window, elements, inner_coding, items
from drivers.errors import Damaged
from drivers.limits import LIMITS, check

_BINARY = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d", b"UV": "Q", b"SV": "q", b"OV": "Q"} | {
    b"AT": "I", b"OL": "I", b"OF": "f", b"OD": "d"
}  # fmt: skip
_CHARACTERS = 0x00080005
_ENCODINGS = {  # PS3.3 C.12.1.1.2
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk", "ISO_IR 13": "shift_jis", "ISO_IR 166": "iso8859_11",
    "ISO_IR 100": "iso8859_1", "ISO_IR 101": "iso8859_2", "ISO_IR 109": "iso8859_3", "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5", "ISO_IR 127": "iso8859_6", "ISO_IR 126": "iso8859_7", "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9", "ISO_IR 203": "iso8859_15",
}  # fmt: skip
_UNPRINTABLE = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"}


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set or an item of a sequence. For the thread that opens the file; nothing of it is used when pixels are read."""

    window: Window
    found: Mapping[int, Element]
    encoding: str = "utf-8"
    """Of text."""

    def __contains__(self, tag: int) -> bool:
        return tag in self.found

    def raw(self, tag: int) -> bytes | None:
        """The bytes of a value; None where the element is absent, empty or a sequence."""
        element = self.found.get(tag)
        if element is None or element.length in (0, UNDEFINED):
            return None
        check(f"the length of element ({tag >> 16:04X},{tag & 0xFFFF:04X})", element.length, LIMITS.metadata_bytes)
        return self.window.bytes(element.offset, element.length)

    def texts(self, tag: int) -> list[str]:
        """Every value of a text element."""
        raw = self.raw(tag)
        if raw is None:
            return []
        return [part.strip(" \0\r\n\t") for part in raw.decode(self.encoding, "replace").split("\\")]

    def text(self, tag: int) -> str | None:
        """The first value of a text element."""
        return next((part for part in self.texts(tag) if part), None)

    def numbers(self, tag: int, code: str) -> tuple[float, ...]:
        """All values; `code` is for `struct`, or "s" for decimal text, used where the file does not name a representation."""
        element, raw = self.found.get(tag), self.raw(tag)
        if element is None or raw is None:
            return ()
        code = _BINARY.get(element.vr, "s" if element.vr in (b"DS", b"IS") else code)
        if code == "s":
            return tuple(_parsed(part) for part in self.texts(tag))
        count = len(raw) // struct.calcsize(code)
        return struct.unpack(f"{element.coding.order}{count}{code}", raw[: count * struct.calcsize(code)])

    def number(self, tag: int, code: str = "s") -> float | None:
        """The first value, finite."""
        value = next(iter(self.numbers(tag, code)), math.nan)
        return value if math.isfinite(value) else None

    def positive(self, tag: int, code: str = "s") -> float | None:
        """The first value, finite and above zero: writers put 0 where they know nothing."""
        value = self.number(tag, code)
        return value if value is not None and value > 0 else None

    def whole(self, tag: int, code: str = "H") -> int | None:
        """The first value as an integer."""
        value = self.number(tag, code)
        return None if value is None else int(value)

    def items(self, tag: int) -> Iterator[DataSet]:
        """Items of a sequence."""
        element = self.found.get(tag)
        if element is None or element.vr not in (b"SQ", b"UN", b""):
            return
        for start, end in items(self.window, element):
            yield data_set(self.window, (start, end), inner_coding(element), self.encoding)

    def item(self, *tags: int) -> DataSet:
        """The first item of a sequence, of the sequence within it and so on; an empty data set where there is none."""
        found = self
        for tag in tags:
            found = next(found.items(tag), DataSet(self.window, {}, self.encoding))
        return found


def data_set(window: Window, span: tuple[int, int], coding: Coding, encoding: str = "utf-8") -> DataSet:
    """The data set between two offsets."""
    found = {element.tag: element for element in elements(window, *span, coding)}
    own = DataSet(window, found, "latin-1")
    if _CHARACTERS in found:
        encoding = _ENCODINGS.get(own.text(_CHARACTERS) or "", "utf-8")
    return DataSet(window, found, encoding)


def dump(data: DataSet) -> str:
    """The elements outside sequences as text, a line each; of sequences and binary values only the length."""
    lines: list[str] = []
    for tag, element in sorted(data.found.items()):
        name = f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {element.vr.decode('latin-1') or '--'}"
        if element.length == UNDEFINED or element.length > 4096 or element.vr in _UNPRINTABLE | {b"SQ"}:
            value = "..." if element.length == UNDEFINED else f"{element.length} bytes"
        elif element.vr in _BINARY:
            value = "\\".join(f"{number:g}" for number in data.numbers(tag, "s"))
        else:
            value = "\\".join(data.texts(tag))
        lines.append(f"{name}: {value}")
    return "\n".join(lines)


def _parsed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def required(data: DataSet, tag: int, name: str) -> int:
    """A positive integer without which there are no pixels; raises Damaged where it is absent or not positive."""
    value = data.whole(tag)
    if value is None or value < 1:
        raise Damaged(f"{name} is {'absent' if value is None else value}")
    return value
