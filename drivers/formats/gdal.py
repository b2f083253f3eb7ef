"""Pictures: JPEG, PNG, BMP, GIF, WebP, JPEG 2000, PGM and PPM, through GDAL (rasterio).

The resolution levels of JPEG 2000 are levels. JPEG and PNG are read in blocks of whole rows, which the decoder gives in
order. EXIF orientation is applied, palettes become RGB, alpha is a channel. GeoTIFF has a driver of its own.
"""

from __future__ import annotations

from pathlib import Path

from drivers.errors import Unsupported
from drivers.files import read_head
from drivers.gdal.kinds import kind_of
from drivers.model import Driver, Slide


def matches(path: Path, head: bytes) -> bool:
    """A signature of one of the formats. Not specific: the index file of an MRXS slide is a JPEG."""
    _ = path
    return kind_of(head) is not None


def open_slide(path: Path) -> Slide:
    """Open a picture; one scene."""
    kind = kind_of(read_head(path))
    if kind is None:
        raise Unsupported(f"{path.name}: is none of the picture formats that are read")
    from drivers.gdal.slide import open_picture

    return open_picture(path, kind, DRIVER.name)


_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".pgm", ".ppm")
DRIVER = Driver("gdal", _SUFFIXES, matches, open_slide, specific=False, library="rasterio")
