"""Grouping the pages of a TIFF without metadata of its own into stacks with pyramids.

Reduced images are those that say so (NewSubfileType bit 0), SubIFDs, and, as vips writes them, unlabelled pages each of
which is the one before it divided by two, three or four.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drivers.errors import Unsupported
from drivers.factors import snapped
from drivers.tiff.container import OpenTiff
from drivers.tiff.metadata import tag, text
from drivers.tiff.samples import PALETTE, samples_of
from drivers.tiff.stack import Stack, add_reduced, alike, layer_of, sources_of, subpages
from drivers.tiff.storage import Storage, storage_of
from drivers.tiff.subfile import is_mask, is_reduced

if TYPE_CHECKING:
    from tifffile import TiffPage

_FACTORS = (2, 3, 4)
_ORIENTATION, _PAGE_NAME, _COLORMAP = 274, 285, 320
_NUMBERED = re.compile(
    r"(page|frame|slice|image|img|plane|time|scan|layer|[tz])?[\s_#:.=-]*\d+(\s*(/|of)\s*\d+)?", re.IGNORECASE
)


@dataclass(slots=True)
class _Pile:
    """Equal full-size pages in file order, and the reduced ones that follow or hang on each."""

    storage: Storage
    pages: list[TiffPage] = field(default_factory=list)
    reduced: list[list[TiffPage]] = field(default_factory=list)
    masks: list[TiffPage] = field(default_factory=list)


def page_stacks(file: OpenTiff) -> tuple[list[Stack], list[str]]:
    """Stacks in file order, and warnings. Equal pages make a time series, as Bio-Formats reads a multi-page TIFF."""
    piles, warnings = _piles(file)
    stacks: list[Stack] = []
    factors = _FACTORS  # of the next unlabelled level: any of these, then the one found first
    for pile in piles:
        names = _channel_names(pile.pages)
        pages = np.empty((1, len(pile.pages), 1) if names else (len(pile.pages), 1, 1), object)
        pages.reshape(-1)[:] = pile.pages
        sources = sources_of(pages, file.source)
        layer = layer_of(pages, sources)
        step = _step(stacks[-1], pile) if stacks else None
        if step in factors:
            stacks[-1].layers.append(layer)
            stacks[-1].masks += pile.masks
            factors = (step,)
            continue
        stacks.append(Stack([layer], channel_names=names, masks=pile.masks))
        add_reduced(stacks[-1], pile.reduced, sources)
        factors = _FACTORS if len(stacks[-1].layers) == 1 else ()
    return stacks, warnings


def _channel_names(pages: list[TiffPage]) -> tuple[str, ...]:
    """PageName of grey pages that each have another: imaging mass cytometry's channels. Numbered pages name none."""
    names = [text(page, _PAGE_NAME) or "" for page in pages]
    plain = any(not name or _NUMBERED.fullmatch(name) for name in names)
    if len(pages) < 2 or plain or len(set(names)) < len(names) or pages[0].samplesperpixel > 1:
        return ()
    return tuple(names)


def _step(stack: Stack, pile: _Pile) -> int | None:
    """The factor by which an unlabelled pile is reduced against the last layer; None where it is no such layer."""
    last = stack.layers[-1]
    same = alike(last.page, pile.pages[0]) and len(pile.pages) == last.planes.size and not any(pile.reduced)
    return snapped(last.size, (pile.storage.height, pile.storage.width)) if same else None


def _piles(file: OpenTiff) -> tuple[list[_Pile], list[str]]:
    from tifffile import TiffPage

    sorting = _Sorting(file)
    pages = [page for page in file.tiff.pages if isinstance(page, TiffPage)]
    all_reduced = all(is_reduced(page) for page in pages)
    for number, page in enumerate(pages):
        if is_mask(page):
            if sorting.current is None:
                sorting.warnings.append(f"page {number} is a transparency mask of no image and is left out")
            else:
                sorting.current.masks.append(page)
        elif is_reduced(page) and not all_reduced:
            (sorting.current.reduced[-1] if sorting.current else sorting.early).append(page)
        else:
            sorting.add(number, page)
    sorting.check()
    return list(sorting.piles.values()), sorting.warnings


@dataclass(slots=True)
class _Sorting:
    """Full-size pages on their way into piles."""

    file: OpenTiff
    piles: dict[Hashable, _Pile] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    current: _Pile | None = None
    early: list[TiffPage] = field(default_factory=list)
    """Reduced pages in front of the first full-size one."""
    refused: list[tuple[int, Unsupported]] = field(default_factory=list)

    def add(self, number: int, page: TiffPage) -> None:
        """Put a page on the pile of its equals; refuse it where it cannot be read."""
        try:
            storage = storage_of(page)
            samples_of(page)
        except Unsupported as error:
            self.refused.append((page.imagelength * page.imagewidth, error))
            self.warnings.append(f"page {number} is left out: {error}")
            return
        self.current = self.piles.setdefault((storage, _look(page)), _Pile(storage))
        self.current.pages.append(page)
        self.current.reduced.append([*self.early, *subpages(page, self.file.chain)])
        self.early = []

    def check(self) -> None:
        """Raise Unsupported where the largest image is one that cannot be read: what is left would not be the slide."""
        largest = max((pile.storage.height * pile.storage.width for pile in self.piles.values()), default=0)
        for pixels, error in self.refused:
            if pixels >= largest:
                raise error


def _look(page: TiffPage) -> Hashable:
    """What pages of one stack must share beside their storage: orientation and palette."""
    palette = tag(page, _COLORMAP) if page.photometric == PALETTE else None
    return tag(page, _ORIENTATION), None if palette is None else tuple(np.ravel(palette).tolist())
