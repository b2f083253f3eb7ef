"""Stored chunk to array: the codecs of Zarr formats 2 and 3, each bounded in what it may inflate to."""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.errors import Damaged, DriverError, LimitExceeded, Unsupported
from drivers.limits import LIMITS
from drivers.model import Pixels
from drivers.zarrstore.node import Json

_FILTERS = {"shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "astype", "fletcher32", "crc32", "adler32"}
"""Filters that numcodecs decodes. Not those that run or load anything (pickle, json)."""
_BYTES = {"blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "crc32c"}
_STREAMS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}
Codec = tuple[str, Json]


@dataclass(frozen=True, slots=True)
class Chain:
    """How a chunk was encoded: filters on the array, its bytes, codecs on the bytes; decoding runs backwards."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """As stored."""
    order: tuple[int, ...]
    """The array's axes in the order in which the bytes run through them."""
    filters: tuple[Codec, ...] = ()
    compressors: tuple[Codec, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.shape) * self.dtype.itemsize

    def decode(self, data: bytes) -> Pixels:
        """The chunk; raises Damaged where the bytes are no such chunk."""
        try:
            decoded: Any = data
            for name, options in reversed(self.compressors):
                decoded = _inflated(name, options, decoded, self.size)
            for _, options in reversed(self.filters):
                decoded = _filtered(options, decoded)
            flat = (
                np.frombuffer(memoryview(decoded).cast("B"), self.dtype) if not self.filters else _typed(decoded, self.dtype)
            )
            stored = tuple(self.shape[axis] for axis in self.order)
            pixels = flat.reshape(stored).transpose(np.argsort(self.order))
        except (DriverError, MemoryError):
            raise
        except Exception as error:
            raise Damaged(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
        native = self.dtype.newbyteorder("=")
        return pixels.view(np.uint8) if native == np.bool_ else pixels.astype(native, copy=False)


def _typed(decoded: Any, dtype: np.dtype[Any]) -> Pixels:
    array = np.asarray(decoded)
    return array.reshape(-1).view(dtype) if array.dtype.itemsize in (1, dtype.itemsize) else array.astype(dtype)


def check_codecs(codecs: Sequence[Codec], known: set[str]) -> None:
    """Raise Unsupported where a codec is not known here."""
    for name, _ in codecs:
        if name not in known:
            raise Unsupported(f"chunks are stored with the codec {name!r}, which is not read")


def chain_v2(document: Json, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Chain:
    """The codecs of a .zarray."""
    compressor, filters = document.get("compressor"), document.get("filters") or []
    compressors = [(str(compressor.get("id")), compressor)] if isinstance(compressor, dict) else []
    named = [(str(f.get("id")), f) for f in filters]
    check_codecs(compressors, _BYTES)
    check_codecs(named, _FILTERS)
    axes = tuple(range(len(shape)))
    order = axes[::-1] if document.get("order") == "F" else axes
    return Chain(shape, dtype, order, tuple(named), tuple(compressors))


def chain_v3(codecs: Sequence[Codec], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Chain:
    """The codecs of a zarr.json, without sharding: transpose, bytes, then codecs on the bytes."""
    order = tuple(range(len(shape)))
    filters: list[Codec] = []
    rest = list(codecs)
    while rest and rest[0][0] != "bytes":
        name, options = rest.pop(0)
        if name == "transpose":
            turn = tuple(options.get("order", ()))
            if sorted(turn) != list(range(len(shape))):
                raise Damaged(f"a transpose codec of the order {turn}")
            order = tuple(order[axis] for axis in turn)
        elif name in _FILTERS:
            filters.append((name, {**options, "id": name}))
        else:
            raise Unsupported(f"chunks are stored with the codec {name!r}, which is not read")
    if not rest:
        raise Damaged("its codecs never turn the array into bytes")
    if rest[0][1].get("endian") == "big":
        dtype = dtype.newbyteorder(">")
    compressors = [(name, options) for name, options in rest[1:]]
    check_codecs(compressors, _BYTES | _FILTERS)
    return Chain(shape, dtype, order, tuple(filters), tuple(compressors))


def _filtered(options: Json, data: Any) -> Any:
    import numcodecs

    return numcodecs.get_codec(dict(options)).decode(data)


def _inflated(name: str, options: Json, data: Any, size: int) -> Any:
    """What a codec on bytes gives, at most `size` bytes and the few that checksums take."""
    room = size + 64
    if name in _STREAMS:
        return _bounded(_STREAMS[name](), data, size, room)
    if name in ("blosc", "lz4", "zstd"):
        return _blocks(name, data, size, room)
    return checked(bytes(data)) if name == "crc32c" else _filtered({**options, "id": name}, data)


def _blocks(name: str, data: Any, size: int, room: int) -> Any:
    import imagecodecs

    if name == "zstd":
        return imagecodecs.zstd_decode(data, out=room)
    place = slice(4, 8) if name == "blosc" else slice(0, 4)  # what it inflates to, in its header
    claimed = int.from_bytes(bytes(data[place]), "little")
    if claimed > room:
        raise LimitExceeded(f"inflates to {claimed} bytes where a chunk has {size}: it is damaged")
    if name == "blosc":
        # Its decoder reads on past the end of a buffer that is too short, and gives what lies there.
        stored = int.from_bytes(bytes(data[12:16]), "little")
        if len(data) < max(16, stored):
            raise Damaged(f"has {len(data)} of its {stored} bytes: it is cut short")
        return imagecodecs.blosc_decode(data, numthreads=1)
    return imagecodecs.lz4_decode(bytes(data[4:]), out=claimed)


def _bounded(inflater: Any, data: Any, size: int, room: int) -> bytes:
    inflated: bytes = inflater.decompress(bytes(data), room)
    if len(inflated) >= room:
        raise LimitExceeded(f"inflates to more than the {size} bytes of a chunk: it is damaged")
    return inflated


def checked(data: bytes) -> bytes:
    """The bytes without their CRC-32C, which must be right."""
    import google_crc32c

    body, stored = data[:-4], int.from_bytes(data[-4:], "little")
    if len(data) < 4 or google_crc32c.value(body) != stored:
        raise Damaged("its checksum is wrong: the file is damaged; copy it again")
    return body


def named(codecs: Sequence[Any]) -> list[Codec]:
    """The codecs of a zarr.json as (name, configuration); those of numcodecs without that prefix."""
    found: list[Codec] = []
    for codec in codecs:
        if isinstance(codec, str):
            found.append((codec, {}))
        elif isinstance(codec, dict):
            found.append((str(codec.get("name", "")).removeprefix("numcodecs."), codec.get("configuration") or {}))
        else:
            raise Damaged(f"a codec that is {type(codec).__name__}")
    return found


def check_chunk(chain: Chain) -> None:
    """Raise LimitExceeded for chunks that are too large to be decoded."""
    if chain.size > LIMITS.tile_bytes:
        raise LimitExceeded(f"chunks of {chain.size} bytes, the limit is {LIMITS.tile_bytes}: store it with smaller chunks")
