"""JPEG files of several pictures: the index that the first one holds (CIPA DC-007, "Multi-Picture Format", 5.2)."""

from __future__ import annotations

import struct

_ENTRIES, _ENTRY_BYTES = 0xB002, 16
_TYPE, _THUMBNAIL = 0xFFFFFF, 1


def multi_picture(index: bytes) -> int:
    """How many pictures the index (a TIFF structure) lists, without those that it calls smaller copies of the first.

    Raises struct.error where it is cut short.
    """
    order = "<" if index[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", index, 4)
    (count,) = struct.unpack_from(f"{order}H", index, start)
    for i in range(count):
        tag, _, size, place = struct.unpack_from(f"{order}HHII", index, start + 2 + 12 * i)
        if tag == _ENTRIES:
            attributes = [struct.unpack_from(f"{order}I", index, place + at)[0] for at in range(0, size, _ENTRY_BYTES)]
            return max(1, sum((word & _TYPE) >> 16 != _THUMBNAIL for word in attributes))
    return 1
