"""Transactions of Prefect's server on SQLite, by its own code: they wait for each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flows.engine.sqlite import tame


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AioSqliteConfiguration:
    """A database with one number."""
    for name in ("begin_transaction", "setup_sqlite"):
        monkeypatch.setattr(AioSqliteConfiguration, name, getattr(AioSqliteConfiguration, name))  # put back at the end
    made = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path}/prefect.db")
    asyncio.run(_make(made))
    return made


async def _make(config: AioSqliteConfiguration) -> None:
    async with await config.session(await config.engine()) as session, config.begin_transaction(session):
        await session.execute(text("create table numbers (n integer)"))
        await session.execute(text("insert into numbers values (0)"))


async def _count(config: AioSqliteConfiguration, times: int) -> None:
    """Read, then write, as Prefect does nearly everywhere; others do the same meanwhile."""
    engine = await config.engine()
    for _ in range(times):
        async with await config.session(engine) as session, config.begin_transaction(session):
            found = (await session.execute(text("select n from numbers"))).scalar_one()
            await asyncio.sleep(0)
            await session.execute(text("update numbers set n = :n"), {"n": found + 1})


async def _together(config: AioSqliteConfiguration) -> int:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(_count(config, 5))
    async with await config.session(await config.engine()) as session:
        return (await session.execute(text("select n from numbers"))).scalar_one()


def test_as_prefect_does_it_transactions_are_refused(config: AioSqliteConfiguration) -> None:
    """Once this fails, Prefect has mended it, and `flows.engine.sqlite` can go."""
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(_together(config))
    assert raised.group_contains(OperationalError, match="database is locked")


def test_tamed_they_wait(config: AioSqliteConfiguration) -> None:
    tame()
    assert asyncio.run(_together(config)) == 20


def test_connections_keep_little(config: AioSqliteConfiguration) -> None:
    tame()

    async def cache() -> int:
        async with await config.session(await config.engine()) as session:
            return (await session.execute(text("PRAGMA cache_size"))).scalar_one()

    assert asyncio.run(cache()) == -4096
