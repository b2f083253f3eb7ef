"""The stage: where a store is written before anyone can see it, and the list of what was written.

Lies beside the target on the same file system, so that publishing is one rename. Every file is hashed while it is written;
data files are synced on a thread of their own, so that the disk works while codecs do.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import queue
import shutil
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from converter.errors import OutputFailed

STAGES = ".stage"
OWNER = "owner.json"
_PENDING = 16
_TRIES = 20
_AT_ONCE = 512  # writev takes at most IOV_MAX (1024) buffers


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One written file: path in the store, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(slots=True)
class Stage:
    """A store in the making under `folder/store`. `write` may be called from any thread; close it in any case."""

    folder: Path
    entries: list[Entry] = field(default_factory=list[Entry])
    bytes_written: int = 0
    _folders: set[Path] = field(default_factory=set[Path])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pending: queue.Queue[int | None] = field(default_factory=lambda: queue.Queue(_PENDING))
    _failure: OSError | None = None
    _syncer: threading.Thread | None = None

    @property
    def store(self) -> Path:
        """The folder that becomes the store."""
        return self.folder / "store"

    def write(self, path: str, parts: Sequence[bytes], *, listed: bool = True, early: bool = True) -> Entry:
        """Write a new file of the store. `early`: start syncing it now; else it waits for `sync`.

        Raises OutputFailed; the stage is then good for nothing but throwing away.
        """
        digest, size = hashlib.sha256(), 0
        for part in parts:
            digest.update(part)
            size += len(part)
        target = self.store / path
        try:
            self._make_folder(target.parent)
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                _write_all(fd, parts)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            raise failed(f"{path}: cannot be written", error) from error
        if early:
            self._sync_early(fd)
        else:
            os.close(fd)
        entry = Entry(path, size, digest.hexdigest())
        with self._lock:
            self.bytes_written += size
            if listed:
                self.entries.append(entry)
        return entry

    def sync(self) -> None:
        """Everything written so far is on the disk when this returns. Raises OutputFailed; a failed sync is never retried."""
        self._stop_syncer()
        if self._failure is not None:
            raise failed("syncing the output failed", self._failure)
        try:
            _sync_file_system(self.folder)
        except OSError as error:
            raise failed("syncing the output failed", error) from error

    def discard(self) -> None:
        """Remove the stage and, when it was the last one, the folder of stages."""
        with suppress(OutputFailed):
            self._stop_syncer()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

    def _sync_early(self, fd: int) -> None:
        with self._lock:
            if self._syncer is None:
                self._syncer = threading.Thread(target=self._sync_loop, name="slidemill-sync", daemon=True)
                self._syncer.start()
        self._pending.put(fd)

    def _sync_loop(self) -> None:
        while (fd := self._pending.get()) is not None:
            try:
                os.fsync(fd)
            except OSError as error:
                self._failure = self._failure or error
            finally:
                os.close(fd)

    def _stop_syncer(self) -> None:
        if self._syncer is not None:
            self._pending.put(None)
            self._syncer.join()
            self._syncer = None


def failed(what: str, error: OSError) -> OutputFailed:
    """OutputFailed that keeps the system's reason and errno."""
    wrapped = OutputFailed(f"{what}: {error.strerror or error}; check space and permissions of the output")
    wrapped.errno = error.errno
    return wrapped


def _write_all(fd: int, parts: Sequence[bytes]) -> None:
    for first in range(0, len(parts), _AT_ONCE):
        rest = [memoryview(part) for part in parts[first : first + _AT_ONCE]]
        while rest:
            done = os.writev(fd, rest)
            while rest and done >= len(rest[0]):
                done -= len(rest.pop(0))
            if rest and done:
                rest[0] = rest[0][done:]


def _sync_file_system(folder: Path) -> None:
    # One call instead of an fsync per file: a store without shards has 10^5 of them.
    fd = os.open(folder, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)


def open_stage(target: Path) -> Stage:
    """A new, empty stage for `target`. Stages whose process on this host is gone are removed first."""
    stages = target.parent / STAGES
    folder = stages / f"{target.name[:100]}.{uuid4().hex[:12]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        collect(stages)
        _make(folder / "store")
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": process_start(os.getpid())}
        (folder / OWNER).write_text(json.dumps(owner))
    except OSError as error:
        Stage(folder).discard()
        raise failed(f"{target.parent}: no stage can be made there", error) from error
    return Stage(folder)


def _make(folder: Path) -> None:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a conversion that ended just now took the empty folder of stages away
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def collect(stages: Path) -> list[Path]:
    """Remove the stages whose owner ran on this host and is gone. Returns what was removed."""
    removed: list[Path] = []
    for owner in sorted(stages.glob(f"*/{OWNER}")) if stages.is_dir() else []:
        with suppress(OSError, ValueError, KeyError):
            facts = json.loads(owner.read_text())
            if facts["host"] == socket.gethostname() and process_start(facts["pid"]) != facts["started"]:
                shutil.rmtree(owner.parent)
                removed.append(owner.parent)
    return removed


def process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot, None when there is none: tells a reused pid from the old owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None if Path("/proc/self").exists() else str(pid)
