"""A Zarr array as stored: where the bytes of a chunk lie, in a file of its own or within a shard."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, DriverError, Unsupported
from drivers.fill import Fill, fill_of
from drivers.limits import LIMITS, check
from drivers.model import Pixels
from drivers.zarrstore.codecs import Chain, chain_v2, chain_v3, check_chunk, checked, named
from drivers.zarrstore.files import Files, joined, last
from drivers.zarrstore.node import V2_ARRAY, V3, Json, as_dict, as_list, read_json, sizes

_NOWHERE = 2**64 - 1
_WIDEST = 8
"""Bytes of a sample: numpy's long double is another type on every machine."""
Index = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Shards:
    """The chunks of a file that holds several (sharding_indexed codec)."""

    grid: tuple[int, ...]
    """Chunks of a shard along each axis."""
    at_end: bool
    checksum: bool

    @property
    def index_bytes(self) -> int:
        """Size of the index: offset and length of each chunk, and a checksum."""
        return math.prod(self.grid) * 16 + (4 if self.checksum else 0)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of a store."""

    files: Files
    path: str
    """Its key in the store."""
    shape: tuple[int, ...]
    fill: Fill
    chain: Chain
    shards: Shards | None
    key: Callable[[tuple[int, ...]], str]
    compression: str

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of what one read decodes."""
        return self.chain.shape

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of what one file holds: a chunk, or a shard of them."""
        grid = (1,) * len(self.shape) if self.shards is None else self.shards.grid
        return tuple(size * count for size, count in zip(self.chunk, grid, strict=True))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Sample type as shown; booleans are 0 and 1."""
        native = self.chain.dtype.newbyteorder("=")
        return np.dtype("u1") if native == np.bool_ else native

    def is_chunk(self, key: str) -> bool:
        """Whether a file has the name of a chunk of the array, or of a shard, also of one that lies outside its shape."""
        numbers = [int(number) for number in re.findall(r"\d+", key[len(self.path) :])]
        return len(numbers) == len(self.shape) and joined(self.path, self.key(tuple(numbers))) == key

    def file_of(self, position: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """(key of the file that holds a chunk, place of the chunk within its shard)."""
        if self.shards is None:
            return joined(self.path, self.key(position)), ()
        outer = tuple(p // n for p, n in zip(position, self.shards.grid, strict=True))
        return joined(self.path, self.key(outer)), tuple(p % n for p, n in zip(position, self.shards.grid, strict=True))


def read_array(files: Files, path: str) -> Array | None:
    """The array at a key, None where there is none; raises Unsupported, Damaged or LimitExceeded."""
    try:
        newer = read_json(files, joined(path, V3))
        older = read_json(files, joined(path, V2_ARRAY)) if newer is None else None
        if newer is not None:
            array = _v3((files, path), newer)
        elif older is not None:
            array = _v2((files, path), older)
        else:
            return None
        check("the number of pixels", math.prod(array.shape[-2:]), LIMITS.level_pixels)
        check_chunk(array.chain)
        return array
    except DriverError as error:
        raise type(error)(f"array {last(path)}: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"array {last(path)}: its metadata is not that of an array: {str(error)[:100]}") from error


def _v2(place: tuple[Files, str], document: Json) -> Array:
    shape, chunk = sizes(document.get("shape"), "shape"), sizes(document.get("chunks"), "chunks")
    if len(shape) != len(chunk):
        raise Damaged(f"has {len(shape)} axes, its chunks {len(chunk)}")
    dtype = _dtype(document.get("dtype"))
    separator = document.get("dimension_separator") or _separator(*place, len(shape))
    chain = chain_v2(document, chunk, dtype)
    compression = chain.compressors[0][0] if chain.compressors else "none"
    stated = document.get("fill_value")
    fill = fill_of(0 if stated is None else stated, dtype)  # null: the specification leaves it open, readers show 0
    return Array(*place, shape, fill, chain, None, _joining(str(separator)), compression)


def _separator(files: Files, path: str, axes: int) -> str:
    """Stores of 0.1 do not say how their chunks are named; some are nested all the same."""
    if axes < 2:
        return "."
    folders = files.folders(path)
    if folders is None:  # no listing: the first chunk tells, where it is stored
        return "/" if files.size(joined(path, "/".join("0" * axes))) is not None else "."
    return "/" if any(name.isdecimal() for name in folders) else "."


def _joining(separator: str, prefix: str = "") -> Callable[[tuple[int, ...]], str]:
    return lambda position: prefix + separator.join(map(str, position))


def _v3(place: tuple[Files, str], document: Json) -> Array:
    if document.get("node_type") != "array":
        raise Damaged("is no array")
    shape, dtype = sizes(document.get("shape"), "shape"), _dtype(document.get("data_type"))
    grid = as_dict(document.get("chunk_grid"), "chunk_grid")
    if grid.get("name") != "regular":
        raise Unsupported(f"a chunk grid of the kind {grid.get('name')!r} is not read")
    stored = sizes(as_dict(grid.get("configuration"), "chunk_grid").get("chunk_shape"), "chunk_shape")
    if len(shape) != len(stored):
        raise Damaged(f"has {len(shape)} axes, its chunks {len(stored)}")
    codecs = named(as_list(document.get("codecs"), "codecs"))
    shards = None
    if codecs and codecs[0][0] == "sharding_indexed":
        if len(codecs) > 1:
            raise Unsupported("shards that are encoded as a whole are not read")
        shards, stored, codecs = _shards(codecs[0][1], stored)
    chain = chain_v3(codecs, stored, dtype)
    packed = [name for name, _ in chain.compressors if name != "crc32c"]
    return Array(
        *place,
        shape=shape,
        fill=fill_of(document.get("fill_value"), dtype),
        chain=chain,
        shards=shards,
        key=_key(as_dict(document.get("chunk_key_encoding") or {"name": "default"}, "chunk_key_encoding")),
        compression=packed[0] if packed else "none",
    )


def _key(encoding: Json) -> Callable[[tuple[int, ...]], str]:
    name, options = encoding.get("name"), as_dict(encoding.get("configuration") or {}, "chunk_key_encoding")
    if name == "default":
        separator = str(options.get("separator", "/"))
        return _joining(separator, f"c{separator}")
    if name == "v2":
        return _joining(str(options.get("separator", ".")))
    raise Unsupported(f"chunk keys of the kind {name!r} are not read")


def _shards(options: Json, outer: tuple[int, ...]) -> tuple[Shards, tuple[int, ...], list[tuple[str, Json]]]:
    inner = sizes(options.get("chunk_shape"), "chunk_shape of the shards")
    if len(inner) != len(outer) or any(o % i for o, i in zip(outer, inner, strict=True)):
        raise Damaged(f"shards of {outer} are not made of whole chunks of {inner}")
    index = [name for name, _ in named(as_list(options.get("index_codecs"), "index_codecs"))]
    if index not in (["bytes"], ["bytes", "crc32c"]):
        raise Unsupported(f"an index of shards stored with {index} is not read")
    shards = Shards(
        tuple(o // i for o, i in zip(outer, inner, strict=True)),
        options.get("index_location", "end") != "start",
        len(index) == 2,
    )
    check("the size of a shard's index", shards.index_bytes, LIMITS.metadata_bytes)
    return shards, inner, named(as_list(options.get("codecs"), "codecs of the shards"))


def _dtype(value: object) -> np.dtype[Any]:
    try:
        dtype = np.dtype(str(value))
    except (TypeError, ValueError) as error:
        raise Unsupported(f"samples of type {str(value)[:40]} are not read") from error
    if dtype.kind not in "uifb" or dtype.itemsize > _WIDEST:
        raise Unsupported(f"samples of type {dtype} are not read")
    return dtype


class ChunkReader:
    """Reads chunks by their position; safe from any thread. The indices of the shards read last are kept."""

    def __init__(self, array: Array) -> None:
        self.array, self._name = array, f"{array.files.name}: array {array.path}"
        self._index = lru_cache(256)(self._read_index)

    def __call__(self, position: tuple[int, ...]) -> Pixels:
        """A chunk with the array's axes; the fill value where it is not stored."""
        key, inner = self.array.file_of(position)
        try:
            data = self._bytes(key, inner)
            return self._blank() if data is None else self.array.chain.decode(data)
        except DriverError as error:
            place = "/".join(map(str, position))
            raise type(error)(f"{self._name}, chunk {place}: {error}") from error

    def _blank(self) -> Pixels:
        return np.full(self.array.chunk, self.array.fill, self.array.dtype)

    def _bytes(self, key: str, inner: tuple[int, ...]) -> bytes | None:
        files = self.array.files
        if self.array.shards is None:
            return files.whole(key, LIMITS.tile_bytes)
        size = files.size(key)
        if size is None:
            return None
        offset, length = (int(n) for n in self._index(key, size)[inner])
        if offset == _NOWHERE and length == _NOWHERE:
            return None
        check("the number of bytes of a stored chunk", length, LIMITS.tile_bytes)
        return files.part(key, offset, length)

    def _read_index(self, key: str, size: int) -> Index:
        shards = self.array.shards
        assert shards is not None
        data = self.array.files.part(key, size - shards.index_bytes if shards.at_end else 0, shards.index_bytes)
        data = checked(data) if shards.checksum else data
        index = np.frombuffer(data, "<u8").reshape(*shards.grid, 2)
        _check_index(index, shards, size)
        return index


def _check_index(index: Index, shards: Shards, size: int) -> None:
    """Raise Damaged for an index whose chunks lie outside the shard's data.

    Without a checksum the index of a shard that was cut short reads as another one, shifted by some chunks: writers put it
    right behind the last chunk, so a gap in front of it tells.
    """
    offsets, lengths = index[..., 0], index[..., 1]
    absent = (offsets == _NOWHERE) & (lengths == _NOWHERE)
    first, last = (0, size - shards.index_bytes) if shards.at_end else (shards.index_bytes, size)
    offsets, lengths = offsets[~absent], lengths[~absent]
    outside = (offsets < first) | (offsets > last) | (lengths > last - np.minimum(offsets, last))
    end = int((offsets + lengths).max()) if offsets.size else first
    if bool(outside.any()) or (shards.at_end and not shards.checksum and end != last):
        raise Damaged("the index of its shard does not fit the shard: it is truncated or damaged; copy it again")
