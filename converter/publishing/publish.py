"""Publishing: one rename makes a finished stage visible, or replaces an older store; never in place, never half."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from converter.errors import OutputFailed, Refused
from converter.publishing.stage import LocalStage, failed
from converter.publishing.zip_stage import ZipStage
from drivers.location import Location

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2


def publish(stage: LocalStage | ZipStage, target: Path, *, replace: bool) -> None:
    """Rename the staged store to `target` and sync its folder.

    Raises Refused when the target exists (and `replace` is not set), OutputFailed. The old store of a replacement is
    swapped out in one step where the file system can, and removed afterwards.
    """
    exists = os.path.lexists(target)
    if exists and not replace:
        raise exists_error(target)
    if exists:
        _exchange(stage.store, target)
    elif not _rename(stage.store, target, _NOREPLACE):
        if os.path.lexists(target):
            raise exists_error(target)
        try:
            stage.store.rename(target)
        except OSError as error:
            raise failed(f"{target.name}: cannot be published", error) from error
    _sync_folder(target.parent)


def exists_error(target: Location) -> Refused:
    """The refusal of a target that is already there."""
    return Refused(f"{target}: exists already; give --exists replace or skip, or another output")


def _exchange(store: Path, target: Path) -> None:
    if _rename(store, target, _EXCHANGE):
        shutil.rmtree(store, ignore_errors=True)
        return
    aside = store.with_name("replaced")
    try:
        target.rename(aside)
        try:
            store.rename(target)
        except OSError:
            aside.rename(target)
            raise
    except OSError as error:
        raise failed(f"{target.name}: cannot be replaced", error) from error
    shutil.rmtree(aside, ignore_errors=True)


def _rename(source: Path, target: Path, flags: int) -> bool:
    """renameat2 with flags; False where kernel or file system do not know it. An empty target would be replaced silently
    by a plain rename, hence RENAME_NOREPLACE."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EEXIST):
        return False
    raise failed(f"{target.name}: cannot be published", OSError(code, os.strerror(code)))


def _sync_folder(folder: Path) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise OutputFailed(error.errno, f"{folder}: syncing the folder after publishing failed: {error.strerror}") from error
