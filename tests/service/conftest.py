"""One PostgreSQL and one Prefect server for all of these tests (of one xdist worker); a service of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.service.harness import Installation, Service
from tests.service.postgres import MISSING, Postgres, binaries
from tests.service.toy import install_plugin

NewService = Callable[..., Service]


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that brings the driver of toy slides."""
    return install_plugin(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    found = binaries()
    if found is None:
        pytest.skip(MISSING)
    cluster = Postgres(found)
    try:
        cluster.make()
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def installation(postgres: Postgres, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running Prefect server on it."""
    postgres.create_database("prefect")
    made = Installation(postgres, tmp_path_factory.mktemp("installation"), plugins)
    try:
        made.start_server()
        yield made
    finally:
        made.close()


@pytest.fixture
def new_service(installation: Installation, tmp_path: Path) -> Iterator[NewService]:
    """`new_service(...)`: a service with its own ledger and folders, and a control worker unless `running` is false."""
    made: list[Service] = []

    def make(*, running: bool = True, **settings: object) -> Service:
        service = installation.service(tmp_path, **settings)  # type: ignore[arg-type]
        made.append(service)
        if running:
            service.start_control()
            installation.start_flows()
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_ledger(request: pytest.FixtureRequest) -> str:
    """A line of settings that names an empty ledger, on each of the databases."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    name = f"ledger{uuid4().hex[:8]}"
    server.create_database(name)
    return f'ledger = "{server.url("psycopg", name)}"\n'
