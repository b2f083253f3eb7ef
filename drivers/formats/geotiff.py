"""GeoTIFF and cloud-optimised GeoTIFF, through GDAL (rasterio): overviews as levels, pixel sizes out of the map's unit.

A TIFF with a GeoKeyDirectory (tag 34735; GeoTIFF 1.1, OGC 19-008r4) that no maker of slides has signed. Where rasterio is
not installed the driver for plain TIFF reads the file.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from drivers.errors import DriverError, OutsideKind, Unsupported
from drivers.files import open_source
from drivers.gdal.ground import GEO_KEYS
from drivers.gdal.kinds import GEOTIFF
from drivers.model import Driver, Slide
from drivers.tiff.container import check_tiff, first_description, is_tiff
from drivers.tiff.directory import layout_of, read_directory

_SLIDES = (b"Aperio", b"<?xml", b"<OME", b"<", b"ImageJ=")
"""How descriptions of slides and microscopes start; GDAL itself writes its XML into another tag."""


def matches(path: Path, head: bytes) -> bool:
    """A TIFF with geographic keys."""
    return is_tiff(head) and find_spec("rasterio") is not None and _geographic(path, head)


def _geographic(path: Path, head: bytes) -> bool:
    try:
        source = open_source(path)
    except DriverError:
        return False
    try:
        layout = layout_of(source)
        entries, _ = read_directory(source, layout, layout.first)
        found = any(entry.code == GEO_KEYS for entry in entries)
    except DriverError:
        return False
    finally:
        source.close()
    return found and not first_description(path, head).lstrip().startswith(_SLIDES)


def open_slide(path: Path) -> Slide:
    """Open a GeoTIFF; one scene."""
    from drivers.gdal.slide import open_picture
    from drivers.tiff.palette import with_palette

    check_tiff(path)
    try:
        return with_palette(path, open_picture(path, GEOTIFF, DRIVER.name))
    except Unsupported as error:
        raise OutsideKind(str(error)) from error


DRIVER = Driver("geotiff", (".tif", ".tiff"), matches, open_slide, library="rasterio")
