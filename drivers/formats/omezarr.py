"""OME-Zarr 0.1 to 0.5 as input, in a folder, a ZIP file (.ozx) or behind a URL: an image, a bioformats2raw layout or a plate.

What it does is in drivers/omezarr/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.location import Url
from drivers.model import Driver, Slide


def matches(path: Path, head: bytes) -> bool:
    """A folder, or a ZIP file, that is a Zarr group or array; whether it is OME-Zarr is said when it is opened."""
    if head:
        from drivers.zarrstore.zipped import is_zipped_store

        return is_zipped_store(path, head)
    if not path.is_dir():
        return False
    from drivers.zarrstore.files import LocalFiles
    from drivers.zarrstore.node import is_store

    return is_store(LocalFiles(path))


def open_slide(path: Path) -> Slide:
    """Open OME-Zarr; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.omezarr.slide import open_slide as opened

    return opened(path)


def open_url(url: Url) -> Slide:
    """Open OME-Zarr behind an http, https or s3 URL."""
    from drivers.omezarr.slide import open_url as opened

    return opened(url)


_SUFFIXES = (".ome.zarr", ".zarr", ".ozx", ".zarr.zip")
DRIVER = Driver("omezarr", _SUFFIXES, matches, open_slide, library="imagecodecs", open_url=open_url)
