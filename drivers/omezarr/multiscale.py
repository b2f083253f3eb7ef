"""The levels of a multiscale image: its datasets as they are stored."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

from drivers.errors import Damaged, Incomplete
from drivers.factors import nominal
from drivers.geometry import Shape
from drivers.model import Level, Pixels
from drivers.omezarr.axes import Axes, axes_of
from drivers.omezarr.missing import check_names, uncovered
from drivers.tiles import Grid
from drivers.zarrstore.array import Array, ChunkReader, read_array
from drivers.zarrstore.files import last
from drivers.zarrstore.node import Group, Json, as_dict, as_list

_WHOLE = 0.01
_MOST_LISTED = 1 << 20
"""Chunks of a level up to which those that are not stored are looked up."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """`Level.read`: the key is the grid position."""

    chunks: ChunkReader
    axes: Axes

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        return self.axes.pixels(self.chunks(self.axes.position(key)))


@dataclass(frozen=True, slots=True)
class Image:
    """Levels, axes, and the size of a level 0 pixel as stated, in the axes' units."""

    levels: Sequence[Level]
    axes: Axes
    scale: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class _Dataset:
    array: Array
    scale: Sequence[float] | None


def image_of(group: Group, multiscale: Json, stored: frozenset[str] | None, warnings: list[str]) -> Image:
    """Read the metadata of every dataset; no pixel is read. `stored` has the key of every file, as far as known."""
    datasets = [
        _dataset(group, as_dict(entry, "a dataset"), multiscale) for entry in as_list(multiscale.get("datasets"), "datasets")
    ]
    if not datasets:
        raise Damaged("lists no dataset")
    base = datasets[0]
    axes = axes_of(multiscale, len(base.array.shape))
    levels = [_level(ChunkReader(base.array), axes, 1.0, stored)]
    for dataset in datasets[1:]:
        what = f"level {last(dataset.array.path)}"
        if len(dataset.array.shape) != len(base.array.shape) or dataset.array.dtype != base.array.dtype:
            warnings.append(f"{what} has other axes or samples than level 0 and is left out")
            continue
        level = _level(ChunkReader(dataset.array), axes, _factor(base, dataset, axes), stored)
        if level.shape[:3] != levels[0].shape[:3]:
            warnings.append(f"{what} is reduced along other axes than y and x and is left out")
        elif level.scale <= levels[-1].scale or level.shape.y * level.shape.x >= levels[-1].shape.y * levels[-1].shape.x:
            warnings.append(f"{what} is not smaller than the level before it and is left out")
        else:
            levels.append(level)
            warnings += uncovered(what, levels, axes.shape(dataset.array.stored))
    return Image(levels, axes, base.scale)


def _dataset(group: Group, entry: Json, multiscale: Json) -> _Dataset:
    name = str(entry.get("path", ""))
    array = read_array(group.files, group.child(name))
    if array is None:
        raise Incomplete(f"the array {name!r} is not there; copy the whole store")
    own, common = _scale(entry, len(array.shape)), _scale(multiscale, len(array.shape))
    if own is not None and common is not None:
        own = [a * b for a, b in zip(own, common, strict=True)]
    return _Dataset(array, own if own is not None else common)


def _scale(entry: Json, dimensions: int) -> list[float] | None:
    """The scale among the coordinate transformations of a dataset, or of all (0.4 on)."""
    for transformation in as_list(entry.get("coordinateTransformations") or [], "coordinateTransformations"):
        if isinstance(transformation, dict) and transformation.get("type") == "scale" and "scale" in transformation:
            numbers = as_list(transformation["scale"], "scale")
            sound = len(numbers) == dimensions and all(isinstance(n, int | float) and 0 < n < 1e300 for n in numbers)
            if not sound:
                raise Damaged(f"a scale of {str(cast(object, numbers))[:60]} on {dimensions} axes")
            return [float(n) for n in numbers]
    return None


def _factor(base: _Dataset, dataset: _Dataset, axes: Axes) -> float:
    """Down-sampling by the stated scales, snapped to the integer they mean; by the sizes where none are stated."""
    fine, coarse = axes.shape(base.array.shape), axes.shape(dataset.array.shape)
    by_size = nominal((fine.y, fine.x), (coarse.y, coarse.x))
    if base.scale is None or dataset.scale is None:
        return by_size
    y, x = axes.letters.index("y"), axes.letters.index("x")
    ratio = (dataset.scale[y] / base.scale[y] * dataset.scale[x] / base.scale[x]) ** 0.5
    if abs(by_size - ratio) <= 2 * _WHOLE * ratio:
        return by_size
    whole = round(ratio)
    return float(whole) if whole and abs(whole - ratio) <= _WHOLE * whole else ratio


def _level(reader: ChunkReader, axes: Axes, scale: float, stored: frozenset[str] | None) -> Level:
    array = reader.array
    shape, tile = axes.shape(array.shape), axes.shape(array.chunk)
    absent = frozenset[Shape]() if stored is None else _absent(array, axes, stored)
    inner = axes.letters[-1] == "c"
    return Level(
        shape=shape,
        dtype=array.dtype,
        index=Grid(shape, tile, absent),
        read=BlockReader(reader, axes),
        tile=tile,
        fill=array.fill,
        scale=scale,
        compression=array.compression,
        interleaved=inner and tile.c > 1,
    )


def _absent(array: Array, axes: Axes, stored: frozenset[str]) -> frozenset[Shape]:
    """Chunks whose file is not there: they hold the fill value, which writers leave out."""
    counts = [-(-n // size) for n, size in zip(array.shape, array.chunk, strict=True)]
    total = 1
    for count in counts:
        total *= count
    if total > _MOST_LISTED:
        return frozenset()
    found: list[Shape] = []
    for position in product(*map(range, counts)):
        if array.file_of(position)[0] not in stored:
            places = dict(zip(axes.letters, position, strict=True))
            found.append(Shape(*(places.get(letter, 0) for letter in "tczyx")))
    if len(found) == total:
        check_names(array, stored)
    return frozenset(found)
