"""MRXS, BIF, VMS/VMU, Trestle and Sakura through the OpenSlide library, cropped to the part that was scanned.

It claims only what OpenSlide alone reads, and is specific, since the first file of some of these is a TIFF or a JPEG that
the general drivers would show as it lies there. OpenSlide gives 8-bit RGB, no fluorescence and one focal plane; its calls
may come from any thread and release the GIL. Facts: OpenSlide's descriptions of the formats.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from drivers.model import Driver, Slide
from drivers.openslide.signs import vendor_of


def matches(path: Path, head: bytes) -> bool:
    """The marks of these formats, confirmed by OpenSlide where it is installed."""
    vendor = vendor_of(path, head)
    if vendor is None:
        return False
    if find_spec("openslide") is None:
        return True  # opening says what is missing
    import openslide

    try:
        return openslide.OpenSlide.detect_format(path) in {vendor, None}  # None: damaged, which opening tells
    except (openslide.OpenSlideError, UnicodeError, OSError):
        return True


def open_slide(path: Path) -> Slide:
    """Open a slide; one scene. Raises Unsupported where the library is missing."""
    from drivers.openslide.slide import open_with_library

    return open_with_library(path, DRIVER.name)


_SUFFIXES = (".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".tif", ".tiff")
_CLAIMS = {
    ".mrxs": "the folder {stem} with Slidedat.ini and its data",
    ".vms": "to list its JPEG files, which lie beside it",
    ".vmu": "to list its image files, which lie beside it",
}
DRIVER = Driver("openslide", _SUFFIXES, matches, open_slide, library="openslide-python", claims=_CLAIMS)
