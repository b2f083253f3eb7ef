"""What a PerkinElmer or Akoya page says of itself: the XML of its ImageDescription.

Facts: PerkinElmer's TIFF description (as Bio-Formats' VectraReader and tifffile know it), and a real file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.metadata.units import number
from drivers.metadata.xmltree import child, children, local, parse_xml
from drivers.model import Channel
from drivers.tiff.metadata import text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage

ROOT = "PerkinElmer-QPI-ImageDescription"
_NARROW_NM = 100
"""Wider pass bands are long-pass filters, whose middle says nothing of the dye."""


@dataclass(frozen=True, slots=True)
class Note:
    """The description of a page, parsed."""

    root: Element

    @property
    def kind(self) -> str:
        """ImageType: FullResolution, ReducedResolution, Thumbnail, Overview, Label."""
        return self.value("ImageType") or ""

    def value(self, name: str, *inside: str) -> str | None:
        """Text of the element `name` under the path `inside`, None where absent or empty."""
        at: Element | None = self.root
        for step in (*inside, name):
            at = child(at, step)
        found = None if at is None else (at.text or "").strip()
        return found or None

    @property
    def magnification(self) -> float | None:
        """Of the objective: "10x"."""
        return _positive((self.value("Objective") or "").rstrip("xX "))

    @property
    def pixel_size_um(self) -> float | None:
        """Nominal pixel size of the scan, rounded by its writer: for files without a resolution."""
        return _positive(self.value("PixelSizeMicrons", "ScanProfile", "root", "ScanResolution"))


def note_of(page: TiffPage) -> Note | None:
    """The page's note; None where it has no such description. Raises Damaged where the XML is broken."""
    description = text(page, 270)
    if description is None or ROOT not in description[:1024]:
        return None
    root = parse_xml(description.lstrip("\ufeff"))
    if local(root) != ROOT:
        raise Damaged(f"the description is a {local(root)[:40]}, not a {ROOT}")
    return Note(root)


def channel_of(note: Note, first: Note) -> Channel:
    """A channel as its page says; filters are looked up in the scan profile, which only the first page has.

    Files of antibody cycles name the antibody (Biomarker) beside the dye (Name). ExposureTime is in microseconds.
    """
    exposure = _positive(note.value("ExposureTime"))
    name, marker = note.value("Name"), note.value("Biomarker")
    excitation, emission = _wavelengths(note, first)
    return Channel(
        name=marker or name,
        color=_color(note.value("Color")),
        excitation_nm=excitation,
        emission_nm=emission,
        exposure_s=None if exposure is None else exposure / 1e6,
        fluor=name if marker else None,
    )


def _color(value: str | None) -> str | None:
    """ "0,0,255" as RRGGBB."""
    parts = [part.strip() for part in (value or "").split(",")]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return None
    return "".join(f"{int(part):02X}" for part in parts)


def _wavelengths(note: Note, first: Note) -> tuple[float | None, float | None]:
    """(excitation, emission) as the middle of the pass bands.

    FilterID is "<band>_<maker>:<emission filter> / <maker>:<excitation filter>".
    """
    band, _, wanted = (note.value("FilterID", "Responsivity", "Filter") or "").partition("_")
    for pair in _pairs(first):
        emission, excitation = child(pair, "EmissionFilter"), child(pair, "ExcitationFilter")
        if wanted and f"{_filter_name(emission)} / {_filter_name(excitation)}" == wanted:
            names = [(name.text or "").strip() for name in _items(child(excitation, "BandNames"))]
            index = names.index(band) if band in names else 0
            return _middle(excitation, index, len(names)), _middle(emission, index, len(names))
    return None, None


def _pairs(first: Note) -> Iterator[Element]:
    bands = child(child(child(first.root, "ScanProfile"), "root"), "ScanBands")
    for band in _items(bands):
        for holder in children(band, "ExcitedFilterPair"):
            yield from children(holder, "FilterPair")


def _items(element: Element | None) -> list[Element]:
    """A list is written as <Name><Name-i/><Name-i/></Name>."""
    return [] if element is None else children(element, f"{local(element)}-i")


def _filter_name(side: Element | None) -> str:
    fixed = child(side, "FixedFilter")
    maker, part = child(fixed, "Manufacturer"), child(fixed, "PartNumber")
    return f"{'' if maker is None else maker.text}:{'' if part is None else part.text}"


def _middle(side: Element | None, index: int, names: int) -> float | None:
    """Of the pass band with that index, where the filter has one for every name."""
    bands = _items(child(child(side, "FixedFilter"), "TransmissionBands"))
    if len(bands) != names or index >= len(bands):
        return None
    ends = [child(bands[index], name) for name in ("Min", "Max")]
    low, high = (None if end is None else _positive(end.text) for end in ends)
    if low is None or high is None or not 0 < high - low <= _NARROW_NM:
        return None
    return (low + high) / 2


def _positive(value: str | None) -> float | None:
    parsed = number(value)
    return parsed if parsed is not None and parsed > 0 else None
