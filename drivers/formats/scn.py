"""Leica SCN: a BigTIFF whose first description is an XML of images; each is a scene, the slide's overview the macro.

What it does is in drivers/scn/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import first_description

_NAMESPACE = b"leica-microsystems.com/scn/"


def matches(path: Path, head: bytes) -> bool:
    """A TIFF whose first ImageDescription is XML in Leica's namespace."""
    return _NAMESPACE in first_description(path, head)[:1024]


def open_slide(path: Path) -> Slide:
    """Open a Leica SCN; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.scn.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("scn", (".scn",), matches, open_slide, library="tifffile")
