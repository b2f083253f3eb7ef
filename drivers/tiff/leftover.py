"""What metadata that order the pages do not account for: pages beside them, planes without a page, planes of two pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.claims import Claims, same_bytes, settled
from drivers.files import ByteSource
from drivers.tiff.container import OpenTiff
from drivers.tiff.stack import Stack

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_DIRECTORY = 162
"""Bytes of a directory of Micro-Manager, behind which the pixels lie (tifffile reads them so)."""
_SUMMARY = ("Channels", "Slices", "Frames", "Positions")

Row = tuple[int, int, int, int, int]
"""Channel, slice, frame, position, offset of the directory: an entry of Micro-Manager's index map."""


def told(file: OpenTiff, kind: str, every: Sequence[TiffPageSeries], stacks: Sequence[Stack]) -> list[str]:
    """Warnings. `every` are all series of the kind, `stacks` those that are shown.

    Raises Damaged where two planes of Micro-Manager that differ have the same coordinates.
    """
    warnings = _index_map(file) if kind == "mmstack" else _beside(file, kind, every, stacks)
    planes = [plane for stack in stacks for plane in stack.layers[0].planes.flat]
    missing = sum(plane is None or not any(plane.counts) for plane in planes)
    return [*warnings, *([f"{missing} of {len(planes)} planes are not stored"] if missing else [])]


def _beside(file: OpenTiff, kind: str, every: Sequence[TiffPageSeries], stacks: Sequence[Stack]) -> list[str]:
    shown = sum(stack.layers[0].planes.size for stack in stacks)
    reduced = [level for series in every for level in series.levels[1:]]
    hidden = every if len(every) > len(stacks) else ()  # thumbnails, which no stack shows
    small = [series for series in hidden if series.keyframe.subfiletype & 1]
    masks = sum(page.offset in file.chain for stack in stacks for page in stack.masks)
    spare = len(file.chain) - shown - masks - sum(page.offset in file.chain for page in _pages([*reduced, *small]))
    return [f"{spare} pages belong to no plane that the metadata ({kind}) speak of and are left out"] if spare > 0 else []


def _pages(series: Iterable[TiffPageSeries]) -> Iterable[Any]:
    return (page for one in series for page in one if page is not None)


def _index_map(file: OpenTiff) -> list[str]:
    meta = file.tiff.micromanager_metadata or {}
    rows: list[Row] = [tuple(row) for row in meta["IndexMap"].tolist()]
    size = sum(file.tiff.pages.first.databytecounts)
    kept, warnings = settled(dict.fromkeys(rows), Claims(_place, _name, partial(_same, file.source, size)))
    spare = len(file.chain - {row[4] for row in rows})
    if spare:
        warnings.append(f"{spare} pages are not in the index of Micro-Manager and are left out")
    counts = [meta["Summary"].get(name, 1) for name in _SUMMARY]
    promised = 1
    for count in counts:
        promised *= count if isinstance(count, int) and count > 0 else 1
    if promised > len(kept):
        warnings.append(
            f"Micro-Manager speaks of {promised} planes, its index of {len(kept)}: the acquisition was stopped, "
            "or the other files of the set are missing"
        )
    return warnings


def _place(row: Row) -> tuple[int, int, int, int] | None:
    return row[:4] if row[4] else None


def _name(row: Row) -> str:
    c, z, t, position, offset = row
    return f"the page at byte {offset} (t {t}, c {c}, z {z}, position {position})"


def _same(source: ByteSource, size: int, one: Row, other: Row) -> bool:
    return same_bytes(source, source, (one[4] + _DIRECTORY, other[4] + _DIRECTORY), size)
