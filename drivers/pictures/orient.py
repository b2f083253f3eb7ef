"""The orientation tag (274): a stored level as it is meant to be looked at.

The eight values of TIFF 6.0, each a transposition followed by mirroring, as Pillow's `ImageOps.exif_transpose` applies
them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels
from drivers.tiles import Grid, Tile


@dataclass(frozen=True, slots=True)
class Turn:
    """Stored to shown: exchange rows and columns, then mirror along y and x. `height` and `width` are those shown."""

    transpose: bool
    mirror_y: bool
    mirror_x: bool
    height: int
    width: int

    def shown(self, box: Box) -> Box:
        """Where a box of the stored level is shown."""
        return self._mirrored(_transposed(box) if self.transpose else box)

    def stored(self, box: Box) -> Box:
        """The box of the stored level that `box` shows."""
        box = self._mirrored(box)
        return _transposed(box) if self.transpose else box

    def pixels(self, block: Pixels) -> Pixels:
        """A stored block (five axes) as shown; a view."""
        block = block.swapaxes(3, 4) if self.transpose else block
        return block[:, :, :, :: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]

    def _mirrored(self, box: Box) -> Box:
        a, b = box.start, box.stop
        y = (self.height - b.y, self.height - a.y) if self.mirror_y else (a.y, b.y)
        x = (self.width - b.x, self.width - a.x) if self.mirror_x else (a.x, b.x)
        return Box(Shape(a.t, a.c, a.z, y[0], x[0]), Shape(b.t, b.c, b.z, y[1], x[1]))


def _transposed(box: Box) -> Box:
    a, b = box.start, box.stop
    return Box(Shape(a.t, a.c, a.z, a.x, a.y), Shape(b.t, b.c, b.z, b.x, b.y))


_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, slots=True)
class Turned:
    """The tiles of a stored grid where they are shown."""

    grid: Grid
    turn: Turn

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Tiles that are shown in `box`."""
        for tile in self.grid.tiles(self.turn.stored(box)):
            yield Tile(self.turn.shown(tile.box), tile.key)

    def gaps(self) -> Sequence[Box]:
        """Places where the file should hold a tile and holds none."""
        return [self.turn.shown(box) for box in self.grid.gaps()]


@dataclass(frozen=True, slots=True)
class TurnedReader:
    """Reads a stored block, cuts its padding off (it would come first after mirroring) and turns it."""

    read: Callable[[Hashable], Pixels]
    grid: Grid
    turn: Turn

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        size = self.grid.place(key).shape
        return self.turn.pixels(self.read(key)[: size.t, : size.c, : size.z, : size.y, : size.x])


def swaps_axes(orientation: int) -> bool:
    """Whether the stored rows are shown as columns."""
    return orientation in _TURNS and _TURNS[orientation][0]


def oriented(level: Level, orientation: int) -> Level:
    """The level as tag 274 asks for; values outside 2..8 change nothing."""
    if orientation not in _TURNS:
        return level
    assert isinstance(level.index, Grid)
    transpose, mirror_y, mirror_x = _TURNS[orientation]
    shape = _swapped(level.shape) if transpose else level.shape
    turn = Turn(transpose, mirror_y, mirror_x, shape.y, shape.x)
    return replace(
        level,
        shape=shape,
        index=Turned(level.index, turn),
        read=TurnedReader(level.read, level.index, turn),
        tile=_swapped(level.tile) if transpose else level.tile,
    )


def _swapped(shape: Shape) -> Shape:
    return Shape(shape.t, shape.c, shape.z, shape.x, shape.y)
