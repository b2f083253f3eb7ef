"""The files of a store by key: the same calls for a folder and for a place behind a URL."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.errors import Incomplete, Unreadable, UnsafePath
from drivers.files import open_source
from drivers.limits import check

MOST_FILES = 4 << 20
_MOST_LINKS = 10_000
"""Links to folders that are followed: folders that link to each other have ways without number."""


class Files(Protocol):
    """Keys are paths below the store, with slashes; "" is the store itself. Safe from any thread; nothing stays open."""

    @property
    def name(self) -> str:
        """Name of the store, for messages."""
        ...

    @property
    def local(self) -> bool:
        """Whether it lies on this machine: a failure to read is then the store's, not that of a server."""
        ...

    def keys(self) -> frozenset[str] | None:
        """Every file; None where the place cannot list. Raises UnsafePath, LimitExceeded or Unreadable."""
        ...

    def folders(self, key: str) -> list[str] | None:
        """Sorted names of the folders in a folder; None where the place cannot list."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of a file; None where it is not there."""
        ...

    def whole(self, key: str, limit: int) -> bytes | None:
        """A file; None where it is not there. Raises LimitExceeded above `limit` bytes, before it is read."""
        ...

    def part(self, key: str, offset: int, count: int) -> bytes:
        """Exactly `count` bytes of a file; raises Damaged where it ends before."""
        ...


def joined(*parts: str) -> str:
    """Keys put together; empty parts are left out."""
    return "/".join(part for part in parts if part)


def last(key: str) -> str:
    """The last part of a key."""
    return key.rpartition("/")[2]


def _require_regular(store: str, key: str, entry: os.DirEntry[str]) -> None:
    """Raises Incomplete for a link to what is not there: the chunk would pass for one that was never stored."""
    if entry.is_symlink() and not os.path.lexists(os.path.realpath(entry.path)):
        raise Incomplete(f"{store}: {key!r} is a link to what is not there; copy the whole store, with the files it links to")
    if not entry.is_file():
        raise UnsafePath(f"{store}: {key!r} is a FIFO, a socket or a device, no regular file: remove it")


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """A folder."""

    root: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.name

    @property
    def local(self) -> bool:
        """It is a folder of this machine."""
        return True

    def keys(self) -> frozenset[str]:
        """Every file, those behind links to folders of the store under the name of the link.

        Raises UnsafePath for links that lead out of the folder and for what is no regular file (to open a FIFO waits for
        ever), Incomplete for links to nothing, LimitExceeded for too many files or links, Unreadable for a folder that
        cannot be listed.
        """
        found: set[str] = set()
        real, links = os.path.realpath(self.root), 0
        folders: list[tuple[str, str, frozenset[str]]] = [("", real, frozenset((real,)))]
        while folders:
            below, home, above = folders.pop()
            for entry in self._entries(below):
                key, linked = joined(below, entry.name), entry.is_symlink()
                place = os.path.realpath(entry.path) if linked else f"{home}/{entry.name}"
                if linked and os.path.commonpath([real, place]) != real:
                    raise UnsafePath(f"{self.name}: {key!r} is a link that leads out of the store: it is not opened")
                if self._is_folder(key, entry):
                    links += linked
                    if place not in above:  # else it leads in a circle
                        folders.append((key, place, above | {place}))
                else:
                    _require_regular(self.name, key, entry)
                    found.add(key)
            check("the number of links to folders", links, _MOST_LINKS)
            check("the number of files", len(found), MOST_FILES)
        return frozenset(found)

    def _is_folder(self, key: str, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnsafePath(f"{self.name}: {key!r} is a link that leads back to itself: remove it") from error
            raise Unreadable(f"{joined(self.name, key)}: cannot be looked at: {error.strerror}") from error

    def _entries(self, below: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / below) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise Unreadable(f"{joined(self.name, below)}: cannot be listed: {error.strerror}") from error

    def folders(self, key: str) -> list[str]:
        """Sorted names of the folders in a folder."""
        folder = self.root / key
        return sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []

    def size(self, key: str) -> int | None:
        """Bytes of a regular file."""
        path = self.root / key
        return path.stat().st_size if path.is_file() else None

    def whole(self, key: str, limit: int) -> bytes | None:
        """A regular file."""
        path = self.root / key
        if not path.is_file():
            return None
        source = open_source(path)
        try:
            check(f"the size of {path.name}", source.size, limit)
            return source.read(0, source.size)
        finally:
            source.close()

    def part(self, key: str, offset: int, count: int) -> bytes:
        """Part of a regular file."""
        source = open_source(self.root / key)
        try:
            return source.read(offset, count)
        finally:
            source.close()
