"""The number of a folder is another one whenever a decided file changes in the ledger, whoever writes it; else the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, inspect, text

from flows.ledger.database import connect, writing
from flows.ledger.migrate import migrate
from flows.ledger.tables import metadata
from tests.flows.parts import Bench, bench
from tests.service.postgres import Postgres

ROW = "insert into files (folder, path, size, mtime_ns, inode, since, looks, slide) values"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Files a and b of the folder `in` are decided, c is not; the folder `other` has one, too."""
    ledger = ""
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        name = f"changes{uuid4().hex[:8]}"
        postgres.create_database(name)
        ledger = f'ledger = "{postgres.url("psycopg", name)}"'
    found = bench(tmp_path, rest=ledger)
    assert found.engine.dialect.name == request.param
    with writing(found.engine) as connection:
        for row in ("('in', 'a', 1, 1, 1, 1, 1, 's')", "('in', 'b', 1, 1, 1, 1, 1, '')", "('in', 'c', 1, 1, 1, 1, 1, null)"):
            connection.execute(text(f"{ROW} {row}"))
        connection.execute(text(f"{ROW} ('other', 'a', 1, 1, 1, 1, 1, 't')"))
    yield found
    found.close()


def numbers(connection: Connection) -> dict[str, int]:
    return {str(folder): int(count) for folder, count in connection.execute(text("select folder, count from changes"))}


@pytest.mark.parametrize(
    ("done", "tells"),
    [
        (f"{ROW} ('in', 'new', 1, 1, 1, 1, 1, 's')", True),
        (f"{ROW} ('in', 'new', 1, 1, 1, 1, 1, null)", False),
        (f"{ROW} ('by-hand:1', 'new', 1, 1, 1, 1, 1, 's')", False),
        ("delete from files where path = 'a' and folder = 'in'", True),
        ("delete from files where path = 'c'", False),
        ("update files set slide = null, looks = 0 where slide = 's'", True),
        ("update files set slide = 's' where path = 'c'", True),
        ("update files set size = 2 where path = 'b'", True),
        ("update files set mtime_ns = 2 where slide in ('s', '')", True),
        ("update files set size = 2 where path = 'c'", False),
        ("update files set looks = looks + 1", False),
        ("update files set since = 9", False),
        ("update files set slide = '' where path = 'nowhere'", False),
    ],
)
def test_what_changes_the_number(here: Bench, done: str, tells: bool) -> None:
    with here.engine.connect() as connection:
        before = numbers(connection)
    assert set(before) == {"in", "other"}
    with writing(here.engine) as connection:
        connection.execute(text(done))
    with here.engine.connect() as connection:
        after = numbers(connection)
    assert (after["in"] != before["in"]) == tells
    assert (set(after), after["other"]) == ({"in", "other"}, before["other"])


def test_what_is_taken_back_leaves_the_number(here: Bench) -> None:
    with here.engine.connect() as connection:
        before = numbers(connection)
    with here.engine.connect() as connection:
        connection.execute(text("update files set size = 2 where path = 'b'"))
        connection.rollback()
    with here.engine.connect() as connection:
        assert numbers(connection) == before


def test_the_migrations_make_the_tables(here: Bench) -> None:
    """Columns and indexes as `flows.ledger.tables` has them."""
    found = inspect(here.engine)
    for name, table in metadata.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == {column.name for column in table.columns}
        assert {index["name"] for index in found.get_indexes(name)} == {index.name for index in table.indexes}


def test_the_version_that_is_looked_for_is_the_newest() -> None:
    from flows.ledger.migrate import HEAD
    from flows.ledger.upgrade import head

    assert head() == HEAD


def test_a_ledger_of_the_version_before(tmp_path: Path) -> None:
    """It is brought to this one with all it holds, and back."""
    from alembic import command

    from flows.ledger import upgrade as migrating

    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    with writing(engine) as connection:
        command.upgrade(migrating._config(connection), "0002")
        connection.execute(text(f"{ROW} ('in', 'a', 1, 1, 1, 1, 1, 's')"))
    migrate(engine)
    with writing(engine) as connection:
        assert numbers(connection) == {}
        connection.execute(text("update files set slide = null"))
        assert numbers(connection) == {"in": 1}
        command.downgrade(migrating._config(connection), "0002")
        assert connection.execute(text("select count(*) from files")).scalar_one() == 1
    engine.dispose()
