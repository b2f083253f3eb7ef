"""Which frame lies where in a level: TILED_FULL by counting, TILED_SPARSE by the position every frame states.

PS3.3 C.7.6.17.3: frames of TILED_FULL run along the columns, then the rows, the focal planes, the optical paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.claims import check_overlaps, claimed_twice, settled
from drivers.dicom.dataset import DataSet
from drivers.dicom.optics import PATH_ID, PATHS, colliding, keys_of, path_key
from drivers.dicom.parts import PER_FRAME, SHARED, Part
from drivers.errors import Damaged, Incomplete, LimitExceeded, Unsupported

MOST_TILES = 16 << 20
_PLANE_POSITION, _COLUMN, _ROW, _Z_OFFSET = 0x0048021A, 0x0048021E, 0x0048021F, 0x0040074A
_PATH_IDENTIFICATION = 0x00480207
_NUMBER_OF_PATHS, _FOCAL_PLANES, _ORIGIN = 0x00480302, 0x00480303, 0x00480008
_ORGANIZATION, _Z_SPACING = 0x00209311, 0x00180088
_CONCATENATION, _NUMBER_IN, _TOTAL_IN, _FRAME_OFFSET = 0x00209161, 0x00209162, 0x00209163, 0x00209228


@dataclass(slots=True)
class Places:
    """Frames of a level. Row i of `at`: optical path, focal plane, top, left, part, frame (all counted from 0)."""

    parts: Sequence[Part]
    paths: list[str]
    depths_um: list[float]
    at: NDArray[np.int64]
    sparse: bool
    described: bool = False
    """Whether optical paths go by all that describes them, since their identifiers collide."""
    warnings: list[str] = field(default_factory=list[str])

    @property
    def z_step_um(self) -> float | None:
        """Distance of the focal planes, where there are several."""
        if len(self.depths_um) < 2:
            return None
        return abs(self.depths_um[-1] - self.depths_um[0]) / (len(self.depths_um) - 1) or None


@dataclass(slots=True)
class _Collected:
    paths: dict[str, int] = field(default_factory=dict[str, int])
    rows: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    sparse: bool = False
    described: bool = False


def places_of(parts: Sequence[Part], described: bool | None = None) -> Places:
    """Place the frames of all instances of one level; raises Damaged, Incomplete, LimitExceeded or Unsupported.

    `described` says how optical paths are named; None: by all that describes them where their identifiers collide.
    """
    places = _collected(parts, described or False)
    if described is None and claimed_twice(places.at) and colliding(parts):
        places = _collected(parts, True)
    places.at = settled(places.at, parts, places.warnings)
    check_overlaps(places.at, parts, places.warnings)
    return places


def _collected(parts: Sequence[Part], described: bool) -> Places:
    found = _Collected(_path_order(parts, described), described=described)
    for run in _concatenations(parts):
        if _is_sparse(run[0].data, len(run[0].frames)):
            found.sparse = True
            for part in run:
                found.rows.append(_stated(part, parts.index(part), found))
        else:
            found.rows.append(_counted(run, [parts.index(part) for part in run], found))
    at = np.concatenate(found.rows)
    depths, planes = np.unique(np.round(at[:, 1], 4), return_inverse=True)
    whole = at.astype(np.int64)
    whole[:, 1] = planes.reshape(-1)
    return Places(parts, list(found.paths), [float(d) for d in depths], whole, found.sparse, described)


def _path_order(parts: Sequence[Part], described: bool) -> dict[str, int]:
    """Optical paths in the order of their sequence; those of several files by number, where they are numbers."""
    listed = [[path_key(path, described) for path in part.data.items(PATHS)] for part in parts]
    names = list(dict.fromkeys(name for names in listed for name in names))
    if names not in listed:
        names.sort(key=lambda name: (int(name) if name.isdecimal() else -1, name))
    return {name: i for i, name in enumerate(names)}


def _concatenations(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts by concatenation, in order (PS3.3 C.7.6.16.2.2.4); raises Incomplete where one is missing."""

    def place(part: Part) -> tuple[str, int]:
        return part.data.text(_CONCATENATION) or part.instance.path.name, part.data.whole(_NUMBER_IN) or 1

    runs: list[list[Part]] = []
    for key, members in groupby(sorted(parts, key=place), key=lambda part: place(part)[0]):
        run = list(members)
        if run[0].data.text(_CONCATENATION) == key:
            _check_whole(run)
        runs.append(run)
    return runs


def _check_whole(run: Sequence[Part]) -> None:
    numbers = [part.data.whole(_NUMBER_IN) or 0 for part in run]
    total = run[0].data.whole(_TOTAL_IN) or max(numbers)
    for i in range(1, len(run)):
        if numbers[i] == numbers[i - 1]:
            names = run[i - 1].instance.path.name, run[i].instance.path.name
            raise Unsupported(
                f"{names[0]} and {names[1]} are both part {numbers[i]} of one concatenation; remove one of them"
            )
    missing = sorted(set(range(1, total + 1)) - set(numbers))
    if missing:
        raise Incomplete(
            f"{run[0].instance.path.name}: part {missing[0]} of {total} of its concatenation is not in the folder; "
            "put all files of the series into one folder"
        )
    frame = 0
    for part in run:
        offset = part.data.whole(_FRAME_OFFSET, "I")
        if offset is not None and offset != frame:
            raise Damaged(f"{part.instance.path.name}: begins at frame {offset} of its concatenation, not at {frame}")
        frame += len(part.frames)


def _is_sparse(data: DataSet, frames: int) -> bool:
    organization = data.text(_ORGANIZATION)
    stated = _COLUMN in data.item(PER_FRAME, _PLANE_POSITION)
    return stated if frames > 0 and organization != "TILED_FULL" else False


def _counted(run: Sequence[Part], numbers: Sequence[int], found: _Collected) -> NDArray[np.float64]:
    first = run[0]
    (height, width), facts, data = first.matrix, first.facts, first.data
    down, across = -(-height // facts.rows), -(-width // facts.columns)
    planes = data.whole(_FOCAL_PLANES, "I") or 1
    names = [path_key(path, found.described) for path in data.items(PATHS)]
    count = data.whole(_NUMBER_OF_PATHS, "I") or len(names) or 1
    names = names if len(names) == count else [str(i) for i in range(count)]
    stored = sum(len(part.frames) for part in run)
    if down * across * planes * count != stored:
        raise Damaged(
            f"{first.instance.path.name}: holds {stored} frames where {width}x{height} pixels, {planes} focal planes and "
            f"{count} optical paths need {down * across * planes * count}"
        )
    channels = [found.paths.setdefault(name, len(found.paths)) for name in names]
    c, z, y, x = (axis.reshape(-1) for axis in np.indices((count, planes, down, across)))
    part = np.repeat(numbers, [len(p.frames) for p in run])
    frame = np.concatenate([np.arange(len(p.frames)) for p in run])
    step = (first.measures.positive(_Z_SPACING) or 0.001) * 1000  # the order is what counts where it is not stated
    depth = _base_depth(data) + z * step
    return np.stack(
        [np.asarray(channels)[c], depth, y * facts.rows, x * facts.columns, part, frame], axis=1, dtype=np.float64
    )


def _base_depth(data: DataSet) -> float:
    shared = data.item(SHARED, _PLANE_POSITION).number(_Z_OFFSET)
    own = data.item(_ORIGIN).number(_Z_OFFSET)
    return shared if shared is not None else own or 0.0


def _stated(part: Part, number: int, found: _Collected) -> NDArray[np.float64]:
    paths, keys, base = found.paths, keys_of(part, found.described), _base_depth(part.data)
    shared = part.data.item(SHARED, _PATH_IDENTIFICATION).text(PATH_ID)
    only = list(keys)
    rows: list[tuple[float, ...]] = []
    for frame, item in enumerate(part.data.items(PER_FRAME)):
        position = item.item(_PLANE_POSITION)
        left, top = position.whole(_COLUMN, "i"), position.whole(_ROW, "i")
        if left is None or top is None:
            raise Damaged(f"{part.instance.path.name}: frame {frame + 1} states no position")
        name = item.item(_PATH_IDENTIFICATION).text(PATH_ID) or shared or (only[0] if len(only) == 1 else "")
        name, stated = keys.get(name, name), position.number(_Z_OFFSET)
        depth = base if stated is None else stated
        rows.append((paths.setdefault(name, len(paths)), depth, top - 1, left - 1, number, frame))
    if len(rows) != len(part.frames):
        raise Damaged(f"{part.instance.path.name}: {len(part.frames)} frames, {len(rows)} positions")
    return np.array(rows, np.float64)


def check_count(tiles: int) -> None:
    """Raise LimitExceeded where a level would have more tiles than can be listed."""
    if tiles > MOST_TILES:
        raise LimitExceeded(f"{tiles} tiles in one level, the limit is {MOST_TILES}: the tiles are too small")
