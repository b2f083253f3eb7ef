"""Files as byte sources: regular files only, positioned reads from any thread, nothing shared but the descriptor."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import finalize

from drivers.errors import Damaged, DriverError, Incomplete, Unreadable, UnsafePath

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ByteSource:
    """An open regular file. `read` is safe from any thread (pread); whoever opened it closes it.

    One that nobody closes is closed when nobody holds it any more: readers of slides come from libraries that need no
    closing, and a loop over a thousand slides would run out of descriptors.
    """

    path: Path
    fd: int
    size: int
    _closing: finalize[[int], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        closing = finalize(self, os.close, self.fd)
        closing.atexit = False  # the system closes what is open at the end, when threads do not read any more
        object.__setattr__(self, "_closing", closing)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes at `offset`; Damaged when the file ends before, Unreadable when the system fails."""
        if offset < 0 or offset + count > self.size:
            raise Damaged(
                f"{self.path.name}: {count} bytes at offset {offset} reach past the end of the file ({self.size}): "
                "it is truncated; copy it again"
            )
        try:
            data = os.pread(self.fd, count, offset)
            while len(data) < count:  # a network file system may answer in parts
                more = os.pread(self.fd, count - len(data), offset + len(data))
                if not more:
                    raise Damaged(f"{self.path.name}: became shorter while it was read; let its writer finish first")
                data += more
        except OSError as error:
            if isinstance(error, Damaged):
                raise
            raise Unreadable(f"{self.path.name}: reading {count} bytes at {offset} failed: {error.strerror}") from error
        return data

    def close(self) -> None:
        """Close the descriptor, once."""
        self._closing()


def open_source(path: Path) -> ByteSource:
    """Open a regular file for reading.

    The check comes before any library sees the path, and the open never blocks: a FIFO named x.svs hangs tifffile and
    OpenSlide for ever. Raises Incomplete (absent), UnsafePath (not a regular file), Unreadable.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Incomplete(f"{path.name}: no such file; check the path") from error
    except ValueError as error:
        raise UnsafePath(f"{path.name}: is no path: {error}") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # what Linux says of a socket
            raise UnsafePath(f"{path.name}: is not a regular file (a socket or a device); give a file") from error
        raise Unreadable(f"{path.name}: cannot be opened: {error.strerror}; check its permissions") from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise UnsafePath(f"{path.name}: is not a regular file ({_kind(info.st_mode)}); give a file")
    return ByteSource(path, fd, info.st_size)


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file, at most HEAD_BYTES."""
    source = open_source(path)
    try:
        return source.read(0, min(HEAD_BYTES, source.size))
    finally:
        source.close()


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a device" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else "a special file"


@contextmanager
def closed_on_error(path: Path, close: Callable[[], None]) -> Generator[None]:
    """Around the opening of a slide: an error closes what is open already, and a DriverError names the slide."""
    try:
        yield
    except DriverError as error:
        close()
        if error.args and str(error.args[0]).startswith(path.name):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    except BaseException:
        close()
        raise
