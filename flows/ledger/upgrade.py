"""Bringing a ledger to the version of this program, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from flows.ledger.database import alone
from flows.ledger.migrate import require_known

_HERE = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Bring the ledger up to date; does nothing where it is so. Safe while other machines do the same.

    Raises LedgerBroken where the ledger was written by a newer version: that one must be used.
    """
    with alone(engine) as connection:
        config, found = _config(connection), _revision(connection)
        scripts = ScriptDirectory.from_config(config)
        if found == scripts.get_current_head():
            return
        require_known(found)
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The newest version that there is a script for."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    return ScriptDirectory.from_config(config).get_current_head()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config
