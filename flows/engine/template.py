"""The process that others are forked from: everything imported, one thread, nothing open. `python -m flows.engine.template`.

Its processes are told to stop (SIGTERM) when it ends. It serves requests of `flows.engine.forked` one after another.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.engine.forked import Entry, Request, requested
from flows.engine.heap import share
from flows.parent import end_with_parent

_IMPORTED = ("flows.engine.runs", "flows.engine.deploy", "prefect.flow_engine", "prefect.server.api.server")
_PR_SET_NAME = 15
_QUESTION_S = 10.0

log = logging.getLogger("slidemill.template")

Work = Callable[[], int]


@dataclass(slots=True)
class Template:
    """Serves requests at a socket. For the main thread of a process that has no other."""

    listener: socket.socket
    running: dict[int, socket.socket] = field(default_factory=dict[int, socket.socket])
    """Processes, and who asked for each."""
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector, init=False)
    _wake: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair, init=False)
    _stop: bool = field(default=False, init=False)

    def serve(self) -> Work:
        """Until told to stop. In a new process: returns what that is to do."""
        for end in self._wake:
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        self._selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake[0], selectors.EVENT_READ, self._reap)
        while not self._stop:
            for key, _ in self._selector.select():
                work = key.data()
                if work is not None:
                    return work
        return lambda: 0

    def _hear(self, number: int, _frame: object) -> None:
        self._stop = self._stop or number != signal.SIGCHLD

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wake[0].recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tell(pid, os.waitstatus_to_exitcode(status))

    def _tell(self, pid: int, code: int) -> None:
        connection = self.running.pop(pid, None)
        if connection is not None:
            self._selector.unregister(connection)
            with suppress(OSError), connection:
                connection.sendall(f"{code}\n".encode())

    def _accept(self) -> Work | None:
        connection, _ = self.listener.accept()
        streams: list[int] = []
        try:
            connection.settimeout(_QUESTION_S)
            asked = requested(connection) if _is_ours(connection) else None
            if asked is None:
                connection.close()
                return None
            request, streams = asked
            if not _is_like_this(request):
                connection.sendall(b"its settings of Prefect are others\n")
                connection.close()
                return None
            return self._fork(request, streams, connection)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("a request could not be served: %s", error)
            connection.close()
            return None
        finally:
            for stream in streams:
                with suppress(OSError):
                    os.close(stream)

    def _fork(self, request: Request, streams: list[int], connection: socket.socket) -> Work | None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._let_go(connection)
            _become(request, streams, parent)
            return lambda: _ENTRIES[request.entry](request.arguments)
        self.running[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._left(pid))
        connection.sendall(f"{pid}\n".encode())
        return None

    def _left(self, pid: int) -> None:
        """Whoever asked for the process has gone."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        connection = self.running.pop(pid)
        self._selector.unregister(connection)
        connection.close()

    def _let_go(self, connection: socket.socket) -> None:
        """In a new process: keep nothing of the template's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for one in (self.listener, connection, *self._wake, *self.running.values()):
            one.close()


def _is_ours(connection: socket.socket) -> bool:
    """Whether whoever asks is this user. Linux tells; elsewhere the folder of the socket keeps others out."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user == os.geteuid()


def _is_like_this(request: Request) -> bool:
    """Whether Prefect's settings, which are read when it is imported, are those of this process."""
    from prefect.settings import get_current_settings

    own, read = _settings_of(os.environ), get_current_settings().to_environment_variables(exclude_unset=True)
    asked = _settings_of(request.environment)
    return own.keys() <= asked.keys() and all(value in (own.get(name), read.get(name)) for name, value in asked.items())


def _settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith("PREFECT_") and not k.startswith("PREFECT__")}


def _become(request: Request, streams: list[int], parent: int) -> None:
    os.setsid()
    end_with_parent(signal.SIGTERM)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, f"sm-{request.entry}".encode())  # what `ps` shows
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)


def _engine(arguments: Sequence[str]) -> int:
    from flows.engine.suspension import unobserved

    unobserved()
    sys.argv = ["prefect.engine", *arguments]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0


def _server(arguments: Sequence[str]) -> int:
    from flows.engine.serve import serve

    share()
    serve(int(arguments[0]))
    return 0


def _workers(arguments: Sequence[str]) -> int:
    from flows.engine.workers import run

    share()
    return run(arguments)


def _deploy(_arguments: Sequence[str]) -> int:
    from flows.engine.deploy import main

    return main()


_ENTRIES: dict[Entry, Callable[[Sequence[str]], int]] = {
    Entry.ENGINE: _engine,
    Entry.SERVER: _server,
    Entry.WORKERS: _workers,
    Entry.DEPLOY: _deploy,
}


def main(path: str) -> None:
    """Import everything, listen at `path`, fork."""
    for name in _IMPORTED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with suppress(FileNotFoundError):
            Path(path).unlink()
        listener.bind(path)
        listener.listen(64)
        # What is there now stays as it is: a collection would write to it, and what is written to is not shared.
        gc.collect()
        gc.freeze()
        work = Template(listener).serve()
    sys.exit(work())


if __name__ == "__main__":
    main(sys.argv[1])
