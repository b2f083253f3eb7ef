"""PerkinElmer and Akoya QPTIFF: a page per channel and level, told apart by the XML of each page.

What it does is in drivers/qptiff/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_description

_ROOT = b"PerkinElmer-QPI-ImageDescription"


def matches(path: Path, head: bytes) -> bool:
    """A TIFF whose first ImageDescription is PerkinElmer's XML."""
    return _ROOT in first_description(path, head)[:1024]


def open_slide(path: Path) -> Slide:
    """Open a QPTIFF; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.qptiff.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("qptiff", (".qptiff", ".tif"), matches, open_slide, library="tifffile")
