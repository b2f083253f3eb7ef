"""Whether a watched folder is the one that it was, or merely the empty place of a share that is not mounted.

The inode of a watched folder is noted while files are in it.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from flows.ledger import inodes


def note(connection: Connection, folder: str, root: Path) -> None:
    """Note the folder as it is now, in a transaction that writes: files are in it. Raises OSError."""
    inodes.note(connection, _place(folder, root))


def away(connection: Connection, folder: str, root: Path) -> str | None:
    """Why what was in a watched folder cannot be told to be gone; None where it can."""
    try:
        if any(root.iterdir()) or not inodes.is_other(connection, _place(folder, root)):
            return None
    except OSError as error:
        return f"{root}: cannot be listed: {error.strerror or error}"
    return f"{root}: is empty, and not the folder that files were seen in: is it mounted?"


def _place(folder: str, root: Path) -> inodes.Place:
    return inodes.place("in", folder.encode(), root)
