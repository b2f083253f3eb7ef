"""Requests to one bucket, each tried again while that can help, within a budget that a whole conversion shares.

They run on an event loop of their own thread: any thread may wait for one, and an interrupt or the end of a conversion
cancels what is under way. Every put carries a SHA-256 that the server compares (x-amz-checksum-sha256). Credentials, region
and endpoint come from the environment as obstore reads it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL, ...
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from converter.errors import Cancelled
from converter.objects.faults import failure, fault_of
from drivers.location import Url

if TYPE_CHECKING:
    from obstore.store import S3Store


@dataclass(slots=True)
class Patience:
    """How long and how often requests are tried again."""

    request_s: float = 45.0
    """From the first try of a request to the last."""
    first_s: float = 0.1
    longest_s: float = 5.0
    """The pause before try n is random between 0 and first_s * 2^n, at most longest_s ("full jitter")."""
    quiet_s: float = 30.0
    """A try is given up after this and a second for every `slowest_bytes_s` bytes on the way."""
    slowest_bytes_s: int = 128 << 10
    tokens: float = 500.0
    """A retry costs 5, a success gives 1 back: a few lost requests never end a conversion, a dead server soon does."""

    def take(self) -> bool:
        """Whether one more retry is within the budget."""
        if self.tokens < 5:
            return False
        self.tokens -= 5
        return True

    def give(self) -> None:
        """A request succeeded."""
        self.tokens = min(self.tokens + 1, 500.0)


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it is listed."""

    size: int
    etag: str | None
    changed: datetime
    """By the server's clock."""


class AlreadyThere(Exception):
    """412: the condition of a put does not hold. Maybe since our own earlier try succeeded and its answer was lost."""


@dataclass(slots=True)
class Client:
    """A bucket. Close it. Coroutines raise OutputFailed when a request fails for good."""

    url: Url
    """For messages: the store that is written."""
    patience: Patience = field(default_factory=Patience)
    guard: Callable[[], None] = lambda: None
    """Asked right before each try of a request that writes or removes; raises where this run may do neither any more.

    A run may be suspended anywhere, in the pause before another try too: copies and deletions know no condition.
    """
    _store: S3Store = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)
    _flying: int = 0

    def __post_init__(self) -> None:
        try:
            self._store = _s3(bucket_of(self.url))
        except BaseException as error:
            self._loop.close()
            if isinstance(error, Exception):
                raise failure(str(self.url), error) from None
            raise
        self._thread = threading.Thread(target=self._loop.run_forever, name="slidemill-objects", daemon=True)
        self._thread.start()

    def submit[T](self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop; any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait[T](self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run `work` and wait for it; raises what that raises, TimeoutError after `seconds`, Cancelled once closed."""
        future = self.submit(work)
        try:
            return future.result(seconds)
        except CancelledError:
            raise Cancelled("the conversion was interrupted") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what is under way and end the loop."""
        if self._loop.is_closed():
            return
        with suppress(TimeoutError):
            self.submit(_cancel_others()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def create(self, key: str, data: bytes) -> str | None:
        """Put an object that must not be there yet (If-None-Match: *); its ETag. Raises AlreadyThere."""
        return await self._put(key, data, "create")

    async def change(self, key: str, data: bytes, etag: str) -> str | None:
        """Put over the object that has this ETag (If-Match); the new one. Raises AlreadyThere where it has another."""
        return await self._put(key, data, {"e_tag": etag})

    async def _put(self, key: str, data: bytes, mode: Any) -> str | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        async def ask() -> str | None:
            done = await obstore.put_async(self._store, key, data, mode=mode, use_multipart=False)
            return done["e_tag"]

        try:
            return await self._tried(ask, len(data), writes=True)
        except (AlreadyExistsError, PreconditionError) as error:
            raise AlreadyThere(key) from error
        except FileNotFoundError as error:
            if mode == "create":
                raise failure(str(self.url), error) from None
            raise AlreadyThere(key) from error  # AWS: If-Match on a key that is not there is 404

    async def get(self, key: str) -> tuple[bytes, Found] | None:
        """An object and how it is listed; None where it is not there."""
        import obstore

        async def ask() -> tuple[bytes, Found]:
            result = await obstore.get_async(self._store, key)
            data = bytes(await result.bytes_async())
            if len(data) != result.meta["size"]:
                raise ConnectionError("the answer is cut short")
            return data, _found(result.meta)

        try:
            return await self._tried(ask)
        except FileNotFoundError as error:
            if fault_of(error).code == "NoSuchBucket":
                raise failure(str(self.url), error) from None
            return None

    async def listing(self, folder: str) -> dict[str, Found]:
        """Everything below a folder, by path from there; as many pages as it takes."""
        import obstore

        async def ask() -> dict[str, Found]:
            found: dict[str, Found] = {}
            pages = aiter(obstore.list(self._store, folder, chunk_size=1000))
            while True:
                async with asyncio.timeout(self.patience.quiet_s):
                    page = await anext(pages, None)
                if page is None:
                    return found
                found |= {item["path"]: _found(item) for item in page}

        start = len(folder) + 1 if folder else 0
        try:
            return {path[start:]: found for path, found in (await self._tried(ask, longer_s=3600)).items()}
        except FileNotFoundError as error:
            raise failure(str(self.url), error) from None

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        import obstore

        for first in range(0, len(keys), 1000):
            some = list(keys[first : first + 1000])

            async def ask(some: list[str] = some) -> None:
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, some)

            await self._tried(ask, writes=True)

    async def copy(self, pairs: Mapping[str, str], at_once: int = 16) -> None:
        """Copy objects within the bucket, by the server itself: new key by old."""
        import obstore

        limit = asyncio.Semaphore(at_once)

        async def one(old: str, new: str) -> None:
            async with limit:
                try:
                    await self._tried(lambda: obstore.copy_async(self._store, old, new), longer_s=60, writes=True)
                except FileNotFoundError as error:
                    raise failure(str(self.url), error) from None

        tasks = [asyncio.ensure_future(one(old, new)) for old, new in pairs.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _tried[T](
        self, ask: Callable[[], Awaitable[T]], size: int = 0, longer_s: float = 0.0, *, writes: bool = False
    ) -> T:
        """Ask until it succeeds, fails for good, or patience ends. Conditions that do not hold are the caller's."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        begun, attempt = time.monotonic(), 0
        while True:
            if writes:
                self.guard()
            try:
                return await self._once(ask, size, longer_s)
            except FileNotFoundError:
                raise
            except (AlreadyExistsError, PreconditionError) as error:
                if fault_of(error).status != 409:  # 409: another request for this key is under way, not "it exists"
                    raise
                await self._pause(error, begun, attempt)
            except (BaseError, OSError, ValueError) as error:
                await self._pause(error, begun, attempt)
            attempt += 1

    async def _once[T](self, ask: Callable[[], Awaitable[T]], size: int, longer_s: float) -> T:
        self._flying += size
        limit = self.patience.quiet_s + self._flying / self.patience.slowest_bytes_s + longer_s
        try:
            async with asyncio.timeout(limit):
                found = await ask()
        finally:
            self._flying -= size
        self.patience.give()
        return found

    async def _pause(self, error: Exception, begun: float, attempt: int) -> None:
        """Wait before the next try; raises where there is to be none."""
        patience = self.patience
        late = time.monotonic() - begun > patience.request_s
        if not fault_of(error).transient or late or not patience.take():
            raise failure(str(self.url), error) from None
        longest = min(patience.longest_s, patience.first_s * 2 ** min(attempt, 20))
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - no secret


def bucket_of(url: Url) -> str:
    """Bucket of `s3://bucket/key`."""
    return url.text.partition("://")[2].partition("/")[0]


def key_of(url: Url) -> str:
    """Key of `s3://bucket/key`."""
    return url.text.partition("://")[2].partition("/")[2]


def _s3(bucket: str) -> S3Store:
    from obstore.store import S3Store

    # Tries and time limits are ours: obstore's know neither a budget for the whole conversion nor an interrupt. Plain HTTP
    # is used where AWS_ENDPOINT_URL says so.
    return S3Store(
        bucket,
        checksum_algorithm="SHA256",
        client_options={"connect_timeout": "5s", "timeout": "3600s", "allow_http": True},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )


def _found(item: Any) -> Found:
    return Found(item["size"], item["e_tag"], item["last_modified"])


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
