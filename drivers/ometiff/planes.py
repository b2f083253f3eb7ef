"""TiffData: the one place that maps OME-XML to pages, in this file and in the others of its set.

OME-TIFF specification: planes run along DimensionOrder from FirstZ, FirstC, FirstT on, pages from IFD on; without IFD
and PlaneCount, all pages of the file are meant. A UUID names the file that holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Incomplete, Unsupported
from drivers.limits import LIMITS, check
from drivers.members.files import confined
from drivers.metadata.omexml import Pixels
from drivers.metadata.xmltree import child, children, parse_xml
from drivers.tiff.container import OpenTiff, open_tiff
from drivers.tiff.copies import same_pages
from drivers.tiff.metadata import text
from drivers.tiff.stack import PLANES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage


@dataclass(slots=True)
class FileSet:
    """The files of a set; `close_extra` and `close` end them."""

    main: OpenTiff
    uuid: str | None
    names: set[str]
    """Every file that the OME-XML names; "" for this one, where a TiffData names none, or a UUID without a name."""
    opened: dict[str, OpenTiff] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    shown: dict[tuple[str, int], str] = field(default_factory=dict)
    """The plane that a page is, by file and offset."""

    @property
    def alone(self) -> bool:
        """Whether all planes lie in one and the same file."""
        return len(self.names) == 1

    def file(self, name: str | None, uuid: str | None) -> OpenTiff:
        """The file a TiffData means. A renamed file is known by its UUID, or by being the only one of its set."""
        path = self.main.source.path
        own_uuid = self.uuid is not None and uuid == self.uuid
        if own_uuid or name == path.name or (not name and not uuid):
            return self.main
        if self.alone and not (name and (path.parent / name).exists()):
            return self.main  # every plane lies in one file, which is this one under another name
        if not name:
            raise Incomplete(f"belongs to a set, of which the file with UUID {uuid} is named nowhere; it cannot be found")
        if name not in self.opened:
            check("the number of files of the set", len(self.opened), LIMITS.ifds)
            self.opened[name] = open_tiff(confined(path.parent, name))
            self._compare(name, uuid)
        return self.opened[name]

    def _compare(self, name: str, uuid: str | None) -> None:
        description = text(self.opened[name].tiff.pages.first, 270) or ""
        if uuid and "UUID=" in description and uuid not in description:
            self.warnings.append(f"{name} has another UUID than the one this file asks for")

    def close_directories(self) -> None:
        """Close the handles of the other files that only their directories were read with."""
        for file in self.opened.values():
            file.tiff.close()

    def close(self) -> None:
        """Close everything."""
        for file in (self.main, *self.opened.values()):
            file.close()


def names_of(root: Element) -> set[str]:
    """The file names in all TiffData of a document."""
    found = (child(data, "UUID") for p in root.iter() if p.tag.endswith("}Pixels") for data in children(p, "TiffData"))
    return {"" if uuid is None else uuid.get("FileName") or (uuid.text or "").strip() for uuid in found}


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


def planes_of(p: Pixels, files: FileSet) -> Planes | None:
    """The planes of an Image; None where it has no TiffData. Raises Damaged where a page it names is not there."""
    entries = children(p.pixels, "TiffData")
    if not entries:
        if files.names:
            return None  # others have theirs: this one is metadata only
        if p.index:
            raise Unsupported("the OME-XML describes several images and has no TiffData that tells their pages")
        entries = [parse_xml("<TiffData/>")]  # as the usual pyvips recipe: all pages, in DimensionOrder
        files.warnings.append(f"image {p.index} has no TiffData: its planes are the pages in DimensionOrder")
    size = {axis: p.size(axis) for axis in "TCZ"}
    check("the number of planes", size["T"] * size["C"] * size["Z"], PLANES)
    size["C"] = _channel_pages(_page(files, entries[0], 0)[0], size["C"])
    shape = (size["T"], size["C"], size["Z"])
    planes = Planes(np.empty(shape, object), np.empty(shape, object))
    for entry in entries:
        _place(planes, p.order, entry, files)
    missing = sum(page is None for page in planes.pages.flat)
    spare = len(files.main.chain) - planes.pages.size
    if spare > 0 and not files.names:
        files.warnings.append(f"{spare} pages belong to no plane and are left out")
    if missing and not files.names:
        found = planes.pages.size - missing
        raise Damaged(f"OME-XML speaks of {planes.pages.size} planes, the file holds {found}: it is truncated")
    if missing == planes.pages.size:
        return None
    _tell_shared(p.index, planes, files)
    if missing:
        files.warnings.append(f"image {p.index}: {missing} of {planes.pages.size} planes are not stored")
    return planes


def _place(planes: Planes, order: str, entry: Element, files: FileSet) -> None:
    sizes = dict(zip("TCZ", planes.pages.shape, strict=True))
    first = {axis: _count(entry, f"First{axis}", 0) for axis in order}
    if any(first[axis] >= sizes[axis] for axis in order):
        files.warnings.append("a TiffData lies outside its image and is ignored")  # ImageJ writes such when it crops
        return
    a, b, c = order
    linear = first[a] + sizes[a] * (first[b] + sizes[b] * first[c])
    room = planes.pages.size - linear
    for i in range(min(_length(entry, files), room)):
        rest, at = divmod(linear + i, sizes[a])
        place = dict(zip(order, (at, rest % sizes[b], rest // sizes[b]), strict=True))
        index = (place["T"], place["C"], place["Z"])
        page, file = _page(files, entry, i)
        if _alone(planes, index, (page, file), files):
            planes.pages[index], planes.files[index] = page, file


def _tell_shared(image: int, planes: Planes, files: FileSet) -> None:
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


def _alone(planes: Planes, index: tuple[int, int, int], claim: tuple[TiffPage, OpenTiff], files: FileSet) -> bool:
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


def _length(entry: Element, files: FileSet) -> int:
    file = _file(files, entry)
    default = 1 if "IFD" in entry.attrib else len(file.tiff.pages)
    return _count(entry, "PlaneCount", _count(entry, "NumPlanes", default))


def _file(files: FileSet, entry: Element) -> OpenTiff:
    uuid = child(entry, "UUID")
    return files.main if uuid is None else files.file(uuid.get("FileName"), (uuid.text or "").strip() or None)


def _page(files: FileSet, entry: Element, step: int) -> tuple[TiffPage, OpenTiff]:
    from tifffile import TiffPage

    file, number = _file(files, entry), _count(entry, "IFD", 0) + step
    if number >= len(file.chain):
        raise Damaged(f"OME-XML asks for page {number} of {file.name}, which has {len(file.chain)}: it is truncated")
    page = file.tiff.pages[number]
    assert isinstance(page, TiffPage)
    return page, file


def _channel_pages(page: TiffPage, channels: int) -> int:
    """How many pages hold the channels: a page of RGB holds three, also where SizeC counts it as one."""
    if channels == 1:
        return 1
    count, rest = divmod(channels, page.samplesperpixel)
    if rest:
        raise Damaged(f"OME-XML speaks of {channels} channels, a page holds {page.samplesperpixel} samples")
    return count


def _count(entry: Element, name: str, default: int) -> int:
    value = entry.get(name)
    if value is None:
        return default
    if not value.strip().isdecimal():
        raise Damaged(f"OME-XML: {name} of a TiffData is {value!r}")
    return int(value)
