"""Typed values and tag lists of ZVI streams.

A value is the number of its type (VARENUM of Microsoft [MS-OAUT]) and its bytes. A tag list is a version, a count, and for
each tag its value, its number and an attribute. Numbers of tags: "ZVI Format Specification" (Carl Zeiss, 2.0.5) as
Bio-Formats, libzvi of BioImageConvert and MIPAV quote it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime, timedelta

Value = int | float | bool | str | bytes | datetime | None

_PLAIN = {
    2: "<h",
    3: "<i",
    4: "<f",
    5: "<d",
    10: "<i",
    16: "<b",
    17: "<B",
    18: "<H",
    19: "<I",
    20: "<q",
    21: "<Q",
    22: "<i",
    23: "<I",
}
_SKIPPED = {0: 0, 1: 0, 6: 8, 9: 16, 13: 16, 64: 8, 72: 16}
_COUNTED = {63: 4, 65: 4, 66: 2, 67: 2, 68: 4, 69: 4, 70: 4, 71: 4, 0x2000: 4, 0x2011: 4}
"""Types with a length in front, and how many bytes the length takes."""
_TEXT, _DATE, _BOOL = 8, 7, 11
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - OLE dates are local times without a zone
_TAGS = 20_000


class NoValue(ValueError):
    """No value begins here."""


def read_value(data: bytes, at: int) -> tuple[Value, int]:
    """(value, end) of the value at `at`. Raises NoValue where the type is not known or the bytes are not there."""
    if at + 2 > len(data):
        raise NoValue
    kind, at = int.from_bytes(data[at : at + 2], "little"), at + 2
    if kind in _PLAIN:
        end = at + struct.calcsize(_PLAIN[kind])
        return (struct.unpack(_PLAIN[kind], _slice(data, at, end))[0], end)
    if kind in _SKIPPED:
        _slice(data, at, at + _SKIPPED[kind])
        return None, at + _SKIPPED[kind]
    if kind == _BOOL:
        return any(_slice(data, at, at + 2)), at + 2
    if kind == _DATE:
        return ole_date(struct.unpack("<d", _slice(data, at, at + 8))[0]), at + 8
    width = 4 if kind == _TEXT else _COUNTED.get(kind)
    if width is None:
        raise NoValue
    length = int.from_bytes(_slice(data, at, at + width), "little")
    raw = _slice(data, at + width, at + width + length)
    return raw.decode("utf-16-le", "replace").partition("\0")[0] if kind == _TEXT else raw, at + width + length


def _slice(data: bytes, start: int, stop: int) -> bytes:
    if stop > len(data):
        raise NoValue
    return data[start:stop]


def ole_date(days: float) -> datetime | None:
    """Local time of an OLE Automation date, to a millisecond: days since 1899-12-30; 0 and what is no date are None."""
    if not 1 <= days < 2_958_466:  # the year 9999
        return None
    return EPOCH + timedelta(milliseconds=round(days * 86_400_000))


def parse_tags(data: bytes, at: int = 0) -> dict[int, Value]:
    """Values by the number of their tag, the first of each. What cannot be read is passed over."""
    try:
        _, at = read_value(data, at)
        _, at = read_value(data, at)
    except NoValue:
        return {}
    found: dict[int, Value] = {}
    while at < len(data) and len(found) < _TAGS:
        try:
            value, end = read_value(data, at)
        except NoValue:
            value, end = None, len(data)
        if not _marks(data, end):
            # A value of a type that no one describes: the next tag number ends it (Bio-Formats does so too).
            value, end = None, _next_mark(data, at + 2)
        if end + 12 > len(data):
            break
        number = int.from_bytes(data[end + 2 : end + 6], "little")
        found.setdefault(number, value)
        at = end + 12
    return found


def _marks(data: bytes, at: int) -> bool:
    """Whether a tag's number and attribute lie at `at`, both integers."""
    return data[at : at + 2] == b"\3\0" and data[at + 6 : at + 8] == b"\3\0" and at + 12 <= len(data)


def _next_mark(data: bytes, at: int) -> int:
    while at + 12 <= len(data):
        at = data.find(b"\3\0", at)
        if at < 0:
            break
        if _marks(data, at) and 0 < int.from_bytes(data[at + 2 : at + 6], "little") < 1 << 25:
            return at
        at += 1
    return len(data)


def integer_of(tags: Mapping[int, Value], number: int) -> int | None:
    """The tag as an integer, None where it is absent or none."""
    value = tags.get(number)
    if isinstance(value, str):
        try:
            value = float(value.replace(",", "."))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1 << 53:
        return None
    return int(value)


def number_of(tags: Mapping[int, Value], number: int) -> float | None:
    """The tag as a finite number; text with a decimal point or comma counts."""
    value = tags.get(number)
    if isinstance(value, str):
        try:
            value = float(value.strip().replace(",", "."))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def text_of(tags: Mapping[int, Value], number: int) -> str | None:
    """The tag as text in one line, None where it is absent or empty."""
    value = tags.get(number)
    return (" ".join(value.split()) or None) if isinstance(value, str) else None
