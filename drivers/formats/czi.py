"""Zeiss CZI: scenes of sub-blocks, with their own pyramids; label, preview and thumbnail attachments.

What it does is in drivers/czi/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide

_MAGIC = b"ZISRAWFILE\0"


def matches(_path: Path, head: bytes) -> bool:
    """A file that begins with a ZISRAW file header."""
    return head.startswith(_MAGIC)


def open_slide(path: Path) -> Slide:
    """Open CZI; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.czi.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("czi", (".czi",), matches, open_slide, library="imagecodecs")
