"""Transparency masks (NewSubfileType bit 2; TIFF 6.0, section 8; libtiff and GDAL write them) as the alpha of their image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.errors import DriverError
from drivers.files import ByteSource
from drivers.geometry import Box
from drivers.model import ALPHA, Level, Pixels, Scene
from drivers.tiff.level import build_level
from drivers.tiff.samples import samples_of
from drivers.tiff.stack import layer_of_page
from drivers.tiles import Tile, TileIndex

if TYPE_CHECKING:
    from tifffile import TiffPage


def masked(scene: Scene, pages: Sequence[TiffPage], source: ByteSource) -> tuple[Scene, list[str]]:
    """(the scene with its mask as alpha, warnings): unchanged, with a word, where the mask has no place in it.

    That is where the scene has an alpha already, more than one plane, or floats, and where no mask has the size of level 0.
    Levels without a mask of their size are left out.
    """
    if not pages:
        return scene, []
    words = f"{len(pages)} pages are transparency masks and are left out"
    if scene.alpha is not None or scene.shape.t * scene.shape.z > 1 or scene.dtype.kind != "u" or scene.shape.c not in (1, 3):
        return scene, [f"{words}: they are masks of several planes, of an image with an alpha, or of one that has no colours"]
    by_size: dict[tuple[int, int], TiffPage] = {}
    for page in pages:
        by_size.setdefault((page.imagelength, page.imagewidth), page)
    if scene.levels[0].shape[3:] not in by_size:
        return scene, [f"{words}: none has the size of the image"]
    try:
        levels = [
            _joined(level, _mask(by_size[level.shape[3:]], source)) for level in scene.levels if level.shape[3:] in by_size
        ]
    except DriverError as error:
        return scene, [f"{words}: {error}"]
    lacking = len(scene.levels) - len(levels)
    told = [f"{lacking} levels have no transparency mask and are left out"] if lacking else []
    return replace(scene, levels=levels, channels=(*scene.channels, ALPHA), alpha=scene.shape.c), told


def _mask(page: TiffPage, source: ByteSource) -> Level:
    samples = samples_of(page)
    layer = layer_of_page(page, source)
    level = build_level(source, layer.storage, layer.planes, samples.facts(1.0))
    if level.shape.c != 1 or level.dtype != np.dtype("u1"):
        raise DriverError(f"a mask of {level.shape.c} samples of {level.dtype} is not read")
    most = (1 << samples.significant_bits) - 1 if samples.significant_bits else 255
    return replace(level, read=_Opacity(level.read, most, np.dtype("u1")))


def _joined(level: Level, mask: Level) -> Level:
    """The level with the mask as its last channel."""
    at, opaque = level.shape.c, np.iinfo(level.dtype).max
    opacity = _Opacity(mask.read, 255, level.dtype) if opaque != 255 else mask.read
    return replace(
        level,
        shape=level.shape._replace(c=at + 1),
        index=_Both(level.index, mask.index, at),
        read=_BothReader(level.read, opacity),
    )


@dataclass(frozen=True, slots=True)
class _Opacity:
    """Masks of 0 to `most` as 0 (clear) to the greatest value of `dtype` (opaque)."""

    read: Callable[[Hashable], Pixels]
    most: int
    dtype: np.dtype[Any]

    def __call__(self, key: Hashable) -> Pixels:
        factor = int(np.iinfo(self.dtype).max) // self.most
        return self.read(key).astype(self.dtype) * self.dtype.type(factor)


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
