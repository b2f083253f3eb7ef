"""Stored tiles that reach over the edge of a job are kept until the neighbouring jobs have used them too.

Tiles of 240 pixels never line up with shards of 2048: without this, a quarter of the decoding would be done twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from drivers.geometry import Box, Shape
from drivers.model import Pixels
from drivers.tiles import Tile

KEPT_BYTES = 32 << 20


@dataclass(slots=True)
class _Kept:
    pixels: Pixels
    uses: int


@dataclass(slots=True)
class Straddlers:
    """Decoded tiles that further jobs need, at most `limit` bytes of them: the longest unused goes first. Any thread."""

    job: Shape
    limit: int = KEPT_BYTES
    _kept: OrderedDict[Hashable, _Kept] = field(default_factory=OrderedDict[Hashable, _Kept])
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, tile: Tile, box: Box, decode: Callable[[Tile], Pixels]) -> Pixels:
        """Pixels of `tile` for the job `box`, decoded unless an earlier job left them here."""
        if box.contains(tile.box):
            return decode(tile)
        with self._lock:
            found = self._kept.get(tile.key)
            if found is not None:
                self._used(tile.key, found)
                return found.pixels
        pixels = decode(tile)
        with self._lock:
            self._keep(tile, pixels)
        return pixels

    def _used(self, key: Hashable, found: _Kept) -> None:
        found.uses -= 1
        if found.uses:
            self._kept.move_to_end(key)
        else:
            del self._kept[key]
            self._bytes -= found.pixels.nbytes

    def _keep(self, tile: Tile, pixels: Pixels) -> None:
        uses = self._jobs(tile.box) - 1
        if uses < 1 or tile.key in self._kept or pixels.nbytes > self.limit // 2:
            return
        self._kept[tile.key] = _Kept(pixels, uses)
        self._bytes += pixels.nbytes
        while self._bytes > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.pixels.nbytes

    def _jobs(self, box: Box) -> int:
        count = 1
        for first, last, step in zip(box.start, box.stop, self.job, strict=True):
            count *= -(-last // step) - first // step
        return count
