"""Philips TIFF: a pyramid of 512 pixel tiles padded to whole tiles, whose true sizes follow from the XML's spacings.

What it does is in drivers/philips/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_description

_ROOT = b"DPUfsImport"


def matches(path: Path, head: bytes) -> bool:
    """A TIFF whose first ImageDescription is Philips' XML."""
    start = first_description(path, head)[:1024]
    return b"DataObject" in start and _ROOT in start


def open_slide(path: Path) -> Slide:
    """Open a Philips TIFF; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.philips.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("philips", (".tiff", ".tif"), matches, open_slide, library="tifffile")
