"""Arrays of a store, opened for checking: by zarr-python, or by our own reader of OME-Zarr, which starts faster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from drivers.model import Pixels
from drivers.omezarr.array import ChunkReader, read_array


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


def open_with_zarr(store: Path, path: str) -> Any:
    """The array at `path` of a store, opened by zarr-python; raises what that raises."""
    import zarr

    return zarr.open_array(str(store / path), mode="r")


def open_directly(store: Path, path: str) -> StoredArray:
    """The array at `path` of a store, read by our own reader; raises DriverError, OSError, ValueError."""
    folder = store / path
    newer = folder / "zarr.json"
    found: dict[str, Any] = json.loads((newer if newer.exists() else folder / ".zarray").read_text())
    names = found.get("dimension_names")
    metadata = StoredMetadata(
        3 if newer.exists() else 2, None if names is None else tuple(names), str(found.get("dimension_separator", "."))
    )
    return StoredArray(metadata, ChunkReader(read_array(folder), store))
