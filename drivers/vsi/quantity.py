"""Numbers with units, as cellSens writes them: "1 0 ^ - 6 m ^ 1" is ten to the -6 metres."""

from __future__ import annotations

import math
import re

from drivers.vsi.tags import Node, Value

_UNITS, _VALUE = 268435456, 268435458
_UNIT = re.compile(r"10\^(-?\d+)([a-zA-Z]+)\^1")


def number(value: Value, place: int = 0) -> float | None:
    """A finite number, or the one at `place` of a tuple."""
    if isinstance(value, tuple):
        value = value[place] if place < len(value) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def text(node: Node | None) -> str | None:
    """The text of a field; None where it is absent or empty."""
    return node.value or None if node is not None and isinstance(node.value, str) else None


def whole(node: Node | None) -> int | None:
    """The integer of a field."""
    return node.value if node is not None and isinstance(node.value, int) else None


def scale(unit: str | None, base: str) -> float | None:
    """What one of `unit` is in the base unit ("m" or "s"); None for other units."""
    match = _UNIT.fullmatch((unit or "").replace(" ", ""))
    if match is None or match[2] != base or abs(int(match[1])) > 15:
        return None
    return 10.0 ** int(match[1])


def amount(node: Node | None, base: str) -> float | None:
    """A field with a unit of its own, in the base unit; positive only."""
    if node is None:
        return None
    value, factor = node.first(_VALUE), scale(text(node.first(_UNITS)), base)
    parsed = None if value is None else number(value.value)
    return parsed * factor if parsed is not None and factor is not None and parsed > 0 else None
