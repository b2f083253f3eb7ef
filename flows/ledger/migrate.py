"""Whether a ledger is of the version of this program. One that is not is brought to it."""

from __future__ import annotations

from sqlalchemy import Engine, column, select, table
from sqlalchemy.exc import SQLAlchemyError

from flows.ledger.database import LedgerUnavailable

HEAD = "0003"
"""The newest version of the ledger: of the last file in `migrations/versions`."""

_VERSION = select(column("version_num")).select_from(table("alembic_version"))


def migrate(engine: Engine) -> None:
    """Bring the ledger up to date; does nothing where it is so. Safe while other machines do the same.

    Raises LedgerUnavailable where the ledger was written by a newer version: that one must be used.
    """
    if _is_up_to_date(engine):
        return
    from flows.ledger.upgrade import upgrade  # Alembic takes 11 MB, which a service that lives for months need not hold

    upgrade(engine)


def require_current(engine: Engine) -> None:
    """Raises LedgerUnavailable where the ledger is of another version: looking at it changes nothing."""
    if not _is_up_to_date(engine):
        with engine.connect():  # where it cannot be reached at all, that is what is said
            raise LedgerUnavailable(
                "the ledger is of another version; start `slidemill up`, or run `slidemill config migrate`"
            )


def _is_up_to_date(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return connection.execute(_VERSION).scalars().all() == [HEAD]
    except SQLAlchemyError:
        return False  # there is none yet, or `upgrade` says what is wrong
