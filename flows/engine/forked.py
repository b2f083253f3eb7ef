"""Processes forked from one that has everything imported: `Template` seen from those who want a process of it.

Python with Prefect and the converter takes 2 s of a core to start and 100 MB that nothing shares. A process forked from one
that has imported them takes 20 ms, and shares what it does not change. What a process becomes is one of `Entry`; the request
goes over a socket that only this user can reach, with the three standard streams. Who asked holds the connection open: where
it closes, because it ended, however that was, the process is killed.

Imports nothing but the standard library: `flows.engine.start` is to cost next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SOCKET = "SLIDEMILL_TEMPLATE"
"""Environment variable that names the socket."""
POKE = "SLIDEMILL_POKE"
"""The same for the socket at which workers are told of work."""
_ANSWER_S = 60.0
_LONGEST = 90
_LINE = 64


class Entry(StrEnum):
    """What a process can be."""

    ENGINE = "engine"
    """A run of a flow, as `python -m prefect.engine`."""
    SERVER = "server"
    WORKERS = "workers"
    DEPLOY = "deploy"


class NoTemplate(Exception):
    """There is no process to fork from, or it refuses: the program is to be started on its own."""


@dataclass(frozen=True, slots=True)
class Request:
    """A process that is wanted."""

    entry: Entry
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str

    def packed(self) -> bytes:
        """As it goes over the socket: its length in a line, then JSON."""
        fields = {"entry": self.entry, "arguments": list(self.arguments)}
        data = json.dumps(fields | {"environment": dict(self.environment), "folder": self.folder}).encode()
        return f"{len(data):<{_LINE - 1}}\n".encode() + data


@dataclass(slots=True)
class Forked:
    """A process that was forked on request; like `subprocess.Popen`, as far as the service uses that. For one thread."""

    connection: socket.socket
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""
        code = self._look(timeout)
        if code is None:
            raise TimeoutError(f"process {self.pid} still runs")
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            self.pass_on(number)

    def pass_on(self, number: int) -> None:
        """Send a signal; may be called from a signal handler while `wait` waits."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            ready, _, _ = select.select([self.connection], [], [], timeout)
            if ready:
                said = _line(self.connection)
                # Where the template is gone, so are its processes.
                self.returncode = int(said) if said else -signal.SIGKILL
                self.connection.close()
        return self.returncode


def fork(request: Request, streams: Sequence[int] = (0, 1, 2), address: str | None = None) -> Forked:
    """A new process. Raises NoTemplate."""
    where = address or os.environ.get(SOCKET)
    if not where:
        raise NoTemplate("no template is named")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_ANSWER_S)
        connection.connect(where)
        data = request.packed()
        sent = socket.send_fds(connection, [data], list(streams))
        connection.sendall(data[sent:])
        said = _line(connection)
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise NoTemplate(str(error)) from error
    if not said.isdigit():
        connection.close()
        raise NoTemplate(said or "the template went away")
    return Forked(connection, int(said))


def _line(connection: socket.socket) -> str:
    """The next line; empty at the end. Byte by byte: of a process that ends at once, two lines come together."""
    said = b""
    while not said.endswith(b"\n") and (more := connection.recv(1)):
        said += more
    return said.decode().strip()


def is_listening(address: str) -> bool:
    """Whether there is a template."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address) == 0


def sockets(state: Path) -> dict[str, str]:
    """Where the sockets of a service are: in its state folder, where that has a name short enough for a socket."""
    folder = state.absolute() / "run"
    if len(os.fsencode(folder)) > _LONGEST:
        folder = Path(tempfile.gettempdir()) / f"slidemill-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise NoTemplate(f"{folder}: belongs to another user")
    folder.chmod(0o700)
    return {SOCKET: str(folder / "template"), POKE: str(folder / "poke")}


def requested(connection: socket.socket) -> tuple[Request, list[int]] | None:
    """What is asked for over a connection, with its streams; None where whoever asked went away. Raises ValueError."""
    head, streams, _, _ = socket.recv_fds(connection, _LINE, 3)
    while head and len(head) < _LINE:
        head += (more := connection.recv(_LINE - len(head)))
        if not more:
            return None
    if not head:
        return None
    length, data = int(head), b""
    while len(data) < length:
        data += (more := connection.recv(length - len(data)))
        if not more:
            return None
    asked = json.loads(data)
    entry = Entry(asked["entry"])
    return Request(entry, asked["arguments"], asked["environment"], asked["folder"]), streams


def end_as(code: int) -> None:
    """End this process as another one ended: by the same signal, or with the same code."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)
