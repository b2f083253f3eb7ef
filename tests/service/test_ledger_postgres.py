"""A ledger on PostgreSQL that is gone, closed, read-only or of another version: what PostgreSQL says, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flows.cli import run
from flows.ledger.database import connect
from flows.ledger.migrate import HEAD, migrate
from tests.service.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAME = "faults"


@pytest.fixture(scope="module")
def ledger(postgres: Postgres) -> str:
    """URL of a ledger of this version."""
    postgres.create_database(NAME)
    url = postgres.url("psycopg", NAME)
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    order(postgres, "CREATE ROLE stranger LOGIN PASSWORD 'right'")
    return url


@pytest.fixture
def closed_to_strangers(postgres: Postgres) -> Iterator[None]:
    """Whoever is not the ledger's user needs a password."""
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("host all slidemill 127.0.0.1/32 trust\nhost all stranger 127.0.0.1/32 scram-sha-256\n")
    order(postgres, "SELECT pg_reload_conf()", "SELECT pg_sleep(0.5)")
    yield
    rules.write_text(before)
    order(postgres, "SELECT pg_reload_conf()")


def order(postgres: Postgres, *statements: str, database: str = "postgres") -> None:
    place = f"host=127.0.0.1 port={postgres.port} user=slidemill dbname={database}"
    with psycopg.connect(place, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def said(url: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with."""
    config = tmp_path / "slidemill.toml"
    config.write_text(f'state = "{tmp_path}/state"\nledger = "{url}"\n')
    assert run([*command.split(), "--config", str(config)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "report" not in line
    return line


@pytest.mark.usefixtures("closed_to_strangers")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("slidemill@", "stranger:wrong@"), "refuses user or password"),
        (("slidemill@", "stranger@"), "refuses user or password"),
        (("slidemill@", "stranger:right@"), "its user may not do that"),
        (("slidemill@", "nobody@"), "refuses this user"),
        ((f"/{NAME}", "/absent"), "no such database"),
        (("127.0.0.1", "no-such-host.invalid"), "does not answer"),
    ],
)
def test_what_keeps_it_closed(
    ledger: str, change: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "list", "pause"):
        line = said(ledger.replace(*change), command, tmp_path, capsys)
        assert words in line
        assert "wrong" not in line, "a password"


def test_read_only(ledger: str, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order(postgres, f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
    try:
        assert "it takes no changes (read-only, or a standby)" in said(ledger, "pause", tmp_path, capsys)
    finally:
        order(postgres, f"ALTER DATABASE {NAME} SET default_transaction_read_only = off")
    assert run(["pause", "--config", str(tmp_path / "slidemill.toml")]) == 0


@pytest.mark.parametrize("command", ["status", "pause", "config migrate"])
def test_of_a_newer_version(
    ledger: str, postgres: Postgres, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order(postgres, "UPDATE alembic_version SET version_num = '0999'", database=NAME)
    try:
        assert "has version 0999" in said(ledger, command, tmp_path, capsys)
    finally:
        order(postgres, f"UPDATE alembic_version SET version_num = '{HEAD}'", database=NAME)


@pytest.mark.parametrize("command", ["status", "pause", "config migrate"])
def test_gone(ledger: str, postgres: Postgres, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    postgres.stop()
    try:
        assert "does not answer: " in said(ledger, command, tmp_path, capsys)
    finally:
        postgres.start()
