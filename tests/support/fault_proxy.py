"""An HTTP proxy in front of an object server, that spoils the requests a test names."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>made by the test</Message></Error>"
CODES = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 409: "ConditionalRequestConflict", 501: "NotImplemented"}


@dataclass(slots=True)
class Fault:
    """Spoils the requests that `method` and `part` of the path name, after `skip` of them, `times` times.

    `kind`: a status (500, 503, 403, 409, ...) instead of an answer; "rst" before anything is passed on; "hang" for
    `seconds`; "lost": passed on, the answer is not; "cut" and "flip": the body of the answer is half, or one bit differs;
    "spoil": passed on with one bit of its body changed; "": passed on, after `then`.
    """

    kind: int | str
    method: str = ""
    part: str = ""
    times: int = 1 << 30
    skip: int = 0
    seconds: float = 60.0
    hits: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    """Ends a hang before its time."""
    over: bool = False
    """Whether a hang has come to its end."""
    then: Callable[[], object] | None = None
    """Called at each hit, before anything is done."""

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is to be spoiled."""
        if (self.method and method != self.method) or self.part not in path:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass(slots=True)
class Proxy:
    """Faults may be added and removed at any time."""

    upstream: str
    faults: list[Fault] = field(default_factory=list[Fault])
    seen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Method and path of every request."""
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault for a request."""
        with self._lock:
            self.seen.append((method, path))
            return next((fault for fault in self.faults if fault.takes(method, path)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 20
    proxy: Proxy

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault(self.command, self.path)
        kind = fault.kind if fault else ""
        if fault and fault.then:
            fault.then()
        if fault and kind == "hang":
            fault.go.wait(fault.seconds)
            fault.over = True
        if kind in ("rst", "hang"):
            self._reset()
        elif isinstance(kind, int):
            self._send(kind, {}, ERROR.format(CODES.get(kind, "Made")).encode())
        else:
            if kind == "spoil" and body:
                body = bytes([body[0] ^ 1]) + body[1:]
            status, headers, answer = self._passed_on(body)
            if kind == "lost":
                self._reset()
            elif kind == "cut" and answer:
                self._send(status, headers, answer[: len(answer) // 2], len(answer))
                self._reset()
            else:
                flipped = kind == "flip" and answer
                self._send(status, headers, bytes([answer[0] ^ 1]) + answer[1:] if flipped else answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815 - names that the base class looks for

    def _passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        host = self.proxy.upstream.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(self.command, self.path, body=body or None, headers=dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            return 503, {}, ERROR.format("ServiceUnavailable").encode()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, claimed: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(claimed or len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


@contextmanager
def proxy_of(upstream: str) -> Iterator[Proxy]:
    """A running proxy."""
    proxy = Proxy(upstream)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
