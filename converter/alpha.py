"""Which alpha is written: `--alpha drop` leaves out the one of an 8-bit colour image, with a word; all others are data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from drivers.geometry import Box
from drivers.model import Level, Pixels, Scene, Slide
from drivers.tiles import Tile, TileIndex


def is_dropped(scene: Scene, alpha: str) -> bool:
    """Whether `--alpha` leaves the scene's alpha out: with 16 bits, or beside grey, it may well be a measured channel."""
    return alpha == "drop" and scene.alpha is not None and scene.rgb and scene.dtype == np.dtype("u1")


def dropped_words(name: str) -> str:
    """What is said of a scene or associated image whose alpha is left out."""
    return f"{name}: the alpha channel is left out; --alpha keep writes it"


def shown(slide: Slide, alpha: str) -> Slide:
    """The slide with the channels that are written. Closing either closes both."""
    scenes = [_shown(scene, alpha) for scene in slide.scenes]
    associated = {role: _shown(scene, alpha) for role, scene in slide.associated.items()}
    return replace(slide, scenes=scenes, associated=associated)


def _shown(scene: Scene, alpha: str) -> Scene:
    last = scene.alpha
    if last is None or not is_dropped(scene, alpha):
        return scene
    assert last == scene.shape.c - 1
    return replace(scene, levels=[_first(level, last) for level in scene.levels], channels=scene.channels[:last], alpha=None)


def _first(level: Level, count: int) -> Level:
    """The first `count` channels of a level."""
    tile = level.tile._replace(c=min(level.tile.c, count))
    shape = level.shape._replace(c=count)
    return replace(level, shape=shape, tile=tile, index=_FirstTiles(level.index, count), read=_FirstReader(level.read, count))


@dataclass(frozen=True, slots=True)
class _FirstTiles:
    """The tiles of a level where they hold any of the first `count` channels: its `TileIndex`."""

    index: TileIndex
    count: int

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Tiles that share a pixel of these channels with `box`."""
        for tile in self.index.tiles(_cut(box, self.count)):
            yield replace(tile, box=_cut(tile.box, self.count))

    def gaps(self) -> Sequence[Box]:
        """Places where the file should hold a tile and holds none."""
        return [part for box in self.index.gaps() if (part := _cut(box, self.count))]


def _cut(box: Box, count: int) -> Box:
    return Box(box.start, box.stop._replace(c=max(box.start.c, min(box.stop.c, count))))


@dataclass(frozen=True, slots=True)
class _FirstReader:
    """`Level.read` without the channels that follow; blocks of a single channel are none of them."""

    read: Callable[[Hashable], Pixels]
    count: int

    def __call__(self, key: Hashable) -> Pixels:
        return self.read(key)[:, : self.count]
