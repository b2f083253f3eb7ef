"""The Prefect server of one machine: on SQLite, on loopback, started and watched by `slidemill up`."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

import psutil

from flows.service.dispatch import EngineUnavailable

HOST = "127.0.0.1"
USER = "slidemill"
"""Whom the server's password belongs to."""
_START_S = 180.0


def choose_port(state: Path, wanted: int, *, fixed: bool, taken: Collection[int] = ()) -> int:
    """The port of the last time where it is free, so that addresses stay; else the wanted one, else any but `taken`.

    `fixed`: somebody wrote the wanted one into the settings, so it is that or none. Raises EngineUnavailable.
    """
    kept = state / "port.json"
    try:
        last = [int(json.loads(kept.read_text())["port"])]
    except (OSError, ValueError, LookupError, TypeError):
        last = []
    for port in [wanted] if fixed else [*last, wanted, 0]:
        found = None if port in taken else _free(port)
        if found is not None:
            state.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"port": found}))
            return found
    if fixed:
        raise EngineUnavailable(
            f"port {wanted} is used by another program; end that, set another `port`, or leave it out for any that is free"
        )
    raise EngineUnavailable("no free port on loopback for the Prefect server")


def _free(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def is_anybody_there(port: int) -> bool:
    """Whether something on this machine takes connections at the port."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((HOST, port)) == 0


def listens(pid: int, port: int) -> bool:
    """Whether that process, or one that it started, is who listens at the port: what answers there is then ours."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return False
    return any(_listens(process, port) for process in family)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp"))
    except psutil.Error:
        return False


def server_environment(state: Path, port: int) -> dict[str, str]:
    """Where the server keeps its database, and how others reach it."""
    return {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",
        # Reached by plain HTTP on this machine: its clients, several a run, need not read the list of the internet's
        # certificates, 15 ms and 0.7 MB each.
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
    }


def access(password: str) -> dict[str, str]:
    """What makes the server ask for a password (basic authentication), and its clients give it."""
    return dict.fromkeys(("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"), f"{USER}:{password}")


def api_url(port: int) -> str:
    """Address of its API."""
    return f"http://{HOST}:{port}/api"


class ServerEnded(EngineUnavailable):
    """The server ended while it started: another program may have taken its port."""


def _is_ready(api: str) -> bool:
    # The standard library: a client for everything takes 8 MB, which the service would hold for months.
    with urllib.request.urlopen(f"{api}/ready", timeout=5.0) as answer:  # noqa: S310 - an address of the settings
        return answer.status == HTTPStatus.OK


def wait_until_ready(
    api: str, alive: Callable[[], bool], is_ours: Callable[[], bool] = lambda: True, seconds: float = _START_S
) -> None:
    """Wait for an API whose database answers too, once it `is_ours`: a stranger's is never asked.

    Raises ServerEnded, EngineUnavailable.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not alive():
            raise ServerEnded("the Prefect server ended while it started (see logs/server.log in the state folder)")
        try:
            if is_ours() and _is_ready(api):
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.25)
    raise EngineUnavailable(f"the Prefect API at {api} was not ready within {seconds:.0f} s")
