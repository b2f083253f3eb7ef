"""Pages that hold the same picture byte for byte, as writers leave them that save a plane twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.claims import same_bytes
from drivers.files import ByteSource

if TYPE_CHECKING:
    from tifffile import TiffPage


def same_pages(one: TiffPage, other: TiffPage, sources: tuple[ByteSource, ByteSource]) -> bool:
    """Whether two pages, each in its file, are stored in the same way with the same bytes; sizes are compared first."""
    if _stored(one) != _stored(other):
        return False
    segments = zip(one.dataoffsets, other.dataoffsets, one.databytecounts, strict=True)
    return all(same_bytes(*sources, (int(a), int(b)), int(size)) for a, b, size in segments)


def _stored(page: TiffPage) -> tuple[object, ...]:
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel, page.bitspersample, int(page.sampleformat))
    tiles = (page.tilelength, page.tilewidth, page.rowsperstrip, page.planarconfig)
    coding = (int(page.compression), int(page.photometric), int(page.predictor), int(page.fillorder), page.subsampling)
    return *shape, *tiles, *coding, page.parent.byteorder, page.jpegtables, tuple(page.databytecounts)
