"""Whether a watched folder is the one that it was, or merely the empty place of a share that is not mounted.

Such a place looks like a folder that somebody emptied, but for its inode. So the inode of a watched folder is noted while
files are in it. (Not its device: that of a network share is another one after each mount.)
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import Connection

from flows.ledger.database import clock
from flows.ledger.rows import mark, marked


def is_other(connection: Connection, folder: str, root: Path) -> bool:
    """Whether the place of a watched folder is known to be another one than that which files were seen in. Raises OSError."""
    noted = _noted(connection, folder)
    return noted is not None and noted != root.stat().st_ino


def note(connection: Connection, folder: str, root: Path) -> None:
    """Note the folder as it is now, in a transaction that writes: files are in it. Raises OSError."""
    inode = root.stat().st_ino
    if _noted(connection, folder) != inode:
        mark(connection, _name(folder), clock(connection), {"inode": inode})


def away(connection: Connection, folder: str, root: Path) -> str | None:
    """Why what was in a watched folder cannot be told to be gone; None where it can."""
    try:
        if any(root.iterdir()) or not is_other(connection, folder, root):
            return None
    except OSError as error:
        return f"{root}: cannot be listed: {error.strerror or error}"
    return f"{root}: is empty, and not the folder that files were seen in: is it mounted?"


def _noted(connection: Connection, folder: str) -> int | None:
    found = marked(connection, _name(folder))
    inode = (found[1] or {}).get("inode") if found is not None else None
    return inode if isinstance(inode, int) else None


def _name(folder: str) -> str:
    return f"in-{hashlib.sha256(folder.encode()).hexdigest()[:32]}"
