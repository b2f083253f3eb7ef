"""Where the items of a scene lie: one image a plane, or the tiles of a mosaic.

AxioVision keeps the tiles of a MosaiX image as they were taken, usually overlapping by a tenth. Their places are the
differences of their stage positions (tags 2073 and 2074, micrometres) over the pixel size. Where that does not give the size
the image states (tags 515 and 516), the tiles are spread evenly over that size by their column and row (tags 2817 and 2818).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from drivers.limits import LIMITS, check
from drivers.model import PixelSize
from drivers.zvi.item import Item
from drivers.zvi.values import Value, integer_of, number_of

WIDTH, HEIGHT = 515, 516
COUNTS = (2838, 2839)
"""Columns and rows of the mosaic."""
STAGE = ((2073, 2074), (2841, 2842))
"""(x, y) tags: where the stage stood, and where it stood before the image was changed."""
_TOLERANCE = 0.02
"""Of the stated size, by which places from the stage may miss it."""

Places = dict[tuple[int, tuple[int, int]], tuple[int, int]]
"""(y, x) of a tile in the mosaic, by (position, (row, column))."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Tiles by what names them, and the extent they cover."""

    places: Places
    height: int
    width: int


def tile_of(item: Item) -> tuple[int, tuple[int, int]]:
    """What names the tile of a mosaic that an item shows; equal for all its planes."""
    return (item.tile, item.grid)


def placed(items: Sequence[Item], tags: Mapping[int, Value], pixel: PixelSize) -> Placed | None:
    """The mosaic that the items of a scene make; None where they are single images, or nothing says where they lie."""
    tiles: dict[tuple[int, tuple[int, int]], Item] = {}
    for item in items:
        tiles.setdefault(tile_of(item), item)
    if len(tiles) < 2:
        return None
    stated = (integer_of(tags, HEIGHT) or 0, integer_of(tags, WIDTH) or 0)
    tallest, widest = (max(item.size[axis] for item in tiles.values()) for axis in (0, 1))
    counts = [integer_of(tags, number) or 1 for number in COUNTS]
    if stated[0] <= tallest and stated[1] <= widest and max(counts) < 2:
        return None  # positions of a list ("Mark & Find"), each an image of its own
    places = _by_stage(tiles, stated, pixel)
    if places is None and len({grid for _, grid in tiles}) == len(tiles):
        places = _by_grid(tiles, stated)
    return None if places is None else _sized(places, tiles, stated)


def _sized(places: Places, tiles: Mapping[tuple[int, tuple[int, int]], Item], stated: tuple[int, int]) -> Placed:
    extent = [max(places[key][axis] + tile.size[axis] for key, tile in tiles.items()) for axis in (0, 1)]
    for axis in (0, 1):  # the stated size, where it is about what the tiles cover
        if abs(stated[axis] - extent[axis]) <= max(2, _TOLERANCE * extent[axis]):
            extent[axis] = stated[axis]
    check("the number of pixels of the mosaic", extent[0] * extent[1], LIMITS.level_pixels)
    return Placed(places, extent[0], extent[1])


def _by_stage(tiles: Mapping[tuple[int, tuple[int, int]], Item], stated: tuple[int, int], pixel: PixelSize) -> Places | None:
    if pixel.y_um is None or pixel.x_um is None:
        return None
    for x_tag, y_tag in STAGE:
        rows = _offsets(tiles, y_tag, pixel.y_um, 0)
        columns = _offsets(tiles, x_tag, pixel.x_um, 1)
        if rows is None or columns is None:
            continue
        if all(_agrees(offsets, tiles, stated[axis], axis) for axis, offsets in ((0, rows), (1, columns))):
            places = {key: (rows[key], columns[key]) for key in tiles}
            return places if len(set(places.values())) == len(places) else None
    return None


def _offsets(
    tiles: Mapping[tuple[int, tuple[int, int]], Item], tag: int, step: float, axis: int
) -> dict[tuple[int, tuple[int, int]], int] | None:
    """Pixels from the first tile along an axis; against the stage where columns or rows count against it."""
    at = {key: number_of(item.tags, tag) for key, item in tiles.items()}
    known = {key: value for key, value in at.items() if value is not None}
    if len(known) < len(at):
        return None
    sign = -1 if _against([(key[1][axis], value) for key, value in known.items()]) else 1
    start = min(sign * value for value in known.values())
    return {key: round((sign * value - start) / step) for key, value in known.items()}


def _against(pairs: Sequence[tuple[int, float]]) -> bool:
    """Whether the index falls where the position grows."""
    indices, values = [i for i, _ in pairs], [v for _, v in pairs]
    middle_index, middle_value = sum(indices) / len(indices), sum(values) / len(values)
    return sum((i - middle_index) * (v - middle_value) for i, v in pairs) < 0


def _agrees(
    offsets: Mapping[tuple[int, tuple[int, int]], int],
    tiles: Mapping[tuple[int, tuple[int, int]], Item],
    stated: int,
    axis: int,
) -> bool:
    """Whether places from the stage give the stated size, or, where none is stated, leave no gap between most tiles."""
    extent = max(offsets[key] + tile.size[axis] for key, tile in tiles.items())
    size = median(tile.size[axis] for tile in tiles.values())
    if stated > size:
        return abs(extent - stated) <= max(16, _TOLERANCE * stated)
    ordered = sorted(set(offsets.values()))
    return all(b - a <= 1.5 * size for a, b in pairwise(ordered))


def _by_grid(tiles: Mapping[tuple[int, tuple[int, int]], Item], stated: tuple[int, int]) -> Places:
    """Evenly over the stated size, edge to edge where none is stated that fits."""
    pitches: list[float] = []
    firsts: list[int] = []
    for axis in (0, 1):
        size = max(tile.size[axis] for tile in tiles.values())
        indices = [grid[axis] for _, grid in tiles]
        steps = max(indices) - min(indices)
        even = (stated[axis] - size) / steps if steps else 0.0
        pitches.append(even if size / 4 <= even <= 1.5 * size else float(size))
        firsts.append(min(indices))
    return {key: (round((key[1][0] - firsts[0]) * pitches[0]), round((key[1][1] - firsts[1]) * pitches[1])) for key in tiles}
