"""Prefect's server stamps states and plans runs: its clock tells how old they are, however wrong this machine's is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import StateType

from flows.engine import dispatcher, missed
from flows.engine.clock import server_time
from flows.engine.dispatcher import PrefectDispatcher
from flows.engine.missed import forget_missed

THERE = datetime(2020, 2, 29, 12, 0, 30, tzinfo=UTC)
"""Years behind this machine."""


class Client:
    """What is asked of Prefect's client; every flow run began to wait 20 s before THERE."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers, self.asked = headers, list[Any]()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def hello(self) -> httpx.Response:
        return httpx.Response(200, headers=self.headers)

    def read_flow_runs(self, **filters: Any) -> list[Any]:
        self.asked.append(filters["flow_run_filter"])
        state = SimpleNamespace(type=StateType.PENDING, timestamp=THERE - timedelta(seconds=20), message=None)
        return [SimpleNamespace(id=run, state=state) for run in getattr(filters["flow_run_filter"].id, "any_", ())]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client({"date": format_datetime(THERE, usegmt=True)})
    for module in (dispatcher, missed):
        monkeypatch.setattr(module, "get_client", lambda **_: client)
    return client


@pytest.mark.usefixtures("client")
def test_the_age_of_a_run() -> None:
    run = str(uuid4())
    assert PrefectDispatcher().runs([run])[run].age == 20.0


def test_only_what_is_overdue_there_is_forgotten(client: Client) -> None:
    assert forget_missed("scan", 120) == THERE
    assert client.asked[0].next_scheduled_start_time.before_ == THERE - timedelta(seconds=120)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_without_an_answer_it_is_this_machine_that_tells(headers: dict[str, str]) -> None:
    before = datetime.now(UTC)
    client: Any = Client(headers)
    assert before <= server_time(client) <= datetime.now(UTC)
