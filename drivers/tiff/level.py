"""A level out of TIFF pages: one page per (t, z) or (t, c, z) plane, each stored as tiles or strips.

Strips are joined to blocks of at least 64 KiB, since a strip may be a single row; uncompressed rows are read in parts.
Segments are read with pread and decoded by the closure tifffile makes for the page, which is safe from any thread
(measured equal under 8 threads).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, DriverError, Unsupported
from drivers.files import ByteSource
from drivers.geometry import Shape
from drivers.model import Level, Pixels
from drivers.pictures.color import ycbcr_to_rgb
from drivers.pictures.frames import picture_size
from drivers.pictures.jpeg import check_jpeg
from drivers.pictures.jpeg2000 import decoded_as_rgb
from drivers.tiff.raw import Window, read_rows
from drivers.tiff.storage import JPEG, JPEG2000, Plane, Storage, compression_name, plane_of, storage_of
from drivers.tiles import Grid

__all__ = ["LevelFacts", "Plane", "SegmentReader", "Storage", "build_level", "plane_of", "storage_of"]

Convert = Callable[[Pixels], Pixels]
"""Stored samples (height, width, samples) to the level's samples, e.g. YCbCr to RGB."""


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """What the caller knows of a level beyond its pages. `channels`, `dtype` and `convert` go together."""

    scale: float
    fill: float = 0
    convert: Convert | None = None
    channels: int | None = None
    """Channels of a page, after `convert`; None: as stored. Without `convert`, the first samples of planar pages."""
    dtype: np.dtype[Any] | None = None
    whole: bool = False
    """`convert` needs all samples of a pixel at once, also where they are stored in separate planes."""
    ycbcr: bool = False
    """The file says that JPEG 2000 streams hold YCbCr: converted unless their decoder has done so already."""


@dataclass(frozen=True, slots=True)
class SegmentReader:
    """`Level.read` for a grid of TIFF planes; the key is the grid position."""

    source: ByteSource
    storage: Storage
    planes: NDArray[Any]
    """Plane or None (not stored), indexed [t, c of page, z]."""
    convert: Convert | None
    dtype: np.dtype[Any]
    split: int
    """Channels of a page that are blocks of their own; 0: a block holds all channels of its page."""
    ycbcr: bool

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        page_c, sample = divmod(key.c, self.split) if self.split else (key.c, 0)
        plane: Plane = self.planes[key.t, page_c, key.z]
        samples = range(self.storage.samples) if self.storage.planar and not self.split else (sample,)
        try:
            layers = [self._layer(plane, i, key) for i in samples]
        except DriverError as error:
            name = (plane.source or self.source).path.name
            text = str(error).removeprefix(f"{name}: ")
            raise type(error)(f"{name}: tile {key.y},{key.x}: {text}") from error
        block = layers[0] if len(layers) == 1 else np.concatenate(layers, axis=2)
        block = block.astype(self.dtype, copy=False) if self.convert is None else self.convert(block)
        return block.transpose(2, 0, 1)[None, :, None]

    def _layer(self, plane: Plane, sample: int, key: Shape) -> Pixels:
        s, source = self.storage, plane.source or self.source
        segments = s.segments(sample, key.y, key.x)
        if any(plane.counts[i] == 0 for i in segments):
            raise Damaged("has zero length")
        height, width = s.block
        top, left = key.y * height, key.x * width
        window = Window(top, min(top + height, s.height), left, min(left + width, s.width))
        if s.raw is not None:
            first = sample * s.down
            return read_rows(source, s.rows, plane.offsets[first : first + s.down], window)
        parts = [self._segment(source, plane, i) for i in segments]
        pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
        needed = (window.bottom - window.top, window.right - window.left, 1 if s.planar else s.samples)
        if pixels.shape[0] < needed[0] or pixels.shape[1] < needed[1] or pixels.shape[2] != needed[2]:
            raise Damaged(f"decodes to {pixels.shape} where its place is {needed} (rows, columns, samples)")
        return pixels

    def _segment(self, source: ByteSource, plane: Plane, index: int) -> Pixels:
        s = self.storage
        data = source.read(plane.offsets[index], plane.counts[index])
        if s.compression in JPEG and plane.header is None:
            check_jpeg(data, s.segment_height, s.segment_width)
        else:
            size = picture_size(s.compression, data)
            if size is not None and (size[0] > s.segment_height or size[1] > s.segment_width):
                raise Damaged(f"the stored picture is {size[1]}x{size[0]}, the tile {s.segment_width}x{s.segment_height}")
        try:
            if s.compression in JPEG:
                decoded = s.decode(data, index, jpegtables=plane.tables, jpegheader=plane.header)[0]
            else:
                decoded = s.decode(data, index)[0]
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        except MemoryError:
            raise
        except Exception as error:
            raise Damaged(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
        if not self.ycbcr or s.compression not in JPEG2000 or decoded_as_rgb(data):
            return decoded[0]
        if decoded[0].dtype != np.uint8:
            raise Unsupported(f"YCbCr of type {decoded[0].dtype} without a component transform is not read")
        return ycbcr_to_rgb(decoded[0])


def build_level(source: ByteSource, storage: Storage, planes: NDArray[Any], facts: LevelFacts) -> Level:
    """A level of shape (t, pages * channels, z, height, width) from planes indexed [t, c of page, z]."""
    times, pages, slices = planes.shape
    per_page = facts.channels or storage.samples
    split = per_page if storage.planar and not facts.whole else 0
    dtype = facts.dtype or (np.dtype("u1") if storage.dtype == np.dtype(bool) else storage.dtype.newbyteorder("="))
    shape = Shape(times, pages * per_page, slices, storage.height, storage.width)
    tile = Shape(1, 1 if split else per_page, 1, *storage.block)
    absent, empty = _holes(Grid(shape, tile), storage, planes, split)
    return Level(
        shape=shape,
        dtype=dtype,
        index=Grid(shape, tile, frozenset(absent), frozenset(empty)),
        read=SegmentReader(source, storage, planes, facts.convert, dtype, split, facts.ycbcr),
        tile=tile,
        fill=facts.fill,
        scale=facts.scale,
        compression=compression_name(storage.compression),
        interleaved=not split and per_page > 1,
    )


def _holes(grid: Grid, storage: Storage, planes: NDArray[Any], split: int) -> tuple[list[Shape], list[Shape]]:
    """Grid positions not stored at all (offset and length 0, a sparse file), and those stored with zero length."""
    absent: list[Shape] = []
    empty: list[Shape] = []
    for t, c, z in np.ndindex(planes.shape):
        plane: Plane | None = planes.item(t, c, z)
        if plane is not None and np.asarray(plane.counts[: storage.per_plane]).all():
            continue
        for key, segments in _blocks(grid, storage, Shape(t, c, z, 0, 0), split):
            if plane is None or not any(plane.offsets[i] or plane.counts[i] for i in segments):
                absent.append(key)
            elif not all(plane.counts[i] for i in segments):
                empty.append(key)
    return absent, empty


def _blocks(grid: Grid, storage: Storage, page: Shape, split: int) -> Iterator[tuple[Shape, list[int]]]:
    """Grid positions of a page's blocks and the segments each is made of."""
    down, across = -(-grid.shape.y // grid.tile.y), -(-grid.shape.x // grid.tile.x)
    merged = range(storage.samples) if storage.planar else range(1)
    for sample in range(split or 1):
        samples = (sample,) if split else merged
        for y in range(down):
            for x in range(across):
                key = Shape(page.t, page.c * split + sample if split else page.c, page.z, y, x)
                yield key, [i for s in samples for i in storage.segments(s, y, x)]
