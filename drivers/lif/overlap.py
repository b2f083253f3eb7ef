"""Whether the steps of an image (BytesInc) give every sample bytes of its own: planes that share bytes are not stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged

_COMPARED = 1 << 12
"""Planes that are compared one by one, where the steps do not nest."""

Steps = tuple[int, int]
"""(elements, bytes from one to the next)."""


def check_apart(inner: Sequence[Steps], outer: Sequence[Steps], channels: Sequence[int], size: int) -> None:
    """Raise Damaged where two samples of `size` bytes share bytes.

    `inner` are x and y, `outer` all other dimensions, `channels` the offsets of the channels. Most layouts nest: each step
    is at least as long as all that lies within it. Others (channels that lie in turn with rows, in groups) are compared
    plane by plane.
    """
    ordered = sorted(channels)
    gap = min((b - a for a, b in pairwise(ordered)), default=0)
    reach = ordered[-1] - ordered[0]
    axes = [(step, (count - 1) * step) for count, step in (*inner, *outer) if count > 1]
    if _nested([*axes, *([(gap, reach)] if reach else [])], size):
        return
    if not _nested([(step, (count - 1) * step) for count, step in inner if count > 1], size):
        raise Damaged("the samples of a plane overlap (BytesInc of X and Y): what is stored there is not known")
    starts = _starts(outer, ordered)
    if len(starts) > _COMPARED or _collide(starts, inner, size):
        raise Damaged("planes share bytes (BytesInc of the dimensions and channels): which of them is stored is not known")


def _nested(axes: Iterable[Steps], size: int) -> bool:
    """Whether each (step, reach) steps over all that the shorter ones reach."""
    span = size
    for step, reach in sorted(axes):
        if step < span:
            return False
        span += reach
    return True


def _starts(outer: Sequence[Steps], channels: Sequence[int]) -> NDArray[np.int64]:
    """First bytes of all planes, ascending; cut where there are too many."""
    starts = np.array(channels, np.int64)
    for count, step in outer:
        if starts.size * count > _COMPARED:
            return np.zeros(_COMPARED + 1, np.int64)
        starts = (starts[:, None] + np.arange(count, dtype=np.int64) * step).ravel()
    return np.sort(starts)


def _collide(starts: NDArray[np.int64], inner: Sequence[Steps], size: int) -> bool:
    """Whether two planes have a sample that begins within one of the other's; taken for so where it costs too much."""
    reach = sum((count - 1) * step for count, step in inner) + size
    (rows, down), (columns, across) = sorted(inner, key=lambda axis: -axis[1])
    apart = np.arange(-rows + 1, rows, dtype=np.int64) * down
    tried = np.zeros(0, np.int64)
    for lag in range(1, len(starts)):
        distances = np.setdiff1d(starts[lag:] - starts[:-lag], tried)
        if int((starts[lag:] - starts[:-lag]).min()) >= reach:
            return False
        if len(tried) + len(distances) > _COMPARED:
            return True
        for distance in distances[distances < reach]:
            rest = distance - apart
            nearest = np.clip(np.rint(rest / max(1, across)), 1 - columns, columns - 1).astype(np.int64)
            if (np.abs(rest - nearest * across) < size).any():
                return True
        tried = np.concatenate([tried, distances])
    return False
