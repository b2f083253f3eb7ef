"""How far a stored level is from what a resampling of the finer one would give, place by place and channel by channel.

What is allowed follows from the picture itself: a kernel other than ours, or half a pixel of offset, changes a sample by a
part of its difference to its neighbours; a wrong picture by all of it and more. So a dim channel, a small range of floats and
a dark corner are judged as sharply as a bright one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.geometry import Box
from drivers.model import Pixels

Numbers = NDArray[np.float64]
SHIFTS = tuple(sorted(product((-1, 0, 1), repeat=2), key=lambda s: s != (0, 0)))
"""No shift first, then by a pixel in every direction."""
_SHIFTED_FITS_BETTER = 0.6
_OF_STEPS = 0.6
"""Largest mean difference, as a share of the mean step between neighbours. Wrong noise is at 0.7 (a constant) to 1.2."""
_LOSSY_OF_SPREAD, _LOSSY_OF_SPAN = 0.5, 0.06
"""Of lossy 8-bit pictures: share of the mean deviation within the place, and of the range. Measured on stained tissue, where
it has most texture: averaged and stored as JPEG of quality 70: 3.2 % of the range, of quality 30: 4.7 %."""
_LOSSY_WIDE = 0.02
_UNLIKE_MASK = 0.02
_REACH = 2
"""Pixels of the level that a kernel may carry a not-a-number."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A resampling: the mean of `width` x `width` pixels, the first of them `first` after the upper left one."""

    first: int
    width: int


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of the samples: their type, and whether a lossy compression has gone over them."""

    dtype: np.dtype[Any]
    lossy: bool


@dataclass(frozen=True, slots=True)
class Likeness:
    """One place, arrays per channel. Means over the samples that are numbers in both."""

    box: Box
    off: Numbers
    """Mean difference."""
    bias: Numbers
    """Mean difference with its sign."""
    step: Numbers
    """Mean difference of neighbours."""
    spread: Numbers
    """Mean difference to the median."""
    size: Numbers
    """Mean of the amount."""
    low: Numbers
    high: Numbers
    masked: Numbers
    """Share of samples that are no numbers and should be, or the other way round."""
    shifted: Numbers
    """(shift, channel): mean difference after each of SHIFTS; of the plain mean, which alone is asked for it."""


def kernels(ratio: int) -> list[Kernel]:
    """Resamplings in use; the plain mean first, then points, small and wide means, with and without an offset."""
    half = ratio // 2
    found = [
        Kernel(0, ratio),
        Kernel(0, 1),
        Kernel((ratio - 1) // 2, 1),
        Kernel(half, 1),
        Kernel((ratio - 1) // 2, 1 + (ratio + 1) % 2),
        Kernel(ratio // 4, ratio - 2 * (ratio // 4)),
        Kernel(-half, ratio + 2 * half),
        Kernel(-half, 2 * half + 1),
        Kernel(-ratio, 2 * ratio + 1),
    ]
    return list(dict.fromkeys(found))


def likeness(box: Box, stored: Pixels, fine: Pixels, how: tuple[int, Kernel]) -> Likeness:
    """Compare `stored` (1, c, 1, y, x) with the resampled `fine` of `ratio` times its height and width."""
    ratio, kernel = how
    below = stored[0, :, 0].astype(np.float64)
    above = fine[0, :, 0].astype(np.float64)
    with np.errstate(all="ignore"):
        made = _resampled(above, ratio, kernel)
        masked = _masked(below, above, ratio)
        below[~np.isfinite(below)] = np.nan
        made[~np.isfinite(made)] = np.nan
        if (kernel.first < 0 or kernel.first + kernel.width > ratio) and min(made.shape[1:]) > 4:
            below, made = below[:, 1:-1, 1:-1], made[:, 1:-1, 1:-1]
        difference = below - made
        off = _mean(np.abs(difference))
        steps = (_mean(np.abs(np.diff(made, axis=1))) + _mean(np.abs(np.diff(made, axis=2)))) / 2
        flat = made.reshape(len(made), -1)
        flat = np.where(np.isnan(flat).all(axis=1, keepdims=True), 0.0, flat)
        middle = np.median(flat, axis=1)[:, None]
        middle = middle if np.isfinite(middle).all() else np.nanmedian(flat, axis=1)[:, None]
        return Likeness(
            box=box,
            off=off,
            bias=_mean(difference),
            step=steps,
            spread=_mean(np.abs(flat - middle)[:, None]),
            size=_mean(np.abs(made)),
            low=np.nanmin(flat, axis=1),
            high=np.nanmax(flat, axis=1),
            masked=masked,
            shifted=_shifted(below, made, off, plain=kernel == Kernel(0, ratio)),
        )


def _resampled(fine: Numbers, ratio: int, kernel: Kernel) -> Numbers:
    """(c, y, x): means of the kernel's pixels; past the edge its last pixel counts again."""
    c, height, width = fine.shape
    if kernel == Kernel(0, ratio):  # divided first: the sum of large floats would be infinite
        return (fine / ratio**2).reshape(c, height // ratio, ratio, width // ratio, ratio).sum(axis=(2, 4))
    padded = np.pad(fine / kernel.width**2, ((0, 0), (ratio, ratio), (ratio, ratio)), mode="edge")
    starts = range(ratio + kernel.first, ratio + kernel.first + kernel.width)
    rows = sum((padded[:, i::ratio][:, : height // ratio] for i in starts), np.zeros(()))
    return sum((rows[:, :, i::ratio][:, :, : width // ratio] for i in starts), np.zeros(()))


def _masked(below: Numbers, above: Numbers, ratio: int) -> Numbers:
    """Share of samples that are no number where none of the pixels around lacks one, or a number where all of them do."""
    lacking = ~np.isfinite(below)
    holes = ~np.isfinite(above)
    if not holes.any():
        return lacking.mean(axis=(1, 2))
    c, h, w = below.shape
    blocks = holes.reshape(c, h, ratio, w, ratio)
    none = np.pad(blocks.any(axis=(2, 4)), ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), mode="edge")
    around = np.zeros_like(lacking)
    for dy, dx in product(range(2 * _REACH + 1), repeat=2):
        around |= none[:, dy : dy + h, dx : dx + w]
    return ((lacking & ~around) | (~lacking & blocks.all(axis=(2, 4)))).mean(axis=(1, 2))


def _mean(values: Numbers) -> Numbers:
    """Mean per channel of what is a number; 0 where nothing is."""
    plain = values.mean(axis=(1, 2)) if values.size else np.full(len(values), np.nan)
    if np.isfinite(plain).all():
        return plain
    known = np.isfinite(values)
    count = known.sum(axis=(1, 2))
    return np.where(known, values, 0.0).sum(axis=(1, 2)) / np.maximum(count, 1)


def _shifted(below: Numbers, made: Numbers, off: Numbers, *, plain: bool) -> Numbers:
    if not plain or not off.any() or min(below.shape[1:]) < 6:
        return np.broadcast_to(off, (len(SHIFTS), len(off)))
    inner = below[:, 1:-1, 1:-1]
    h, w = inner.shape[1:]
    return np.stack([_mean(np.abs(inner - made[:, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w])) for dy, dx in SHIFTS])


def fault(found: Sequence[Likeness], kind: Kind) -> str | None:
    """Why the level is not one of the finer level's, None where it may be."""
    span = _spans(found)
    for place in found:
        where = f"at {_where(place.box)}"
        if place.masked.max(initial=0.0) > _UNLIKE_MASK:
            return f"is no number {where} where the finer level is one, or the other way round"
        range_ = span[place.box.start.c : place.box.stop.c]
        over = np.flatnonzero(place.off > _allowed(place, kind, range_))
        if len(over):
            c = int(over[0])
            share = f"{place.off[c] / range_[c]:.1%} of its range" if range_[c] else f"{place.off[c]:g}"
            return f"differs from the averaged finer level by {share} {where}, channel {place.box.start.c + c}"
    return _biased(found, kind, span)


def _where(box: Box) -> str:
    planes = [f"{axis}={getattr(box.start, axis)}" for axis in "tz" if getattr(box.start, axis)]
    return ", ".join([*planes, f"y={box.start.y}, x={box.start.x}"])


def _spans(found: Sequence[Likeness]) -> Numbers:
    """Range of each channel over all places."""
    count = max((place.box.stop.c for place in found), default=0)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for place in found:
        part = slice(place.box.start.c, place.box.stop.c)
        low[part], high[part] = np.minimum(low[part], place.low), np.maximum(high[part], place.high)
    return np.where(high > low, high - low, 0.0)


def _floor(size: Numbers, kind: Kind, span: Numbers) -> Numbers:
    """What rounding alone may do, and the steps of a lossy compression in what is flat."""
    if kind.dtype.kind == "f":
        return size * (float(np.finfo(kind.dtype).eps) * 8)
    floor = 0.5 + size * 2.0**-50
    return floor + np.clip(span / 4, 1.0, 1.5) if kind.lossy else floor


def _allowed(place: Likeness, kind: Kind, span: Numbers) -> Numbers:
    part = _OF_STEPS * place.step
    if kind.lossy:
        share = _LOSSY_OF_SPAN if kind.dtype.itemsize == 1 else _LOSSY_WIDE
        part = np.maximum(
            part, np.minimum(_LOSSY_OF_SPREAD * place.spread, share * span.max())
        )  # of all colours: JPEG loses in blue what green has
    return _floor(place.size, kind, span) + part


def _biased(found: Sequence[Likeness], kind: Kind, span: Numbers) -> str | None:
    """Whether a channel as a whole is brighter or darker: no resampling and no compression makes it so."""
    for c in range(len(span)):
        own = [(place, c - place.box.start.c) for place in found if place.box.start.c <= c < place.box.stop.c]
        if not own:
            continue
        bias, step, size = (np.mean([getattr(p, name)[i] for p, i in own]) for name in ("bias", "step", "size"))
        if abs(bias) > _floor(np.array([size]), kind, span[c : c + 1])[0] + 0.1 * step:
            how = "brighter" if bias > 0 else "darker"
            return f"differs from the averaged finer level: channel {c} is {how} by {abs(bias):.3g}"
    return None


def moved(found: Sequence[Likeness]) -> str | None:
    """Whether the level lies a pixel beside the finer one: seen where values hardly differ, in smooth pictures."""
    if not found:
        return None
    sums: Numbers = np.sum([place.shifted.sum(axis=1) for place in found], axis=0)
    best = int(np.argmin(sums))
    if best and sums[best] < sums[0] * _SHIFTED_FITS_BETTER:
        return f"is shifted against the finer level by {SHIFTS[best]} of its pixels (y, x)"
    return None
