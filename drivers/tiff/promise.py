"""What a file's name promises of OME-XML, and a first page without it: the copy lacks its end, or the name is wrong.

Without its OME-XML the pages of an OME-TIFF would pass for a time series. Writers put the XML at the end of the file
(Bio-Formats appends it when the file is closed), where a copy that was cut short or only preallocated has nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from drivers.errors import Damaged, DriverError
from drivers.metadata.xmltree import parse_xml
from drivers.tiff.metadata import text

if TYPE_CHECKING:
    from tifffile import TiffPage

_NAME = re.compile(r"\.ome\.(tiff?|tf[28]|btf)$", re.IGNORECASE)
_DESCRIPTION, _SOFTWARE = 270, 305
_WRITER = "OME Bio-Formats"


def check_promise(name: str, page: TiffPage, kind: str | None) -> list[str]:
    """Warnings on a file without OME-XML whose `name` says OME-TIFF; `kind`: whose metadata order its pages instead.

    Raises Damaged where nothing orders them, or where the place that Bio-Formats reserved for its XML is blank.
    """
    described = page.tags.get(_DESCRIPTION)
    blank = described is not None and described.count > 1 and text(page, _DESCRIPTION) is None
    if blank and (text(page, _SOFTWARE) or "").startswith(_WRITER):
        raise Damaged(f"{name}: the description of the first page, where OME-XML belongs, is blank: copy the file again")
    if not _NAME.search(name):
        return _torn(text(page, _DESCRIPTION) or "") if kind is None else []
    if kind is None:
        raise Damaged(
            f"{name}: the name says OME-TIFF, and the first page holds no OME-XML: copy the file again, or rename it to "
            ".tif where it never was one"
        )
    return [f"the name says OME-TIFF, and the first page holds no OME-XML: its pages are ordered as {kind} says"]


def _torn(description: str) -> list[str]:
    """A warning on XML that is not whole: what it said of the pages is lost."""
    if not description.startswith("<?xml"):
        return []
    try:
        parse_xml(description)
    except DriverError:
        return ["the description of the first page begins as XML and is not whole: what it said of the pages is lost"]
    return []
