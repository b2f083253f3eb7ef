"""Arrays of a store, opened for checking: by zarr-python, or by our own reader of OME-Zarr, which starts faster."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from converter.checking.rules import array_document
from drivers.errors import Incomplete
from drivers.location import Location
from drivers.model import Pixels
from drivers.zarrstore.array import ChunkReader, read_array
from drivers.zarrstore.files import Files, LocalFiles
from drivers.zarrstore.zipped import ZipFiles, is_zip_file, open_zip


@dataclass(frozen=True, slots=True)
class StoredMetadata:
    """What the rules ask of an array's metadata."""

    zarr_format: int
    dimension_names: tuple[str, ...] | None
    dimension_separator: str


@dataclass(frozen=True, slots=True)
class StoredArray:
    """A stored array as the checks see one: the part of zarr-python's arrays that they use."""

    metadata: StoredMetadata
    reader: ChunkReader

    @property
    def chunks(self) -> tuple[int, ...]:
        """What one read decodes."""
        return self.reader.array.chunk

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Chunks that are stored together, None where each is an object of its own."""
        shards = self.reader.array.shards
        return None if shards is None else tuple(n * c for n, c in zip(shards.grid, self.chunks, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as stated."""
        return self.reader.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Sample type."""
        return self.reader.array.dtype

    def __getitem__(self, region: tuple[slice, ...]) -> Pixels:
        """Samples of a region given by start and stop per axis; every chunk it touches is decoded."""
        chunk = self.reader.array.chunk
        out = np.empty([s.stop - s.start for s in region], self.dtype)
        for position in product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(region, chunk, strict=True))):
            low = [max(p * n, s.start) for p, n, s in zip(position, chunk, region, strict=True)]
            high = [min(p * n + n, s.stop) for p, n, s in zip(position, chunk, region, strict=True)]
            inner = tuple(slice(a - p * n, b - p * n) for a, b, p, n in zip(low, high, position, chunk, strict=True))
            outer = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, region, strict=True))
            out[outer] = self.reader(position)[inner]
        return out


def files_of(store: Location) -> Files:
    """The files of a store: a folder, a ZIP file, a URL.

    Raises DriverError for a broken ZIP, and for a URL that is none of an object store or web server.
    """
    if isinstance(store, Path):
        return open_zip(store) if is_zip_file(store) else LocalFiles(store)
    from drivers.zarrstore.remote import RemoteFiles

    return RemoteFiles(store)


def open_with_zarr(files: Files, path: str) -> Any:
    """The array at `path` of a local store, opened by zarr-python, which raises what it likes; others are read directly."""
    if not isinstance(files, LocalFiles | ZipFiles):
        return open_directly(files, path)
    import zarr

    if isinstance(files, ZipFiles):
        from converter.checking.zarr_store import FilesStore

        return zarr.open_array(FilesStore(files), path=path, mode="r")
    return zarr.open_array(files.root / path, mode="r")  # a string would be parsed as a URL: it ends at a semicolon


def open_directly(files: Files, path: str) -> StoredArray:
    """The array at `path` of a store, read by our own reader; raises DriverError, OSError, ValueError."""
    found = array_document(files, path)
    names = found.get("dimension_names")
    metadata = StoredMetadata(
        int(found["zarr_format"]), None if names is None else tuple(names), str(found.get("dimension_separator", "."))
    )
    array = read_array(files, path)
    if array is None:
        raise Incomplete(f"the array {path!r} is not there any more")
    return StoredArray(metadata, ChunkReader(array))
