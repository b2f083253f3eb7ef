"""Pixel sizes of GeoTIFF files out of their own tags (OGC 19-008r4); asking GDAL would open its database of projections."""

from __future__ import annotations

import math
import struct

from drivers.errors import DriverError
from drivers.files import ByteSource
from drivers.model import PixelSize
from drivers.tiff.directory import Entry, Layout, layout_of, read_directory, value_of

GEO_KEYS, _PIXEL_SCALE, _TRANSFORMATION = 34735, 33550, 34264
_MODEL_TYPE, _LINEAR_UNIT, _PROJECTED = 1024, 3076, 1
_METRES = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
"""EPSG codes of metre, foot, US survey foot, kilometre."""


def ground_size(source: ByteSource) -> PixelSize:
    """Micrometres on the ground, where the map is projected and states its unit; degrees are no length."""
    try:
        layout = layout_of(source)
        entries, _ = read_directory(source, layout, layout.first)
        keys = _numbers(source, layout, entries, (GEO_KEYS, "H"))
        metres = _unit(tuple(int(n) for n in keys))
        y, x = _steps(
            _numbers(source, layout, entries, (_PIXEL_SCALE, "d")), _numbers(source, layout, entries, (_TRANSFORMATION, "d"))
        )
    except (DriverError, struct.error):
        return PixelSize()
    if metres is None or not (math.isfinite(y + x) and min(y, x) > 0):
        return PixelSize()
    return PixelSize(y * metres * 1e6, x * metres * 1e6)


def _numbers(source: ByteSource, layout: Layout, entries: list[Entry], what: tuple[int, str]) -> tuple[float, ...]:
    code, letter = what
    found = next((entry for entry in entries if entry.code == code), None)
    if found is None:
        return ()
    data = value_of(source, layout, found)
    return struct.unpack_from(f"{layout.order}{len(data) // struct.calcsize(letter)}{letter}", data)


def _unit(keys: tuple[int, ...]) -> float | None:
    """Metres of the unit; keys come in fours: id, where the value lies (0: here), count, value."""
    values = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    return _METRES.get(values.get(_LINEAR_UNIT, 0)) if values.get(_MODEL_TYPE) == _PROJECTED else None


def _steps(scale: tuple[float, ...], matrix: tuple[float, ...]) -> tuple[float, float]:
    if len(scale) >= 2:
        return scale[1], scale[0]
    return (math.hypot(matrix[1], matrix[5]), math.hypot(matrix[0], matrix[4])) if len(matrix) >= 6 else (0.0, 0.0)
