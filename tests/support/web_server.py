"""A plain web server for tests: files of a folder, ranges, no listings; it counts requests and can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Answer = tuple[int, bytes]


@dataclass(slots=True)
class WebServer:
    """`asked` has (method, path) of every request. `answer(path)` gives another answer than the file's."""

    folder: Path
    port: int = 0
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answer: Callable[[str], Answer | None] = lambda _: None

    def url(self, name: str) -> str:
        """URL of a file or folder; `name` is encoded as it is to be sent."""
        return f"http://127.0.0.1:{self.port}/{name}"


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server of `folder` on a free port of this machine."""
    web = WebServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two sends: the second would wait for the first one's receipt

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
            """Quiet."""

        def do_HEAD(self) -> None:
            self._reply(body=False)

        def do_GET(self) -> None:
            self._reply(body=True)

        def _reply(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            web.asked.append((self.command, path))
            file = folder / path.lstrip("/")
            status, data = web.answer(path) or ((200, file.read_bytes()) if file.is_file() else (404, b"<html>"))
            size = len(data)
            span = self.headers.get("Range")
            if span and web.ranges and status == 200:
                start, end = (int(n) for n in span.removeprefix("bytes=").split("-"))
                status, data = 206, data[start : end + 1]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{size}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # of five, a burst of connections loses some, which come again a second later
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
