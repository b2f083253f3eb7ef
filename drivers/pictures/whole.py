"""An image that is stored, and decoded, in one piece."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from drivers.geometry import Shape
from drivers.model import Level, Pixels
from drivers.tiles import Grid

_COLORS = 3


def whole_level(shape: Shape, dtype: np.dtype[Any], read: Callable[[Hashable], Pixels], compression: str) -> Level:
    """Its level of one tile, which `read` gives as (1, c, 1, y, x) for any key. Colours of 8 bits lie on white."""
    fill = 255 if shape.c >= _COLORS and dtype == np.dtype("u1") else 0
    return Level(shape, dtype, Grid(shape, shape), read, shape, fill, 1.0, compression, interleaved=shape.c > 1)
