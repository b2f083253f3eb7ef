"""Reduced images in the main chain of an OME-TIFF: levels that a writer did not put into SubIFDs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drivers.ometiff.claims import Planes
from drivers.ometiff.files import FileSet
from drivers.ometiff.tiffdata import page_at
from drivers.tiff.container import OpenTiff
from drivers.tiff.stack import subpages
from drivers.tiff.subfile import is_mask, is_reduced

if TYPE_CHECKING:
    from tifffile import TiffPage

Claimed = Mapping[int, frozenset[int]]
"""Numbers of the pages that a TiffData names, by the identity of their file."""
Reduced = Mapping[tuple[int, int], Sequence["TiffPage"]]
"""By file (its identity) and number of a plane's page: the reduced images in the main chain that belong to it."""


def reduced_in_chain(images: Sequence[Planes], files: Sequence[OpenTiff]) -> Reduced:
    """Reduced pages that are no planes, each with the page it was made from.

    They follow the pages of their Image, each plane's behind it, or all of one size behind all planes: either way the
    first of a size belongs to the first plane.
    """
    found: dict[tuple[int, int], list[TiffPage]] = {}
    for file in files:
        owners = _owners(images, file)
        if len(owners) == len(file.chain):
            continue
        planes: dict[tuple[int, int], list[int]] = {}
        for number, (image, samples) in sorted(owners.items()):
            planes.setdefault((image, samples), []).append(number)
        seen: Counter[tuple[int, ...]] = Counter()
        current: int | None = None
        for number in range(len(file.chain)):
            if number in owners:
                current = owners[number][0]
                continue
            page = page_at(file, number)
            of = planes.get((current, page.samplesperpixel)) if current is not None else None
            if of is None or not is_reduced(page):
                continue
            key = (current or 0, page.samplesperpixel, page.imagelength, page.imagewidth)
            found.setdefault((id(file), of[min(seen[key], len(of) - 1)]), []).append(page)
            seen[key] += 1
    return found


def unclaimed(images: Sequence[Planes], files: Sequence[OpenTiff], claimed: Claimed, chained: Reduced) -> list[str]:
    """Warnings on pages of the main chains that no TiffData names, and that are neither levels nor masks."""
    levels = {page.offset for pages in chained.values() for page in pages}
    warnings: list[str] = []
    for file in files:
        known = _owners(images, file).keys() | claimed.get(id(file), frozenset())
        others = [page_at(file, number) for number in range(len(file.chain)) if number not in known]
        count = sum(page.offset not in levels and not is_mask(page) for page in others)
        if count:
            warnings.append(f"{count} pages of {file.name} belong to no image that the OME-XML describes and are left out")
    return warnings


def holders(images: Sequence[Planes], files: FileSet) -> list[OpenTiff]:
    """The files of the set in the order of the planes they hold; then those that hold none."""
    found = [holder for one in images for holder in one.files.flat if holder is not None]
    return list({id(file): file for file in (*found, files.main, *files.opened.values())}.values())


def masks_in_chain(images: Sequence[Planes], file: OpenTiff) -> dict[int, list[TiffPage]]:
    """By number of the Image: the transparency masks behind its planes in a file, or in their SubIFDs."""
    pairs = (pair for one in images for pair in zip(one.pages.flat, one.files.flat, strict=True))
    owners, planes = _owners(images, file), {int(page.index): page for page, holder in pairs if holder is file}
    found: dict[int, list[TiffPage]] = {}
    current = next((image for _, (image, _) in sorted(owners.items())), 0)
    for number in range(len(file.chain)):
        current = owners.get(number, (current, 0))[0]
        pages = subpages(planes[number], file.chain) if number in owners else [page_at(file, number)]
        masks = [one for one in pages if is_mask(one)]
        if masks:
            found.setdefault(current, []).extend(masks)
    return found


def _owners(images: Sequence[Planes], file: OpenTiff) -> dict[int, tuple[int, int]]:
    """Numbers of the pages of a file that are planes: the Image of each, and its samples per pixel."""
    return {
        int(page.index): (number, page.samplesperpixel)
        for number, planes in enumerate(images)
        for page, holder in zip(planes.pages.flat, planes.files.flat, strict=True)
        if holder is file
    }


def reduced_of(page: TiffPage, file: OpenTiff, chained: Reduced) -> list[TiffPage]:
    """The reduced images of a plane: its SubIFDs, and those of the main chain."""
    below = [sub for sub in subpages(page, file.chain) if not is_mask(sub)]
    return [*below, *chained.get((id(file), int(page.index)), ())]
