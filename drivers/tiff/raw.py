"""Uncompressed rows: parts of a strip are read where they lie, so a huge strip costs no more than the box asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.model import Pixels

BLOCK_ROWS = 512
BLOCK_COLUMNS = 2048
_WHOLE_ROW_COLUMNS = 4096
"""Rows up to this width are read whole: one read a strip instead of one a row."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Row by row storage of one sample plane: strips of `strip_rows` rows of `width` pixels of `samples` samples."""

    strip_rows: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    """With the byte order of the file."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel."""
        return self.samples * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open part of a plane."""

    top: int
    bottom: int
    left: int
    right: int


def block_columns(width: int) -> int:
    """Width of the blocks that an uncompressed image of `width` is read in."""
    return width if width <= _WHOLE_ROW_COLUMNS else BLOCK_COLUMNS


def read_rows(source: ByteSource, rows: Rows, offsets: Sequence[int], window: Window) -> Pixels:
    """Pixels of `window` (height, width, samples), native byte order; `offsets` are those of the plane's strips."""
    pixel, stride = rows.pixel_bytes, rows.width * rows.pixel_bytes
    parts: list[bytes] = []
    row = window.top
    while row < window.bottom:
        strip, inner = divmod(row, rows.strip_rows)
        stop = min(window.bottom, (strip + 1) * rows.strip_rows)
        if not offsets[strip]:
            raise Damaged("has zero length")
        start = offsets[strip] + inner * stride
        if window.left == 0 and window.right == rows.width:
            parts.append(source.read(start, (stop - row) * stride))
        else:
            count, start = (window.right - window.left) * pixel, start + window.left * pixel
            parts += [source.read(start + i * stride, count) for i in range(stop - row)]
        row = stop
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    shape = (window.bottom - window.top, window.right - window.left, rows.samples)
    return np.frombuffer(data, rows.dtype).reshape(shape).astype(rows.dtype.newbyteorder("="), copy=False)
