"""Telling a run that is a thread of this process to end: a thread cannot be sent a signal."""

from __future__ import annotations

import threading
from uuid import UUID

_STOPS: dict[UUID, threading.Event] = {}


def begin(run: UUID) -> threading.Event:
    """A run begins as a thread of this process. Returns what tells it to end."""
    return _STOPS.setdefault(run, threading.Event())


def stop_of(run: UUID | None) -> threading.Event:
    """What is set once the run is to end; never set for a run that is a process of its own. For any thread."""
    return threading.Event() if run is None else _STOPS.get(run, threading.Event())


def over(run: UUID) -> None:
    """The run has ended."""
    _STOPS.pop(run, None)
