"""Which store lies somewhere, and whether somebody wrote into it: what is told before anything is removed."""

from __future__ import annotations

import os
from pathlib import Path

from converter.manifest import ROOT_METADATA

Identity = tuple[object, ...]
"""What tells a store from another of its name: device, inode, and inode, size and time of its root's metadata."""


def identity(place: Path) -> Identity | None:
    """Who lies there; None where nothing does."""
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    roots = [_version(place / name) for name in ROOT_METADATA]
    # A folder that is no store, and a store in one file, are others when they change.
    return (found.st_dev, found.st_ino, *roots, None if any(roots) else (found.st_size, found.st_mtime_ns))


def _version(file: Path) -> Identity | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def written_since(place: Path, moment_ns: int) -> bool:
    """Whether anything below a folder, or the folder itself, was written after a moment by its file system's clock; also
    where that cannot be told. Links are not followed."""
    try:
        if place.lstat().st_mtime_ns > moment_ns:
            return True
        if place.is_symlink() or not place.is_dir():
            return False
        with os.scandir(place) as entries:
            found = list(entries)
        folders = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        files = (entry for entry in found if not entry.is_dir(follow_symlinks=False))
        if any(entry.stat(follow_symlinks=False).st_mtime_ns > moment_ns for entry in files):
            return True
    except OSError:
        return True
    return any(written_since(Path(folder), moment_ns) for folder in folders)
