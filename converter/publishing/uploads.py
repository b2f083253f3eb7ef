"""Objects on their way to an object store: so many at a time, and the first that fails ends it for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from converter.errors import Cancelled, Unanswered
from converter.objects.client import Client

AT_ONCE = 8
IN_FLIGHT_BYTES = 64 << 20
_GRACE_S = 3.0


@dataclass(slots=True)
class Uploads:
    """Requests that write objects. `send` may be called from any thread."""

    client: Client
    check: Callable[[], None]
    """Raises where this run may write no more."""
    stopped: Callable[[], bool]
    _failure: BaseException | None = None
    _flying: int = 0
    _flying_bytes: int = 0
    _room: threading.Condition = field(default_factory=threading.Condition)
    _futures: set[Future[None]] = field(default_factory=set[Future[None]])

    def send(self, size: int, upload: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start an upload of `size` bytes; waits while too many are on their way. Raises OutputFailed, for an earlier one."""
        self._make_room(size)
        future = self.client.submit(upload())
        with self._room:
            self._futures.add(future)
        future.add_done_callback(self._landed(size))

    def land(self) -> None:
        """Wait until all have arrived. Raises OutputFailed."""
        with self._room:
            while self._flying and self._failure is None:
                self._room.wait(0.5)
        self._raise_failure()

    async def land_or_cancel(self) -> None:
        """A request that is cut off may still take effect after what it wrote was removed: a moment to end is better."""
        tasks = [asyncio.wrap_future(future) for future in self._futures.copy()]
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_S)
            for task in tasks:
                task.cancel()

    @property
    def may_come_late(self) -> bool:
        """Whether the object store did not answer, and may carry out what it was asked for when it is back."""
        return isinstance(self._failure, Unanswered)

    def _make_room(self, size: int) -> None:
        with self._room:
            while self._flying and (self._flying >= AT_ONCE or self._flying_bytes + size > IN_FLIGHT_BYTES):
                self._room.wait(0.5)
                if self.stopped():
                    raise Cancelled("the conversion was interrupted")
                self._raise_failure()
            self._raise_failure()
            self._flying += 1
            self._flying_bytes += size

    def _landed(self, size: int) -> Callable[[Future[None]], None]:
        def landed(future: Future[None]) -> None:
            with self._room:
                self._futures.discard(future)
                self._flying -= 1
                self._flying_bytes -= size
                if not future.cancelled() and (error := future.exception()) is not None:
                    self._failure = self._failure or error
                self._room.notify_all()

        return landed

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.check()
