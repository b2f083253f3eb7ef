"""Waiting for a process to come to a certain point."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Until the condition holds; False when the process ends before."""
    end = time.monotonic() + 200
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.002)
    return True
