"""The pace of a share: all threads and processes of this machine that read or write there book what they did, one after the
other, in a small file, and wait until their turn is over.

A booking is a time: that until which the share is busy, by the clock that all processes of a boot have in common. Each one
begins where the one before ends, so that the sum is limited, whatever the order, and nobody has to be asked. What a process
that was killed had booked, it had read.

Machines know nothing of each other's files: each takes its part of the limit (`flows.service.paces`).
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
import struct
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from converter.errors import Cancelled
from converter.process import machine, monotonic
from flows.share import Share

log = logging.getLogger("slidemill.pace")

_TIME = struct.Struct("<d")
_MEMORY = Path("/dev/shm")
"""One for all services of a machine, also those with a /tmp of their own; empty after a boot."""
_LEAST_S = 0.05
"""Less than this is booked together with what follows: a small tile is not worth a lock."""
_MOST_S = 86400.0
"""No booking is longer: what says so is not one of ours."""


@dataclass(slots=True)
class Pace:
    """The limit of one share, for the threads of one process. `stop` ends every wait with Cancelled."""

    share: Share
    stop: threading.Event = field(default_factory=threading.Event)
    machines: int = 1
    """How many machines read and write there now; each takes an equal part."""
    spent: int = 0
    """Bytes so far."""
    waiting: int = 0
    """How many threads wait now."""
    _owed: int = 0
    _until: float = 0.0
    """Where the file cannot be had: the time until which this process has kept the share busy."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, count: int) -> None:
        """Book bytes that were read or written, and wait until they are within the limit. Raises Cancelled."""
        with self._lock:
            self.spent += count
            self._owed += count
            if self._owed < _LEAST_S * self._rate:
                return
            owed, self._owed = self._owed, 0
            self.waiting += 1
        try:
            self._wait(self.book(owed))
        finally:
            with self._lock:
                self.waiting -= 1

    def busy_s(self) -> float:
        """For how many seconds the share is busy with what was booked."""
        return max(0.0, self.book(0) - monotonic())

    @property
    def _rate(self) -> float:
        return self.share.mb_per_second * 1e6 / self.machines

    def _wait(self, until: float) -> None:
        while (left := until - monotonic()) > 0:
            if self.stop.wait(left):
                raise Cancelled("the conversion was interrupted")

    def book(self, count: int) -> float:
        """Note bytes that were read, and go on. Returns until when the share is busy with them and all before."""
        took = count / self._rate
        try:
            with open(_file(self.share), "r+b", buffering=0, opener=_opened) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                until = _after(file.read(_TIME.size)) + took
                file.seek(0)
                file.write(_TIME.pack(until))
                return until
        except OSError as error:
            why = error.strerror or error
        with self._lock:
            if not self._until:  # told once
                log.warning("%s: bytes are counted for this process alone: %s", self.share.path[0], why)
            self._until = max(self._until, monotonic()) + took
            return self._until


def _after(stored: bytes) -> float:
    """The end of what was booked before, now at the earliest."""
    now = monotonic()
    until = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else now
    return until if math.isfinite(until) and now < until < now + _MOST_S else now


def _file(share: Share) -> Path:
    """The file of a share. In a folder that is this user's alone. Raises OSError."""
    root = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    folder = root / f"slidemill-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
        raise PermissionError(f"{folder}: belongs to another user")
    names = "\n".join([machine(), *sorted(path if "://" in path else os.path.realpath(path) for path in share.path)])
    return folder / f"share-{hashlib.sha256(os.fsencode(names)).hexdigest()[:24]}"


def _opened(name: str, _flags: int) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
