"""How many attempts failed, by folder and kind of failure: noted when they do, so that the numbers never fall.

Failures in the rows of slides begin anew where somebody has a slide tried again.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from flows.ledger.tables import marks

KINDS = (
    "auth", "crashed", "damaged", "failed", "hung", "ledger", "limit", "lost", "network", "no_space", "output", "refused",
    "unreadable", "unsafe_path", "unsupported", "verify",
)  # fmt: skip
"""Kinds that attempts fail with; there may be others."""
_NAME = "failed-attempts"


def count_failure(connection: Connection, folder: str, kind: str) -> None:
    """Add one, in a transaction that writes."""
    insert = postgresql.insert(marks) if connection.dialect.name == "postgresql" else sqlite.insert(marks)
    connection.execute(insert.values(name=_NAME, at=0.0, value={}).on_conflict_do_nothing())
    query = select(marks.c.value).where(marks.c.name == _NAME).with_for_update()
    found = {name: dict(kinds) for name, kinds in (connection.execute(query).scalar_one() or {}).items()}
    kinds = found.setdefault(folder, {})
    kinds[kind] = kinds.get(kind, 0) + 1
    connection.execute(marks.update().where(marks.c.name == _NAME).values(value=found))


def failure_counts(connection: Connection) -> Mapping[str, Mapping[str, int]]:
    """By folder, then by kind; those that there were."""
    return connection.execute(select(marks.c.value).where(marks.c.name == _NAME)).scalar_one_or_none() or {}
