"""`python -m flows.engine.start`: how a worker starts a run. Forked where there is a template, else as Prefect.

Waits for the run and ends as it ends; what it is told (SIGTERM, SIGINT) it passes on.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from flows.engine.forked import Entry, Forked, NoTemplate, Request, end_as, fork

_HEARD_S = 1.0
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Start the run that the environment names."""
    # What comes before there is somebody to tell waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        process = fork(Request(Entry.ENGINE, sys.argv[1:], dict(os.environ), str(Path.cwd())))
    except NoTemplate:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine", *sys.argv[1:]])
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _frame: process.pass_on(received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    end_as(_waited(process))


def _waited(process: Forked) -> int:
    while True:
        # A signal that comes between two steps of Python, just before the wait begins, is heard when the wait ends.
        with suppress(TimeoutError):
            return process.wait(_HEARD_S)


if __name__ == "__main__":
    main()
