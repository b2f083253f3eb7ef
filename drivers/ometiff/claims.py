"""Planes of an OME-TIFF Image, and pages that claim one: which of them it is, and pages that are two planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged
from drivers.ometiff.files import FileSet
from drivers.tiff.container import OpenTiff
from drivers.tiff.copies import same_pages

if TYPE_CHECKING:
    from tifffile import TiffPage


@dataclass(frozen=True, slots=True)
class Planes:
    """Pages and their files, indexed [t, c, z]; None where nothing is stored."""

    pages: NDArray[Any]
    files: NDArray[Any]

    @property
    def sources(self) -> NDArray[Any]:
        """The byte source of each plane."""
        found = np.empty(self.files.shape, object)
        for index in np.ndindex(found.shape):
            file: OpenTiff | None = self.files.item(index)
            found[index] = None if file is None else file.source
        return found

    def channels(self, first: int, stop: int) -> Planes:
        """Those of some of the channels."""
        return Planes(self.pages[:, first:stop], self.files[:, first:stop])


def tell_shared(image: int, planes: Planes, files: FileSet) -> None:
    """Warn where a page is two planes, also of two images: one of them shows what it is not."""
    repeats: list[str] = []
    for index in np.ndindex(planes.pages.shape):
        page, file = planes.pages.item(index), planes.files.item(index)
        if page is not None:
            what = f"image {image} t {index[0]}, c {index[1]}, z {index[2]}"
            known = files.shown.setdefault((file.name, page.offset), what)
            repeats += [f"{known} and {what} are both page {page.index} of {file.name}"] if known != what else []
    if repeats:
        more = f" ({len(repeats) - 1} more planes repeat pages)" if len(repeats) > 1 else ""
        files.warnings.append(f"{repeats[0]}: the OME-XML names it twice{more}")


def is_alone(planes: Planes, index: tuple[int, int, int], claim: tuple[TiffPage, OpenTiff], files: FileSet) -> bool:
    """Whether no page has this plane; of copies the file that was asked for keeps its own.

    Raises Damaged where another page has it that differs: which of them is meant is not stated.
    """
    (page, file), held, holder = claim, planes.pages[index], planes.files[index]
    if held is None:
        return True
    if held.offset == page.offset and holder is file:
        return False
    (t, c, z), kept, copy = index, f"page {held.index} of {holder.name}", f"page {page.index} of {file.name}"
    if not same_pages(held, page, (holder.source, file.source)):
        raise Damaged(f"OME-XML gives plane t {t}, c {c}, z {z} to {kept} and to {copy}, which differ")
    swap = file is files.main and holder is not file
    files.warnings.append(f"plane t {t}, c {c}, z {z}: {kept} and {copy} are copies: {kept if swap else copy} is left out")
    return swap
