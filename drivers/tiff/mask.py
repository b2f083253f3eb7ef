"""Transparency masks (NewSubfileType bit 2; TIFF 6.0, section 8; libtiff and GDAL write them) as the alpha of their image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.associated import free_role
from drivers.errors import DriverError
from drivers.files import ByteSource
from drivers.geometry import Box
from drivers.model import ALPHA, Channel, Level, Pixels, Scene
from drivers.pictures.color import opaque
from drivers.pictures.orient import oriented, swaps_axes
from drivers.tiff.level import build_level
from drivers.tiff.samples import samples_of
from drivers.tiff.stack import layer_of
from drivers.tiles import Tile, TileIndex

if TYPE_CHECKING:
    from tifffile import TiffPage


_UINT8 = np.dtype("u1")


@dataclass(frozen=True, slots=True)
class Masked:
    """A scene with its masks: as alpha, or beside it where they have no place in it."""

    scene: Scene
    associated: Mapping[str, Scene] = field(default_factory=dict[str, Scene])
    """The masks that are beside the scene, by their role."""
    warnings: tuple[str, ...] = ()


Held = tuple["TiffPage", ByteSource]
"""A page of a mask, and the file it lies in."""


def held(pages: Iterable[TiffPage], source: ByteSource) -> list[Held]:
    """Masks of one file."""
    return [(page, source) for page in pages]


def masked(scene: Scene, pages: Sequence[Held], turn: int = 1, taken: Collection[str] = ()) -> Masked:
    """The scene with its masks as alpha: one for its plane, or one for each of its times or slices, in their order.

    They are an image beside it, with a word, where the scene has an alpha, or no mask or another number of them has the
    size of level 0. Levels without masks of their size are left out. `turn`: the Orientation in which the scene is shown.
    `taken`: the roles that other associated images have.
    """
    by_size: dict[tuple[int, ...], list[Held]] = {}
    for page, source in pages:
        size = (page.imagelength, page.imagewidth)
        by_size.setdefault(size[::-1] if swaps_axes(turn) else size, []).append((page, source))
    if not by_size:
        return Masked(scene)
    shape = scene.shape
    here = by_size.get(shape[3:], [])
    if scene.alpha is not None or len(here) != shape.t * shape.z or min(shape.t, shape.z) > 1:
        return _beside(scene, by_size, turn, taken)
    try:
        levels = [
            _joined(level, _mask(by_size[level.shape[3:]], (shape.t, shape.z), turn), scene.significant_bits)
            for level in scene.levels
            if len(by_size.get(level.shape[3:], ())) == len(here)
        ]
    except DriverError as error:
        return Masked(scene, {}, (f"{len(pages)} pages are transparency masks and are left out: {error}",))
    lacking = len(scene.levels) - len(levels)
    told = (f"{lacking} levels have no transparency mask and are left out",) if lacking else ()
    return Masked(replace(scene, levels=levels, channels=(*scene.channels, ALPHA), alpha=shape.c), {}, told)


def _beside(scene: Scene, by_size: dict[tuple[int, ...], list[Held]], turn: int, taken: Collection[str]) -> Masked:
    """An image of the masks of each size, but for those of the levels of a scene of which level 0 has some."""
    full = by_size.get(scene.shape[3:])
    reduced = {level.shape[3:] for level in scene.levels[1:]} if full else set[tuple[int, ...]]()
    found: dict[str, Scene] = {}
    told: list[str] = []
    for size, pages in by_size.items():
        words = f"{len(pages)} pages are transparency masks that fit no plane of the image"
        if size in reduced:
            told.append(f"{len(pages)} pages are transparency masks of a level and are left out")
            continue
        try:
            level = _mask(pages, (len(pages), 1), turn)
        except DriverError as error:
            told.append(f"{words}, and are left out: {error}")
            continue
        role = free_role("mask", {*taken, *found})
        told.append(f"{words}: --associated {role} writes {len(pages)} of them as an image beside it")
        found[role] = Scene(role, [level], False, (Channel(),))
    return Masked(scene, found, tuple(told))


def _mask(pages: Sequence[Held], counts: tuple[int, int], turn: int) -> Level:
    """Masks of 0 to 255, as many as `counts` says along t and z, turned as the image is."""
    samples = samples_of(pages[0][0])
    planes, sources = np.empty((counts[0], 1, counts[1]), object), np.empty((counts[0], 1, counts[1]), object)
    planes.reshape(-1)[:], sources.reshape(-1)[:] = ([pair[i] for pair in pages] for i in range(2))
    layer = layer_of(planes, sources)
    level = build_level(pages[0][1], layer.storage, layer.planes, samples.facts(1.0))
    if level.shape.c != 1 or level.dtype != _UINT8:
        raise DriverError(f"a mask of {level.shape.c} samples of {level.dtype} is not read")
    most = opaque(_UINT8, samples.significant_bits)
    level = level if most == 255 else replace(level, read=_Opacity(level.read, most, 255, _UINT8))
    return oriented(level, turn)


def _joined(level: Level, mask: Level, bits: int | None) -> Level:
    """The level with the mask as its last channel, on the scale of its values."""
    at, most = level.shape.c, opaque(level.dtype, bits)
    opacity = mask.read if (most, level.dtype) == (255, _UINT8) else _Opacity(mask.read, 255, most, level.dtype)
    return replace(
        level,
        shape=level.shape._replace(c=at + 1),
        index=_Both(level.index, mask.index, at),
        read=_BothReader(level.read, opacity),
    )


@dataclass(frozen=True, slots=True)
class _Opacity:
    """Masks of 0 to `most` as 0 (clear) to `opaque` of `dtype`."""

    read: Callable[[Hashable], Pixels]
    most: int
    opaque: int
    dtype: np.dtype[Any]

    def __call__(self, key: Hashable) -> Pixels:
        values = np.arange(256) / self.most * self.opaque
        return values.astype(self.dtype)[self.read(key)]


@dataclass(frozen=True, slots=True)
class _Both:
    """The tiles of an image, and those of its mask as channel `at`: a `TileIndex`."""

    image: TileIndex
    mask: TileIndex
    at: int

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Those that share a pixel with `box`, keyed (whether it is the mask, key)."""
        if colors := Box(box.start, box.stop._replace(c=min(box.stop.c, self.at))):
            for tile in self.image.tiles(colors):
                yield replace(tile, key=(False, tile.key))
        if box.start.c <= self.at < box.stop.c:
            for tile in self.mask.tiles(Box(box.start._replace(c=0), box.stop._replace(c=1))):
                yield replace(tile, box=self._moved(tile.box), key=(True, tile.key))

    def gaps(self) -> Sequence[Box]:
        """Of both."""
        return [*self.image.gaps(), *map(self._moved, self.mask.gaps())]

    def _moved(self, box: Box) -> Box:
        return Box(box.start._replace(c=self.at), box.stop._replace(c=self.at + 1))


@dataclass(frozen=True, slots=True)
class _BothReader:
    """`Level.read` by the keys of `_Both`."""

    image: Callable[[Hashable], Pixels]
    mask: Callable[[Hashable], Pixels]

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, tuple)
        mask, inner = key
        return (self.mask if mask else self.image)(inner)
