"""Lengths and times with their units, as OME-XML and ImageJ write them."""

from __future__ import annotations

import math
import re

_UM = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometers": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
}
_PLURALS = ("nanometer", "millimeter", "centimeter", "meter")
_UM_WORDS = {
    **{name: size for name, size in _UM.items() if len(name) > 3},
    **{f"{name}s": _UM[name] for name in _PLURALS},
    "inches": 25400.0,
    "angstrom": 1e-4,
    "micrometre": 1.0,
    "nanometre": 1e-3,
    "millimetre": 1e3,
}
"""Words in any case, which the short names do not allow: Mm is no mm."""
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_SECONDS = {
    "ns": 1e-9,
    "µs": 1e-6,
    "μs": 1e-6,
    "us": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
}


def number(value: object) -> float | None:
    """A finite number out of text or a number; anything else is unknown."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def length_um(value: object, unit: str) -> float | None:
    """Micrometres; None where the number or the unit means nothing ("pixel", "reference frame")."""
    return _scaled(value, _UM.get(_plain(unit)) or _UM_WORDS.get(_plain(unit).lower()))


def _plain(unit: str) -> str:
    """Without the escapes that ImageJ writes, and the UTF-8 that was read as Latin-1 on the way."""
    unit = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), unit)
    return unit.replace("Âµ", "µ").replace("Î¼", "μ").strip().strip('\0"')


def positive_um(value: object, unit: str) -> float | None:
    """As `length_um`, positive only."""
    return _positive(length_um(value, unit))


def positive_seconds(value: object, unit: str) -> float | None:
    """Seconds, positive only."""
    return _positive(_scaled(value, _SECONDS.get(unit.strip())))


def seconds(value: object, unit: str) -> float | None:
    """Seconds; None where the number or the unit means nothing."""
    return _scaled(value, _SECONDS.get(unit.strip()))


def _scaled(value: object, factor: float | None) -> float | None:
    parsed = number(value)
    return None if parsed is None or factor is None else parsed * factor


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
