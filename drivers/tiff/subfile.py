"""NewSubfileType (tag 254): what a page is to another one. TIFF 6.0, section "Baseline Field Reference Guide"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tifffile import TiffPage

TAG = 254
REDUCED, MASK = 1, 4
"""Its bits: a smaller version of another page, its transparency mask."""


def is_reduced(page: TiffPage) -> bool:
    """Whether a page is a smaller version of another."""
    return bool(int(page.subfiletype) & REDUCED)


def is_mask(page: TiffPage) -> bool:
    """Whether a page is the transparency mask of another."""
    return bool(int(page.subfiletype) & MASK)
