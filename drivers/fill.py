"""The value of pixels that nothing covers, exact in every sample type; how Zarr metadata states it."""

from __future__ import annotations

import math
from string import hexdigits
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged

Fill = float | np.floating[Any]
"""An int for integers, however large; for floats a Python float, or a numpy scalar that keeps the payload of a NaN."""

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_HEX_DIGITS = {4: ("u2", "f2"), 8: ("u4", "f4"), 16: ("u8", "f8")}
_QUIET_NAN = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}


def bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Samples as they are compared bit by bit: a NaN equals itself, 0.0 is not -0.0."""
    return pixels.view(f"u{pixels.dtype.itemsize}") if pixels.dtype.kind == "f" else pixels


def same_fill(one: Fill, other: Fill, dtype: np.dtype[Any]) -> bool:
    """Whether two fill values are the same sample of `dtype`."""
    return bool(bits(np.array([one], dtype))[0] == bits(np.array([other], dtype))[0])


def fill_of(value: object, dtype: np.dtype[Any]) -> Fill:
    """The fill value that Zarr metadata states (v3 specification, "Fill value"; v2, "Fill value encoding").

    Raises Damaged where it is no sample of `dtype`: what absent chunks hold is unknown then.
    """
    try:
        found = _float(value, dtype) if dtype.kind == "f" else _integer(value, dtype)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None:
        raise Damaged(
            f"the fill value {str(value)[:40]!r} is no {dtype.newbyteorder('=')}: what absent chunks hold is unknown"
        )
    return found


def _integer(value: object, dtype: np.dtype[Any]) -> int | None:
    if isinstance(value, float) and not value.is_integer():
        return None
    if not isinstance(value, int | float | str):
        return None
    number = int(value)
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return number if lowest <= number <= highest else None


def _float(value: object, dtype: np.dtype[Any]) -> Fill | None:
    native = dtype.newbyteorder("=")
    if isinstance(value, str) and value.startswith("0x"):
        unsigned, kind = _HEX_DIGITS.get(len(value) - 2, ("", ""))
        if not unsigned or not set(value[2:]) <= set(hexdigits):  # int() would skip an underscore
            return None
        stored = np.array([int(value, 16)], unsigned).view(kind)
        with np.errstate(all="ignore"):
            return stored.astype(native, copy=False)[0]
    if not isinstance(value, int | float | str):
        return None
    with np.errstate(over="ignore"):
        return native.type(_SPECIAL[value] if isinstance(value, str) and value in _SPECIAL else float(value))


def fill_json(fill: Fill, dtype: np.dtype[Any], zarr_format: int) -> int | float | str:
    """A fill value as Zarr metadata states it. v2 knows one NaN only; v3 states others by their bits."""
    if dtype.kind != "f":
        return int(fill)
    sample = np.array([fill], dtype)
    value = float(sample[0])
    if math.isnan(value):
        stored = int(bits(sample)[0])
        usual = zarr_format == 2 or stored == _QUIET_NAN[dtype.itemsize]
        return "NaN" if usual else f"0x{stored:0{2 * dtype.itemsize}x}"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
