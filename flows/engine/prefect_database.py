"""The SQLite file of the own Prefect server: what keeps the server from using it, which itself only says that it ended.

It holds runs, their logs, and blocks that were made on Prefect's pages; nothing about slides that the ledger has not.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flows.ledger.sqlite_words import lasting, passing
from flows.service.dispatch import EngineUnavailable


class EngineBroken(EngineUnavailable):
    """Its database is damaged, or of a newer version: no waiting helps."""

    retryable = False


_BUSY_S = 5.0
_ANEW = (
    "stop the service and move it away (with -wal and -shm); a new one is made, and no slide is lost, only the history "
    "of runs and blocks made on its pages"
)
_WORDS = passing()
_BROKEN = lasting(_ANEW)
_VERSIONS = Path("server/database/_migrations/versions/sqlite")


def database_of(state: Path) -> Path:
    """The file."""
    return state / "prefect" / "prefect.db"


def require_usable(state: Path, *, whole: bool = False) -> None:
    """Raises EngineUnavailable, EngineBroken, with what to do, where the server cannot use its database.

    `whole` reads all of it. One that is not there yet is made by the server.
    """
    file = database_of(state)
    try:
        if not _is_there(file):
            return
        with closing(
            sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)
        ) as database:
            version = _version(database)
            for step in ("BEGIN IMMEDIATE", "PRAGMA user_version = 1", "ROLLBACK"):  # a write, which is then none
                database.execute(step).close()
            damage = database.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BROKEN:
            raise EngineBroken(f"Prefect's database {file}: {_BROKEN[code]}") from error
        raise EngineUnavailable(f"Prefect's database {file}: {_WORDS.get(code, error)}") from error
    except OSError as error:
        raise EngineUnavailable(f"Prefect's database {file}: {error.strerror or error}") from error
    if damage != "ok":
        raise EngineBroken(f"Prefect's database {file}: {_BROKEN[sqlite3.SQLITE_CORRUPT]}")
    if version is not None and not _is_known(version):
        raise EngineBroken(
            f"Prefect's database {file}: was written by a newer Prefect (version {version}); use that one, or {_ANEW}"
        )


def _is_there(file: Path) -> bool:
    try:
        return file.lstat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _version(database: sqlite3.Connection) -> str | None:
    """Of Prefect's migrations (Alembic); None where it has no table yet."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    found = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


@cache
def _is_known(version: str) -> bool:
    """Whether a migration of the Prefect that is installed names this version; True where nobody can tell."""
    spec = find_spec("prefect")
    places = [] if spec is None else [Path(place) / _VERSIONS for place in spec.submodule_search_locations or ()]
    scripts = [path for place in places for path in place.glob("*.py")]
    return not scripts or any(version in path.read_text(errors="replace") for path in scripts)
