"""Aperio SVS: JPEG or JPEG 2000 tiles, levels 1/4/16/(32|64), thumbnail, label and macro.

What it does is in drivers/aperio/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_description


def matches(path: Path, head: bytes) -> bool:
    """A TIFF whose first ImageDescription starts with "Aperio", or with "Motic" and has Aperio's fields."""
    description = first_description(path, head)
    return description.startswith(b"Aperio") or (description.startswith(b"Motic") and b"|AppMag" in description)


def open_slide(path: Path) -> Slide:
    """Open an SVS file; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.aperio.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("aperio", (".svs", ".tif"), matches, open_slide, library="tifffile")
