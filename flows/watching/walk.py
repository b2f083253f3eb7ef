"""What lies in a watched folder: regular files with size, time and inode; links are not followed, nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from converter.errors import ConverterError
from flows.settings import Folder

_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".swp", "~")
"""Endings that copy programs give to what they still write."""
_BYTES = "%bytes:"
_STORE_METADATA = ("zarr.json", ".zattrs", ".zgroup")


class FolderUnavailable(ConverterError, OSError):
    """A watched folder cannot be listed."""

    kind = "unreadable"
    retryable = True


class Look(NamedTuple):
    """A file as it looked: bytes, modification time in ns, inode."""

    size: int
    mtime_ns: int
    inode: int


def look(stat: os.stat_result) -> Look:
    """The look of a file from its stat. Databases know no unsigned inode numbers."""
    return Look(stat.st_size, stat.st_mtime_ns, stat.st_ino & (2**63 - 1))


def as_text(path: str) -> str:
    """A path as a database can hold it: one that is no UTF-8 is quoted."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return _BYTES + quote_from_bytes(os.fsencode(path))
    return _BYTES + quote_from_bytes(path.encode()) if path.startswith(_BYTES) else path


def as_path(text: str) -> str:
    """The path that `as_text` made a text of."""
    return os.fsdecode(unquote_to_bytes(text[len(_BYTES) :])) if text.startswith(_BYTES) else text


def walk(folder: Folder, outside: Sequence[Path]) -> Mapping[str, Look]:
    """Files below a folder by their path below it, / between parts, as text. `outside` lists folders to stay out of.

    A Zarr store is one entry, with the look of its metadata. Raises FolderUnavailable.
    """
    closed = {os.path.realpath(path) for path in outside}
    return {as_text(path): found for path, found in _entries(folder, closed)}


def _entries(folder: Folder, closed: set[str]) -> Iterator[tuple[str, Look]]:
    pending = [("", os.path.realpath(folder.path))]  # no link is followed below it: the paths of entries are real, too
    while pending:
        below, directory = pending.pop()
        for entry in _listed(directory, must=not below):
            path = f"{below}{entry.name}"
            if _passed_over(folder, entry.name, path):
                continue
            with suppress(OSError):  # gone since it was listed
                if entry.is_file(follow_symlinks=False):
                    yield path, look(entry.stat(follow_symlinks=False))
                elif entry.is_dir(follow_symlinks=False) and entry.path not in closed:
                    store = _store(Path(entry.path)) if path.endswith(".zarr") else None
                    if store is not None:
                        yield path, store
                    else:
                        pending.append((f"{path}/", entry.path))


def _listed(directory: str, *, must: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError as error:
        if must:
            raise FolderUnavailable(f"{directory}: cannot be listed: {error.strerror or error}") from error
        return []  # went away, or may not be read: the rest of the folder is still looked at


def _passed_over(folder: Folder, name: str, path: str) -> bool:
    return name.startswith(".") or name.endswith(_UNFINISHED) or any(fnmatch(path, glob) for glob in folder.exclude)


def _store(folder: Path) -> Look | None:
    for name in _STORE_METADATA:
        with suppress(OSError):
            return look((folder / name).stat())
    return None
