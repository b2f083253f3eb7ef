"""Levels of an image out of its ETS file: which coordinate is which axis, and which tile lies where."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.claims import repeated, same_bytes
from drivers.errors import Damaged, DriverError
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Channel, Level, Pixels
from drivers.tiles import Grid
from drivers.vsi.ets import NAMES, RAW, Ets
from drivers.vsi.images import LAMBDA, PHASE, C, Dimension, Image, T, Z
from drivers.vsi.tile import decode

_POSITIONS = 20_000_000
_ABSENT = 1_000_000
_WORDS = {C: "channel", LAMBDA: "wavelength", PHASE: "phase"}


@dataclass(frozen=True, slots=True)
class Axes:
    """Columns of the tile table: the one for t and z, and those that make the channels, slowest first."""

    t: int | None
    z: int | None
    c: tuple[tuple[int, int, int | None], ...]
    """(column, extent, meaning)"""

    @property
    def channels(self) -> int:
        """How many channels they make."""
        return math.prod(extent for _, extent, _ in self.c)


@dataclass(frozen=True, slots=True)
class TileReader:
    """`Level.read` for a grid of ETS tiles; the key is the grid position."""

    ets: Ets
    rows: NDArray[np.int32]
    """Row of the tile table, -1 where nothing is stored."""

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        ets, row = self.ets, int(self.rows[key])
        size = int(ets.sizes[row])
        try:
            if not size:
                raise Damaged("has zero length")
            pixels = decode(ets.source.read(int(ets.offsets[row]), size), ets.header)
        except DriverError as error:
            name = ets.source.path.name
            text = str(error).removeprefix(f"{name}: ")
            place = f"t {key.t}, c {key.c}, z {key.z}, tile {key.y},{key.x}"
            raise type(error)(f"{ets.source.path.parent.name}/{name}: {place}: {text}") from error
        return pixels.transpose(2, 0, 1)[None, :, None]


def axes_of(ets: Ets, image: Image) -> Axes:
    """Which coordinate is which. One that no tag describes is taken for the first axis that is missing: c, z, t."""
    stop = ets.coordinates.shape[1] - (1 if ets.header.pyramid else 0)
    extents = ets.coordinates.max(axis=0) + 1
    found: dict[int, int] = {}
    channels: list[tuple[int, int, int | None]] = []
    unknown: list[int] = []
    for column in range(2, stop):
        place = column - 2
        meaning = image.dimensions[place].meaning if place < len(image.dimensions) else None
        if meaning in (T, Z) and meaning not in found:
            found[meaning] = column
        elif meaning in _WORDS:
            channels.append((column, int(extents[column]), meaning))
        elif extents[column] > 1:
            unknown.append(column)
    for column in unknown:
        if not channels:
            channels.append((column, int(extents[column]), None))
        elif Z not in found:
            found[Z] = column
        elif T not in found:
            found[T] = column
        else:
            channels.append((column, int(extents[column]), None))
    return Axes(found.get(T), found.get(Z), tuple(channels))


def levels_of(ets: Ets, image: Image, axes: Axes) -> tuple[list[Level], list[str]]:
    """(all resolution levels, finest first; warnings)."""
    last = ets.coordinates[:, -1] if ets.header.pyramid else np.zeros(len(ets.offsets), np.int32)
    check("the number of resolution levels", int(last.max()) + 1, 32)
    size = _size(ets, image, last == 0)
    levels: list[Level] = []
    warnings: list[str] = []
    for number in range(int(last.max()) + 1):
        chosen = np.flatnonzero(last == number)
        if number and (not chosen.size or size == (1, 1)):
            break
        rows, repeats = _rows(ets, axes, chosen, size)
        levels.append(_level(ets, rows, size, number))
        warnings += repeats
        size = (-(-size[0] // 2), -(-size[1] // 2))
    return levels, warnings


def outside(ets: Ets, image: Image) -> int:
    """How many tiles of full resolution lie outside the size that the tags state.

    At reduced levels there are such in sound files too, since sizes are rounded.
    """
    if image.size is None:
        return 0
    at = ets.coordinates[ets.coordinates[:, -1] == 0] if ets.header.pyramid else ets.coordinates
    down, across = -(-image.size[0] // ets.header.tile_height), -(-image.size[1] // ets.header.tile_width)
    return int(((at[:, 0] >= across) | (at[:, 1] >= down)).sum())


def _size(ets: Ets, image: Image, finest: NDArray[np.bool_]) -> tuple[int, int]:
    """(height, width) of level 0: by the tag; by the tiles where there is none."""
    if not finest.any():
        raise Damaged("holds no tile of full resolution")
    columns, rows = (int(n) + 1 for n in ets.coordinates[finest][:, :2].max(axis=0))
    height, width = image.size or (rows * ets.header.tile_height, columns * ets.header.tile_width)
    check("the number of pixels", height * width, LIMITS.level_pixels)
    return height, width


def _level(ets: Ets, rows: NDArray[np.int32], size: tuple[int, int], number: int) -> Level:
    header = ets.header
    times, count, slices = rows.shape[:3]
    shape = Shape(times, count * header.components, slices, *size)
    tile = Shape(1, header.components, 1, header.tile_height, header.tile_width)
    check("the number of places without a tile", int((rows < 0).sum()), _ABSENT)
    absent = frozenset(Shape(*map(int, place)) for place in np.argwhere(rows < 0))
    empty = frozenset(Shape(*map(int, place)) for place in np.argwhere((rows >= 0) & (ets.sizes[rows] == 0)))
    return Level(
        shape=shape,
        dtype=header.dtype,
        index=Grid(shape, tile, absent, empty),
        read=TileReader(ets, rows),
        tile=tile,
        fill=255 if header.components == 3 and header.dtype == np.dtype("u1") else 0,
        scale=float(1 << number),
        compression=NAMES[header.compression],
        interleaved=header.components > 1,
    )


Rows = NDArray[np.int32]


def _rows(ets: Ets, axes: Axes, chosen: NDArray[np.int64], size: tuple[int, int]) -> tuple[Rows, list[str]]:
    """(row of the tile table by place (t, c, z, y, x), warnings); -1 where none is stored.

    Tiles outside the level are ignored; of full resolution `outside` counts them.
    """
    header = ets.header
    check("the number of channels", axes.channels * header.components, LIMITS.channels)
    times, slices = (1 if a is None else int(ets.coordinates[:, a].max()) + 1 for a in (axes.t, axes.z))
    down, across = -(-size[0] // header.tile_height), -(-size[1] // header.tile_width)
    check("the number of places for tiles", times * axes.channels * slices * down * across, _POSITIONS)
    rows = np.full((times, axes.channels, slices, down, across), -1, np.int32)
    at = ets.coordinates[chosen]
    inside = (at[:, 0] < across) & (at[:, 1] < down)
    at, chosen = at[inside], chosen[inside]
    zero = np.zeros(len(at), np.int64)
    c = zero
    for column, extent, _ in axes.c:
        c = c * extent + at[:, column]
    t, z = (zero if a is None else at[:, a] for a in (axes.t, axes.z))
    rows[t, c, z, at[:, 1], at[:, 0]] = chosen
    return rows, _check_claims(ets, chosen, rows[t, c, z, at[:, 1], at[:, 0]])


def _check_claims(ets: Ets, chosen: NDArray[np.int64], shown: NDArray[np.int32]) -> list[str]:
    """Warnings on entries of the table that hold copies of the tile that is shown at their place.

    Raises Damaged where two entries name different tiles for one place: which is meant is not stated.
    """
    copies: list[tuple[str, str]] = []
    for i in np.flatnonzero((chosen != shown) & (ets.offsets[chosen] != ets.offsets[shown])):
        one, two = int(chosen[i]), int(shown[i])
        if not _same(ets, one, two):
            name = ets.source.path.name
            raise Damaged(f"{name}: entries {one} and {two} of the tile table claim the same place and differ")
        copies.append((f"entry {two} of the tile table", f"entry {one}"))
    return repeated(copies)


def _same(ets: Ets, one: int, two: int) -> bool:
    """Whether two tiles show the same: stored alike, or decoded alike. One that does not decode is another picture."""
    at, sizes = [int(ets.offsets[i]) for i in (one, two)], [int(ets.sizes[i]) for i in (one, two)]
    if sizes[0] == sizes[1] and same_bytes(ets.source, ets.source, (at[0], at[1]), sizes[0]):
        return True
    if ets.header.compression == RAW:
        return False
    try:
        shown = [decode(ets.source.read(start, size), ets.header) for start, size in zip(at, sizes, strict=True)]
    except DriverError:
        return False
    return np.array_equal(shown[0], shown[1])


def channels_of(image: Image, axes: Axes, components: int) -> tuple[tuple[Channel, ...], bool]:
    """(channels, whether they are one colour image)."""
    count = axes.channels
    if components == 3 and count == 1:
        return RGB_CHANNELS, True
    described = _described(image, axes)
    channels: list[Channel] = []
    for number in range(count):
        parts = _parts(number, axes)
        c = parts.get(C, number if len(axes.c) == 1 else 0)
        base = described[c] if c < len(described) else Channel()
        extra = [f"{_WORDS[m]} {i}" for m, i in parts.items() if m in (LAMBDA, PHASE) and len(axes.c) > 1]
        channels += [_named(base, extra)] * components
    return tuple(channels), False


def _described(image: Image, axes: Axes) -> tuple[Channel, ...]:
    places: list[Dimension] = [image.dimensions[column - 2] for column, _, _ in axes.c if column - 2 < len(image.dimensions)]
    return next((d.channels for d in places if d.channels), next((d.channels for d in image.dimensions if d.channels), ()))


def _parts(number: int, axes: Axes) -> dict[Any, int]:
    parts: dict[Any, int] = {}
    for _, extent, meaning in reversed(axes.c):
        number, parts[meaning] = divmod(number, extent)
    return parts


def _named(channel: Channel, extra: list[str]) -> Channel:
    return replace(channel, name=" ".join([*([channel.name] if channel.name else []), *extra])) if extra else channel
