"""`slidemill worker`: a Prefect worker that gives its slides back when it is told to stop.

Prefect's own worker kills its flow runs at once (measured with 3.8.8): a slide then waits until its lease ends, and the
attempt counts against it. Here the runs are told first, while the worker is held so that it starts none in their place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from flows.engine.children import with_environment

_DRAIN = "SLIDEMILL_DRAIN_SECONDS"
_DRAIN_S = 40.0
_END_S = 15.0


def runs_of(worker: psutil.Process) -> list[psutil.Process]:
    """The processes that the worker started."""
    with suppress(psutil.Error):
        return worker.children()
    return []


def drain(worker: psutil.Process) -> None:
    """Hold the worker, tell its runs to stop, wait for them. They are its children, so they stay as zombies: that is gone."""
    with suppress(psutil.Error):
        worker.suspend()
    runs = runs_of(worker)
    for run in runs:
        with suppress(psutil.Error):
            run.terminate()
    end = time.monotonic() + float(os.environ.get(_DRAIN, _DRAIN_S))
    while time.monotonic() < end and any(lives(run) for run in runs):
        time.sleep(0.1)


def lives(process: psutil.Process) -> bool:
    """Whether it still does something."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def run_worker(arguments: Sequence[str]) -> int:
    """Run `prefect worker start ARGUMENTS` until it ends, or until SIGTERM or SIGINT. Its exit code, 0 after a signal."""
    # SIGINT at its default: a worker that inherited it as ignored cannot be stopped. A session of its own: signals to the
    # whole group must not reach the worker before its runs.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signals = {signal.SIGTERM, signal.SIGINT}
    command = [sys.executable, "-m", "prefect", "worker", "start", *arguments]
    process = subprocess.Popen(command, env=with_environment(), start_new_session=True)
    told: list[int] = []
    for number in signals:
        signal.signal(number, lambda received, _frame: told.append(received))
    while process.poll() is None and not told:
        time.sleep(0.2)
    if not told:
        return process.returncode
    worker = psutil.Process(process.pid)
    drain(worker)
    with suppress(psutil.Error):
        process.send_signal(signal.SIGTERM)
        worker.resume()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    process.kill()
    process.wait()
    return 0
