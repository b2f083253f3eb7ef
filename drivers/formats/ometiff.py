"""OME-TIFF: every Image of the OME-XML a scene, in one file or a set of files, with SubIFD pyramids.

What it does is in drivers/ometiff/.
"""

from __future__ import annotations

import re
from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_description

_BLANK = b"\xef\xbb\xbf \r\n\t"
_OME = re.compile(rb"<(?:\w+:)?OME[\s>]")


def matches(path: Path, head: bytes) -> bool:
    """A TIFF whose first ImageDescription is XML with an OME element; or such XML itself, the companion of a set."""
    if head.lstrip(_BLANK).startswith(b"<"):
        return _OME.search(head) is not None
    description = first_description(path, head).lstrip(_BLANK)
    return description.startswith(b"<") and _OME.search(description) is not None


def open_slide(path: Path) -> Slide:
    """Open an OME-TIFF; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.ometiff.slide import open_slide as opened

    return opened(path)


_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf", ".companion.ome")
_CLAIMS = {".companion.ome": "its OME-XML whole and the OME-TIFF files that it names"}
DRIVER = Driver("ometiff", _SUFFIXES, matches, open_slide, library="tifffile", claims=_CLAIMS)
