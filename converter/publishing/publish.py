"""Publishing: one rename makes a finished stage visible, or replaces an older store; never in place, never half.

What a replacement takes out is looked at once it is out of everybody's reach: the store that was there when the conversion
began is removed, anything else is kept beside the new store, as is that store where somebody wrote into it meanwhile. Only
the rename happens under the caller's fence: syncing the folder, and removing a store of 10^5 files, come after it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from converter.errors import OutputFailed, Refused
from converter.manifest import ROOT_METADATA
from converter.publishing.identity import Identity, identity, written_since
from converter.publishing.stage import LocalStage, failed, short
from converter.publishing.zip_stage import ZipStage
from drivers.location import Location
from drivers.zarrstore.zipped import holds_store

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_ROUNDS = 5


def is_replaceable(place: Path) -> bool:
    """Whether nothing is lost that is no store."""
    if any((place / name).is_file() for name in ROOT_METADATA):
        return True
    if place.is_file():
        return holds_store(place)
    return place.is_dir() and not any(place.iterdir())


@dataclass(slots=True)
class LocalPublishing:
    """From a staged store to its target: `publish` under the caller's fence, then `settle`."""

    stage: LocalStage | ZipStage
    target: Path
    replace: bool
    seen: Identity | None = field(init=False)
    """What lay there when the conversion began: nothing else is removed for it."""
    since: int = field(init=False)
    """When that was, in nanoseconds by the clock of the file system."""

    def __post_init__(self) -> None:
        self.since = self.stage.folder.stat().st_mtime_ns
        self.seen = identity(self.target)

    @property
    def fenced(self) -> bool:
        """False: a rename asks nobody."""
        return False

    @property
    def swaps(self) -> bool:
        """False: the old store is there until the new one is."""
        return False

    def swap(self) -> None:
        """Nothing to be done before `publish`."""

    def publish(self) -> None:
        """Rename the staged store to the target; `settle` makes that last.

        Raises Refused where the target exists (and `replace` is not set, or no store lies there now), OutputFailed.
        """
        for _ in range(_ROUNDS):
            if os.path.lexists(self.target):
                if not self.replace:
                    raise exists_error(self.target)
                if not is_replaceable(self.target):
                    raise no_store(self.target)
                done = self._exchange()
            else:
                done = self._appear()
            if done:
                return
        raise exists_error(self.target)

    def _appear(self) -> bool:
        """False where something is there now."""
        try:
            return _moved(self.stage.store, self.target)
        except OSError as error:
            raise failed(f"{self.target.name}: cannot be published", error) from error

    def _exchange(self) -> bool:
        """The staged store becomes the target, and what lay there lies in the stage. False where nothing is there now."""
        store = self.stage.store
        self.stage.own(identity(store), self.seen, self.since)
        try:
            if _rename(store, self.target, _EXCHANGE):
                return True
            aside = self._aside()
            self.target.rename(aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise failed(f"{self.target.name}: cannot be replaced", error) from error
        try:
            if not _moved(store, self.target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        except OSError as error:
            back = _put_back(aside, self.target)
            what = "cannot be replaced" if back else f"cannot be replaced, and is {aside.name} now"
            raise failed(f"{self.target.name}: {what}", error) from error
        aside.rename(store)
        return True

    def settle(self) -> list[str]:
        """Sync the folder, and keep what was not there when the conversion began; the old store goes with the stage.

        What to tell of it. Raises OutputFailed.
        """
        told = self._keep_others()
        _sync_folder(self.target.parent)
        return told

    def _keep_others(self) -> list[str]:
        old = self.stage.store
        found = identity(old)
        if found is None or (found == self.seen and not written_since(old, self.since)):
            self.stage.settled()
            return []
        try:
            aside = self._aside()
            old.rename(aside)
            self.stage.settled()
        except OSError:
            aside = old
            self.stage.keep()
        return [f"what came to {self.target.name} during the conversion was not removed; it is now {aside}"]

    def _aside(self) -> Path:
        return self.target.with_name(f"{short(self.target.name)}.aside-{uuid4().hex[:8]}")


def publish(stage: LocalStage | ZipStage, target: Path, *, replace: bool) -> None:
    """Publish a staged store over what lies there now. Raises Refused, OutputFailed."""
    publishing = LocalPublishing(stage, target, replace)
    publishing.publish()
    publishing.settle()


def exists_error(target: Location) -> Refused:
    """The refusal of a target that is already there."""
    return Refused(f"{target}: exists already; give --exists replace or skip, or another output")


def no_store(target: Location) -> Refused:
    """The refusal to replace something that is no store."""
    return Refused(f"{target}: is no Zarr store, so it is not replaced; remove it, or give another output")


def _rename(source: Path, target: Path, flags: int) -> bool:
    """renameat2 with flags; False where kernel or file system do not know it. An empty target would be replaced silently
    by a plain rename, hence RENAME_NOREPLACE."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EEXIST):
        return False
    if code == errno.ENOENT and flags == _EXCHANGE:
        raise FileNotFoundError(code, os.strerror(code))
    raise failed(f"{target.name}: cannot be published", OSError(code, os.strerror(code)))


def _moved(store: Path, target: Path) -> bool:
    """A rename that replaces nothing. False where something is there."""
    if _rename(store, target, _NOREPLACE):
        return True
    if os.path.lexists(target):
        return False
    if store.is_file():  # a plain rename would replace a file that came this moment
        try:
            os.link(store, target)
        except FileExistsError:
            return False
        except OSError:
            pass  # file systems without hard links
        else:
            store.unlink()
            return True
    store.rename(target)  # of a folder: fails over all but an empty one
    return True


def _put_back(aside: Path, target: Path) -> bool:
    try:
        return _moved(aside, target)
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise OutputFailed(error.errno, f"{folder}: syncing the folder after publishing failed: {error.strerror}") from error
