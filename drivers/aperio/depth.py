"""Focal planes of an SVS file: pages of equal size, each of which says its OffsetZ in micrometres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from drivers.claims import repeated
from drivers.files import ByteSource
from drivers.metadata.aperio import parse_description, positive
from drivers.tiff.copies import same_pages
from drivers.tiff.metadata import text

if TYPE_CHECKING:
    from tifffile import TiffPage

_EVEN = 0.01


@dataclass(frozen=True, slots=True)
class Depth:
    """The order of the planes of level 0, from low to high focus, and their distance."""

    order: tuple[int, ...]
    spacing_um: float | None = None
    warnings: tuple[str, ...] = ()

    def sorted(self, pages: Sequence[TiffPage]) -> list[TiffPage]:
        """The planes of a level: by their own offsets where they say them, else as those of level 0."""
        own = offsets_um(pages)
        order = self.order if own is None else tuple(sorted(range(len(own)), key=own.__getitem__))
        return [pages[i] for i in order]


def in_depth(pages: Sequence[TiffPage]) -> Depth:
    """The planes of level 0; in file order where they do not all say another OffsetZ."""
    offsets = offsets_um(pages)
    if offsets is None:
        words = ("the slices state no OffsetZ of their own: they are in file order",) if len(pages) > 1 else ()
        return Depth(tuple(range(len(pages))), None, words)
    order = tuple(sorted(range(len(offsets)), key=offsets.__getitem__))
    steps = [offsets[b] - offsets[a] for a, b in pairwise(order)]
    even = bool(steps) and max(steps) - min(steps) <= _EVEN * max(steps)
    uneven = ("the slices are not equally far apart: their distance is unknown",) if steps and not even else ()
    return Depth(order, round(sum(steps) / len(steps), 6) if even else None, uneven)


def without_copies(pages: Sequence[TiffPage], source: ByteSource) -> tuple[list[TiffPage], list[str]]:
    """(slices of a level without those that repeat one of the same OffsetZ, warnings)."""
    kept: list[TiffPage] = []
    copies: list[tuple[str, str]] = []
    for page in pages:
        twins = (one for one in kept if _offset_um(one) == _offset_um(page) is not None)
        twin = next((one for one in twins if same_pages(one, page, (source, source))), None)
        if twin is None:
            kept.append(page)
        else:
            copies.append((_name(twin), _name(page)))
    return kept, repeated(copies)


def offsets_um(pages: Sequence[TiffPage]) -> list[float] | None:
    """OffsetZ of each page; None where one does not say it or two say the same."""
    found = [_offset_um(page) for page in pages]
    known = [offset for offset in found if offset is not None]
    return known if len(known) == len(pages) and len(set(known)) == len(known) else None


def _offset_um(page: TiffPage) -> float | None:
    return positive(parse_description(text(page, 270) or "").get("OffsetZ"), signed=True)


def _name(page: TiffPage) -> str:
    return f"page {page.index} ({page.imagewidth}x{page.imagelength}, OffsetZ {_offset_um(page)})"
