"""Every file below a watched folder, those too that the service passes over, each with the reason. By the rules of
`flows.watching.tree`, which only keeps what is looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from flows.naming import UNFINISHED
from flows.settings import Folder, Settings
from flows.watching.look import FolderUnavailable, as_text
from flows.watching.tree import store_look

_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a folder that cannot be listed: its path ends in /. Paths below the watched folder, as they are."""

    path: str
    unit: str
    """What the ledger would know it by: itself, or the Zarr store that it lies in."""
    stat: os.stat_result | None
    excluded: str | None = None
    unreadable: str | None = None


class _Place(NamedTuple):
    """A folder: its path below, "" or with / at its end, why nothing in it is looked at, and the store that it is part of."""

    below: str
    why: str | None = None
    store: str | None = None


def census(settings: Settings, folder: Folder) -> Iterator[Entry]:
    """All entries but folders, in no order of theirs; no link is followed. Raises FolderUnavailable."""
    root, closed = os.path.realpath(folder.path), _closed(settings)
    pending = [_Place("")]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(f"{root}/{place.below}") as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if not place.below:
                raise FolderUnavailable(f"{root}: cannot be listed: {error.strerror or error}") from error
            if not isinstance(error, FileNotFoundError):
                yield Entry(place.below, place.below, None, unreadable=f"cannot be listed: {error.strerror or error}")
            continue
        for entry in entries:
            if _is_folder(entry):
                pending.append(_folder(folder, closed, place, entry))
            elif (one := _file(folder, place, entry)) is not None:
                yield one


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # it cannot be looked at: so it is told as a file is


def _folder(folder: Folder, closed: Mapping[str, str], place: _Place, entry: os.DirEntry[str]) -> _Place:
    path = f"{place.below}{entry.name}"
    if place.why is not None or place.store is not None:
        return place._replace(below=f"{path}/")
    why = closed.get(entry.path) or passed_over(folder, entry.name, path)
    store = path if why is None and path.endswith(".zarr") and store_look(Path(entry.path)) is not None else None
    return _Place(f"{path}/", None if why is None else f"lies in {as_text(path)}: {why}", store)


def _file(folder: Folder, place: _Place, entry: os.DirEntry[str]) -> Entry | None:
    """None where it went away meanwhile."""
    path = f"{place.below}{entry.name}"
    unit = place.store or path
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Entry(path, unit, None, unreadable=error.strerror or str(error))
    why = place.why
    if why is None and stat.S_ISLNK(found.st_mode):
        why = "a symbolic link: none is followed"
    elif why is None and not stat.S_ISREG(found.st_mode):
        why = f"no regular file but {_KINDS.get(stat.S_IFMT(found.st_mode), 'something special')}"
    elif why is None and place.store is None:
        why = passed_over(folder, entry.name, path)
    return Entry(path, unit, found, excluded=why)


def passed_over(folder: Folder, name: str, path: str) -> str | None:
    """Why a file or folder is not looked at, by its name; None where it is."""
    if name.startswith("."):
        return "hidden"
    ending = next((ending for ending in UNFINISHED if name.endswith(ending)), None)
    if ending is not None:
        return f"named as what is still being copied is (*{ending})"
    glob = next((glob for glob in folder.exclude if fnmatch(path, glob)), None)
    return None if glob is None else f"exclude = {glob}"


def _closed(settings: Settings) -> dict[str, str]:
    """Real paths of folders that are not entered, each with the reason."""
    found = {os.path.realpath(settings.state): "the service's own state"}
    for folder in settings.folders:
        if folder.move_to is not None:
            found[os.path.realpath(folder.move_to)] = f"originals of {folder.name} are put away there"
        if "://" not in folder.output:
            found[os.path.realpath(folder.output)] = f"the output of {folder.name}"
    return found
