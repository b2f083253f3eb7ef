"""The few EXIF tags that describe a picture (CIPA DC-008): orientation, camera, time. Never places, owners or serials."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime

_ORIENTATION, _MAKE, _MODEL, _SOFTWARE, _DATE, _MORE, _TAKEN = 274, 271, 272, 305, 306, 34665, 36867
_ENTRIES = 1000
_ASCII, _SHORT, _LONG = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Exif:
    """What the tags say; None where they say nothing."""

    orientation: int = 1
    """1 to 8; 1 where it is not stated."""
    make: str | None = None
    model: str | None = None
    software: str | None = None
    acquired: datetime | None = None


def exif_of(data: bytes | None) -> Exif:
    """Tags out of a TIFF structure; what cannot be read is left out."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get((data or b"")[:4])
    if data is None or order is None:
        return Exif()
    main = _directory(data, order, _number(data, order, 4))
    more = main.get(_MORE)
    taken = _directory(data, order, more).get(_TAKEN) if isinstance(more, int) else None
    turn = main.get(_ORIENTATION)
    return Exif(
        orientation=turn if isinstance(turn, int) and 1 <= turn <= 8 else 1,
        make=_text(main.get(_MAKE)),
        model=_text(main.get(_MODEL)),
        software=_text(main.get(_SOFTWARE)),
        acquired=_date(_text(taken) or _text(main.get(_DATE))),
    )


def _number(data: bytes, order: str, at: int) -> int:
    return struct.unpack_from(order + "I", data, at)[0] if at + 4 <= len(data) else 0


def _directory(data: bytes, order: str, at: int) -> dict[int, int | bytes]:
    found: dict[int, int | bytes] = {}
    if not 8 <= at <= len(data) - 2:
        return found
    count = min(struct.unpack_from(order + "H", data, at)[0], _ENTRIES, (len(data) - at - 2) // 12)
    for i in range(count):
        code, kind, size = struct.unpack_from(order + "HHI", data, at + 2 + 12 * i)
        place = at + 10 + 12 * i
        if kind == _ASCII:
            start = place if size <= 4 else _number(data, order, place)
            found[code] = data[start : start + size]
        elif kind == _SHORT and size == 1:
            found[code] = struct.unpack_from(order + "H", data, place)[0]
        elif kind == _LONG and size == 1:
            found[code] = _number(data, order, place)
    return found


def _text(value: int | bytes | None) -> str | None:
    if not isinstance(value, bytes):
        return None
    return value.partition(b"\0")[0].decode("utf-8", "replace").strip() or None


def _date(value: str | None) -> datetime | None:
    try:
        return datetime.strptime(value or "", "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - EXIF states no zone here
    except ValueError:
        return None
