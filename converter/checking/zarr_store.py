"""zarr-python on any `Files`: it then reads what our reader reads, and no file of its own stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from drivers.zarrstore.files import Files, joined

_READ_ONLY = "this store is read only"
_MOST_BYTES = 1 << 34
"""Of one object: the checks of sizes come before; zarr-python asks for whole objects too."""


class FilesStore(Store):
    """Read-only. Thread-safe as `Files` are."""

    def __init__(self, files: Files, below: str = "") -> None:
        super().__init__(read_only=True)
        self._files, self._below = files, below

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilesStore) and (self._files, self._below) == (other._files, other._below)

    __hash__ = None  # type: ignore[assignment]

    @property
    def supports_writes(self) -> bool:
        """No."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """No."""
        return False

    @property
    def supports_listing(self) -> bool:
        """Yes."""
        return True

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """An object, or part of it; None where it is not there."""
        place = joined(self._below, key)
        size = self._files.size(place)
        if size is None:
            return None
        match byte_range:
            case None:
                data = self._files.whole(place, _MOST_BYTES)
                return None if data is None else prototype.buffer.from_bytes(data)
            case RangeByteRequest(start, end):
                first, last = start, min(end, size)
            case OffsetByteRequest(offset):
                first, last = offset, size
            case SuffixByteRequest(suffix):
                first, last = max(0, size - suffix), size
        return prototype.buffer.from_bytes(self._files.part(place, first, max(0, last - first)))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
        return self._files.size(joined(self._below, key)) is not None

    async def set(self, key: str, value: Any) -> None:
        """Not here."""
        raise NotImplementedError(_READ_ONLY)

    async def delete(self, key: str) -> None:
        """Not here."""
        raise NotImplementedError(_READ_ONLY)

    async def list(self) -> AsyncIterator[str]:
        """Every object."""
        below = f"{self._below}/" if self._below else ""
        for key in sorted(self._files.keys() or ()):
            if key.startswith(below):
                yield key.removeprefix(below)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Objects whose key begins so."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names in a folder."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        seen: dict[str, None] = {}
        async for key in self.list_prefix(below):
            seen.setdefault(key.removeprefix(below).partition("/")[0])
        for name in seen:
            yield name
