"""Grouping the pages of a TIFF without metadata of its own into stacks with pyramids.

Reduced images are those that say so (NewSubfileType bit 0), SubIFDs, and, as vips writes them, unlabelled pages each of
which is the one before it divided by two, three or four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drivers.errors import Unsupported
from drivers.factors import snapped
from drivers.tiff.container import OpenTiff
from drivers.tiff.stack import Stack, add_reduced, alike, layer_of, sources_of, subpages
from drivers.tiff.storage import Storage, storage_of

if TYPE_CHECKING:
    from tifffile import TiffPage

_REDUCED, _MASK = 1, 4
_FACTORS = (2, 3, 4)


@dataclass(slots=True)
class _Pile:
    """Equal full-size pages in file order, and the reduced ones that follow or hang on each."""

    storage: Storage
    pages: list[TiffPage] = field(default_factory=list)
    reduced: list[list[TiffPage]] = field(default_factory=list)


def page_stacks(file: OpenTiff) -> tuple[list[Stack], list[str]]:
    """Stacks in file order, and warnings. Equal pages make a time series, as Bio-Formats reads a multi-page TIFF."""
    piles, warnings = _piles(file)
    stacks: list[Stack] = []
    factors = _FACTORS  # of the next unlabelled level: any of these, then the one found first
    for pile in piles:
        pages = np.empty((len(pile.pages), 1, 1), object)
        pages[:, 0, 0] = pile.pages
        sources = sources_of(pages, file.source)
        layer = layer_of(pages, sources)
        step = _step(stacks[-1], pile) if stacks else None
        if step in factors:
            stacks[-1].layers.append(layer)
            factors = (step,)
            continue
        stacks.append(Stack([layer]))
        add_reduced(stacks[-1], pile.reduced, sources)
        factors = _FACTORS if len(stacks[-1].layers) == 1 else ()
    return stacks, warnings


def _step(stack: Stack, pile: _Pile) -> int | None:
    """The factor by which an unlabelled pile is reduced against the last layer; None where it is no such layer."""
    last = stack.layers[-1]
    same = alike(last.page, pile.pages[0]) and len(pile.pages) == last.planes.size and not any(pile.reduced)
    return snapped(last.size, (pile.storage.height, pile.storage.width)) if same else None


def _piles(file: OpenTiff) -> tuple[list[_Pile], list[str]]:
    from tifffile import TiffPage

    piles: dict[Storage, _Pile] = {}
    warnings: list[str] = []
    refused: Unsupported | None = None
    early: list[TiffPage] = []
    current: _Pile | None = None
    pages = [page for page in file.tiff.pages if isinstance(page, TiffPage)]
    all_reduced = all(page.subfiletype & _REDUCED for page in pages)
    for number, page in enumerate(pages):
        if page.subfiletype & _MASK:
            warnings.append(f"page {number} is a transparency mask and is left out")
        elif page.subfiletype & _REDUCED and not all_reduced:
            (current.reduced[-1] if current else early).append(page)
        else:
            try:
                storage = storage_of(page)
            except Unsupported as error:
                refused = refused or error
                warnings.append(f"page {number} is left out: {error}")
                continue
            current = piles.setdefault(storage, _Pile(storage))
            current.pages.append(page)
            current.reduced.append([*early, *subpages(page, file.chain)])
            early = []
    if not piles and refused is not None:
        raise refused
    return list(piles.values()), warnings
