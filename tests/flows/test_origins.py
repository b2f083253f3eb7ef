"""Which requests the server of one machine answers: those of programs and of its own pages."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from flows.engine.origins import OwnPages
from flows.engine.serve import HOSTS


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """As `serve` has it, around an app that takes JSON."""
    made = FastAPI(strict_content_type=False)  # as Prefect's

    @made.post("/api/run")
    def run(body: dict[str, str]) -> dict[str, str]:
        return body

    _ = run
    made.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
    made.add_middleware(OwnPages, hosts=HOSTS)
    return made


def asked(app: FastAPI, origin: str | None, **headers: str) -> int:
    """The answer to a body without a content type, as a page sends it that does not ask first."""

    async def ask() -> int:
        more = {} if origin is None else {"Origin": origin}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4200") as client:
            return (await client.post("/api/run", content=b'{"a": "b"}', headers=headers | more)).status_code

    return asyncio.run(ask())


def told_socket(origin: str) -> list[str]:
    """What a WebSocket is told that a page wants to open."""
    sent: list[str] = []

    async def inner(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    headers = [(b"host", b"127.0.0.1:4200"), (b"origin", origin.encode())]
    guarded: Any = OwnPages(inner, HOSTS)
    asyncio.run(guarded({"type": "websocket", "headers": headers}, None, send))
    return sent


OWN = ["http://127.0.0.1:4200", "http://localhost:4200", None]
FOREIGN = [
    "http://evil.example", "https://evil.example:4200", "http://127.0.0.1", "http://127.0.0.1:8000", "https://127.0.0.1",
    "http://127.0.0.1.evil.example:4200", "http://127.0.0.1:4200.evil.example", "null", "", "http://[", "file://",
    "http://localhost:4200@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", OWN)
def test_programs_and_own_pages_are_answered(app: FastAPI, origin: str | None) -> None:
    assert asked(app, origin) == 200
    assert origin is None or told_socket(origin) == ["websocket.accept"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites_are_refused(app: FastAPI, origin: str) -> None:
    assert asked(app, origin) == 403
    assert "websocket.accept" not in told_socket(origin)


def test_a_tunnel_may_have_another_port(app: FastAPI) -> None:
    assert asked(app, "http://localhost:8080", Host="localhost:8080") == 200
    assert asked(app, "http://localhost:8080", Host="localhost:9090") == 403


def test_another_name_is_refused_whatever_the_page(app: FastAPI) -> None:
    assert asked(app, None, Host="evil.example:4200") == 400
    assert asked(app, "http://evil.example:4200", Host="evil.example:4200") == 403
