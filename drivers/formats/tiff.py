"""Every other TIFF: plain images, pyramids, multi-page files, ImageJ hyperstacks, LSM and what else tifffile orders.

What it does is in drivers/tiff/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.tiff.container import is_tiff


def matches(path: Path, head: bytes) -> bool:
    """Anything with the signature of TIFF or BigTIFF."""
    _ = path
    return is_tiff(head)


def open_slide(path: Path) -> Slide:
    """Open any TIFF; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.tiff.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("tiff", (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk"), matches, open_slide, False, "tifffile")
