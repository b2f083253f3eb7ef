"""A process that does not outlive the one that started it, however that ends."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(how: signal.Signals) -> None:
    """In a new process: have the system send it this signal when its parent ends. Linux only; see prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
