"""Prefect's database where that is SQLite: no transaction that begins by reading and is refused when it goes on to write.

Prefect 3.8 begins most of its transactions as DEFERRED. One that has read, and writes after another one has committed, holds
an old state of the database: SQLite refuses it at once, however long the busy timeout ("database is locked",
https://www.sqlite.org/rescode.html#busy_snapshot). One that takes its place in the line of writers as it begins only waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_CACHE = "PRAGMA cache_size = -4096"
"""KiB a connection, of which there are up to fifteen. Prefect has 80 MB: they fill as the database grows, and stay full."""


def tame() -> None:
    """For this process: transactions of Prefect's server wait for each other; its connections keep little in memory."""
    begin, connect = AioSqliteConfiguration.begin_transaction, AioSqliteConfiguration.setup_sqlite

    @asynccontextmanager
    async def begin_at_once(
        self: AioSqliteConfiguration,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG001 - Prefect's signature
    ) -> AsyncGenerator[AsyncSessionTransaction]:
        async with begin(self, session, with_for_update=True) as transaction:
            yield transaction

    def connect_small(self: AioSqliteConfiguration, conn: Any, record: Any) -> None:
        connect(self, conn, record)
        cursor = conn.cursor()
        cursor.execute(_CACHE)
        cursor.close()

    AioSqliteConfiguration.begin_transaction = begin_at_once
    AioSqliteConfiguration.setup_sqlite = connect_small
