"""Which folder a place was, by its inode: the empty place of an unmounted share looks like a folder that was emptied.

Not by its device: that of a network share is another one after each mount.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from flows.ledger.database import clock
from flows.ledger.rows import mark, marked


class Place(NamedTuple):
    """A folder, and the name under which the ledger knows which one it was."""

    name: str
    path: Path

    @property
    def inode(self) -> int:
        """Of what is there now. Raises OSError."""
        return self.path.stat().st_ino


def place(kind: str, of: bytes, path: Path) -> Place:
    """`of`: what tells it from others of its kind, however long."""
    return Place(f"{kind}-{hashlib.sha256(of).hexdigest()[:32]}", path)


def noted(connection: Connection, where: Place) -> int | None:
    """The inode that it had."""
    found = marked(connection, where.name)
    inode = (found[1] or {}).get("inode") if found is not None else None
    return inode if isinstance(inode, int) else None


def is_other(connection: Connection, where: Place) -> bool:
    """Whether it is known to have been another folder. Raises OSError."""
    was = noted(connection, where)
    return was is not None and was != where.inode


def note(connection: Connection, where: Place) -> None:
    """Note the folder as it is now, in a transaction that writes. Raises OSError."""
    inode = where.inode
    if noted(connection, where) != inode:
        mark(connection, where.name, clock(connection), {"inode": inode, "path": str(where.path)})
