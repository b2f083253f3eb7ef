"""Aperio AFI: an XML file that lists the SVS files of a fluorescence slide.

What it does is in drivers/afi/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide


def matches(path: Path, head: bytes) -> bool:
    """XML whose root element is ImageList."""
    _ = path
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.replace(b"\0", b"")
    return text[:1] == b"<" and b"<ImageList" in text[:1024]


def open_slide(path: Path) -> Slide:
    """Open the set; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.afi.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("afi", (".afi",), matches, open_slide, library="tifffile", claims={".afi": "its list of SVS files whole"})
