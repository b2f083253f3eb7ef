"""What was seen of an image's coarsest level: range and quantiles per channel, for the display windows of viewers.

Regions arrive from threads in any order, and the same slide must give the same store: counts do not depend on order.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from converter.writing.ngff import Window
from drivers.geometry import Box
from drivers.model import Pixels

_SHOWN = (0.001, 0.999)
"""The part of the samples that the window spans: hot pixels and specks do not decide what is seen."""
_FINE, _COARSE = 16, 10
"""Bits of the bins: 65,536 a channel, 1,024 where there are very many channels."""
_MANY_CHANNELS = 64


@dataclass(slots=True)
class _Channel:
    low: float = float("inf")
    high: float = float("-inf")
    counts: NDArray[np.int64] | None = None
    """Samples by key; None where the range is all that counts (8 bits)."""
    kind: str = "f"

    def row(self) -> tuple[float, float, float, float]:
        """(lowest, highest, lower quantile, upper quantile)."""
        if self.low > self.high:
            return 0.0, 0.0, 0.0, 0.0
        if self.counts is None:
            return self.low, self.high, self.low, self.high
        below, shift = np.cumsum(self.counts), 16 - int(self.counts.size - 1).bit_length()
        first, last = (int(np.searchsorted(below, share * below[-1], side="right")) for share in _SHOWN)
        last = min(last, self.counts.size - 1)
        exact = self.kind in "iu" and shift == 0
        start, end = _value(first << shift, self.kind), _value((last << shift) if exact else (last + 1) << shift, self.kind)
        start, end = max(self.low, start), min(self.high, end)
        # The keys of wide samples tell 8 bits only: what lies within one of them shows its whole range.
        return (self.low, self.high, start, end) if start < end else (self.low, self.high, self.low, self.high)


@dataclass(slots=True)
class SeenWindow:
    """Lowest and highest sample and a histogram per channel. Safe from any thread."""

    _channels: list[_Channel] = field(default_factory=list[_Channel])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, channels: int) -> None:
        """Start over, for an image of so many channels."""
        self._channels = [_Channel() for _ in range(channels)]

    def add(self, box: Box, pixels: Pixels) -> None:
        """Take in pixels of `box`, or the one value that all of them have; not-a-number and infinities do not count."""
        times = box.pixels // (pixels.size // pixels.shape[1] * box.shape.c) or 1
        for c in range(pixels.shape[1]):
            values = pixels[:, c]
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            if values.size:
                self._take(self._channels[box.start.c + c], values, times)

    def _take(self, channel: _Channel, values: Pixels, times: int) -> None:
        low, high, counts = values.min().item(), values.max().item(), None  # exact: float has no 2**64 - 1
        if values.dtype.itemsize > 1:
            bits = _FINE if len(self._channels) <= _MANY_CHANNELS else _COARSE
            counts = np.bincount((_keys(values) >> (16 - bits)).ravel(), minlength=1 << bits) * times
        with self._lock:
            channel.low, channel.high = min(channel.low, low), max(channel.high, high)
            if counts is not None:
                channel.kind = values.dtype.kind if values.dtype.itemsize == 2 else "f"
                channel.counts = counts if channel.counts is None else channel.counts + counts

    def seen(self) -> Window:
        """Range and quantiles per channel, 0 to 0 where there was no number."""
        rows = [channel.row() for channel in self._channels]
        low, high, start, end = ([row[i] for row in rows] for i in range(4))
        return Window(low, high, start, end)


def _keys(values: Pixels) -> NDArray[np.int64]:
    """A key of 16 bits for each sample, in the order of the samples.

    The upper half of a float32 with its sign made sortable: eight bits of precision over the whole range of the type, so
    that no range has to be known before. Integers of 16 bits have their own value.
    """
    if values.dtype.kind in "ui" and values.dtype.itemsize == 2:
        return values.astype(np.int64) + (1 << 15 if values.dtype.kind == "i" else 0)
    single = np.clip(values.astype(np.float64), -3e38, 3e38).astype(np.float32)
    upper = (single.view(np.uint32) >> 16).astype(np.int64)
    return np.where(upper & 0x8000, 0xFFFF - upper, upper | 0x8000)


def _value(key: int, kind: str) -> float:
    """The lowest sample of a key."""
    if kind in "iu":
        return float(key - (1 << 15 if kind == "i" else 0))
    upper = key & 0x7FFF if key & 0x8000 else 0xFFFF - key
    return float(np.array([min(upper, 0xFFFF) << 16], np.uint32).view(np.float32)[0])
