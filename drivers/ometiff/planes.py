"""TiffData: the one place that maps OME-XML to pages, in this file and in the others of its set.

OME-TIFF specification: planes run along DimensionOrder from FirstZ, FirstC, FirstT on, pages from IFD on. A UUID names
the file that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.limits import check
from drivers.metadata.omexml import Pixels
from drivers.metadata.xmltree import children, parse_xml
from drivers.ometiff.channels import channel_numbers, from_one, page_samples
from drivers.ometiff.claims import Planes, is_alone, tell_shared
from drivers.ometiff.files import FileSet
from drivers.ometiff.reduced import Claimed
from drivers.ometiff.tiffdata import Run, plane_pages, run_of
from drivers.tiff.container import OpenTiff
from drivers.tiff.stack import PLANES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage

_NAMED = 3
"""Planes that a message names one by one."""


def entries_of(p: Pixels, files: FileSet) -> list[Element]:
    """The TiffData of an Image; none where others have theirs and this one is metadata only. Raises Unsupported."""
    entries = children(p.pixels, "TiffData")
    if not entries and not files.names:
        if p.index:
            raise Unsupported("the OME-XML describes several images and has no TiffData that tells their pages")
        entries = [parse_xml("<TiffData/>")]  # as the usual pyvips recipe: all pages, in DimensionOrder
        files.warnings.append(f"image {p.index} has no TiffData: its planes are the pages in DimensionOrder")
    return entries


def runs_of(p: Pixels, files: FileSet) -> list[Run]:
    """The runs of pages of an Image."""
    check("the number of planes", p.size("T") * p.size("C") * p.size("Z"), PLANES)
    return [run_of(p, entry, files) for entry in entries_of(p, files)]


def claimed_by(runs: Sequence[Run]) -> Claimed:
    """What the runs of all Images name."""
    found: dict[int, set[int]] = {}
    for run in runs:
        found.setdefault(id(run.file), set()).update(int(page.index) for page in run.pages)
    return {file: frozenset(numbers) for file, numbers in found.items()}


def planes_of(p: Pixels, runs: Sequence[Run], files: FileSet, claimed: Claimed) -> Planes | None:
    """The planes of an Image; None where it has none. Raises Damaged where a page it names is not there."""
    if not runs:
        return None
    placing = _placing(p, runs, files)
    ends = [(run, placing.place(run)) for run in runs]
    for run, linear in ends:
        if run.open_ended and linear is not None:
            placing.fill_down(run, linear, claimed.get(id(run.file), frozenset()))
    planes = placing.planes
    missing = [index for index in np.ndindex(planes.pages.shape) if planes.pages.item(index) is None]
    if not files.names:
        spare = len(plane_pages(p, files.main)) - planes.pages.size
        if spare > 0:
            files.warnings.append(f"{spare} pages belong to no plane and are left out")
        if missing:
            found = planes.pages.size - len(missing)
            raise Damaged(f"OME-XML speaks of {planes.pages.size} planes, the file holds {found}: it is truncated")
    if len(missing) == planes.pages.size:
        return None
    tell_shared(p.index, planes, files)
    if missing:
        files.warnings.append(f"image {p.index}: {_absent(planes, missing)}")
    return planes


def _absent(planes: Planes, missing: list[tuple[int, ...]]) -> str:
    names = "; ".join(f"t {t}, c {c}, z {z}" for t, c, z in missing[:_NAMED]) + ("; ..." if len(missing) > _NAMED else "")
    return f"{len(missing)} of {planes.pages.size} planes are not stored and show the fill value: {names}"


def _placing(p: Pixels, runs: Sequence[Run], files: FileSet) -> _Placing:
    samples = page_samples(p, runs)
    shape = (p.size("T"), len(samples), p.size("Z"))
    firsts = {axis: {run.first[axis] for run in runs} for axis in "TCZ"}
    numbers: dict[str, dict[int, int]] = {}
    for axis, size in zip("TCZ", shape, strict=True):
        found = channel_numbers(firsts["C"], samples) if axis == "C" else from_one(axis, firsts[axis], size)
        numbers[axis] = found[0]
        if found[1]:
            files.warnings.append(f"image {p.index}: {found[1]}")
    return _Placing(p, Planes(np.empty(shape, object), np.empty(shape, object)), samples, numbers, files)


@dataclass(frozen=True, slots=True)
class _Placing:
    """The planes of an Image as they are filled."""

    p: Pixels
    planes: Planes
    samples: Sequence[int]
    numbers: Mapping[str, Mapping[int, int]]
    """By axis, what First* of a TiffData means."""
    files: FileSet = field(repr=False)

    def place(self, run: Run) -> int | None:
        """Put the pages of a run in place; the number of its first plane in DimensionOrder, None where it has none."""
        sizes = dict(zip("TCZ", self.planes.pages.shape, strict=True))
        if any(run.first[axis] not in self.numbers[axis] for axis in "TCZ"):
            self.files.warnings.append("a TiffData lies outside its image and is ignored")  # ImageJ writes such when it crops
            return None
        a, b, c = ((self.numbers[axis][run.first[axis]], sizes[axis]) for axis in self.p.order)
        linear = a[0] + a[1] * (b[0] + b[1] * c[0])
        room = self.planes.pages.size - linear
        if run.counted and run.wanted > room:
            self.files.warnings.append(f"image {self.p.index}: a TiffData speaks of {run.wanted} planes, {room} have a place")
        for step in range(min(run.wanted, room)):
            self._claim(linear + step, run.page(step), run.file)
        return linear

    def index(self, linear: int) -> tuple[int, int, int]:
        """[t, c, z] of a plane by its number in DimensionOrder."""
        sizes, order = dict(zip("TCZ", self.planes.pages.shape, strict=True)), self.p.order
        rest, at = divmod(linear, sizes[order[0]])
        place = dict(zip(order, (at, rest % sizes[order[1]], rest // sizes[order[1]]), strict=True))
        return place["T"], place["C"], place["Z"]

    def fill_down(self, run: Run, linear: int, claimed: frozenset[int]) -> None:
        """Go on with the pages that follow one of an unknown number of planes, as Bio-Formats does.

        Up to a plane that has its page, a page that another TiffData names, or one of other samples.
        """
        if not self._free(linear + 1):
            return
        stop = min((number for number in claimed if number > run.start), default=len(run.file.chain))
        following = (page for page in plane_pages(self.p, run.file) if run.start < int(page.index) < stop)
        filled = 0
        for at, page in enumerate(following, linear + 1):
            if not self._free(at) or page.samplesperpixel != self.samples[self.index(at)[1]]:
                break
            self._claim(at, page, run.file)
            filled += 1
        if filled:
            self.files.warnings.append(
                f"image {self.p.index}: a TiffData does not say how many planes it covers: "
                f"{filled} more pages that follow are taken, as Bio-Formats does"
            )

    def _free(self, linear: int) -> bool:
        return linear < self.planes.pages.size and self.planes.pages[self.index(linear)] is None

    def _claim(self, linear: int, page: TiffPage, file: OpenTiff) -> None:
        """Put a page in place. Raises Damaged where another that differs has it already."""
        index = self.index(linear)
        if is_alone(self.planes, index, (page, file), self.files):
            self.planes.pages[index], self.planes.files[index] = page, file
