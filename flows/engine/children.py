"""Processes that the service keeps running: started anew when they end, never outliving it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flows.engine.forked import SOCKET, Entry, Forked, NoTemplate, Request, fork
from flows.engine.logs import appended
from flows.parent import end_with_parent

_FIRST_WAIT_S, _LONGEST_WAIT_S, _STEADY_S = 1.0, 60.0, 300.0


@dataclass(slots=True)
class Child:
    """A process and how to start it. For one thread, the main one."""

    name: str
    command: Sequence[str] | Entry
    """What to start; an entry is forked from the template that the environment names, with `arguments`."""
    environment: Mapping[str, str]
    log: Path
    say: Callable[[str], None]
    arguments: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | Forked | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)
    _wait: float = field(default=_FIRST_WAIT_S, init=False)
    _due: float = field(default=0.0, init=False)

    @property
    def pid(self) -> int | None:
        """Its process id, None where it is not running."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code, None where it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it; its output goes to its log."""
        self._process = self._forked(self.command) if isinstance(self.command, Entry) else self._program(self.command)
        self._started = time.monotonic()

    def _program(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with appended(self.log) as output:
            return subprocess.Popen(
                command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the service, which ends its children in order
                preexec_fn=_prepare,  # noqa: PLW1509 - called from the main thread, before others matter
            )

    def _forked(self, entry: Entry) -> Forked | None:
        request = Request(entry, self.arguments, self.environment, str(Path.cwd()))
        with appended(self.log) as output, Path(os.devnull).open("rb") as nothing:
            streams = (nothing.fileno(), output.fileno(), output.fileno())
            try:
                return fork(request, streams, self.environment[SOCKET])
            except NoTemplate as error:
                self._put_off(str(error))
                return None

    def look_after(self) -> None:
        """Start it anew where it has ended, sooner or later as it lives longer or shorter."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self._try_again()
            return
        code = self._process.poll()
        if code is None:
            return
        lived = time.monotonic() - self._started
        self._wait = _FIRST_WAIT_S if lived > _STEADY_S else min(self._wait * 2, _LONGEST_WAIT_S)
        self._due, self._process = time.monotonic() + self._wait, None
        self.say(f"{self.name} ended with {code}; starting it again in {self._wait:.0f} s (see {self.log})")

    def _try_again(self) -> None:
        try:
            self.start()
        except OSError as error:  # no room for a log, no memory, no more processes: that may pass
            self._put_off(error.strerror or str(error))

    def _put_off(self, why: str) -> None:
        self._wait = min(self._wait * 2, _LONGEST_WAIT_S)
        self._due = time.monotonic() + self._wait
        self.say(f"{self.name} could not be started: {why}; trying again in {self._wait:.0f} s")

    def pause(self) -> None:
        """Let it do nothing until `stop`; what it started goes on."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGSTOP)

    def stop(self, how: signal.Signals, seconds: float) -> None:
        """End it and whatever it started: asked first, then killed."""
        if self._process is None:
            return
        family = _family(self._process.pid)
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)  # it may be paused
        with suppress(subprocess.TimeoutExpired, TimeoutError):
            self._process.wait(seconds)
        _end(family, 3.0)
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._process = None


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _end(processes: Sequence[psutil.Process], seconds: float) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(list(processes), seconds)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def _prepare() -> None:
    """In the new process, before its program: whatever ends the service ends it too, and it hears SIGINT.

    A shell starts background jobs with SIGINT ignored, and a Prefect worker that inherits that cannot be stopped.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent(signal.SIGTERM)


def python(*arguments: str) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *arguments]


def with_environment(*more: Mapping[str, str]) -> dict[str, str]:
    """This environment and more; `python` is this Python: workers start runs by that name."""
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
    for values in more:
        found.update(values)
    return found
