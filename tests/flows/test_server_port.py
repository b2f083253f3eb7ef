"""The port of the own server: what answers there is ours, or it is never asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.engine import up
from flows.engine.children import Child
from flows.engine.forked import Entry
from flows.engine.server import ServerEnded, choose_port, is_anybody_there, listens, wait_until_ready
from flows.engine.up import Service
from flows.service.dispatch import EngineUnavailable
from flows.settings import load_settings

SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


class Stranger:
    """A server of somebody else, which answers everything and remembers what it was asked."""

    def __init__(self, port: int = 0) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    found = Stranger()
    yield found
    found.close()


def free() -> int:
    found = Stranger()
    found.close()
    return found.port


class TestChoosing:
    """Which port, by what was written, what was used last, and what is free."""

    def test_that_of_the_last_time(self, tmp_path: Path) -> None:
        first = choose_port(tmp_path, free(), fixed=False)
        assert choose_port(tmp_path, free(), fixed=False) == first

    def test_what_was_written_down_wins_over_the_last_time(self, tmp_path: Path) -> None:
        choose_port(tmp_path, free(), fixed=False)
        wanted = free()
        assert choose_port(tmp_path, wanted, fixed=True) == wanted
        assert json.loads((tmp_path / "port.json").read_text()) == {"port": wanted}

    def test_what_was_written_down_and_is_taken_is_refused(self, tmp_path: Path, stranger: Stranger) -> None:
        with pytest.raises(EngineUnavailable, match=f"port {stranger.port} is used by another program"):
            choose_port(tmp_path, stranger.port, fixed=True)

    def test_another_one_where_the_usual_is_taken(self, tmp_path: Path, stranger: Stranger) -> None:
        assert choose_port(tmp_path, stranger.port, fixed=False) != stranger.port
        assert stranger.asked == []

    def test_not_one_that_was_taken_a_moment_ago(self, tmp_path: Path) -> None:
        port = choose_port(tmp_path, free(), fixed=False)
        assert choose_port(tmp_path, free(), fixed=False, taken={port}) != port


def test_a_stranger_is_never_asked(stranger: Stranger) -> None:
    assert is_anybody_there(stranger.port)
    assert listens(os.getpid(), stranger.port)  # here it is this very process
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not listens(other.pid, stranger.port)
    other.communicate(b"\n")
    api = f"http://127.0.0.1:{stranger.port}/api"
    with pytest.raises(EngineUnavailable, match="not ready"):
        wait_until_ready(api, lambda: True, lambda: False, seconds=0.6)
    assert stranger.asked == []


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service whose server is a small one; nothing else of it is started."""
    (tmp_path / "slidemill.toml").write_text(f'state = "{tmp_path}/state"\n')
    made = Service._child

    def small(self: Service, name: str, command: Any, environment: Any, more: Any = ()) -> Child:
        return made(self, name, [sys.executable, "-c", SERVER, *more] if command == Entry.SERVER else command, environment)

    monkeypatch.setattr(Service, "_child", small)
    monkeypatch.setattr(Service, "_start_template", lambda *_: None)
    found = Service(load_settings(tmp_path / "slidemill.toml"), None, said.append)
    said.clear()
    yield found
    if found.server is not None:
        found.server.stop(up.signal.SIGKILL, 5.0)


said: list[str] = []


def test_a_port_that_is_taken_between_looking_and_using(
    service: Service, monkeypatch: pytest.MonkeyPatch, stranger: Stranger
) -> None:
    ports = iter([stranger.port])
    monkeypatch.setattr(up, "choose_port", lambda *a, **k: next(ports, None) or choose_port(*a, **k))
    reached = service._start_server()
    assert str(stranger.port) not in reached["PREFECT_API_URL"]
    assert stranger.asked == []
    assert f"port {stranger.port} was taken by another program just now" in said


def test_a_port_that_is_taken_after_the_server_died(service: Service) -> None:
    service._start_server()
    service._require_ours()
    server = service.server
    assert server is not None
    server.stop(up.signal.SIGKILL, 5.0)
    service._require_ours()  # nobody is there: it is started again
    stranger = Stranger(service.port)
    try:
        with pytest.raises(EngineUnavailable, match="is used by another program"):
            service._require_ours()
    finally:
        stranger.close()


def test_two_services_side_by_side(service: Service, tmp_path: Path) -> None:
    service._start_server()
    (tmp_path / "other.toml").write_text(f'state = "{tmp_path}/other"\n')
    other = Service(load_settings(tmp_path / "other.toml"), None, said.append)
    try:
        other._start_server()
        assert other.port != service.port
        assert other._is_ours()
        assert service._is_ours()
    finally:
        assert other.server is not None
        other.server.stop(up.signal.SIGKILL, 5.0)


@pytest.mark.parametrize(("until_empty", "code"), [(False, 0), (True, 130)])
def test_told_to_stop_while_it_starts(
    service: Service, monkeypatch: pytest.MonkeyPatch, until_empty: bool, code: int
) -> None:
    """What was starting ends then, and that is no fault; a batch has not done its work."""

    def start(self: Service) -> None:
        self.stop.set()
        raise ServerEnded("the server ended while it started")

    monkeypatch.setattr(Service, "_start", start)
    service.until_empty = until_empty
    assert service.run() == code
    assert said[-1] == "stopped"


def test_a_server_that_ends_while_it_starts_is_an_error(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Service) -> None:
        raise ServerEnded("the server ended while it started")

    monkeypatch.setattr(Service, "_start", start)
    with pytest.raises(EngineUnavailable, match="ended while it started"):
        service.run()
