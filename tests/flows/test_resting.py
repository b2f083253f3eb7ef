"""An idle service wakes seldom: what Prefect looks for by itself, it looks for as rarely as one machine needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.engine.names import EVERYWHERE, ONE_MACHINE
from flows.engine.server import access, choose_port, server_environment, wait_until_ready

_ALL = """
import logging
said = []
class Handler(logging.Handler):
    def emit(self, record): said.append(record.getMessage())
logging.getLogger("slidemill").addHandler(Handler())
from flows.engine.resting import rest
from flows.engine.suspension import unobserved
rest(); unobserved()
assert not said, said
"""
_START_S = 120.0
_COUNTED_S = 10.0
_AT_MOST = 12.0
"""Wakes a second of the thread that serves: 3 here, 35 without."""


def test_this_prefect_has_the_shape_that_is_told_to_rest(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _ALL],
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.slow
def test_an_idle_server_sleeps_and_ends_when_told(tmp_path: Path) -> None:
    port = choose_port(tmp_path, 0, fixed=False)
    environment = {**os.environ, **EVERYWHERE, **ONE_MACHINE, **server_environment(tmp_path, port), **access("secret")}
    code = f"from flows.engine.serve import serve; serve({port})"
    said = tmp_path / "said"
    with said.open("wb") as log, subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=log) as server:
        try:
            wait_until_ready(environment["PREFECT_API_URL"], lambda: server.poll() is None, seconds=_START_S)
            time.sleep(_COUNTED_S)  # what it does once, at its start
            before = _wakes(server.pid)
            time.sleep(_COUNTED_S)
            a_second = (_wakes(server.pid) - before) / _COUNTED_S
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(_START_S) == 0
    assert (a_second < _AT_MOST, said.read_text()) == (True, "")


def _wakes(pid: int) -> int:
    """How often the first thread of a process went to sleep."""
    return int(psutil.Process(pid).num_ctx_switches().voluntary)
