"""Pictures of an animation as they are displayed: each is drawn into what those before it have left on the canvas.

GIF89a (sections 18, 20, 23), WebP (RFC 9649, 2.7.1.1) and APNG (PNG 3rd ed., 11.3.6.2) do the same in other words. What is
cleared becomes transparent, as browsers show it (GIF speaks of a background colour, which none of them heeds).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from drivers.limits import LIMITS, check
from drivers.model import Pixels


class Left(Enum):
    """What is done with the place of a picture before the next one is drawn."""

    KEPT = 0
    CLEARED = 1
    RESTORED = 2
    """To what was there before the picture."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stored picture of an animation."""

    top: int
    left: int
    height: int
    width: int
    decode: Callable[[], Pixels]
    """Gives (height, width, samples), the last of which is the opacity. Raises Damaged."""
    after: Left = Left.KEPT
    blend: bool = True
    """Laid over the canvas by its opacity; else it takes the place of what is there."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all pictures of an animation are drawn on. Clear at first: all samples 0."""

    height: int
    width: int
    samples: int
    """With the opacity."""
    dtype: np.dtype[Any]
    most: int
    """The sample of full opacity."""

    @property
    def bytes(self) -> int:
        """Of one picture."""
        return self.height * self.width * self.samples * self.dtype.itemsize


@dataclass(slots=True)
class Animation:
    """Draws the pictures one after the other; going on costs one decode a picture, going back begins with the first."""

    canvas: Canvas
    parts: Sequence[Part]
    clear: bool
    """Some pixels may be transparent. Otherwise the opacity says nothing and is not shown."""
    hidden: bool = False
    """The first picture of the file is none of the animation (APNG): the parts begin with the second."""
    whole: bool = True
    """The file does not end within the animation."""
    _next: int = 0
    _drawn: Pixels | None = None
    _shown: Pixels | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def picture(self, number: int) -> Pixels:
        """Part `number`, from 0, as displayed: (height, width, samples), with the opacity last. Any thread."""
        with self._lock:
            if self._drawn is None or self._shown is None or number < self._next - 1:
                self._next, self._drawn, self._shown = 0, self._blank(), None
            try:
                while self._next <= number:
                    part = self.parts[self._next]
                    size = part.height * part.width * self.canvas.samples * self.canvas.dtype.itemsize
                    check("the number of bytes of a picture", size, LIMITS.tile_bytes)
                    self._shown = _draw(self._drawn, part, self.canvas.most)
                    self._next += 1
            except BaseException:
                self._drawn = self._shown = None
                raise
            assert self._shown is not None
            return self._shown

    def _blank(self) -> Pixels:
        return np.zeros((self.canvas.height, self.canvas.width, self.canvas.samples), self.canvas.dtype)


def uncovered(canvas: Canvas, parts: Sequence[Part]) -> bool:
    """Whether places of the canvas may be shown on which nothing is drawn, however opaque the pictures are."""
    if not parts or parts[0].after is not Left.KEPT or any(part.after is Left.CLEARED for part in parts):
        return True
    first = parts[0]
    return not (first.top == first.left == 0 and first.height >= canvas.height and first.width >= canvas.width)


def _draw(canvas: Pixels, part: Part, most: int) -> Pixels:
    """Draw the part; gives a copy of what is shown and leaves in `canvas` what the next one is drawn on."""
    here = canvas[part.top : part.top + part.height, part.left : part.left + part.width]
    before = here.copy()
    drawn = part.decode()[: here.shape[0], : here.shape[1]]
    here[...] = _over(drawn, before, most) if part.blend else drawn
    shown = canvas.copy()
    if part.after is Left.CLEARED:
        here[...] = 0
    elif part.after is Left.RESTORED:
        here[...] = before
    return shown


def _over(above: Pixels, below: Pixels, most: int) -> Pixels:
    """Alpha composition of samples that are not multiplied by their opacity, rounded (PNG 3rd ed., 13.16)."""
    opacity = above[..., -1]
    out = np.where((opacity > 0)[..., None], above, below)
    mixed = (opacity > 0) & (opacity < most) & (below[..., -1] > 0)
    if mixed.any():
        one, other = above[mixed].astype(np.float64), below[mixed].astype(np.float64)
        upper, lower = one[:, -1:] / most, other[:, -1:] / most
        both = upper + lower * (1 - upper)
        color = (one[:, :-1] * upper + other[:, :-1] * lower * (1 - upper)) / both
        out[mixed] = np.rint(np.concatenate([color, both * most], axis=1)).astype(above.dtype)
    return out
