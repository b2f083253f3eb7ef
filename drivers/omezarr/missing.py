"""Chunks that a copy of a store lacks: absent ones hold the fill value by the format, so only other files can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged
from drivers.geometry import Shape
from drivers.model import Level
from drivers.tiles import Grid
from drivers.zarrstore.array import Array

_LIKE_A_CHUNK = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*", re.IGNORECASE)


def check_names(array: Array, stored: frozenset[str]) -> None:
    """For an array of which no chunk is stored.

    Raises Damaged where files lie there that are named as chunks of another kind are: the metadata state another separator,
    or the files were renamed, and all would show the fill value.
    """
    below = f"{array.path}/" if array.path else ""
    others = sorted(key for key in stored if key.startswith(below) and _LIKE_A_CHUNK.fullmatch(key[len(below) :]))
    if others and not any(array.is_chunk(key) for key in others):
        raise Damaged(
            f"array {array.path}: none of its files is named as its metadata say, {others[0]!r} for one: all of it would "
            "show the fill value"
        )


def uncovered(what: str, levels: Sequence[Level], file: Shape) -> list[str]:
    """A warning where files of the last of the levels are stored and the finest one stores nothing there; `file` is the
    shape of what one of them holds."""
    fine, coarse = levels[0].index, levels[-1].index
    if not isinstance(fine, Grid) or not isinstance(coarse, Grid) or not fine.absent or fine.tile[:3] != file[:3]:
        return []
    stored = np.pad(_stored(fine).astype(np.int64).cumsum(3).cumsum(4), [(0, 0), (0, 0), (0, 0), (1, 0), (1, 0)])
    (top, bottom), (left, right) = (_ends(coarse.shape[a], file[a], fine.shape[a], fine.tile[a]) for a in (3, 4))
    under = _at(stored, bottom, right) - _at(stored, top, right) - _at(stored, bottom, left) + _at(stored, top, left)
    steps = [a // b for a, b in zip(file, coarse.tile, strict=True)]
    count = int((_stored(coarse)[:, :, :, :: steps[3], :: steps[4]] & (under == 0)).sum())
    return (
        [f"{what}: {count} of its files lie where level 0 stores nothing: files of level 0 may be missing"] if count else []
    )


def _stored(grid: Grid) -> NDArray[np.bool_]:
    """Whether the chunk at each place (t, c, z, y, x) of the grid is stored."""
    found = np.ones([-(-n // size) for n, size in zip(grid.shape, grid.tile, strict=True)], np.bool_)
    if grid.absent:
        found[tuple(np.array(sorted(grid.absent)).T)] = False
    return found


def _ends(length: int, tile: int, finer: int, finer_tile: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first chunk of the finer level under each chunk, and the one behind the last."""
    start = np.arange(0, length, tile, dtype=np.int64)
    stop = np.minimum(start + tile, length)
    count = -(-finer // finer_tile)
    first = start * finer // length // finer_tile
    return first, np.minimum(-(-(stop * finer) // (length * finer_tile)), count)


def _at(stored: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    return stored[:, :, :, rows][..., columns]
