"""Overlay planes beside the pixels (PS3.3 C.9.2): drawings, text and regions of one bit a pixel, as images of their own."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.dataset import DataSet
from drivers.dicom.pixels import OVERLAYS
from drivers.errors import Damaged, DriverError
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import Channel, Level, Pixels, Scene
from drivers.tiles import Grid

_ROWS, _COLUMNS, _FRAMES, _DATA = 0x0010, 0x0011, 0x0015, 0x3000


def overlays(data: DataSet, warnings: list[str]) -> dict[str, Scene]:
    """Those that are stored beside the pixels, by role; what cannot be read is told."""
    found: dict[str, Scene] = {}
    for group in OVERLAYS:
        if group << 16 | _DATA not in data:
            continue
        role = f"overlay-{group:04x}"
        try:
            found[role] = _scene(data, group << 16, role)
        except DriverError as error:
            warnings.append(f"the overlay plane {group:04X} is left out: {error}")
            continue
        warnings.append(f"the overlay plane {group:04X} is not drawn into the image; --associated {role} writes it")
    return found


def _scene(data: DataSet, base: int, role: str) -> Scene:
    rows, columns = data.whole(base | _ROWS) or 0, data.whole(base | _COLUMNS) or 0
    frames = data.whole(base | _FRAMES, "s") or 1
    raw = data.raw(base | _DATA) or b""
    if min(rows, columns, frames) < 1 or len(raw) * 8 < rows * columns * frames:
        raise Damaged(f"{len(raw)} bytes for {frames} of {columns}x{rows} bits")
    check("the number of its pixels", rows * columns * frames, LIMITS.tile_pixels)
    element = data.found[base | _DATA]
    stored = np.frombuffer(raw, np.uint8)
    if element.coding.order == ">" and element.vr == b"OW" and len(raw) % 2 == 0:
        stored = stored.view("<u2").byteswap().view(np.uint8)
    bits = np.unpackbits(stored, count=rows * columns * frames, bitorder="little")  # the first pixel is the lowest bit
    shape, tile = Shape(frames, 1, 1, rows, columns), Shape(1, 1, 1, rows, columns)
    read = _Reader(bits.reshape(shape))
    level = Level(shape, np.dtype(np.uint8), Grid(shape, tile), read, tile, 0, 1.0, "none")
    return Scene(role, [level], False, (Channel(),), significant_bits=1)


@dataclass(frozen=True, slots=True)
class _Reader:
    """`Level.read`: the key is the grid position."""

    bits: NDArray[np.uint8]

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        return self.bits[key.t : key.t + 1]
