"""Whether a ledger is of the version of this program. One that is not is brought to it."""

from __future__ import annotations

from sqlalchemy import Engine, column, inspect, select, table

from flows.ledger.database import LedgerBroken

HEAD = "0004"
"""The newest version of the ledger: of the last file in `migrations/versions`."""

_VERSION = select(column("version_num")).select_from(table("alembic_version"))


def migrate(engine: Engine) -> None:
    """Bring the ledger up to date; does nothing where it is so. Safe while other machines do the same.

    Raises LedgerBroken where the ledger was written by a newer version: that one must be used. DBAPIError.
    """
    if version(engine) == HEAD:
        return
    from flows.ledger.upgrade import upgrade  # Alembic takes 11 MB, which a service that lives for months need not hold

    upgrade(engine)


def require_current(engine: Engine) -> None:
    """Raises LedgerBroken where the ledger is of another version: looking at it changes nothing."""
    found = version(engine)
    if found == HEAD:
        return
    require_known(found)
    raise LedgerBroken("the ledger is of another version; start `slidemill up`, or run `slidemill config migrate`")


def require_known(found: str | None) -> None:
    """Raises LedgerBroken where that version is none that this program or an earlier one has written."""
    if found is not None and not (found.isdigit() and found <= HEAD):
        raise LedgerBroken(f"the ledger has version {found}, which this slidemill ({HEAD}) does not know; use a newer one")


def version(engine: Engine) -> str | None:
    """The version of the ledger; None where it has none yet. Raises DBAPIError where it cannot be asked."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(_VERSION).scalars().first()
