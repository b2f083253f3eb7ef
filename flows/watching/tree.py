"""A folder as it was seen last, so that a look costs little where nothing changed.

What is seen when, by a run that looks every ten seconds:

- at each look: new, renamed and removed files and folders, by the times of the folder that holds them; and whatever happens
  to a file that is not decided, so that a copy that goes on is never taken for complete;
- within two minutes, by turns: a decided file that was written over in place, or a decided store whose metadata was. Its
  folder's times do not tell.

A folder is listed at each look until its times are known to tell of the next change: two changes within the grain of a file
system's clock (2 s for FAT) have the same time. By which clock its server goes does not matter: the times have to have been
the same for longer than the grain. Where entries come or go and the folder's times do not (as on some FUSE mounts), that is
noticed by turns, and from then on everything on that file system is listed at each look.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from flows.naming import UNFINISHED
from flows.settings import Folder
from flows.watching.look import QUOTED, FolderUnavailable, Look, as_path, as_text, look

log = logging.getLogger("slidemill.scan")

_STORE_METADATA = ("zarr.json", ".zattrs", ".zgroup")
_GRAIN_S = 4.0
_GONE = (errno.ENOENT, errno.ENOTDIR)
"""What is said of an entry that is not there any more. Anything else (rights, a disk that fails) tells nothing of that."""
_EVERY_S = 110.0
"""After this long every file of a folder is looked at again. With the time to the next look that is less than two minutes."""


class _Stamp(NamedTuple):
    """What tells that entries of a folder came or went. The time of change cannot be set back, as copy programs do."""

    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class _Listing:
    """A folder as it was listed. Times by the monotonic clock."""

    stamp: _Stamp
    since: float
    """When it was first seen with this stamp."""
    tells: bool
    """Whether the stamp is old enough to tell of the next change."""
    due: float
    files: Mapping[str, Look]
    folders: frozenset[str]
    entries: int
    """How many entries it has, with those that are passed over."""


@dataclass(slots=True)
class Tree:
    """The files below a folder, kept up to date by `look`. For one thread."""

    seen: dict[str, Look] = field(default_factory=dict[str, Look])
    """By their path below the folder, / between parts, as text."""
    changed: bool = False
    """Whether looks have found anything else than before since somebody set this to False."""
    _listings: dict[str, _Listing] = field(default_factory=dict[str, _Listing], init=False)
    _rule: object = field(default=None, init=False)
    unreadable: set[str] = field(default_factory=set[str], init=False)
    """Files, and folders (their text ends in /), that could not be looked at: whether they are gone, nobody can tell."""
    _silent: set[int] = field(default_factory=set[int], init=False)
    """File systems whose folders do not tell of changes."""

    def look(self, folder: Folder, closed: Collection[str], undecided: Iterable[str] = ()) -> Mapping[str, Look]:
        """Files as they are now: `seen`. `closed` has real paths to stay out of; every undecided file is looked at.

        A Zarr store is one entry, with the look of its metadata. Raises FolderUnavailable.
        """
        root = os.path.realpath(folder.path)  # no link is followed below it: the paths of entries are real, too
        rule = (root, folder.exclude, frozenset(closed))
        if rule != self._rule:
            self.seen, self._listings, self._rule, self.changed = {}, {}, rule, True
        open_files = _by_folder(undecided)
        before, self.unreadable = self.unreadable, set()
        pending, visited = [""], set[str]()
        while pending:
            below = pending.pop()
            directory = f"{root}/{as_path(below)}".rstrip("/") or "/"
            listing = self._visit(_Place(below, directory, folder, closed, self.unreadable), open_files)
            if listing is not None:
                visited.add(below)
                pending.extend(listing.folders)
        for below in self._listings.keys() - visited:
            if not self.hides(below):
                self._forget(below)
        for below in self.unreadable - before:
            log.warning("%s/%s: cannot be looked at; what was in it is not taken for gone", folder.path, below)
        return self.seen

    def hides(self, path: str) -> bool:
        """Whether nobody can tell if a file or folder is still there."""
        return any(path == closed or (closed.endswith("/") and path.startswith(closed)) for closed in self.unreadable)

    def _visit(self, place: _Place, open_files: Mapping[str, Collection[str]]) -> _Listing | None:
        stamp, before, now = _stamp(place), self._listings.get(place.below), time.monotonic()
        if stamp is None or (place.below.endswith(".zarr/") and self._became_store(place)):
            return None
        same = before is not None and before.stamp == stamp
        if before is not None and same and before.tells and stamp.device not in self._silent:
            kept = self._kept(place, before, open_files, now)
            if kept is not None:
                return kept
        since = before.since if before is not None and same else now
        found = _entries(place, before.files if before is not None else {})
        if found is None:
            return None
        files, folders, entries = found
        if before is not None and files == before.files:
            files = before.files
        spread = (1 + crc32(place.below.encode()) / 2**32) / 2  # so that not all of a large tree have their turn at once
        due = now + _EVERY_S * spread
        listing = _Listing(stamp, since, now - since >= _GRAIN_S, due, files, folders, entries)
        if before is not None and same and before.tells:
            self._require_telling(place, before, listing)
        self._note(place.below, before, listing)
        return listing

    def _kept(
        self, place: _Place, before: _Listing, open_files: Mapping[str, Collection[str]], now: float
    ) -> _Listing | None:
        """The listing where it still holds: by what its undecided files look like, or by turns all of them."""
        if now < before.due:
            undecided = open_files.get(place.below, ())
            return before if all(_as_before(place, path, before.files) for path in undecided) else None
        if not _all_as_before(place, before):
            return None
        kept = replace(before, due=now + _EVERY_S)
        self._listings[place.below] = kept
        return kept

    def _became_store(self, place: _Place) -> bool:
        """Whether this was a folder like others and is a store now: then it is an entry of the folder above."""
        store = store_look(Path(place.directory))
        above = _folder_of(place.below[:-1])
        before = self._listings.get(above)
        if store is None or before is None:
            return False
        files = {**before.files, place.below[:-1]: store}
        folders = before.folders - {place.below}
        self._note(above, before, replace(before, files=files, folders=folders))
        return True

    def _require_telling(self, place: _Place, before: _Listing, now: _Listing) -> None:
        same = before.files.keys() == now.files.keys() and before.folders == now.folders
        if not same and _stamp(place) == now.stamp and now.stamp.device not in self._silent:
            log.warning("%s: its times do not tell when files come and go: it is listed at each look", place.directory)
            self._silent.add(now.stamp.device)

    def _note(self, below: str, before: _Listing | None, listing: _Listing) -> None:
        self._listings[below] = listing
        if before is not None and before.files == listing.files:
            return
        self.changed = True
        for path in before.files.keys() - listing.files.keys() if before is not None else ():
            self.seen.pop(path, None)
        self.seen.update(listing.files)

    def _forget(self, below: str) -> None:
        for path in self._listings.pop(below).files:
            self.changed = True
            self.seen.pop(path, None)


class _Place(NamedTuple):
    """A folder below the watched one: `below` is "" or ends in /, as text."""

    below: str
    directory: str
    folder: Folder
    closed: Collection[str]
    unreadable: set[str]


def _by_folder(paths: Iterable[str]) -> Mapping[str, Collection[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(_folder_of(path), []).append(path)
    return found


def _folder_of(path: str) -> str:
    """The folder of a file, as text that ends in /, or "" for the watched one."""
    plain = as_path(path)
    return as_text(plain[: plain.rfind("/") + 1])


def _stamp(place: _Place) -> _Stamp | None:
    """None where it is no folder (any more), or is unreadable. Raises FolderUnavailable for the watched folder."""
    try:
        found = os.lstat(place.directory)
    except OSError as error:
        _refused(place, error)
        return None
    if place.below and not stat.S_ISDIR(found.st_mode):
        return None
    return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _refused(place: _Place, error: OSError) -> None:
    if not place.below:
        raise FolderUnavailable(f"{place.directory}: cannot be listed: {error.strerror or error}") from error
    if error.errno not in _GONE:
        place.unreadable.add(place.below)


def _as_before(place: _Place, path: str, files: Mapping[str, Look]) -> bool:
    """Whether one file looks as it was listed."""
    before = files.get(path)
    name = as_path(path).rpartition("/")[2]
    try:
        found = os.lstat(f"{place.directory}/{name}")
    except OSError:
        return before is None
    if stat.S_ISDIR(found.st_mode):
        return store_look(Path(place.directory, name)) == before
    return before is None or look(found) == before


def _all_as_before(place: _Place, before: _Listing) -> bool:
    """Whether every file looks as it was listed, and nothing came or went."""
    begin, length = f"{place.directory}/", len(place.below)
    try:
        if len(os.listdir(place.directory)) != before.entries:  # noqa: PTH208 - names only, of many thousands
            return False
        for path, known in before.files.items():
            if path.startswith(QUOTED) or path.endswith(".zarr"):
                if not _as_before(place, path, before.files):
                    return False
                continue
            found = os.lstat(begin + path[length:])
            if known != (found.st_size, found.st_mtime_ns, found.st_ino):
                return False
    except OSError:
        return False
    return True


def _entries(place: _Place, before: Mapping[str, Look]) -> tuple[dict[str, Look], frozenset[str], int] | None:
    """(files with their looks, folders, how many entries there are), paths as text. None where it cannot be listed."""
    try:
        with os.scandir(place.directory) as found:
            entries = list(found)
    except OSError as error:
        _refused(place, error)
        return None
    files, folders, plain = dict[str, Look](), set[str](), as_path(place.below)
    for entry in entries:
        path = f"{plain}{entry.name}"
        known = before.get(path)
        if known is None and _passed_over(place.folder, entry.name, path):
            continue
        try:
            if entry.is_file(follow_symlinks=False):
                now = look(entry.stat(follow_symlinks=False))
                files[as_text(path)] = known if known is not None and known == now else now
            elif entry.is_dir(follow_symlinks=False) and entry.path not in place.closed:
                store = store_look(Path(entry.path)) if path.endswith(".zarr") else None
                if store is not None:
                    files[as_text(path)] = store
                else:
                    folders.add(as_text(f"{path}/"))
        except OSError as error:
            if error.errno not in _GONE:
                place.unreadable.add(as_text(path))
                files |= {} if known is None else {as_text(path): known}
    return files, frozenset(folders), len(entries)


def _passed_over(folder: Folder, name: str, path: str) -> bool:
    return name.startswith(".") or name.endswith(UNFINISHED) or any(fnmatch(path, glob) for glob in folder.exclude)


def store_look(folder: Path) -> Look | None:
    """The look of a Zarr store, by its metadata; None where the folder is none."""
    for name in _STORE_METADATA:
        try:
            return look((folder / name).stat())
        except OSError:
            continue
    return None
