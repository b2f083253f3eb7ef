"""Opening the ledger's database: SQLite in WAL mode, or PostgreSQL; migrated to this version; waiting where it is away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from converter.errors import ConverterError, OptionError

_BUSY_S = 30.0
# A machine that goes away without a word must be noticed on both sides within a minute or two, not within the two hours of
# TCP's defaults: its sessions hold locks. Nor may a process that hangs in the middle of a transaction keep others out.
_KEEPALIVE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
_SESSION = """
SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SET idle_in_transaction_session_timeout = '120s'
"""
_READ_ONLY = "25006"  # PostgreSQL: a standby that is not the primary yet, or not any more
_FEEDING = 0x511DE  # any number, the same everywhere: the advisory lock of those who hand out work


class LedgerUnavailable(ConverterError, OSError):
    """The database cannot be reached, or is not one of ours."""

    kind = "ledger"
    retryable = True


class LedgerBroken(LedgerUnavailable):
    """It is damaged, of another version or none of ours: no waiting helps."""

    retryable = False


def connect(url: str, busy_seconds: float = _BUSY_S) -> Engine:
    """An engine for the URL; opens no connection yet. It waits so long for an SQLite that others write.

    Raises OptionError, LedgerUnavailable where the file cannot be made.
    """
    try:
        parsed = make_url(url)
        file = sqlite_file(url)
        if file is not None:
            _make(file)
        arguments = _arguments(parsed.get_backend_name(), busy_seconds)
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=arguments)
    except (ArgumentError, ImportError) as error:
        raise OptionError(f"ledger: not a database URL that can be used here: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def sqlite_file(url: str) -> Path | None:
    """The file of the ledger; None where it is in no file. Raises sqlalchemy.exc.ArgumentError."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def is_there(file: Path) -> bool:
    """Whether there is something of that name. Raises LedgerUnavailable where nobody can tell."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {file} cannot be looked at: {error.strerror or error}") from error
    return True


def _make(file: Path) -> None:
    """Make the file and its folder where they are not there, for their owner only: names of slides may name patients."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            file.touch(mode=0o600)
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {file} cannot be made: {error.strerror or error}") from error


def _arguments(backend: str, busy_seconds: float) -> dict[str, Any]:
    if backend == "sqlite":
        return {"timeout": busy_seconds}
    return {"connect_timeout": 10, **_KEEPALIVE} if backend == "postgresql" else {}


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 itself starts no transactions: _begin_sqlite does
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        connection.close()  # nobody else would: it is in no pool yet
        raise


def _prepare_postgresql(connection: Any, _record: object) -> None:
    connection.execute(_SESSION)
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could fail to get the lock: take it at once.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that writes; on SQLite it has the database to itself."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


@contextmanager
def alone(engine: Engine) -> Generator[Connection]:
    """A transaction of which there is one at a time over all machines: handing out work, migrating."""
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FEEDING})
        yield connection


def clock(connection: Connection) -> float:
    """Seconds since the epoch by the database's clock."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    else:
        found = connection.execute(text("SELECT (julianday('now') - 2440587.5) * 86400.0")).scalar_one()
    return float(found)


def present(engine: Engine) -> None:
    """Ask the database for nothing; raises where it is away."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def is_away(error: BaseException) -> bool:
    """Whether the database is away, busy, full, read-only or restarting: the same call can succeed later."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) == _READ_ONLY


def patiently[T](work: Callable[[], T], seconds: float) -> T:
    """Run `work`, again and again while the database is away, for at most `seconds`; it must be safe to repeat."""
    retrying = Retrying(
        retry=retry_if_exception(is_away),
        wait=wait_random_exponential(multiplier=0.1, max=5.0),
        stop=stop_after_delay(seconds),
        reraise=True,
    )
    return retrying(work)
