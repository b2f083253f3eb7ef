"""What the C library keeps of memory that was let go, in processes that live for months and mostly rest."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_ARENA_MAX, _HEAPS = -8, 2


def share() -> None:
    """For a process of many threads that rest: else each has a heap of its own, which keeps what it once held."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """After work that took much: what nobody holds any more goes back to the system. Some milliseconds."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
