"""Pages that hold the same picture, as writers leave them that save a plane twice: byte for byte, or by their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drivers.claims import same_bytes
from drivers.errors import DriverError
from drivers.files import ByteSource
from drivers.geometry import ORIGIN, Box
from drivers.model import Level
from drivers.paint import paint
from drivers.tiff.level import build_level
from drivers.tiff.samples import PALETTE, samples_of
from drivers.tiff.storage import plane_of, storage_of

if TYPE_CHECKING:
    from tifffile import TiffPage


def same_pages(one: TiffPage, other: TiffPage, sources: tuple[ByteSource, ByteSource]) -> bool:
    """Whether two pages, each in its file, show the same: stored with the same bytes, or decoded to the same pixels.

    Decodes no more than a band of rows at once. One that cannot be decoded is another picture.
    """
    if (one.imagelength, one.imagewidth) != (other.imagelength, other.imagewidth):
        return False
    return (_stored(one) == _stored(other) and _same_segments(one, other, sources)) or _same_pixels(one, other, sources)


def _same_segments(one: TiffPage, other: TiffPage, sources: tuple[ByteSource, ByteSource]) -> bool:
    segments = zip(one.dataoffsets, other.dataoffsets, one.databytecounts, strict=True)
    return all(same_bytes(*sources, (int(a), int(b)), int(size)) for a, b, size in segments)


def _same_pixels(one: TiffPage, other: TiffPage, sources: tuple[ByteSource, ByteSource]) -> bool:
    if PALETTE in (one.photometric, other.photometric):  # the indices may be the data, and the palette for display only
        return False
    try:
        levels = [_level(page, source) for page, source in zip((one, other), sources, strict=True)]
        if levels[0].shape != levels[1].shape or levels[0].dtype != levels[1].dtype:
            return False
        step, whole = max(level.tile.y for level in levels), levels[0].shape
        for top in range(0, whole.y, step):
            box = Box(ORIGIN._replace(y=top), whole._replace(y=min(whole.y, top + step)))
            shown = [paint(level, box) for level in levels]
            if not np.array_equal(*shown, equal_nan=shown[0].dtype.kind in "fc"):
                return False
    except DriverError:
        return False
    return True


def _level(page: TiffPage, source: ByteSource) -> Level:
    storage = storage_of(page)
    planes = np.empty((1, 1, 1), object)
    planes[0, 0, 0] = plane_of(page, storage, source)
    return build_level(source, storage, planes, samples_of(page).facts(1.0))


def _stored(page: TiffPage) -> tuple[object, ...]:
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel, page.bitspersample, int(page.sampleformat))
    tiles = (page.tilelength, page.tilewidth, page.rowsperstrip, page.planarconfig)
    coding = (int(page.compression), int(page.photometric), int(page.predictor), int(page.fillorder), page.subsampling)
    return *shape, *tiles, *coding, page.parent.byteorder, page.jpegtables, tuple(page.databytecounts)
