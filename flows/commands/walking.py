"""What lies below a folder that a command line names: regular files and Zarr stores. Nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from drivers.errors import Unreadable
from flows.naming import UNFINISHED

_STORE = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs"})


@dataclass(frozen=True, slots=True)
class Choice:
    """Which files of a folder are wanted, and how it is walked."""

    pattern: tuple[str, ...] = ("*",)
    """Globs on names; what none of them matches is left alone."""
    exclude: tuple[str, ...] = ()
    """Globs on paths below the folder, or on names; an excluded folder is not entered."""
    links: bool = False
    """Whether links are followed; a folder is entered once, however many links lead to it."""
    out: str | None = None
    """Real path of the output, which is not entered."""
    found: Callable[[int], None] = lambda _count: None
    """Told how many files were seen, now and then."""

    def wants(self, name: str) -> bool:
        """Whether a file of this name is wanted."""
        return any(fnmatchcase(name, glob) for glob in self.pattern)

    def is_within(self, folder: Path) -> bool:
        """Whether the output lies in the folder, or the folder in it: stores that are found may then be outputs."""
        if self.out is None:
            return False
        return os.path.commonpath([self.out, real := os.path.realpath(folder)]) in (self.out, real)

    def leaves(self, name: str, path: str) -> bool:
        """Whether what lies at `path` below the folder is excluded."""
        return any(fnmatchcase(path, glob.rstrip("/")) or fnmatchcase(name, glob.rstrip("/")) for glob in self.exclude)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a store, `below` the folder (/ between parts). Of a store, bytes are not known."""

    path: Path
    below: str
    bytes: int | None


@dataclass(slots=True)
class Walk:
    """One walk; `faults` and `unfollowed` are complete when `entries` is at its end."""

    root: Path
    choice: Choice
    faults: list[tuple[Path, Unreadable]] = field(default_factory=list[tuple[Path, Unreadable]])
    """Folders that could not be listed."""
    unfollowed: int = 0
    """Links that were not followed."""
    _entered: set[str] = field(default_factory=set[str])
    _pending: list[tuple[Path, str, str]] = field(default_factory=list[tuple[Path, str, str]])
    """Folders to be looked into: each with its path below the root and its real one."""
    _seen: int = 0

    def entries(self) -> Iterator[Entry]:
        """Every file that is visible and finished, and every store; in no order."""
        self._pending.append((self.root, "", os.path.realpath(self.root)))
        while self._pending:
            folder, below, real = self._pending.pop()
            if real in self._entered:
                continue
            self._entered.add(real)
            for entry in self._listed(folder):
                path = f"{below}{entry.name}"
                if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or self.choice.leaves(entry.name, path):
                    continue
                yield from self._entry(entry, path, real)

    def _entry(self, entry: os.DirEntry[str], path: str, real: str) -> Iterator[Entry]:
        links = self.choice.links
        try:
            if entry.is_symlink() and not links:
                self.unfollowed += 1
            elif entry.is_file(follow_symlinks=links):
                self._count()
                if self._first(entry):
                    yield Entry(Path(entry.path), path, entry.stat().st_size)
            elif entry.is_dir(follow_symlinks=links):
                inside = os.path.realpath(entry.path) if entry.is_symlink() else f"{real.rstrip('/')}/{entry.name}"
                yield from self._folder(Path(entry.path), path, inside)
        except FileNotFoundError:
            pass  # it went away
        except OSError as error:
            if entry.is_symlink():  # it leads in a circle
                self.unfollowed += 1
            else:
                self._fault(Path(entry.path), error)

    def _folder(self, folder: Path, path: str, real: str) -> Iterator[Entry]:
        if real == self.choice.out or real in self._entered:
            return
        if is_store(folder):
            self._entered.add(real)
            yield Entry(folder, path, None)
        else:
            self._pending.append((folder, f"{path}/", real))

    def _fault(self, path: Path, error: OSError) -> None:
        self.faults.append((path, Unreadable(f"{path.name}: cannot be listed: {error.strerror or error}")))

    def _first(self, entry: os.DirEntry[str]) -> bool:
        """Whether the file was not met under another name; only links can lead to one twice."""
        if not self.choice.links:
            return True
        real = os.path.realpath(entry.path)
        if real in self._entered:
            return False
        self._entered.add(real)
        return True

    def _count(self) -> None:
        self._seen += 1
        if self._seen % 100 == 0:
            self.choice.found(self._seen)

    def _listed(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as found:
                return list(found)
        except OSError as error:
            self._fault(folder, error)
            return []


def is_folder(place: Path) -> bool:
    """Whether there is a folder; False for what cannot be looked at, which whoever uses it tells of."""
    try:
        return place.is_dir()
    except (OSError, ValueError):
        return False


def is_store(folder: str | Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in _STORE)  # noqa: PTH118 - a scan of many folders
