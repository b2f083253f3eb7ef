"""Whether a store that is not there was removed, or its disk is merely not mounted: nothing is made anew for the latter.

The inode of the folder of outputs is noted once a store was written into it.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, Engine

from flows.ledger import inodes
from flows.ledger.checks import Finding, Wrong
from flows.ledger.database import writing
from flows.ledger.rows import SlideRow
from flows.settings import Settings


def root_of(settings: Settings, folder: str, output: str) -> Path:
    """The folder of outputs that a local store lies in: that of the settings, or the one above the store."""
    watched = settings.folder(folder)
    if watched is not None and "://" not in watched.output and Path(output).is_relative_to(watched.output):
        return Path(watched.output)
    return Path(output).parent


def missing(connection: Connection, root: Path, output: str) -> Finding:
    """What to say of a local store that is not there: gone, or unknown where its folder is not the one it was written in."""
    if not root.is_dir():
        return Finding(Wrong.UNKNOWN, f"{root} is not there: is it mounted?")
    place = _place(root)
    if inodes.is_other(connection, place):
        return Finding(Wrong.UNKNOWN, f"{root} is another folder than the one it was written in: is it mounted?")
    known = inodes.noted(connection, place) is not None
    if not known and not Path(output).parent.is_dir():
        return Finding(Wrong.UNKNOWN, f"{Path(output).parent} is not there: is it mounted?")
    if not known and not any(not path.name.startswith(".") for path in root.iterdir()):
        return Finding(Wrong.UNKNOWN, f"{root} is empty: is it mounted?")
    return Finding(Wrong.GONE, "it is not there any more")


def stands(engine: Engine, settings: Settings, row: SlideRow) -> bool:
    """Whether a store that was made counts as being there: one that was removed does not, one that cannot be told does."""
    if row.output is None or "://" in row.output or os.path.lexists(row.output):
        return True
    with engine.connect() as connection:
        return missing(connection, root_of(settings, row.folder, row.output), row.output).wrong != Wrong.GONE


def first_seen(engine: Engine, root: Path) -> None:
    """Note the folder of outputs, a store of which was just written, where nothing is noted of it yet."""
    with engine.connect() as connection:
        known = inodes.noted(connection, _place(root)) is not None
    if not known:
        seen(engine, root)


def seen(engine: Engine, root: Path) -> None:
    """Note the folder of outputs as it is now: its stores are there."""
    place = _place(root)
    with engine.connect() as connection:
        is_as_noted = inodes.noted(connection, place) == place.inode
    if not is_as_noted:
        with writing(engine) as connection:
            inodes.note(connection, place)


def _place(root: Path) -> inodes.Place:
    return inodes.place("place", os.fsencode(root), root)
