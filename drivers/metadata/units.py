"""Lengths and times with their units, as OME-XML and ImageJ write them."""

from __future__ import annotations

import math
import re

_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2, "m": -3,
    "u": -6, "µ": -6, "μ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
"""Powers of ten: OME's UnitsLength and UnitsTime have all of them (OME schema 2016-06)."""
_UM = {
    **{f"{prefix}m": float(f"1e{power + 6}") for prefix, power in _PREFIXES.items()},
    "Å": 1e-4,
    "nanometer": 1e-3,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometers": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
    "thou": 25.4,
    "li": 25400.0 / 12,
    "pt": 25400.0 / 72,
    "ft": 25400.0 * 12,
    "yd": 25400.0 * 36,
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
    **{f"{prefix}s": float(f"1e{power}") for prefix, power in _PREFIXES.items()},
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_SECONDS_WORDS = {
    "msec": 1e-3,
    "millisecond": 1e-3,
    "milliseconds": 1e-3,
    "sec": 1.0,
    "secs": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "mins": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "hr": 3600.0,
    "hrs": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "day": 86400.0,
    "days": 86400.0,
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
    return _positive(seconds(value, unit))


def seconds(value: object, unit: str) -> float | None:
    """Seconds; None where the number or the unit means nothing."""
    return _scaled(value, _SECONDS.get(_plain(unit)) or _SECONDS_WORDS.get(_plain(unit).lower()))


def _scaled(value: object, factor: float | None) -> float | None:
    parsed = number(value)
    return None if parsed is None or factor is None else parsed * factor


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
