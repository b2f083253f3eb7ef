"""TiffData elements as runs of pages: what each names, and which pages those are.

OME-TIFF specification: a TiffData covers PlaneCount pages from IFD on; without PlaneCount one, without either all pages
of the file. Those are the pages that are planes: reduced images in the main chain are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.limits import check
from drivers.metadata.omexml import Pixels
from drivers.metadata.xmltree import child
from drivers.ometiff.files import FileSet
from drivers.tiff.container import OpenTiff
from drivers.tiff.stack import PLANES
from drivers.tiff.subfile import is_mask, is_reduced

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage


@dataclass(frozen=True, slots=True)
class Run:
    """A TiffData and the pages it covers, as far as the file has them."""

    file: OpenTiff
    first: dict[str, int]
    """FirstT, FirstC, FirstZ."""
    pages: Sequence[TiffPage]
    wanted: int
    """Pages that it speaks of."""
    start: int
    """Number of its first page."""
    counted: bool
    """It says how many."""
    open_ended: bool
    """It says where it begins and not how far it goes."""

    def page(self, step: int) -> TiffPage:
        """A page of the run; raises Damaged where the file ends before it."""
        if step < len(self.pages):
            return self.pages[step]
        wanted, name = self.start + step, self.file.name
        raise Damaged(f"OME-XML asks for page {wanted} of {name}, which has {len(self.file.chain)}: it is truncated")


def run_of(p: Pixels, entry: Element, files: FileSet) -> Run:
    """The run of a TiffData."""
    uuid = child(entry, "UUID")
    file = files.main if uuid is None else files.file(uuid.get("FileName"), (uuid.text or "").strip() or None)
    ifd, count = _number(entry, "IFD"), _number(entry, "PlaneCount", "NumPlanes")
    most = min(PLANES, p.size("T") * p.size("C") * p.size("Z"))
    if ifd is None:
        pages: Sequence[TiffPage] = plane_pages(p, file)[: most if count is None else min(count, most)]
        wanted = len(pages) if count is None else count
    else:
        wanted = 1 if count is None else count
        pages = [page_at(file, number) for number in range(ifd, min(ifd + min(wanted, most), len(file.chain)))]
    first = {axis: _number(entry, f"First{axis}") or 0 for axis in "TCZ"}
    return Run(file, first, pages, wanted, ifd or 0, count is not None, ifd is not None and count is None)


def page_at(file: OpenTiff, number: int) -> TiffPage:
    """A page of the main chain."""
    from tifffile import TiffPage

    page = file.tiff.pages[number]
    assert isinstance(page, TiffPage)
    return page


def plane_pages(p: Pixels, file: OpenTiff) -> list[TiffPage]:
    """The pages of a file that can be planes of an Image: of its size and neither reduced images nor masks.

    All pages where none is left, or where the OME-XML's size is not that of the first.
    """
    check("the number of pages", len(file.chain), PLANES)
    pages = [page_at(file, number) for number in range(len(file.chain))]
    found = [page for page in pages if not (is_reduced(page) or is_mask(page))] or pages
    size = (p.size("Y"), p.size("X"))
    if (found[0].imagelength, found[0].imagewidth) != size:
        return found
    return [page for page in found if (page.imagelength, page.imagewidth) == size]


def _number(entry: Element, *names: str) -> int | None:
    """The first of the attributes that is there."""
    name = next((name for name in names if name in entry.attrib), None)
    if name is None:
        return None
    value = entry.get(name, "").strip()
    if not value.isdecimal():
        raise Damaged(f"OME-XML: {name} of a TiffData is {value!r}")
    return int(value)
