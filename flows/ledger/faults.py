"""What a database that fails says, in our words: what, where, what to do. The one place that understands its codes.

PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from flows.ledger.database import LedgerBroken, LedgerUnavailable, clock, sqlite_file, writing
from flows.ledger.rows import mark
from flows.ledger.sqlite_words import lasting, passing

_ANEW = (
    "stop the service, move it away (with -wal and -shm) and put a backup in its place; without one a new ledger is begun, "
    "and takes over the stores that are there"
)
_THEN = ", the service then goes on by itself"
_SQLITE = passing(_THEN)
_SQLITE_BROKEN = lasting(_ANEW) | {sqlite3.SQLITE_ERROR: f"it is no ledger of this version; {_ANEW}"}
_POSTGRESQL = {
    "25006": "it takes no changes (read-only, or a standby); let it, or name the primary",
    "53100": f"its disk is full; make room there{_THEN}",
    "53300": "it has no more connections to give; raise its max_connections",
    "28P01": "it refuses user or password; see `ledger` in the settings",
    "28000": "it refuses this user; see `ledger` in the settings, and its pg_hba.conf",
    "3D000": "there is no such database; create it",
    "42501": "its user may not do that; grant it the database's tables",
}
_POSTGRESQL_BROKEN = {
    "XX001": "it is damaged; restore it from a backup",
    "XX002": "it is damaged; restore it from a backup",
    "42P01": "it has lost its tables; restore it from a backup",
}
_SAID = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
}
"""What PostgreSQL says while it connects, where psycopg has no code; in another language it is shown as it is."""


@contextmanager
def told(url: str) -> Generator[None]:
    """Whatever keeps the database at this URL from being used, in one line. Raises LedgerUnavailable."""
    try:
        yield
    except DBAPIError as error:
        raise fault(error, url) from error


def fault(error: DBAPIError, url: str) -> LedgerUnavailable:
    """The same error in our words."""
    origin, place = error.orig, _place(url)
    if isinstance(origin, sqlite3.Error):
        code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
        known, broken = _SQLITE.get(code), _SQLITE_BROKEN.get(code)
    else:
        state = _state(origin)
        known, broken = _POSTGRESQL.get(state), _POSTGRESQL_BROKEN.get(state)
    if broken is not None:
        return LedgerBroken(f"the ledger {place}: {broken}")
    if known is not None:
        return LedgerUnavailable(f"the ledger {place}: {known}")
    return LedgerUnavailable(
        f"the ledger {place} does not answer: {_first_line(origin)}; start it, or see `ledger` in the settings"
    )


def _state(origin: Any) -> str:
    state = getattr(origin, "sqlstate", None)
    if state:
        return str(state)
    text = str(origin)
    if 'database "' in text and "does not exist" in text:
        return "3D000"
    return next((code for words, code in _SAID.items() if words in text), "")


def _first_line(origin: object) -> str:
    lines = [line.strip() for line in str(origin).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(origin).__name__


def _place(url: str) -> str:
    """Where it is, without its password."""
    try:
        file = sqlite_file(url)
        parsed = make_url(url)
    except ArgumentError:
        return ""
    if file is not None:
        return str(file)
    port = "" if parsed.port is None else f":{parsed.port}"
    return f"{parsed.database or ''} at {parsed.host or 'this machine'}{port}"


def require_usable(engine: Engine) -> None:
    """Write to the ledger; read one on SQLite through: a damaged page may be one that nobody asks for until weeks later.

    50,000 files take some tenths of a second. Raises DBAPIError, LedgerBroken.
    """
    try_writing(engine)
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise LedgerBroken(f"the ledger {engine.url.database}: {_SQLITE_BROKEN[sqlite3.SQLITE_CORRUPT]}")


def try_writing(engine: Engine) -> None:
    """Write that somebody has tried. Raises DBAPIError."""
    with writing(engine) as connection:
        mark(connection, "tried", clock(connection))
