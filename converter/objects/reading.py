"""Reading a store that is not published yet: what is in the object store, and the root's metadata, which is not."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.limits import check
from drivers.location import Url
from drivers.zarrstore.remote import RemoteFiles


class WithRoot:
    """Files below a URL, as of the first look, and some more that are held in memory."""

    def __init__(self, url: Url, held: Mapping[str, bytes], name: str) -> None:
        self._below, self._held, self._name = RemoteFiles(url), held, name

    @property
    def url(self) -> Url:
        """Where the others lie."""
        return self._below.url

    @property
    def name(self) -> str:
        """Name of the store, for messages."""
        return self._name

    @property
    def local(self) -> bool:
        """It is behind a server."""
        return False

    def keys(self) -> frozenset[str] | None:
        """Every file."""
        below = self._below.keys()
        return None if below is None else below | frozenset(self._held)

    def folders(self, key: str) -> list[str] | None:
        """Sorted names of the folders in a folder."""
        return self._below.folders(key)

    def size(self, key: str) -> int | None:
        """Bytes of a file; None where it is not there."""
        return len(self._held[key]) if key in self._held else self._below.size(key)

    def whole(self, key: str, limit: int) -> bytes | None:
        """A file; None where it is not there."""
        if key in self._held:
            check(f"the size of {key}", len(self._held[key]), limit)
            return self._held[key]
        return self._below.whole(key, limit)

    def part(self, key: str, offset: int, count: int) -> bytes:
        """Exactly `count` bytes of a file."""
        return self._below.part(key, offset, count)
