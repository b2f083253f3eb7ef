"""What the service asks of its engine: start a run for a slide, say what became of runs. Prefect's is in flows/engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from converter.errors import ConverterError


class EngineUnavailable(ConverterError, OSError):
    """The engine's API cannot be reached. What was asked is asked again later."""

    kind = "engine"
    retryable = True


class RunState(StrEnum):
    """What a run is, as far as the service cares."""

    QUEUED = "queued"
    PENDING = "pending"
    """A worker has taken it; its process has not begun."""
    RUNNING = "running"
    ENDED = "ended"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    """By a person: nothing else cancels runs."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the engine."""

    state: RunState
    age: float
    """Seconds in this state, by the engine's clock."""
    message: str | None = None


class Dispatcher(Protocol):
    """An engine that runs slides. All methods raise EngineUnavailable."""

    def submit(self, slide: str, attempt: int, queue: str) -> str:
        """Start a run; the id of the one that exists already where slide and attempt were submitted before."""
        ...

    def runs(self, ids: Sequence[str]) -> Mapping[str, Run]:
        """What became of runs; those that no longer exist are left out."""
        ...

    def end(self, run: str, reason: str) -> None:
        """Mark a run as crashed or cancelled, so that it is not started or shown as running any more."""
        ...
