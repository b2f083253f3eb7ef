"""A picture that comes in rows from the first to the last, decoded once into an unnamed temporary file and read from there
in any order.

For pictures that are shown from the last row to the first, where every step back would decode anew, and for decoders that
keep much more than the rows asked for (progressive JPEG: two bytes a sample for each open decoder).
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from drivers.errors import Unreadable
from drivers.geometry import Box
from drivers.model import Pixels

SIDE = 1024
"""Side of the blocks that are read back."""
_SPARE = 64 << 20


@dataclass(slots=True)
class Spool:
    """Rows decoded so far. One thread decodes while the others that need its rows wait; reading back takes no lock."""

    shape: tuple[int, int, int]
    """(height, width, samples)."""
    dtype: np.dtype[np.generic]
    decode: Callable[[int], Iterator[Pixels]]
    """Blocks (rows, width, samples) from a row to the end; asked again from the last sound row after an error."""
    eager: bool = False
    """Decode all at the first read, so that the decoder is gone before the work on the pixels begins."""
    _file: IO[bytes] | None = None
    _blocks: Iterator[Pixels] | None = None
    _done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, box: Box) -> Pixels:
        """A box of rows and columns, shape (height, width, samples). Raises what `decode` raises; Unreadable."""
        self._decoded(self.shape[0] if self.eager else box.stop.y)
        assert self._file is not None
        # Mapped anew each time: only touched pages count as memory. Not by numpy.memmap, which moves the file's position.
        with mmap.mmap(self._file.fileno(), size_of(self.shape, self.dtype), access=mmap.ACCESS_READ) as mapped:
            return _copied(np.frombuffer(mapped, self.dtype).reshape(self.shape), box)

    def _decoded(self, bottom: int) -> None:
        if self._done >= bottom:
            return
        with self._lock:
            try:
                self._file = self._file or self._begun()
                while self._done < bottom:
                    self._blocks = self._blocks or self.decode(self._done)
                    self._write(self._file, next(self._blocks))
            except BaseException:
                self._blocks = None
                raise

    def _begun(self) -> IO[bytes]:
        with self._room_told():
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the slide is open
            try:
                file.truncate(size_of(self.shape, self.dtype))
            except OSError:
                file.close()
                raise
            return file

    def _write(self, file: IO[bytes], block: Pixels) -> None:
        row = size_of((1, *self.shape[1:]), self.dtype)
        data = memoryview(np.ascontiguousarray(block)).cast("B")
        offset = self._done * row
        with self._room_told():
            while data:
                count = os.pwrite(file.fileno(), data, offset)
                data, offset = data[count:], offset + count
        self._done += len(block)
        if self._done >= self.shape[0]:
            next(self._blocks or iter(()), None)  # lets the decoder go

    @contextmanager
    def _room_told(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            text = f"no place for {size_of(self.shape, self.dtype) >> 20} MiB of decoded pixels in {tempfile.gettempdir()}"
            raise Unreadable(f"{text}: {error.strerror}; set TMPDIR to a folder with more room") from error

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            if self._file is not None:
                self._file.close()


def _copied(mapped: Pixels, box: Box) -> Pixels:
    """A copy of a box; no view of the mapping outlives this call, or it could not be closed."""
    return np.array(mapped[box.start.y : box.stop.y, box.start.x : box.stop.x])


def size_of(shape: tuple[int, int, int], dtype: np.dtype[np.generic]) -> int:
    """Bytes of a picture."""
    return shape[0] * shape[1] * shape[2] * dtype.itemsize


def has_room(size: int) -> bool:
    """Whether the folder of temporary files takes `size` bytes and some to spare."""
    return shutil.disk_usage(tempfile.gettempdir()).free >= size + _SPARE
