"""What a Prefect server of one machine does while nobody asks: each thing that it looks for, as rarely as one machine needs.

As Prefect and its libraries come, an idle server wakes some 300 times a second, and 150 times where it is told to look once a
second. A wake is cheap where the processor is awake anyway, and up to a millisecond where it had gone to sleep.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import FrameType, ModuleType
from typing import Any

import docket
import uvicorn
from uvicorn.config import STARTUP_FAILURE

_LOOK = timedelta(seconds=5)
"""How often the server's own background work is looked for; it comes every 30 s at most. Docket has 250 ms."""
_HEARTBEAT = timedelta(seconds=60)
"""How often Docket's one worker says that it lives, to itself. Docket has 2 s."""
_AUTOMATIONS = timedelta(seconds=30)
"""How often automations that wait for something *not* to happen are judged. Prefect has 5 s."""
_TICK_S = 1.0
"""How often the web server sets its date. uvicorn has 0.1 s."""

log = logging.getLogger("slidemill.resting")


class RestfulWorker(docket.Worker):
    """Docket's worker, for work that nobody cancels: Prefect never does, and to listen for it wakes ten times a second."""

    async def _cancellation_listener(self) -> None:
        if (session := self._processing_session) is not None:
            session.cancellation_ready.set()


class RestfulServer(uvicorn.Server):
    """uvicorn, which looks once a second instead of ten times; whoever stops it need not wait for that."""

    _told: Callable[[], object] | None = None

    async def main_loop(self) -> None:
        """Until told to stop."""
        told = asyncio.Event()
        self._told = partial(asyncio.get_running_loop().call_soon_threadsafe, told.set)
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn, and at once."""
        super().handle_exit(sig, frame)
        if self._told is not None:
            self._told()


def rest() -> None:
    """Let the Prefect server of this process, not started yet, look less often."""
    import prefect.server.api.background_workers as background
    from prefect.server.api import server
    from prefect.server.events import triggers

    if not hasattr(docket.Worker, "_cancellation_listener"):
        _told_of("docket")
        return
    worker = partial(RestfulWorker, minimum_check_interval=_LOOK, scheduling_resolution=_LOOK)
    _replace(background, "Worker", docket.Worker, worker)
    _replace(server, "Docket", docket.Docket, partial(docket.Docket, heartbeat_interval=_HEARTBEAT))
    _replace(triggers, "consumer", triggers.consumer, partial(triggers.consumer, periodic_granularity=_AUTOMATIONS))


def _replace(module: ModuleType, name: str, was: object, now: Callable[..., Any]) -> None:
    if getattr(module, name, None) is was:
        setattr(module, name, now)
    else:
        _told_of(module.__name__)


def _told_of(what: str) -> None:
    log.warning("%s has another shape in this version: the Prefect server looks for work as often as it likes", what)


def run(app: Any, **options: Any) -> None:
    """As `uvicorn.run`, with a server that rests."""
    server = RestfulServer(uvicorn.Config(app, **options))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
