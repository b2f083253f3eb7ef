"""The files of a store behind an http, https or s3 URL, through obstore, which retries what a retry can help.

S3: credentials, region and AWS_ENDPOINT_URL come from the environment as the AWS tools have them (AWS_SKIP_SIGNATURE=true
for public buckets). Web servers list nothing: keys are asked for one by one. Facts: docs.rs/object_store (config keys),
obstore's documentation (calls may come from any thread and release the GIL).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from drivers.errors import Damaged, DriverError, LimitExceeded, Unreadable, Unsupported
from drivers.limits import LIMITS, check
from drivers.location import RemoteObject, Url, check_url
from drivers.zarrstore.files import MOST_FILES, last
from drivers.zarrstore.node import METADATA

if TYPE_CHECKING:
    from obstore.store import HTTPStore, S3Store

_RETRIES: Any = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}
_CREDENTIAL_HOSTS = ("169.254.169.254", "169.254.170.2")
"""Where clouds tell their machines credentials."""
_CLIENT: Any = {"connect_timeout": "5s", "timeout": "120s", "allow_http": True}


class Denied(Unreadable):
    """The server refuses an object (403), which some do for objects that are not there."""

    retryable = False


class RemoteFiles:
    """Objects below a URL. Holds the listing, once asked for, and the metadata read, not the pixels."""

    def __init__(self, url: Url) -> None:
        check_url(url)
        self.url, self._store = url, _store(url)
        self._listed: dict[str, RemoteObject] | None = None
        self._documents: dict[str, RemoteObject] = {}
        self._head = lru_cache(4096)(self._asked_size)
        self.denied = False
        """Whether the server refused a metadata document: then "absent" may mean "not for you"."""

    @property
    def name(self) -> str:
        """Name of the store, for messages."""
        return self.url.name

    @property
    def local(self) -> bool:
        """It is behind a server."""
        return False

    @property
    def listed(self) -> bool:
        """Whether the listing is known."""
        return self._listed is not None

    def keys(self) -> frozenset[str] | None:
        """Every object of a bucket's folder; None where it may not be listed, and for web servers."""
        if self.url.scheme != "s3":
            return None
        try:
            self._listed = self._list()
        except Denied:
            return None
        return frozenset(self._listed)

    def objects(self) -> list[RemoteObject]:
        """What the server has now, sorted by key: the whole listing, or the metadata documents read so far."""
        if self._listed is not None:
            found = self._list()
        else:
            for key in list(self._documents):
                if self.whole(key, LIMITS.metadata_bytes) is None:
                    raise Unreadable(f"{self.name}: {key} is not there any more")
            found = self._documents
        return [found[key] for key in sorted(found)]

    def _list(self) -> dict[str, RemoteObject]:
        import obstore

        found: dict[str, RemoteObject] = {}
        with self._told("its listing"):
            for batch in obstore.list(self._store, chunk_size=1000):
                for item in batch:
                    version = item["e_tag"] or item["last_modified"].isoformat()
                    found[item["path"]] = RemoteObject(item["path"], item["size"], version)
                check("the number of objects", len(found), MOST_FILES)
        return found

    def folders(self, key: str) -> list[str] | None:
        """Sorted names of the folders in a folder, from the listing."""
        if self._listed is None:
            return None
        start = f"{key}/" if key else ""
        names = (k.removeprefix(start).split("/") for k in self._listed if k.startswith(start))
        return sorted({parts[0] for parts in names if len(parts) > 1})

    def size(self, key: str) -> int | None:
        """Bytes of an object, from the listing, or asked for and kept."""
        if self._listed is not None:
            found = self._listed.get(key)
            return None if found is None else found.size
        return self._head(key)

    def _asked_size(self, key: str) -> int | None:
        import obstore

        return self._absent_or(key, lambda: int(obstore.head(self._store, key)["size"]))

    def whole(self, key: str, limit: int) -> bytes | None:
        """An object in one request; none is made for what the listing does not have."""
        if self._listed is not None and key not in self._listed:
            return None
        data = self._absent_or(key, lambda: self._fetched(key, limit))
        if data is not None and last(key) in METADATA:
            self._documents[key] = RemoteObject(key, len(data), hashlib.sha256(data).hexdigest())
        return data

    def _fetched(self, key: str, limit: int) -> bytes:
        import obstore

        result = obstore.get(self._store, key)
        check(f"the size of {last(key)}", result.meta["size"], limit)
        data = result.bytes().to_bytes()
        if len(data) != result.meta["size"]:
            raise Unreadable(f"{self.name}: {key}: {len(data)} of {result.meta['size']} bytes came")
        return data

    def part(self, key: str, offset: int, count: int) -> bytes:
        """Bytes of an object, by a range request."""
        import obstore

        size = self.size(key)
        if size is None or offset < 0 or offset + count > size:
            raise Damaged(f"{count} bytes at offset {offset} reach past the end of {key} ({size or 0}): it is truncated")
        if count == 0:
            return b""
        with self._told(key):
            data = obstore.get_range(self._store, key, start=offset, length=count).to_bytes()
        if len(data) != count:
            raise Unreadable(f"{self.name}: {key}: {len(data)} of {count} bytes came")
        return data

    def _absent_or[T](self, key: str, ask: Callable[[], T]) -> T | None:
        try:
            with self._told(key):
                return ask()
        except FileNotFoundError as error:
            if isinstance(error, DriverError):
                raise
            return None
        except Denied:
            if last(key) not in METADATA:
                raise
            self.denied = True
            return None

    @contextmanager
    def _told(self, what: str) -> Generator[None]:
        """Errors of obstore as ours; FileNotFoundError is left to the caller."""
        from obstore import exceptions

        try:
            yield
        except (FileNotFoundError, DriverError, LimitExceeded):
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
            raise Denied(f"{self.name}: {what}: {denied(self.url)}") from error
        except exceptions.NotSupportedError as error:
            raise Unsupported(
                f"{self.name}: {what}: the server does not answer range requests, which shards need; copy the store first"
            ) from error
        except (exceptions.BaseError, OSError) as error:
            text = _first_line(error)
            if any(host in text for host in _CREDENTIAL_HOSTS):  # asked when the environment names no credentials
                raise Denied(f"{self.name}: {what}: {denied(self.url)}") from error
            raise Unreadable(f"{self.name}: {what}: {text}") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # what obstore makes of an AWS_ENDPOINT_URL that is no URL
                raise
            raise Unreadable(f"{self.name}: {what}: {_first_line(error)}; check AWS_ENDPOINT_URL") from None


def denied(url: Url) -> str:
    """What to say where a server refuses."""
    if url.scheme != "s3":
        return "the server refuses access (401 or 403)"
    return (
        "access is refused; credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, "
        "AWS_ENDPOINT_URL; AWS_SKIP_SIGNATURE=true for public buckets)"
    )


def _store(url: Url) -> HTTPStore | S3Store:
    from obstore import exceptions
    from obstore.store import HTTPStore, S3Store

    try:
        if url.scheme != "s3":
            return HTTPStore.from_url(url.text, client_options=_CLIENT, retry_config=_RETRIES)
        bucket, _, prefix = url.text.partition("://")[2].partition("/")
        return S3Store(bucket, prefix=prefix or None, client_options=_CLIENT, retry_config=_RETRIES)
    except (exceptions.BaseError, ValueError, OSError) as error:
        raise Unreadable(f"{url.name}: cannot be opened: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """obstore's messages go on with the insides of the error and the body of the answer."""
    text = str(error.args[-1] if error.args else error).partition("\n")[0].partition("<!DOCTYPE")[0]
    return text.strip()[:300] or type(error).__name__
