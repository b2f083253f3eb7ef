"""Hamamatsu NDPI: a classic TIFF with 64-bit pointers and one JPEG a level, x2 or x4 levels, z planes, macro and map.

What it does is in drivers/ndpi/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_values

_FORMAT = 65420  # Hamamatsu's format flag


def matches(path: Path, head: bytes) -> bool:
    """A little-endian classic TIFF whose first page has Hamamatsu's tag 65420."""
    return head[:4] == b"II*\0" and _FORMAT in first_values(path, head, _FORMAT, ndpi=True)


def open_slide(path: Path) -> Slide:
    """Open Hamamatsu NDPI; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.ndpi.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("ndpi", (".ndpi",), matches, open_slide, library="tifffile")
