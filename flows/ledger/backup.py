"""A copy of a ledger while others write into it: SQLite's own online backup, which copies one state of it whole."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from converter.errors import NoSpace
from flows.ledger.database import LedgerUnavailable

_BUSY_S = 30.0
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE")


def ledger_bytes(source: Path) -> int:
    """How large a copy will be. Raises LedgerUnavailable."""
    try:
        with closing(_opened(source)) as connection:
            pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
            return pages * size
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"ledger {source}: cannot be read: {error}") from error


def copy_ledger(source: Path, target: Path) -> int:
    """Copy a ledger into a new file, for its owner only, safe on the disk when this returns. How many slides are in it.

    Writers are not held up. Raises LedgerUnavailable where it is damaged or none of ours, and NoSpace: the copy is no good.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(_opened(source)) as connection, closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").close()  # one file, without -wal and -shm
            found = str(copy.execute("PRAGMA integrity_check").fetchone()[0])
            if found != "ok":
                raise LedgerUnavailable(f"ledger {source}: is damaged: {' '.join(found.split())[:100]}; nothing was kept")
            slides = int(copy.execute("SELECT count(*) FROM slides").fetchone()[0])
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in _FULL:
            raise NoSpace(f"{target.parent}: the disk is full; nothing was kept") from error
        raise LedgerUnavailable(f"ledger {source}: cannot be copied: {error}") from error
    return slides


def _opened(source: Path) -> sqlite3.Connection:
    # rw: a reader of a database in WAL mode may have to make its -shm; it never makes the database itself.
    return sqlite3.connect(f"file:{quote(os.fsencode(source.absolute()))}?mode=rw", uri=True, timeout=_BUSY_S)
