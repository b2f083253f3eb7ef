"""Are the levels that slidemill made still what it made? Each is computed again from the level above it in the store.

A block of the level and the four times larger one above it are read at a time, so memory does not grow with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.checking.rules import Finding, Group
from converter.halving import halve, halved_shape
from drivers.geometry import Box, Shape
from drivers.model import Pixels

Reader = Callable[[Any, str, Box], Pixels]
"""Five-axis pixels of a box of an opened array with the given axes."""
METHODS = ("mean", "mode", "nearest")
_READERS = 2
_SAMPLES = 4 << 20
"""Most samples of the level above that are held at a time."""


@dataclass(frozen=True, slots=True)
class Made:
    """A level and how it came about."""

    method: str
    origin: str
    """Path of the level it was made from."""


def made_levels(record: dict[str, Any] | None, group: str) -> dict[str, Made]:
    """The made levels of an image by path, as the receipt says. Raises LookupError, TypeError, ValueError."""
    if record is None:
        return {}
    found: dict[str, Made] = {}
    for image in [*record.get("scenes", []), *record.get("associated", [])]:
        if image.get("group") != group:
            continue
        paths = [level["path"] for level in image["levels"]]
        for level in image["levels"]:
            method, _, origin = level["source"].partition(":")
            if method in METHODS:
                found[level["path"]] = Made(method, paths[int(origin)])
    return found


def fits(above: Shape, shape: Shape) -> bool:
    """Whether a level of `shape` can be made from one of the shape `above`."""
    return halved_shape(above) == shape


def blocks(shape: Shape, unit: Shape) -> Iterator[Box]:
    """Boxes of the made level, whole chunks or shards of `unit` where `_SAMPLES` allow."""
    side_y, side_x = unit.y, unit.x
    while 4 * side_y * side_x * unit.c > _SAMPLES and max(side_y, side_x) > 64:
        side_y, side_x = max(64, side_y // 2), max(64, side_x // 2)
    steps = (1, unit.c, 1, side_y, side_x)
    for place in np.ndindex(*(-(-n // step) for n, step in zip(shape, steps, strict=True))):
        start = Shape(*(int(i) * step for i, step in zip(place, steps, strict=True)))
        yield Box(start, Shape(*(min(a + step, n) for a, step, n in zip(start, steps, shape, strict=True))))


def source_box(box: Box, above: Shape) -> Box:
    """The part of the level above that `box` is made from."""
    start = box.start._replace(y=2 * box.start.y, x=2 * box.start.x)
    stop = box.stop._replace(y=min(above.y, 2 * box.stop.y), x=min(above.x, 2 * box.stop.x))
    return Box(start, stop)


def differing(stored: Pixels, above: Pixels, method: str) -> int:
    """Samples of `stored` that `method` does not make of `above`: exactly, floats up to the rounding of their sum."""
    made: Any = halve(above, method)
    with np.errstate(all="ignore"):
        unequal: Any = stored != made
        if stored.dtype.kind == "f" and unequal.any():
            unequal &= ~(np.isnan(stored) & np.isnan(made))
            # The order of a sum, and so its last bit, depends on how many pixels are averaged at one go.
            slack = halve(np.abs(above), method) * (4 * np.finfo(stored.dtype).eps)
            unequal &= ~(np.abs(stored - made) <= slack)
    return int(np.count_nonzero(unequal))


def unit_of(units: Sequence[int], axes: str) -> Shape:
    """A chunk or shard as five axes."""
    known = dict(zip(axes, units, strict=True))
    return Shape(*(int(known.get(a, 1)) for a in "tczyx"))


def remade_findings(made: Mapping[str, Made], group: Group, opened: Sequence[Any], read: Reader) -> Iterator[Finding]:
    """Where a made level is not what its method makes of the level above it. `opened`: the levels of `group`, in order."""
    arrays = dict(zip(group.levels, opened, strict=True))
    for path, how in made.items():
        array, parent = arrays[path], arrays[how.origin]
        shape, above = (unit_of(a.shape, group.axes) for a in (array, parent))
        if not fits(above, shape):
            yield group.at(path), f"is not half of level {how.origin}, from which it is said to be made"
            continue

        def look(box: Box, pair: tuple[Any, Any] = (array, parent), how: Made = how, above: Shape = above) -> tuple[Box, int]:
            stored = read(pair[0], group.axes, box)
            return box, differing(stored, read(pair[1], group.axes, source_box(box, above)), how.method)

        with ThreadPoolExecutor(_READERS) as pool:
            unit = unit_of(array.shards or array.chunks, group.axes)
            for box, count in pool.map(look, blocks(shape, unit)):
                where = f"near {tuple(box.start)}"
                yield (
                    group.at(path),
                    f"{count} samples are not the {how.method} of level {how.origin} {where}" if count else None,
                )
