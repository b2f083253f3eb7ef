"""Encoded chunks into Zarr objects: shards with their index (Zarr v3 sharding_indexed), or one file per chunk.

Written here and not through a Zarr library since one pass needs it so: a chunk is encoded once, wherever it comes from, and
waits encoded until its shard is complete; the object is hashed as it is written. Checked by zarr-python and tensorstore.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import google_crc32c
import numpy as np

from converter.codec import Codec
from converter.planning.image import ImagePlan, LevelPlan
from converter.publishing.stage import Stage
from drivers.fill import Fill, bits
from drivers.geometry import Box, Shape
from drivers.model import Pixels

_EMPTY = (1 << 64) - 1
_CHECKSUM = 4  # bytes of a CRC-32C
_AXES = "tczyx"
_SPLIT = 4  # channels that OpenCV splits


def joined(*parts: str) -> str:
    """A path in the store."""
    return "/".join(p for p in parts if p)


@dataclass(slots=True)
class _Shard:
    chunks: list[bytes | None]
    missing: int


@dataclass(slots=True)
class LevelWriter:
    """Takes finished chunks of one level, from any thread, and writes each object once it is complete.

    A chunk that holds nothing but the fill value is not stored, nor is a shard of such chunks.
    """

    plan: LevelPlan
    image: ImagePlan
    stage: Stage
    v3: bool
    encode: Callable[[Any], bytes]
    checked: bool = False
    """Chunks outside shards end with their crc32c too."""
    _open: dict[Shape, _Shard] = field(default_factory=dict[Shape, _Shard])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, box: Box, pixels: Pixels | None) -> None:
        """Store `pixels`, which fill `box`: whole chunks, except where the level ends. None: nothing but the fill value."""
        if pixels is None:
            self._pass(box)
            return
        for position, chunk in _chunks(self.plan.chunk, box, pixels, self.image.fill):
            data = None if _blank(chunk, self.image.fill) else self.encode(chunk)
            if self.plan.shard is None:
                if data is not None:
                    self.stage.write(
                        self._object(position), _checked(data) if self.v3 and self.checked else [data], early=self.v3
                    )
            else:
                self._collect(position, data)

    def finished(self) -> bool:
        """Whether no shard waits for chunks any more."""
        return not self._open

    def _collect(self, position: Shape, data: bytes | None) -> None:
        per = self._per_shard()
        place = Shape(*(p // n for p, n in zip(position, per, strict=True)))
        slot = int(np.ravel_multi_index([p % n for p, n in zip(position, per, strict=True)], per))
        self._arrived(place, per, 1, (slot, data))

    def _pass(self, box: Box) -> None:
        """Count the chunks of `box` as done, a shard at a time."""
        if self.plan.shard is None:
            return
        per, size = self._per_shard(), self.plan.chunk
        first = [a // n for a, n in zip(box.start, size, strict=True)]
        last = [-(-b // n) for b, n in zip(box.stop, size, strict=True)]
        for at in product(*(range(a // n, -(-b // n)) for a, b, n in zip(first, last, per, strict=True))):
            spans = [min(b, (p + 1) * n) - max(a, p * n) for a, b, p, n in zip(first, last, at, per, strict=True)]
            self._arrived(Shape(*at), per, prod(spans))

    def _arrived(self, place: Shape, per: Shape, count: int, chunk: tuple[int, bytes | None] | None = None) -> None:
        """Note `count` chunks of a shard as done: one that is (slot, data), or such as are not stored."""
        with self._lock:
            shard = self._open.get(place)
            if shard is None:
                shard = self._open[place] = _Shard([None] * prod(per), self._expected(place, per))
            if chunk is not None:
                shard.chunks[chunk[0]] = chunk[1]
            shard.missing -= count
            if shard.missing:
                return
            del self._open[place]
        if any(chunk is not None for chunk in shard.chunks):
            self.stage.write(self._object(place), shard_parts(shard.chunks))

    def _per_shard(self) -> Shape:
        assert self.plan.shard is not None
        return Shape(*(s // c for s, c in zip(self.plan.shard, self.plan.chunk, strict=True)))

    def _expected(self, place: Shape, per: Shape) -> int:
        return prod(min(n, g - p * n) for p, n, g in zip(place, per, self.plan.grid, strict=True))

    def _object(self, position: Shape) -> str:
        key = [str(n) for n, axis in zip(position, _AXES, strict=True) if axis in self.image.axes]
        return joined(self.image.group, self.plan.path, "c" if self.v3 else "", *key)


def level_writer(plan: LevelPlan, image: ImagePlan, stage: Stage, codec: Codec, ome_zarr: str) -> LevelWriter:
    """A writer for one level, in a version of OME-Zarr."""
    return LevelWriter(plan, image, stage, ome_zarr == "0.5", codec.encoder(image.dtype), codec.checked)


def shard_parts(chunks: list[bytes | None]) -> list[bytes]:
    """The bytes of a shard: chunks in order, each with its crc32c, then the index of (offset, length) with its own."""
    index, parts, offset = bytearray(), list[bytes](), 0
    for chunk in chunks:
        if chunk is None:
            index += struct.pack("<QQ", _EMPTY, _EMPTY)
        else:
            index += struct.pack("<QQ", offset, len(chunk) + _CHECKSUM)
            parts += _checked(chunk)
            offset += len(chunk) + _CHECKSUM
    return parts + _checked(bytes(index))


def _checked(data: bytes) -> list[bytes]:
    return [data, struct.pack("<I", google_crc32c.value(data))]


def _blank(chunk: Pixels, fill: Fill) -> bool:
    stored, blank = bits(chunk), bits(np.array([fill], chunk.dtype))[0]
    ends = stored.flat[0] == blank and stored.flat[-1] == blank
    return bool(ends) and not bool((stored != blank).any())


def _chunks(size: Shape, box: Box, pixels: Pixels, fill: Fill) -> Iterator[tuple[Shape, Pixels]]:
    """(grid position, C-contiguous chunk of y, x) for every chunk of `box`; chunks at the level's edge are padded."""
    for t, z in np.ndindex(pixels.shape[0], pixels.shape[2]):
        for y in range(0, pixels.shape[3], size.y):
            for x in range(0, pixels.shape[4], size.x):
                part = pixels[t, :, z, y : y + size.y, x : x + size.x]
                row, column = (box.start.y + y) // size.y, (box.start.x + x) // size.x
                for c, plane in enumerate(_planes(part, size, fill)):
                    yield Shape(box.start.t + t, box.start.c + c, box.start.z + z, row, column), plane


def _planes(part: Pixels, size: Shape, fill: Fill) -> Iterator[Pixels]:
    c, h, w = part.shape
    if (h, w) != (size.y, size.x):
        whole = np.full((c, size.y, size.x), fill, part.dtype)
        whole[:, :h, :w] = part
        yield from whole
    elif 1 < c <= _SPLIT and part.strides[0] == part.itemsize and part.itemsize <= 2:
        import cv2

        out = list(np.empty((c, h, w), part.dtype))
        cv2.split(part.transpose(1, 2, 0), out)  # many times faster than numpy's strided copy
        yield from out
    else:
        for plane in part:
            yield np.ascontiguousarray(plane)
