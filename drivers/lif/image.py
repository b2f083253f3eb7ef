"""One Leica image as levels: where the sample (t, c, z, y, x) lies in its memory block.

The XML gives the distance in bytes of each dimension and channel, so nothing is decoded. How its dimensions are mapped:

- X, Y, Z, T are themselves. An image without Y is shown as a plane: of the dimensions it has, Z (an XZ section), else T
  (a line scan) takes the place of y.
- Emission and excitation wavelengths are channels: all channels at the first wavelength come first.
- Mosaic positions (a tile scan that was not merged) are scenes of their own.
- What else there is (rotations, loops, stage series) is folded into t, slower than the times.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from drivers.errors import Damaged, Unsupported
from drivers.geometry import Shape
from drivers.lif.container import Memory
from drivers.lif.overlap import check_apart
from drivers.limits import LIMITS, check
from drivers.metadata.units import number
from drivers.model import Level, Pixels
from drivers.tiles import Grid

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PLANES = 1 << 22
"""Times, wavelengths and the like that an image may claim, all together."""
BLOCK_BYTES = 8 << 20
"""About what one read takes: bands of rows."""
X, Y, Z, T, EMISSION, EXCITATION, MOSAIC = 1, 2, 3, 4, 5, 9, 10


@dataclass(frozen=True, slots=True)
class Dimension:
    """A DimensionDescription."""

    kind: int
    count: int
    step: int
    """Bytes from one element to the next."""
    length: float | None
    """From the first to the last element, in `unit`."""
    unit: str


@dataclass(frozen=True, slots=True)
class Part:
    """A ChannelDescription."""

    offset: int
    bits: int
    tag: int
    """0 grey, 1 red, 2 green, 3 blue."""
    dtype: np.dtype[Any]
    element: Element


@dataclass(frozen=True, slots=True)
class Axis:
    """Offsets of the elements of one of t, c, z, y, x, and what they were."""

    offsets: Sequence[int]
    """Ascending, but for channels."""
    source: Dimension | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the samples of a scene lie: the sum of one offset of each axis."""

    dtype: np.dtype[Any]
    t: Axis
    c: Axis
    z: Axis
    y: Axis
    x: Axis
    rgb: bool
    parts: Sequence[Part]
    """Of each channel."""

    @property
    def step(self) -> int:
        """Bytes from one pixel of a row to the next."""
        return self.x.source.step if self.x.source is not None else self.dtype.itemsize

    @property
    def shape(self) -> Shape:
        """Extent of the scene."""
        return Shape(*(len(axis.offsets) for axis in (self.t, self.c, self.z, self.y, self.x)))


def _integer(element: Element, name: str, low: int, high: int) -> int:
    value = number(element.get(name))
    if value is None or value != int(value) or not low <= value <= high:
        raise Damaged(f"the image description says {name}={element.get(name)!r}")
    return int(value)


def dimensions_of(image: Element) -> list[Dimension]:
    """All dimensions of an Image element, the fastest first."""
    found: list[Dimension] = []
    for item in image.iterfind("ImageDescription/Dimensions/DimensionDescription"):
        count, step = _integer(item, "NumberOfElements", 1, 1 << 31), _integer(item, "BytesInc", 0, 1 << 62)
        length, unit = number(item.get("Length")), item.get("Unit") or ""
        if count > 1 and step == 0:
            raise Damaged("the image description says BytesInc=0")
        found.append(Dimension(_integer(item, "DimID", 0, 1000), count, step, length, unit))
    if len({d.kind for d in found}) != len(found) or X not in {d.kind for d in found}:
        raise Damaged("the image description names a dimension twice, or no X")
    return sorted(found, key=lambda d: d.step)


def parts_of(image: Element) -> list[Part]:
    """All channels; raises Unsupported where their types differ."""
    found = [_part(item) for item in image.iterfind("ImageDescription/Channels/ChannelDescription")]
    if not found:
        raise Damaged("the image description names no channel")
    if len({part.dtype for part in found}) > 1:
        raise Unsupported("channels of different types in one image are not read")
    if len({part.offset for part in found}) < len(found):
        raise Damaged("two channels claim the same bytes (BytesInc): which of them is stored there is not known")
    tags = [part.tag for part in found]
    return sorted(found, key=lambda p: p.tag) if sorted(tags) == [1, 2, 3] else sorted(found, key=lambda p: p.offset)


def _part(item: Element) -> Part:
    bits, kind = _integer(item, "Resolution", 1, 64), _integer(item, "DataType", 0, 1)
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8
    if kind == 1 and size == 1:
        raise Damaged(f"floating point samples of {bits} bits")
    dtype = np.dtype(f"<{'f' if kind else 'u'}{size}")
    return Part(_integer(item, "BytesInc", 0, 1 << 62), bits, _integer(item, "ChannelTag", 0, 1000), dtype, item)


def layouts_of(image: Element, memory: Memory) -> list[tuple[int | None, Layout]]:
    """(mosaic position, layout) of every scene of an image; the position is None where it is no tile scan."""
    dimensions, parts = dimensions_of(image), parts_of(image)
    check("the number of pixels", math.prod(d.count for d in dimensions), LIMITS.level_pixels)
    check("the number of planes", math.prod(d.count for d in dimensions if d.kind not in (X, Y, Z)), PLANES)
    by_kind = {d.kind: d for d in dimensions}
    x, y, z, times = (by_kind.pop(kind, None) for kind in (X, Y, Z, T))
    if y is None and z is not None:
        y, z = z, None
    elif y is None:
        y, times = times, None
    lambdas = _offsets([by_kind.pop(kind) for kind in (EMISSION, EXCITATION) if kind in by_kind])
    mosaic = by_kind.pop(MOSAIC, None)
    t = Axis(_offsets([*([times] if times else []), *by_kind.values()]), times)
    channels = [wave + part.offset for wave in lambdas for part in parts]
    check("the number of channels", len(channels), LIMITS.channels)
    rgb = [part.tag for part in parts] == [1, 2, 3] and len(channels) == 3
    found: list[tuple[int | None, Layout]] = []
    for tile, offset in enumerate(_offsets([mosaic] if mosaic else [])):
        c = Axis([channel + offset for channel in channels])
        layout = Layout(parts[0].dtype, t, c, _axis(z), _axis(y), _axis(x), rgb, list(parts) * len(lambdas))
        _check_size(layout, memory)
        found.append((tile if mosaic is not None and mosaic.count > 1 else None, layout))
    within, others = ([(d.count, d.step) for d in dimensions if (d.kind in (X, Y)) == plane] for plane in (True, False))
    check_apart([*within, (1, 1)][:2], others, [part.offset for part in parts], parts[0].dtype.itemsize)
    return found


def _offsets(dimensions: Sequence[Dimension]) -> tuple[int, ...]:
    """Offsets of all combinations, the first dimension the fastest."""
    offsets = (0,)
    for d in dimensions:
        offsets = tuple(i * d.step + o for i in range(d.count) for o in offsets)
    return offsets


def _axis(dimension: Dimension | None) -> Axis:
    if dimension is None:
        return Axis((0,))
    return Axis(range(0, dimension.count * max(1, dimension.step), max(1, dimension.step)), dimension)


def _check_size(layout: Layout, memory: Memory) -> None:
    last = sum(axis.offsets[-1] for axis in (layout.t, layout.z, layout.y, layout.x))
    end = last + max(layout.c.offsets) + layout.dtype.itemsize
    if end > memory.size:
        raise Damaged(f"the image needs {end} bytes, its memory block has {memory.size}: the file is truncated or damaged")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads bands of rows. Thread-safe: positioned reads only."""

    memory: Memory
    layout: Layout
    tile: Shape

    def read(self, key: Hashable) -> Pixels:
        """The block at grid position `key`."""
        assert isinstance(key, Shape)
        at, tile, shape = self.layout, self.tile, self.layout.shape
        rows = at.y.offsets[key.y * tile.y : min((key.y + 1) * tile.y, shape.y)]
        columns = at.x.offsets[key.x * tile.x : min((key.x + 1) * tile.x, shape.x)]
        channels = at.c.offsets[key.c * tile.c : (key.c + 1) * tile.c]
        base = at.t.offsets[key.t] + at.z.offsets[key.z]
        if len(channels) > 1 and max(channels) - min(channels) >= self.layout.step:
            pixels = np.concatenate([self._samples(base, [c], rows, columns) for c in channels], axis=2)
        else:
            pixels = self._samples(base, channels, rows, columns)
        return pixels.transpose(2, 0, 1)[None, :, None]

    def _samples(self, base: int, channels: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Pixels:
        """Pixels (rows, columns, channels): in one read where rows lie close together, else row by row."""
        size, first = self.layout.dtype.itemsize, min(channels)
        width = columns[-1] - columns[0] + max(channels) - first + size
        stride, start = rows[1] - rows[0] if len(rows) > 1 else 0, base + first + columns[0]
        if stride <= 2 * width:
            data = self.memory.read(start + rows[0], rows[-1] - rows[0] + width)
        else:
            data, stride = b"".join(self.memory.read(start + row, width) for row in rows), width
        flat, shape, strides = np.frombuffer(data, np.uint8), (len(rows), len(columns), size), (stride, self.layout.step, 1)
        out = np.empty((len(rows), len(columns), len(channels), size), np.uint8)
        for i, channel in enumerate(channels):
            out[:, :, i] = as_strided(flat[channel - first :], shape, strides, writeable=False)
        return out.view(self.layout.dtype)[..., 0].astype(self.layout.dtype.newbyteorder("="), copy=False)


def level_of(memory: Memory, layout: Layout) -> Level:
    """The only level of a scene: Leica stores no pyramids."""
    shape, size = layout.shape, layout.dtype.itemsize
    channels = 3 if layout.rgb else 1
    check("the number of bytes of a row", shape.x * max(layout.step, size), LIMITS.tile_bytes)
    rows = max(1, min(shape.y, BLOCK_BYTES // (shape.x * size * channels) or 1))
    tile = Shape(1, channels, 1, rows, shape.x)
    white = layout.rgb and layout.dtype == np.uint8
    read = Reader(memory, layout, tile).read
    dtype = layout.dtype.newbyteorder("=")
    return Level(shape, dtype, Grid(shape, tile), read, tile, 255 if white else 0, 1.0, "none", interleaved=layout.rgb)
