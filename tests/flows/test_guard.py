"""The guard of `slidemill up`: what the service started ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from flows.engine.guard import Guard
from tests.service.harness import wait_for

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(300)"
SERVICE = f"""
import os, subprocess, sys, time
from flows.engine.guard import Guard
guard = Guard(seconds=1.0)
guard.look_after()
command = [sys.executable, "-c", {DEAF!r}]
child = subprocess.Popen(command, env=os.environ | guard.environment, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(guard.token, child.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def service() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that started another one, which ignores SIGTERM, and guards it; the id of the other."""
    process = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    _, pid = process.stdout.readline().split()
    yield process, int(pid)
    process.kill()
    process.communicate()


def test_a_killed_service_takes_along_what_does_not_want_to_end(service: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = service
    guards = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    wait_for("it is gone", lambda: not psutil.pid_exists(pid), 200)
    wait_for("it is gone", lambda: not any(guard.is_running() for guard in guards), 200)


def test_strangers_are_left_alone() -> None:
    guard, other = Guard(seconds=0.1), Guard()
    stranger = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=os.environ | dict(other.environment)
    )
    own = subprocess.Popen([sys.executable, "-c", DEAF], env=os.environ | dict(guard.environment), stdout=subprocess.PIPE)
    assert own.stdout is not None
    own.stdout.readline()
    guard.look_after()
    guard.dismiss()
    assert own.wait(200) == -signal.SIGKILL
    assert stranger.poll() is None
    stranger.communicate(b"\n", timeout=240)
    own.stdout.close()
    assert stranger.returncode == 0


def test_a_guard_that_ended_is_started_again() -> None:
    guard = Guard(seconds=0.1)
    mine = psutil.Process()

    def guards() -> list[psutil.Process]:
        living = (child for child in mine.children() if child.status() != psutil.STATUS_ZOMBIE)
        return [child for child in living if guard.token in child.cmdline()]

    guard.look_after()
    (first,) = wait_for("its words are there", guards, 200)  # for a moment after its start a process has none
    first.kill()
    wait_for("it is gone", lambda: first.status() == psutil.STATUS_ZOMBIE, 200)
    guard.look_after()
    assert wait_for("another one is there", guards, 200)  # the one that ended has no words any more
    guard.dismiss()
