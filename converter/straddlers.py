"""Stored tiles that reach over the edge of a job are kept until the neighbouring jobs have used them too.

Tiles of 240 pixels never line up with shards of 2048: without this, a quarter of the decoding would be done twice. A whole
image in one strip would be decoded by every job; such blocks are decoded once into a temporary file.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from converter.publishing.stage import failed
from drivers.geometry import Box, Shape
from drivers.model import Pixels
from drivers.tiles import Tile

KEPT_BYTES = 32 << 20
_WHAT = "a temporary file of decoded pixels"


@dataclass(slots=True)
class _Kept:
    pixels: Pixels
    uses: int


@dataclass(frozen=True, slots=True)
class _Filed:
    """A decoded block in an unnamed temporary file, its axes in `order`. Each read maps it anew: only touched pages count."""

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    order: tuple[int, ...]

    @classmethod
    def of(cls, pixels: Pixels, folder: Path | None) -> _Filed:
        """Write `pixels` as they lie in memory: interleaved channels are not copied and stay side by side.

        Raises OutputFailed.
        """
        order = tuple(int(axis) for axis in np.argsort([-step for step in pixels.strides], kind="stable"))
        packed = np.ascontiguousarray(pixels.transpose(order))
        file = _temporary(folder)
        try:
            file.write(packed.reshape(-1).view(np.uint8).data)  # not `tofile`, whose error has no number
            file.flush()
        except OSError as error:
            file.close()
            raise failed(f"{_WHAT} cannot be written", error) from error
        except BaseException:
            file.close()
            raise
        return cls(file, packed.shape, packed.dtype, order)

    def read(self) -> Pixels:
        return np.memmap(self.file, self.dtype, "r", shape=self.shape).transpose(np.argsort(self.order))


def _temporary(folder: Path | None) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise failed(f"{_WHAT} cannot be made", error) from error


@dataclass(slots=True)
class _Spilled:
    uses: int
    filed: _Filed | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Of this block alone: who needs it waits for it, and others are decoded meanwhile."""


@dataclass(slots=True)
class Straddlers:
    """Decoded tiles that further jobs need, at most `limit` bytes of them: the longest unused goes first. Any thread.

    Tiles over half of `limit` are written to a file in `folder`, which is gone when the last reader is.
    """

    job: Shape
    folder: Path | None = None
    limit: int = KEPT_BYTES
    _kept: OrderedDict[Hashable, _Kept] = field(default_factory=OrderedDict[Hashable, _Kept])
    _spilled: dict[Hashable, _Spilled] = field(default_factory=dict[Hashable, _Spilled])
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
        if tile.box.pixels > self.limit // 2:
            return self._from_file(tile, decode)
        pixels = decode(tile)
        with self._lock:
            self._keep(tile, pixels)
        return pixels

    def close(self) -> None:
        """Give up what waits for jobs that will not come, once no thread reads any more."""
        for spilled in self._spilled.values():
            if spilled.filed is not None:
                spilled.filed.file.close()
        self._spilled.clear()
        self._kept.clear()

    def _used(self, key: Hashable, found: _Kept) -> None:
        found.uses -= 1
        if found.uses:
            self._kept.move_to_end(key)
        else:
            del self._kept[key]
            self._bytes -= found.pixels.nbytes

    def _keep(self, tile: Tile, pixels: Pixels) -> None:
        uses = self._jobs(tile.box) - 1
        if uses < 1 or tile.key in self._kept:
            return
        self._kept[tile.key] = _Kept(pixels, uses)
        self._bytes += pixels.nbytes
        while self._bytes > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.pixels.nbytes

    def _from_file(self, tile: Tile, decode: Callable[[Tile], Pixels]) -> Pixels:
        while True:
            with self._lock:
                spilled = self._spilled.setdefault(tile.key, _Spilled(self._jobs(tile.box)))
            with spilled.lock:
                if not spilled.uses:  # its last user came first
                    continue
                if spilled.filed is None:
                    spilled.filed = _Filed.of(decode(tile), self.folder)
                spilled.uses -= 1
                mapped = spilled.filed.read()
                if not spilled.uses:
                    spilled.filed.file.close()  # the map has a descriptor of its own
                    with self._lock:
                        del self._spilled[tile.key]
                return mapped

    def _jobs(self, box: Box) -> int:
        count = 1
        for first, last, step in zip(box.start, box.stop, self.job, strict=True):
            count *= -(-last // step) - first // step
        return count
