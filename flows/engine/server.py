"""The Prefect server of one machine: on SQLite, on loopback, started and watched by `slidemill up`."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from flows.engine.children import python
from flows.service.dispatch import EngineUnavailable

_HOST = "127.0.0.1"
_START_S = 180.0


def choose_port(state: Path, wanted: int) -> int:
    """The port of the last time where it is free, so that addresses stay; else the wanted one, else any."""
    kept = state / "port.json"
    try:
        last = [int(json.loads(kept.read_text())["port"])]
    except (OSError, ValueError, LookupError, TypeError):
        last = []
    for port in [*last, wanted, 0]:
        found = _free(port)
        if found is not None:
            state.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"port": found}))
            return found
    raise EngineUnavailable("no free port on loopback for the Prefect server")


def _free(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def server_command(port: int) -> list[str]:
    """How the server is started."""
    return python("-m", "prefect", "server", "start", "--host", _HOST, "--port", str(port))


def server_environment(state: Path, port: int) -> dict[str, str]:
    """Where the server keeps its database, and how others reach it."""
    return {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{_HOST}:{port}",
    }


def api_url(port: int) -> str:
    """Address of its API."""
    return f"http://{_HOST}:{port}/api"


def wait_until_ready(api: str, alive: Callable[[], bool], seconds: float = _START_S) -> None:
    """Wait for an API whose database answers too. Raises EngineUnavailable."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not alive():
            raise EngineUnavailable("the Prefect server ended while it started")
        try:
            if httpx.get(f"{api}/ready", timeout=5.0).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.25)
    raise EngineUnavailable(f"the Prefect API at {api} was not ready within {seconds:.0f} s")
