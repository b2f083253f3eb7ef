"""Frames that claim one place: the same picture counts once, another is refused. The standard gives neither precedence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.parts import Part
from drivers.errors import DriverError, Unsupported
from drivers.model import Pixels

Rows = NDArray[np.int64]
"""Optical path, focal plane, top, left, part, frame."""
COMPARED_PIXELS = 1 << 29
"""Pixels of overlapping frames that are decoded at most, of one level; beyond, which of them counts is not known."""
_KEPT_PIXELS = 1 << 24
"""Decoded frames that are kept for the next comparison."""
_NAMED = 5
"""Overlaps that are named one by one; of more only the number is told."""


def claimed_twice(at: Rows) -> bool:
    """Whether two frames claim the same place."""
    return len(np.unique(at[:, :4], axis=0)) < len(at)


def settled(at: Rows, parts: Sequence[Part], warnings: list[str]) -> Rows:
    """The rows without frames that repeat one of an earlier part; raises Unsupported where two differ."""
    at = at[np.lexsort(at.T[::-1])]
    repeats = np.zeros(len(at), bool)
    repeats[1:] = (at[1:, :4] == at[:-1, :4]).all(axis=1)
    left_out: dict[tuple[int, int], int] = {}
    first = 0
    for i in range(len(at)) if repeats.any() else ():
        if not repeats[i]:
            first = i
        elif not _same(at[first], at[i], parts):
            raise Unsupported(f"{_both(at[first], at[i], parts)} claim the same place and differ{_ADVICE}")
        else:
            pair = int(at[first, 4]), int(at[i, 4])
            left_out[pair] = left_out.get(pair, 0) + 1
    for (kept, copy), count in left_out.items():
        names = parts[copy].instance.path.name, parts[kept].instance.path.name
        warnings.append(f"{names[0]}: frames that repeat those of {names[1]} at the same place are left out ({count})")
    return at[~repeats]


_ADVICE = (
    ": no focal plane, optical path or description that is stated tells them apart, and the format does not say which "
    "is to be shown; put the files into folders of their own"
)


@dataclass(slots=True)
class _Shown:
    """Decoded frames, by part and number; the last of them are kept."""

    parts: Sequence[Part]
    kept: OrderedDict[tuple[int, int], Pixels] = field(default_factory=OrderedDict[tuple[int, int], Pixels])
    pixels: int = 0
    """Decoded so far."""

    def __call__(self, row: Rows) -> Pixels:
        key = int(row[4]), int(row[5])
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        part = self.parts[key[0]]
        size = part.facts.rows * part.facts.columns
        self.pixels += size
        try:
            self.kept[key] = part.decode(part.frames.read(key[1]))
        except DriverError as error:
            name = part.instance.path.name
            raise type(error)(f"{name}: frame {key[1] + 1}: {str(error).removeprefix(f'{name}: ')}") from error
        while len(self.kept) > 2 and len(self.kept) * size > _KEPT_PIXELS:
            self.kept.popitem(last=False)
        return self.kept[key]


def check_overlaps(at: Rows, parts: Sequence[Part], warnings: list[str]) -> None:
    """Raise Unsupported where frames off the grid overlap in part and differ there, or more overlap than are compared."""
    rows, columns = parts[0].facts.rows, parts[0].facts.columns
    shown, found, names = _Shown(parts), 0, list[str]()
    for one, other in _overlapping(at, rows, columns):
        if shown.pixels > COMPARED_PIXELS:
            raise Unsupported(f"{_both(one, other, parts)} overlap, and so do more than are compared{_ADVICE}")
        down, across = int(other[2] - one[2]), int(other[3] - one[3])
        a, b = shown(one), shown(other)
        a = a[max(0, down) : rows + min(0, down), max(0, across) : columns + min(0, across)]
        b = b[max(0, -down) : rows + min(0, -down), max(0, -across) : columns + min(0, -across)]
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            raise Unsupported(f"{_both(one, other, parts)} overlap and differ there{_ADVICE}")
        found += 1
        if found <= _NAMED:
            names.append(_both(one, other, parts))
    warnings += [f"{pair} overlap and show the same pixels there" for pair in names]
    if found > _NAMED:
        warnings.append(f"{found - _NAMED} more pairs of frames overlap and show the same pixels there")


def _overlapping(at: Rows, rows: int, columns: int) -> Iterator[tuple[Rows, Rows]]:
    cells: dict[tuple[int, int, int, int], list[int]] = {}
    for i, (path, plane, top, left) in enumerate(at[:, :4].tolist()):
        row, column = top // rows, left // columns
        for down, across in product((-1, 0, 1), repeat=2):
            for k in cells.get((path, plane, row + down, column + across), ()):
                if abs(int(at[k, 2]) - top) < rows and abs(int(at[k, 3]) - left) < columns:
                    yield at[k], at[i]
        cells.setdefault((path, plane, row, column), []).append(i)


def _same(one: Rows, other: Rows, parts: Sequence[Part]) -> bool:
    """Whether two frames are stored alike, or decode to the same pixels. One that does not decode is another."""
    if _stored(one, parts) == _stored(other, parts):
        return True
    try:
        shown = [parts[int(row[4])].decode(_stored(row, parts)) for row in (one, other)]
    except DriverError:
        return False
    return shown[0].dtype == shown[1].dtype and np.array_equal(shown[0], shown[1])


def _stored(row: Rows, parts: Sequence[Part]) -> bytes:
    return parts[int(row[4])].frames.read(int(row[5]))


def _both(one: Rows, other: Rows, parts: Sequence[Part]) -> str:
    names = [f"{parts[int(row[4])].instance.path.name} (frame {int(row[5]) + 1})" for row in (one, other)]
    return f"{names[0]} and {names[1]}"
