"""The XML of Philips TIFFs (a DPUfsImport DataObject): spacings, facts, and the label and macro pictures it carries."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.metadata.units import number
from drivers.metadata.xmltree import children, local, parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ROOT = "DPUfsImport"
_PICTURE = re.compile(r'(<Attribute\b[^>]*\bName="PIM_DP_IMAGE_DATA"[^>]*>)[^<]*')


@dataclass(frozen=True, slots=True)
class Representation:
    """A stored level: the size of its page, and its pixels' (row, column) distance in millimetres."""

    size: tuple[int, int] | None
    spacing: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Import:
    """The document. `slide` is the scanned image of type WSI, where there is one."""

    root: Element
    slide: Element | None

    def text(self, name: str) -> str | None:
        """An attribute of the slide's image, else of the document; None where absent or empty."""
        for owner in (self.slide, self.root):
            found = None if owner is None else _value(owner, name)
            if found:
                return found
        return None

    def first(self, name: str) -> str | None:
        """The first of a list of quoted strings, or the whole text where it is none."""
        words = quoted(self.text(name))
        return words[0].strip() or None if words else self.text(name)

    @property
    def spacing(self) -> tuple[float, float] | None:
        """(row, column) distance of level 0 pixels in millimetres, measured; those of the levels are rounded."""
        return _spacing(self.text("DICOM_PIXEL_SPACING"))

    @property
    def levels(self) -> Sequence[Representation]:
        """The levels by their number."""
        found: list[tuple[float, Representation]] = []
        for order, item in enumerate(_items(self.slide, "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE")):
            rows, columns = (number(_value(item, f"PIIM_PIXEL_DATA_REPRESENTATION_{name}")) for name in ("ROWS", "COLUMNS"))
            size = (int(rows), int(columns)) if rows and columns else None
            place = number(_value(item, "PIIM_PIXEL_DATA_REPRESENTATION_NUMBER"))
            spacing = _spacing(_value(item, "DICOM_PIXEL_SPACING"))
            found.append((order if place is None else place, Representation(size, spacing)))
        return [level for _, level in sorted(found, key=lambda item: item[0])]

    def holds(self, kind: str) -> bool:
        """Whether there is a scanned image of that type (LABELIMAGE, MACROIMAGE)."""
        return self._coded(kind) is not None

    def picture(self, kind: str) -> bytes:
        """The JPEG of the scanned image of that type, empty where there is none; raises Damaged where it is no base64."""
        coded = self._coded(kind)
        return b"" if coded is None else decoded(coded, kind)

    def _coded(self, kind: str) -> str | None:
        for item in _items(self.root, "PIM_DP_SCANNED_IMAGES"):
            data = _value(item, "PIM_DP_IMAGE_DATA") if _value(item, "PIM_DP_IMAGE_TYPE") == kind else None
            if data:
                return data
        return None


def import_of(description: str) -> Import:
    """Parse the description of the first page; raises Damaged where it is not such a document."""
    root = parse_xml(description)
    if local(root) != "DataObject" or root.get("ObjectType") != ROOT:
        raise Damaged(f"the description is no {ROOT} document")
    images = list(_items(root, "PIM_DP_SCANNED_IMAGES"))
    return Import(root, next((item for item in images if _value(item, "PIM_DP_IMAGE_TYPE") == "WSI"), None))


def without_pictures(description: str) -> str:
    """The document without the pictures in it, which show the label."""
    return _PICTURE.sub(r"\1", description)


def decoded(data: str, what: str) -> bytes:
    """Bytes of base64 text, which may be broken into lines."""
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Damaged(f"the {what} in the XML is no base64 text") from error


def quoted(value: str | None) -> list[str]:
    """The strings of a list like `"0.25" "0.25"`."""
    return re.findall(r'"([^"]*)"', value or "")


def _spacing(value: str | None) -> tuple[float, float] | None:
    parts = [number(part) for part in quoted(value)]
    if len(parts) != 2 or parts[0] is None or parts[1] is None or min(parts[0], parts[1]) <= 0:
        return None
    return parts[0], parts[1]


def _value(owner: Element, name: str) -> str | None:
    found = next((one for one in children(owner, "Attribute") if one.get("Name") == name), None)
    return None if found is None else (found.text or "").strip() or None


def _items(owner: Element | None, name: str) -> Iterator[Element]:
    """The DataObjects of a list attribute."""
    for attribute in [] if owner is None else children(owner, "Attribute"):
        if attribute.get("Name") == name:
            for array in children(attribute, "Array"):
                yield from children(array, "DataObject")
