"""The stage: where a store is written before anyone can see it, and the list of what was written.

`Stage` is what writers need of one; converter/objects has one in an object store. `LocalStage` lies beside the target on the
same file system, so that publishing is one rename. Every file is hashed while it is written; data files are synced on a
thread of their own, so that the disk works while codecs do.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from converter.errors import OutputFailed
from converter.manifest import Entry
from converter.process import is_gone, this_process
from converter.publishing.identity import Identity, identity, written_since
from drivers.location import Location
from drivers.zarrstore.files import Files, LocalFiles

STAGES = ".stage"
OWNER = "owner.json"
_GOING = "going"
_PENDING = 16
_TRIES = 20
_NAMELESS_S = 60.0
_NAME_BYTES = 100
"""Of the target's name in that of its stage; file systems count bytes, not characters."""
_AT_ONCE = 512  # writev takes at most IOV_MAX (1024) buffers


class Stage(Protocol):
    """A store in the making. `write` may be called from any thread; `discard` it in any case."""

    entries: list[Entry]
    bytes_written: int
    held: dict[str, bytes]
    """Small files of metadata, by path, that are written after all else: a stage left behind half full opens nowhere."""

    @property
    def folder(self) -> Path:
        """A local folder, for what writers keep aside."""
        ...

    @property
    def run(self) -> str:
        """The run's id where the store is to tell it."""
        ...

    @property
    def store(self) -> Location:
        """Where the files lie until they are published."""
        ...

    @property
    def files(self) -> Files:
        """The files written so far, to be read."""
        ...

    def write(self, path: str, parts: Sequence[bytes], *, listed: bool = True, early: bool = True) -> Entry:
        """Write a new file of the store; `listed`: in the manifest; `early`: on its way now. Raises OutputFailed."""
        ...

    def write_root(self, name: str, data: bytes) -> None:
        """Write metadata of the root, which makes it a store."""
        ...

    def sync(self) -> None:
        """Everything written so far is safe when this returns. Raises OutputFailed."""
        ...

    def discard(self) -> None:
        """Remove what was not published."""
        ...


@dataclass(slots=True)
class LocalStage:
    """A store in the making under `folder/store`. `write` may be called from any thread; close it in any case."""

    folder: Path
    entries: list[Entry] = field(default_factory=list[Entry])
    bytes_written: int = 0
    held: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _folders: set[Path] = field(default_factory=set[Path])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pending: queue.Queue[int | None] = field(default_factory=lambda: queue.Queue(_PENDING))
    _failure: OSError | None = None
    """The first sync or close that failed. Disks with quotas and network file systems say of a write that it failed there."""
    _syncer: threading.Thread | None = None
    _kept: bool = False
    _ours: Identity | None = None
    """What was staged, from an exchange until it is settled."""

    @property
    def store(self) -> Path:
        """The folder that becomes the store."""
        return self.folder / "store"

    @property
    def run(self) -> str:
        """None: a rename publishes once or not at all, so that no root needs to tell whose it is."""
        return ""

    @property
    def files(self) -> LocalFiles:
        """The files written so far."""
        return LocalFiles(self.store)

    def write(self, path: str, parts: Sequence[bytes], *, listed: bool = True, early: bool = True) -> Entry:
        """Write a new file of the store. `early`: start syncing it now; else it waits for `sync`.

        Raises OutputFailed; the stage is then good for nothing but throwing away.
        """
        self._raise_failure()
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
                with suppress(OSError):
                    os.close(fd)
                raise
            if early:
                self._sync_early(fd)
            else:
                os.close(fd)
        except OSError as error:
            raise failed(f"{path}: cannot be written", error) from error
        entry = Entry(path, size, digest.hexdigest())
        with self._lock:
            self.bytes_written += size
            if listed:
                self.entries.append(entry)
        return entry

    def write_root(self, name: str, data: bytes) -> None:
        """Write metadata of the root."""
        self.write(name, [data], listed=False, early=False)

    def sync(self) -> None:
        """Everything written so far is on the disk when this returns. Raises OutputFailed; a failed sync is never retried."""
        self._stop_syncer()
        self._raise_failure()
        try:
            _sync_file_system(self.folder)
        except OSError as error:
            raise failed("syncing the output failed", error) from error

    def own(self, ours: Identity | None, old: Identity | None, since: int) -> None:
        """Say before a replacement which stores may be removed with this stage, should this process die in the middle: its
        own, and the old one where nobody wrote into it since. What is exchanged is to be `settled`."""
        try:
            _write_owner(self.folder, {"removable": [ours, old], "since": since})
        except OSError as error:
            raise failed(f"{self.folder}: cannot be written", error) from error
        self._ours = ours

    def settled(self) -> None:
        """What lies in the stage may be removed with it."""
        self._ours = None

    def keep(self) -> None:
        """Something of somebody else's lies in the stage: it is not to be removed."""
        self._kept = True

    def discard(self) -> None:
        """Remove the stage and, when it was the last one, the folder of stages."""
        with suppress(OutputFailed):
            self._stop_syncer()
        if self._kept:
            with suppress(OSError):
                (self.folder / OWNER).unlink()  # without it nobody else removes the stage
            return
        if self._ours is not None and identity(self.store) not in (None, self._ours):
            return  # exchanged, and ended before anybody looked at what was there: whoever collects the stage does
        _remove(self.folder)
        with suppress(OSError):
            self.folder.parent.rmdir()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise failed("syncing the output failed", self._failure)

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
            for finish in (os.fsync, os.close):  # whatever fails, it goes on: writers wait for it
                try:
                    finish(fd)
                except OSError as error:
                    self._failure = self._failure or error

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


def open_stage(target: Path) -> LocalStage:
    """A new, empty stage for `target`. Stages whose process on this machine is gone are removed first."""
    stages = target.parent / STAGES
    folder = stages / f"{short(target.name)}.{uuid4().hex[:12]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        collect(stages)
        _make(folder)
        _write_owner(folder, {})
        (folder / "store").mkdir()
    except OSError as error:
        LocalStage(folder).discard()
        raise failed(f"{target.parent}: no stage can be made there", error) from error
    return LocalStage(folder)


def _write_owner(folder: Path, more: Mapping[str, Any]) -> None:
    # In one step: a stage whose owner is half written would be nobody's for ever.
    new = folder / f"{OWNER}.new"
    new.write_text(json.dumps({**this_process(), **more}))
    new.rename(folder / OWNER)


def _make(folder: Path) -> None:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a conversion that ended just now took the empty folder of stages away
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def collect(stages: Path) -> list[Path]:
    """Remove the stages whose owner ran on this machine and is gone. Returns what was removed."""
    removed: list[Path] = []
    for folder in sorted(stages.glob("*")):
        with suppress(OSError):
            if _abandoned(folder):
                _remove(folder)
                removed.append(folder)
    return removed


def _abandoned(folder: Path) -> bool:
    try:
        facts = json.loads((folder / OWNER).read_text())
        return is_gone(facts) and is_removable(folder, facts)
    except (OSError, ValueError, LookupError, TypeError):
        # Killed before it could say whose it is: nothing but the owner is written to a stage before the owner.
        return not (folder / "store").exists() and time.time() - folder.stat().st_mtime > _NAMELESS_S


def is_removable(stage: Path, facts: Mapping[str, Any]) -> bool:
    """Whether what lies in a stage is its own. Killed while it replaced a store, it may hold what somebody else put there."""
    allowed, since, store = facts.get("removable"), facts.get("since"), stage / "store"
    if allowed is None or not os.path.lexists(store):
        return True
    found = json.loads(json.dumps(identity(store)))
    if found not in allowed:
        return False
    return found == allowed[0] or since is None or not written_since(store, since)


def short(name: str) -> str:
    """As much of a name as leaves room for what makes it unique."""
    return os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")


def _remove(folder: Path) -> None:
    # What was decided holds from here on: a store of which a kill leaves a part would be taken for somebody else's.
    with suppress(OSError):
        (folder / "store").rename(folder / _GOING)
    # The owner goes last, so that what a kill leaves over is still known to be abandoned.
    with suppress(OSError):
        for child in folder.iterdir():
            if child.name != OWNER:
                shutil.rmtree(child, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
