"""A process that outlives `slidemill up` by seconds: whatever ends the service, it ends what the service had started.

Prefect's worker usually ends when it is told to, but one that is told while it starts a run may wait for a server that is
gone too. A run that is left then holds its slide, and a server its port. `python -m flows.engine.guard TOKEN SECONDS`
waits for the end of its input, which comes however the service ends, then ends every process that has the token in its
environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import psutil

VARIABLE = "SLIDEMILL_SERVICE"
_LOOK_S = 0.2
_POLITE_S = 20.0


@dataclass(slots=True)
class Guard:
    """The guard, seen from the service that it guards. For one thread."""

    seconds: float = _POLITE_S
    """How long processes have to end by themselves; a run gives its slide back in this time."""
    token: str = field(default_factory=lambda: uuid4().hex)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def environment(self) -> Mapping[str, str]:
        """What every process that is to end with the service needs in its environment."""
        return {VARIABLE: self.token}

    def look_after(self) -> None:
        """Start the guard where it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        self.dismiss()
        command = [sys.executable, "-m", __name__, self.token, str(self.seconds)]
        # A session of its own: what is sent to the service's whole group must not end the guard with it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def dismiss(self) -> None:
        """Let it go; it ends what still runs. Returns once it has."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._process = None


def main(token: str, seconds: float) -> None:
    """Wait for the end of the input, then end every process with the token."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 4096):
        pass
    end, told = time.monotonic() + seconds, set[psutil.Process]()
    while found := with_token(token):
        for process in found:
            with suppress(psutil.Error):
                if time.monotonic() > end:
                    process.kill()
                elif process not in told:
                    told.add(process)
                    process.terminate()
        time.sleep(_LOOK_S)


def with_token(token: str) -> list[psutil.Process]:
    """Processes, other than this one, whose environment names the token."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(VARIABLE) == token:
                found.append(process)
    return found


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
