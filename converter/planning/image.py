"""Planning: what will be written, and from what. Pure: no pixel is read, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from converter.halving import halved_shape
from converter.options import Options
from drivers.factors import snapped
from drivers.fill import Fill
from drivers.geometry import Shape
from drivers.model import Scene


@dataclass(frozen=True, slots=True)
class Source:
    """Where a level comes from: a native level of the slide, or a method applied to an output level."""

    method: str
    """native, mean, mode or nearest."""
    origin: int
    """The slide's level for "native", else the output level."""

    def __str__(self) -> str:
        return f"{self.method}:{self.origin}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A native level that is not reused, and why."""

    level: int
    reason: str


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One output array. `chunk` and `shard` have five axes; `shard` is None where chunks are objects of their own."""

    path: str
    shape: Shape
    factor: tuple[float, float]
    """Down-sampling against level 0 along y and x."""
    source: Source
    chunk: Shape
    shard: Shape | None

    @property
    def grid(self) -> Shape:
        """Number of chunks per axis."""
        return Shape(*(-(-n // k) for n, k in zip(self.shape, self.chunk, strict=True)))

    @property
    def objects(self) -> int:
        """Number of files of the array when none is all background."""
        unit = self.shard or self.chunk
        return int(np.prod([-(-n // k) for n, k in zip(self.shape, unit, strict=True)]))


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One multiscale image: a scene, or an associated image (`index` None)."""

    index: int | None
    group: str
    """Path in the store; "" is the root."""
    name: str
    axes: str
    dtype: np.dtype[Any]
    fill: Fill
    levels: tuple[LevelPlan, ...]
    refused: tuple[Refusal, ...]

    @property
    def raw_bytes(self) -> int:
        """Bytes of all levels, not compressed."""
        return sum(int(np.prod(level.shape)) for level in self.levels) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image goes: index of its scene (None for an associated image), and its group in the store ("" is the root)."""

    index: int | None
    group: str


Trust = Mapping[int, str | None]
"""Per native level above 0: None when it may be reused, else the reason against it."""


def plan_image(scene: Scene, trust: Trust, options: Options, place: Place) -> ImagePlan:
    """Plan one scene."""
    native, refused = _native_levels(scene, trust, options)
    chosen = _only_native(scene, native) if options.levels == "native" else _dyadic(scene, native, options)
    rgb = scene.rgb and scene.shape.c == 3
    levels = tuple(
        LevelPlan(str(i), shape, factor, source, *_chunking(shape, rgb, options))
        for i, (shape, factor, source) in enumerate(chosen)
    )
    axes = "tczyx" if scene.shape.t > 1 or scene.shape.z > 1 else "cyx"
    fill = scene.levels[0].fill
    return ImagePlan(place.index, place.group, scene.name, axes, scene.dtype, fill, levels, refused)


_Chosen = tuple[Shape, tuple[float, float], Source]


def _native_levels(scene: Scene, trust: Trust, options: Options) -> tuple[list[int], tuple[Refusal, ...]]:
    """Native levels to reuse, level 0 first, and the refused ones."""
    if options.native_levels == "never":
        return [0], tuple(Refusal(i, "native levels are switched off") for i in range(1, len(scene.levels)))
    kept, refused = [0], list[Refusal]()
    for i in range(1, len(scene.levels)):
        reason = _impossible(scene, kept[-1], i)
        if reason is None and options.native_levels == "auto":
            reason = trust.get(i, "was not examined")
        if reason is None:
            kept.append(i)
        else:
            refused.append(Refusal(i, reason))
    return kept, tuple(refused)


def _impossible(scene: Scene, before: int, i: int) -> str | None:
    """What rules a level out whatever the options say: the store could not hold it."""
    level, finer = scene.levels[i], scene.levels[before]
    if level.shape[:3] != scene.shape[:3]:
        return f"has {tuple(level.shape[:3])} planes (t, c, z), level 0 has {tuple(scene.shape[:3])}"
    if level.dtype != scene.dtype:
        return f"has sample type {level.dtype}, level 0 has {scene.dtype}"
    if level.shape.y * level.shape.x >= finer.shape.y * finer.shape.x:
        return "is not smaller than the level before it"
    return None


def _factor(scene: Scene, i: int) -> tuple[float, float]:
    base, size = scene.shape, scene.levels[i].shape
    k = snapped((base.y, base.x), (size.y, size.x))
    return (float(k), float(k)) if k is not None else (base.y / size.y, base.x / size.x)


def _only_native(scene: Scene, native: Sequence[int]) -> list[_Chosen]:
    return [(scene.levels[i].shape, _factor(scene, i), Source("native", i)) for i in native]


def _dyadic(scene: Scene, native: Sequence[int], options: Options) -> list[_Chosen]:
    """Native levels with the missing factor-2 levels between and below them."""
    chosen: list[_Chosen] = []
    for here, after in pairwise([*native, None]):
        assert here is not None
        chosen.append((scene.levels[here].shape, _factor(scene, here), Source("native", here)))
        gap = _doublings(scene, here, after)
        while gap is None or gap > 0:
            shape, factor, _ = chosen[-1]
            if gap is None and max(shape.y, shape.x) <= options.chunk:
                break
            small = halved_shape(shape)
            up = (factor[0] * (2 if shape.y > 1 else 1), factor[1] * (2 if shape.x > 1 else 1))
            chosen.append((small, up, Source(options.downsample, len(chosen) - 1)))
            gap = None if gap is None else gap - 1
    return chosen


def _doublings(scene: Scene, here: int, after: int | None) -> int | None:
    """How many levels to make before native level `after`; None: as many as it takes. None are made before factor 3."""
    if after is None:
        return None
    ratio = _factor(scene, after)[0] / _factor(scene, here)[0]
    steps = round(np.log2(ratio)) if ratio > 0 else 0
    return max(0, steps - 1) if abs(ratio - 2**steps) < 1e-9 else 0


def _chunking(shape: Shape, rgb: bool, options: Options) -> tuple[Shape, Shape | None]:
    """Chunk and shard of a level: never larger than the next power of two of the level itself."""
    y, x = (min(options.chunk, _power(n)) for n in (shape.y, shape.x))
    chunk = Shape(1, 1, 1, y, x)
    if options.shard is None or options.ome_zarr == "0.4" or (shape.y <= y and shape.x <= x):
        return chunk, None
    sy, sx = (min(options.shard, _power(n)) for n in (shape.y, shape.x))
    return chunk, Shape(1, 3 if rgb else 1, 1, sy, sx)


def _power(size: int) -> int:
    return 1 << max(0, size - 1).bit_length()


def in_axes(shape: Shape, axes: str) -> list[int]:
    """The entries of a five-axis shape that the store has."""
    return [int(n) for n, axis in zip(shape, "tczyx", strict=True) if axis in axes]
