"""What every file below a watched folder is, and what became of it: none is left out, none is named twice.

The files are those that are there now; what is said of them is the ledger's. Pages of files are asked for together, so that
memory stays small whatever the folder holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from itertools import batched
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection, Engine, select

from flows.ledger.database import clock
from flows.ledger.rows import SlideRow, as_slide
from flows.ledger.tables import NOT_A_SLIDE, State, files, slides
from flows.settings import Folder, Settings
from flows.watching.census import Entry, census
from flows.watching.compare import Known, quiet
from flows.watching.look import Look, as_path, as_text, look

_PAGE = 400
_Told = tuple["Role", SlideRow | None, str | None]


class Role(StrEnum):
    """What a file is to the service."""

    SLIDE = "slide"
    """A slide, or one of the files in a folder that is one."""
    COMPANION = "companion"
    """Belongs to a slide that bears the name of another file."""
    UNKNOWN = "unknown"
    """Was looked at, and is no slide and part of none."""
    EXCLUDED = "excluded"
    """Is never looked at."""
    WAITING = "waiting"
    """Not decided yet."""
    UNREADABLE = "unreadable"
    """A file or a folder that cannot be looked at."""
    GONE = "gone"
    """Is not there any more; only where somebody asks for these."""


@dataclass(frozen=True, slots=True)
class Account:
    """One file. `path` is below the folder, as text; that of a folder that cannot be listed ends in /."""

    folder: str
    path: str
    role: Role
    size: int | None = None
    mtime: float | None = None
    """Seconds since the epoch."""
    slide: SlideRow | None = None
    """The slide that the file is, or belongs to."""
    reason: str | None = None


def accounts(engine: Engine, settings: Settings, folder: Folder) -> Iterator[Account]:
    """Every file that is below the folder now. Raises FolderUnavailable."""
    for page in batched(census(settings, folder), _PAGE):
        with engine.connect() as connection:
            ledger = _read(connection, folder, page)
        for entry in page:
            yield _account(folder, entry, ledger)


def gone(engine: Engine, folder: Folder) -> Iterator[Account]:
    """Slides of the ledger, each as it was last, whose file or folder is not there: moved, renamed or removed."""
    c, after = slides.c, ""
    while True:
        query = select(slides).where(c.folder == folder.name, c.path > after).order_by(c.path, c.generation).limit(_PAGE)
        with engine.connect() as connection:
            rows = [as_slide(row) for row in connection.execute(query)]
            newest = select(slides).where(c.folder == folder.name, c.path == (rows[-1].path if rows else ""))
            last = {row.path: row for row in (*rows, *map(as_slide, connection.execute(newest.order_by(c.generation))))}
        if not rows:
            return
        after = rows[-1].path
        for path, row in last.items():
            if not os.path.lexists(folder.path / as_path(path)):
                yield Account(folder.name, path, Role.GONE, row.bytes, None, row, row.reason)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the ledger says of a page of files, by path."""

    known: Mapping[str, Known]
    owners: Mapping[str, SlideRow]
    """By id."""
    waiting: Mapping[str, SlideRow]
    outputs: frozenset[str]
    now: float


def _read(connection: Connection, folder: Folder, page: tuple[Entry, ...]) -> _Ledger:
    names = sorted({as_text(entry.unit) for entry in page})
    parents = {as_text(parent) for entry in page if (parent := entry.unit.rpartition("/")[0])}
    f, c = files.c, slides.c
    query = select(f.path, f.size, f.mtime_ns, f.inode, f.since, f.looks, f.slide)
    found = connection.execute(query.where(f.folder == folder.name, f.path.in_(names))).tuples()
    known = {path: Known(Look(size, mtime, inode), since, n, slide) for path, size, mtime, inode, since, n, slide in found}
    ids = sorted({one.slide for one in known.values() if one.slide})
    owners = {row.id: as_slide(row) for row in connection.execute(select(slides).where(c.id.in_(ids)))}
    here = (c.folder == folder.name, c.state == State.WAITING, c.path.in_([*names, *sorted(parents)]))
    waiting = {row.path: as_slide(row) for row in connection.execute(select(slides).where(*here))}
    stores = [f"{folder.path}/{name}" for name in names if name.endswith(".zarr")]
    outputs = connection.execute(select(c.output).where(c.output.in_(stores))).scalars()
    return _Ledger(known, owners, waiting, frozenset(filter(None, outputs)), clock(connection))


def _account(folder: Folder, entry: Entry, ledger: _Ledger) -> Account:
    role, slide, reason = _told(folder, entry, ledger)
    size, mtime = (None, None) if entry.stat is None else (entry.stat.st_size, entry.stat.st_mtime)
    return Account(folder.name, as_text(entry.path), role, size, mtime, slide, reason)


def _told(folder: Folder, entry: Entry, ledger: _Ledger) -> _Told:
    if entry.unreadable is not None:
        return Role.UNREADABLE, None, entry.unreadable
    if entry.excluded is not None:
        return Role.EXCLUDED, None, entry.excluded
    known = ledger.known.get(as_text(entry.unit))
    owner = ledger.owners.get(known.slide) if known is not None and known.slide else None
    if known is not None and owner is not None:
        return _owned(entry, known, owner)
    unwanted = _unwanted(folder, entry)
    if unwanted is not None:
        return Role.EXCLUDED, None, unwanted
    if known is not None and known.slide == NOT_A_SLIDE:
        return _no_slide(folder, entry, ledger)
    return _undecided(folder, entry, known, ledger)


def _no_slide(folder: Folder, entry: Entry, ledger: _Ledger) -> _Told:
    if f"{folder.path}/{as_text(entry.unit)}" in ledger.outputs:
        return Role.EXCLUDED, None, "a store that the service made"
    return Role.UNKNOWN, None, "no driver knows it, and no slide names it"


def _undecided(folder: Folder, entry: Entry, known: Known | None, ledger: _Ledger) -> _Told:
    waiting = ledger.waiting.get(as_text(entry.unit)) or ledger.waiting.get(as_text(entry.unit.rpartition("/")[0]))
    if waiting is not None:
        return Role.UNREADABLE if waiting.kind == "unreadable" else Role.WAITING, waiting, waiting.reason
    if not os.access(folder.path / entry.path, os.R_OK):
        return Role.UNREADABLE, None, "this user may not read it"
    return Role.WAITING, None, _not_yet(folder, entry, known, ledger.now)


def _owned(entry: Entry, known: Known, owner: SlideRow) -> _Told:
    if entry.unit == entry.path and entry.stat is not None and look(entry.stat) != known.look:
        return Role.WAITING, owner, "changed since somebody last looked"
    path = as_path(owner.path)
    own = entry.unit == path or entry.unit.startswith(f"{path}/")
    reason = owner.reason if owner.kind is None else f"{owner.kind}: {owner.reason}"
    return Role.SLIDE if own else Role.COMPANION, owner, reason


def _unwanted(folder: Folder, entry: Entry) -> str | None:
    name = PurePosixPath(entry.unit).name
    if folder.marker is not None and fnmatch(name, folder.marker.format(name="*", stem="*")):
        return "a marker, which says that a slide is complete"
    return None if any(fnmatch(name, glob) for glob in folder.pattern) else "its name fits no pattern of the folder"


def _not_yet(folder: Folder, entry: Entry, known: Known | None, now: float) -> str:
    if known is None:
        return "nobody has looked since it came"
    source = PurePosixPath(entry.unit)
    if folder.marker is not None:
        marker = folder.marker.format(name=source.name, stem=source.stem)
        if not os.path.lexists(Path(folder.path, source.parent, marker)):
            return f"{as_text(marker)} is still to come"
    elif not quiet(known, now, folder.quiet_seconds):
        return f"is taken once it has stayed the same for {folder.quiet_seconds:g} s"
    return "is asked about next, or belongs to a slide that is not complete yet"
