"""A level: one stored resolution, a set of placed tiles and the means to decode one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.fill import Fill
from drivers.geometry import Shape
from drivers.tiles import TileIndex

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a scene as it is stored.

    `read(key)` decodes one stored block to a five-axis array of `dtype`. It may be called from any thread and holds no
    shared lock; it raises `Damaged` when the block is not whole. The array is the caller's, but may be read-only.
    """

    shape: Shape
    dtype: np.dtype[Any]
    index: TileIndex
    read: Callable[[Hashable], Pixels]
    tile: Shape
    """Usual stored tile: a hint for the order of reading."""
    fill: Fill
    """Value of pixels that no tile covers, exact in `dtype`: white for brightfield, else 0 or what the file states."""
    scale: float
    """Nominal down-sampling factor against level 0, snapped to an integer where the sizes allow it."""
    compression: str
    """As stored: "jpeg", "jpeg2000", "lzw", "none", ..."""
    interleaved: bool = False
    """Whether a decoded block keeps its channels side by side in memory: a hint for the memory order of copies."""

    def __repr__(self) -> str:
        t, c, z, y, x = self.shape
        facts = f"t {t}, c {c}, z {z}, y {y}, x {x}, {self.dtype}, tiles of {self.tile.x} x {self.tile.y}"
        return f"<Level 1/{self.scale:g}: {facts}, {self.compression}>"
