"""Which native levels can be reused: they must fit level 0 in size, be whole, and show what a resampling would show.

`places` says where the levels are compared, `likeness` what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from converter.options import Options
from converter.planning.image import Trust
from converter.planning.likeness import Kernel, Kind, Likeness, fault, kernels, likeness, moved
from converter.planning.places import Spot, most_textured, places
from drivers.errors import Damaged
from drivers.factors import snapped
from drivers.geometry import Box
from drivers.model import Level, Pixels, Scene
from drivers.paint import paint
from drivers.tiles import Tile

_LOSSY = {"jpeg", "jpeg2000", "jpegxl", "jpegxr", "webp"}
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
        return _disagreement(scene, fine, coarse, ratio)
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


def _disagreement(scene: Scene, fine: Level, coarse: Level, ratio: int) -> str | None:
    """Why `coarse` shows something else than `fine`: None where one of the usual resamplings explains all of it."""
    stored_tiles, finer_tiles = _remembering(coarse), _remembering(fine)
    last = scene.levels[-1]
    compared = places(fine, coarse, ratio, _textured(last, stored_tiles if last is coarse else _remembering(last)))
    usual, *others = kernels(ratio)
    kind = Kind(coarse.dtype, _lossy(scene, fine, coarse))

    def survey(tried: Sequence[Kernel]) -> list[tuple[Likeness, ...]]:
        def look(box: Box) -> list[Likeness]:
            stored, above = paint(coarse, box, stored_tiles), paint(fine, _finer(box, ratio), finer_tiles)
            return [likeness(box, stored, above, (ratio, kernel)) for kernel in tried]

        with ThreadPoolExecutor(_READERS) as pool:
            return list(zip(*pool.map(look, compared), strict=True))

    if not compared:
        return None
    (plain,) = survey([usual])
    reason = moved(plain) or fault(plain, kind)
    if reason is None or moved(plain):
        return reason
    return None if any(fault(found, kind) is None for found in survey(others)) else reason


def _textured(level: Level, read: Callable[[Tile], Pixels]) -> list[Spot]:
    try:
        return most_textured(level, lambda box: paint(level, box, read))
    except Damaged:
        return []  # whether that level can be read is asked when its turn comes


def _lossy(scene: Scene, *levels: Level) -> bool:
    """Whether samples may differ by what a compression loses: colour of 8 bits has been a JPEG somewhere."""
    return (scene.rgb and scene.dtype.itemsize == 1) or any(level.compression in _LOSSY for level in levels)


def _remembering(level: Level) -> Callable[[Tile], Pixels]:
    """`Level.read` of tiles, with the last few kept: neighbouring regions share them."""
    size = level.tile.c * level.tile.y * level.tile.x * level.dtype.itemsize
    read = lru_cache(max(1, _REMEMBERED // max(1, size)))(level.read)
    return lambda tile: read(tile.key)
