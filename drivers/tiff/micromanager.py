"""The index of a Micro-Manager stack, which lies at the end of the file and orders its pages.

Without it the pages would pass for a time series. Layout: Micro-Manager File Formats, "Image file stack".
"""

from __future__ import annotations

import struct

from drivers.errors import Damaged
from drivers.files import ByteSource

_AT = 8
_PLACE, _INDEX = 54773648, 3453623
_ROW = 20


def check_index(source: ByteSource) -> list[str]:
    """A warning on a Micro-Manager stack whose index was never written, as when an acquisition ends early.

    Raises Damaged where the index reaches past the end of the file.
    """
    if source.size < _AT + 8:
        return []
    head = source.read(0, _AT + 8)
    order = ">" if head[:2] == b"MM" else "<"
    marker, offset = struct.unpack_from(order + "II", head, _AT)
    if marker != _PLACE:
        return []
    rows = 0
    if offset and offset + 8 <= source.size:
        header, rows = struct.unpack(order + "II", source.read(offset, 8))
        if header != _INDEX:
            offset = 0
    if not offset:
        return ["the index of Micro-Manager was not written or is lost: its pages may be in another order than they seem"]
    if offset + 8 + rows * _ROW > source.size:
        raise Damaged("the index of Micro-Manager reaches past the end of the file: it is truncated; copy it again")
    return []
