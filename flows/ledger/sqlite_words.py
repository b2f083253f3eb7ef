"""What SQLite says of a database that cannot be used, in our words: https://www.sqlite.org/rescode.html."""

from __future__ import annotations

import sqlite3

_LOCKED = "another program has it locked; end that (`fuser` names it)"
_CLOSED = "it cannot be written; it must be a file, in a folder, that this user may write, on a disk that is not read-only"


def passing(then: str = "") -> dict[int, str]:
    """By primary result code: what passes once somebody does something. `then` follows where nothing else is to be done."""
    return {
        sqlite3.SQLITE_BUSY: f"{_LOCKED}{then}",
        sqlite3.SQLITE_LOCKED: f"{_LOCKED}{then}",
        sqlite3.SQLITE_FULL: f"its disk is full; make room there{then}",
        sqlite3.SQLITE_READONLY: _CLOSED,
        sqlite3.SQLITE_CANTOPEN: _CLOSED,
        sqlite3.SQLITE_PERM: _CLOSED,
        sqlite3.SQLITE_IOERR: "its disk fails, or has no room; see what the system says of it (`dmesg`)",
    }


def lasting(anew: str) -> dict[int, str]:
    """By primary result code: what no waiting helps against; `anew` says how to go on without it."""
    return {
        sqlite3.SQLITE_CORRUPT: f"it is damaged; {anew}",
        sqlite3.SQLITE_NOTADB: f"it is damaged, or no database; {anew}",
    }
