"""Which native levels can be reused: they must fit level 0 in size, be whole, and show what averaging would show.

The comparison reads a few regions of each level: the most textured ones, and the edges, where scanners leave empty tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import product

import numpy as np

from converter.options import Options
from converter.planning.image import Trust
from drivers.errors import Damaged
from drivers.factors import snapped
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene
from drivers.paint import paint
from drivers.tiles import Tile

TOLERANCE = 0.06
"""Largest mean difference in a region, as a share of the sampled range.

Measured on stained tissue, on the most textured regions: averaged and stored as JPEG of quality 70: 3.2 %, of quality 30:
4.7 %; a shift by half a pixel of a level 4 times coarser: 7.7 %, by a pixel: 12 %; every 16th pixel instead of the mean: 9 %.
"""
_TEXTURED = 6
_GRID = 6
_MOST_CHANNELS = 4
_SHIFTED_FITS_BETTER = 0.6
_READERS = 2
_REMEMBERED = 16 << 20  # bytes of decoded tiles per level


def assess(scene: Scene, options: Options) -> Trust:
    """Per native level above 0: None when it may be reused, else the reason. Reads pixels only where the sizes fit."""
    if options.native_levels != "auto":
        return {}
    trust: dict[int, str | None] = {}
    finer = 0
    for i in range(1, len(scene.levels)):
        trust[i] = _reason(scene, finer, i, options)
        if trust[i] is None:
            finer = i
    return trust


def _reason(scene: Scene, finer: int, i: int, options: Options) -> str | None:
    fine, coarse = scene.levels[finer], scene.levels[i]
    if options.downsample != "mean":
        return f"native levels hold averages, and {options.downsample} was asked for"
    if coarse.shape[:3] != scene.shape[:3] or coarse.dtype != scene.dtype:
        return "its planes or sample type differ from level 0"
    ratio = _ratio(scene, fine, coarse)
    if isinstance(ratio, str):
        return ratio
    missing = _missing(fine, coarse, ratio)
    if missing:
        return f"{missing} of its tiles are missing or empty where the finer level has pixels"
    try:
        return _disagreement(fine, coarse, ratio)
    except Damaged as error:
        return f"a tile cannot be read: {error}"


def _ratio(scene: Scene, fine: Level, coarse: Level) -> int | str:
    """Down-sampling of `coarse` against `fine`, or why there is no such number."""
    base = (scene.shape.y, scene.shape.x)
    whole = snapped(base, (coarse.shape.y, coarse.shape.x))
    if whole is None:
        factors = f"{base[0] / coarse.shape.y:.4f} x {base[1] / coarse.shape.x:.4f}"
        return f"not an integer factor: {factors} for {coarse.shape.x}x{coarse.shape.y}"
    before = snapped(base, (fine.shape.y, fine.shape.x)) or 1
    if whole % before:
        return f"its factor {whole} is no multiple of {before}, that of the level before it"
    return whole // before if whole > before else "is not smaller than the level before it"


def _missing(fine: Level, coarse: Level, ratio: int) -> int:
    """Tiles the coarse level lacks although the finer one stores pixels there."""
    lacking = {(b.start, b.stop) for b in fine.index.gaps()}
    count = 0
    for gap in coarse.index.gaps():
        above = _finer(gap, ratio) & Box.of(fine.shape)
        count += any((tile.box.start, tile.box.stop) not in lacking for tile in fine.index.tiles(above))
    return count


def _finer(box: Box, ratio: int) -> Box:
    a, b = box.start, box.stop
    return Box(a._replace(y=a.y * ratio, x=a.x * ratio), b._replace(y=b.y * ratio, x=b.x * ratio))


def _disagreement(fine: Level, coarse: Level, ratio: int) -> str | None:
    stored_tiles, finer_tiles = _remembering(coarse), _remembering(fine)
    places = _places(fine, coarse, ratio, stored_tiles)

    def pair(box: Box) -> tuple[Box, Pixels, Pixels]:
        above = paint(fine, _finer(box, ratio), finer_tiles)
        return box, paint(coarse, box, stored_tiles), _averaged(above, ratio)

    with ThreadPoolExecutor(_READERS) as pool:
        pairs = list(pool.map(pair, places))
    span = max((float(np.nanmax(f) - np.nanmin(f)) for _, _, f in pairs), default=0.0)
    tolerance = TOLERANCE * max(span, 1.0) + (0.5 if coarse.dtype.kind in "ui" else 0.0)
    shifts: list[tuple[int, int]] = []
    for box, stored, mean in pairs:
        off = _difference(stored, mean)
        if off > tolerance:
            return (
                f"differs from the averaged finer level by {off / max(span, 1.0):.1%} of its range at "
                f"y={box.start.y}, x={box.start.x}; tolerance {TOLERANCE:.0%}"
            )
        shifts.append(_shift(stored, mean, off))
    moved = [s for s in shifts if s != (0, 0)]
    if moved and len(set(moved)) == 1 and len(moved) * 2 > len(shifts):
        return f"is shifted against the finer level by {moved[0]} of its pixels (y, x)"
    return None


def _difference(stored: Pixels, mean: Pixels) -> float:
    return float(np.nanmean(np.abs(stored.astype(np.float64) - mean))) if stored.size else 0.0


def _shift(stored: Pixels, mean: Pixels, off: float) -> tuple[int, int]:
    """The shift by a pixel that fits clearly better than none."""
    best, place = off * _SHIFTED_FITS_BETTER, (0, 0)
    if off < 1e-9 or min(stored.shape[3:]) < 8:
        return place
    inner = stored[..., 1:-1, 1:-1]
    h, w = inner.shape[3:]
    for dy, dx in product((-1, 0, 1), repeat=2):
        moved = mean[..., 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
        fits = _difference(inner, moved)
        if fits < best:
            best, place = fits, (dy, dx)
    return place


def _remembering(level: Level) -> Callable[[Tile], Pixels]:
    """`Level.read` of tiles, with the last few kept: neighbouring regions share them."""
    size = level.tile.c * level.tile.y * level.tile.x * level.dtype.itemsize
    read = lru_cache(max(1, _REMEMBERED // max(1, size)))(level.read)
    return lambda tile: read(tile.key)


def _places(fine: Level, coarse: Level, ratio: int, read: Callable[[Tile], Pixels]) -> list[Box]:
    """Regions to compare: the corners and edges, and of a grid over the level the most textured ones."""
    side = max(16, min(64, 512 // ratio))
    height, width = min(coarse.shape.y, fine.shape.y // ratio), min(coarse.shape.x, fine.shape.x // ratio)
    if height < 1 or width < 1:
        return []
    h, w = min(side, height), min(side, width)

    def at(y: float, x: float) -> Box:
        y0, x0, z = int(y * (height - h)), int(x * (width - w)), coarse.shape.z // 2
        channels = min(coarse.shape.c, _MOST_CHANNELS)
        return Box(Shape(0, 0, z, y0, x0), Shape(1, channels, z + 1, y0 + h, x0 + w))

    edges = {at(y, x) for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 1), (1, 0.5))}
    steps = [i / (_GRID - 1) * 0.98 + 0.01 for i in range(_GRID)]
    inner = {at(y, x) for y in steps for x in steps} - edges
    ranked = sorted(inner, key=lambda box: (-float(paint(coarse, box, read).std(dtype=np.float32)), box.start))
    return sorted(edges, key=lambda box: box.start) + ranked[:_TEXTURED]


def _averaged(pixels: Pixels, ratio: int) -> Pixels:
    t, c, z, y, x = pixels.shape
    wide = pixels.astype(np.float64)
    return wide.reshape(t, c, z, y // ratio, ratio, x // ratio, ratio).mean(axis=(4, 6))
