"""How the pixels of a TIFF page are stored: its layout, and the table of its segments, checked against the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.errors import CutShort, Damaged, LimitExceeded, Unsupported
from drivers.files import ByteSource
from drivers.limits import LIMITS, check
from drivers.tiff.chroma import OLD_JPEG, SGILOG, SGILOG24, YUYV, is_reduced, rgb_decoder
from drivers.tiff.raw import BLOCK_ROWS, Rows, block_columns

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

JOINED_BYTES = 64 << 10
JPEG = {7, 34892}
JPEG2000 = {33003, 33004, 33005, 34712}
GIVE_RGB = {22610, 34934, 50001, 34927, 50002, 52546, 34933}
"""JPEG XR, WebP, JPEG XL, PNG: their streams tell how colour is coded, and decoders give RGB, whatever the tag says."""
_NAMES = {
    1: "none",
    7: "jpeg",
    34892: "jpeg",
    OLD_JPEG: "old jpeg",
    YUYV: "yuyv",
    SGILOG: "sgilog",
    SGILOG24: "sgilog24",
    32946: "deflate",
    8: "deflate",
    22610: "jpegxr",
} | dict.fromkeys(JPEG2000, "jpeg2000")


@dataclass(frozen=True, slots=True)
class Plane:
    """The stored segments of one page."""

    offsets: Sequence[int]
    counts: Sequence[int]
    tables: bytes | None = None
    header: bytes | None = None
    source: ByteSource | None = None
    """The file they lie in, where it is another than the level's."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How every page of a level is stored; taken from its key page.

    A *segment* is a stored strip or tile; a *block* is what one read gives: a tile, strips joined to at least 64 KiB,
    or, of uncompressed rows, any part of the strips.
    """

    height: int
    width: int
    samples: int
    planar: bool
    segment_height: int
    segment_width: int
    joined: int
    """Strips per block; 1 for tiles."""
    decode: Callable[..., Any] = field(compare=False)
    """tifffile's closure: another object in each file of a set."""
    compression: int
    dtype: np.dtype[Any]
    coding: tuple[object, ...] = ()
    """What else the decoding depends on: byte order, bits, predictor, fill order, photometric, extra samples."""
    raw: np.dtype[Any] | None = None
    """The dtype in the file's byte order where rows lie uncompressed, and are read in parts."""

    @property
    def down(self) -> int:
        """Segments along y, per sample plane."""
        return -(-self.height // self.segment_height)

    @property
    def across(self) -> int:
        """Segments along x."""
        return -(-self.width // self.segment_width)

    @property
    def per_plane(self) -> int:
        """Segments that a page must list."""
        return self.down * self.across * (self.samples if self.planar else 1)

    @property
    def block(self) -> tuple[int, int]:
        """(height, width) of a block."""
        if self.raw is not None:
            return min(self.height, BLOCK_ROWS), block_columns(self.width)
        height = self.segment_height * self.joined
        return (min(height, self.height) if self.joined > 1 else height), self.segment_width

    @property
    def rows(self) -> Rows:
        """Layout of one sample plane of uncompressed rows."""
        assert self.raw is not None
        return Rows(self.segment_height, self.width, 1 if self.planar else self.samples, self.raw)

    def segments(self, sample: int, row: int, column: int) -> range:
        """Indices of the segments that a block is made of, from top to bottom."""
        height = self.block[0]
        first = row * height // self.segment_height
        last = -(-min((row + 1) * height, self.height) // self.segment_height)
        base = sample * self.down * self.across + (0 if self.raw is not None else column)
        return range(base + first * self.across, base + last * self.across, self.across)


def storage_of(page: TiffPage) -> Storage:
    """Read the layout of a key page; raises Unsupported, Damaged or LimitExceeded before any pixel is read."""
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    check("the number of pixels", height * width, LIMITS.level_pixels)
    check("the number of samples per pixel", samples, LIMITS.channels)
    if height < 1 or width < 1 or samples < 1:
        raise Damaged(f"an image of {width}x{height} pixels with {samples} samples")
    if page.dtype is None:
        raise Unsupported(f"samples of {page.bitspersample} bits, format {int(page.sampleformat)}, are not read")
    if page.imagedepth > 1 or page.tiledepth > 1:
        raise Unsupported("volumetric TIFF tiles (ImageDepth) are not read")
    own = rgb_decoder(page)
    if own is None and is_reduced(page) and page.compression not in JPEG | JPEG2000 | GIVE_RGB:
        raise Unsupported(
            f"YCbCr with reduced chroma is not read in {compression_name(int(page.compression))}; convert it to RGB first"
        )
    planar, raw = page.planarconfig == 2 and samples > 1, _raw_dtype(page)
    rows, columns, joined = _segment(page, 1 if planar else samples, raw is not None)
    if page.compression == OLD_JPEG:
        planar, rows, columns, joined = False, height, width, 1
    coding = (page.parent.byteorder, page.bitspersample, int(page.predictor), int(page.fillorder))
    look = (int(page.photometric), tuple(page.extrasamples), page.subsampling)
    compression = int(page.compression)
    decode = own or _decoder(page)
    return Storage(
        height, width, samples, planar, rows, columns, joined, decode, compression, page.dtype, (*coding, *look, own), raw
    )


def _segment(page: TiffPage, samples: int, raw: bool) -> tuple[int, int, int]:
    """(height, width) of a stored tile or strip, and how many are joined to a block."""
    assert page.dtype is not None
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        rows, columns = min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth
    if rows < 1 or columns < 1:
        raise Damaged(f"tiles of {columns}x{rows} pixels")
    if raw:
        check("the number of bytes of a row", columns * samples * page.dtype.itemsize, LIMITS.tile_bytes)
        return rows, columns, 1
    size = rows * columns * samples * page.dtype.itemsize
    if page.is_tiled:
        check("the number of pixels of a stored tile", rows * columns, LIMITS.tile_pixels)
        check("the number of bytes of a decoded tile", size, LIMITS.tile_bytes)
    else:
        check("the number of pixels of a compressed strip", rows * columns, LIMITS.strip_pixels)
        check("the number of bytes of a decoded strip", size, LIMITS.strip_bytes)
    return rows, columns, 1 if page.is_tiled else max(1, min(-(-JOINED_BYTES // size), -(-page.imagelength // rows)))


def _raw_dtype(page: TiffPage) -> np.dtype[Any] | None:
    """The stored dtype, where the page's strips hold plain rows that need no decoding."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and not page.is_tiled
    assert page.dtype is not None
    if not plain or page.bitspersample != page.dtype.itemsize * 8 or page.sampleformat == 5 or is_reduced(page):
        return None
    return page.dtype.newbyteorder(page.parent.byteorder)


def _decoder(page: TiffPage) -> Callable[..., Any]:
    """tifffile's decode closure, tried with an empty segment: one that only raises says so here, not later."""
    try:
        decode = page.decode
        decode(None, 0)
    except MemoryError as error:
        raise LimitExceeded("the image asks for more memory than there is") from error
    except Exception as error:
        raise Unsupported(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return decode


def plane_of(page: TiffPage | TiffFrame, storage: Storage, source: ByteSource) -> Plane:
    """The page's segment table, checked against the file. Raises Damaged where it is short or points past the end."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) < storage.per_plane or len(counts) < storage.per_plane:
        raise Damaged(
            f"{source.path.name}: lists {min(len(offsets), len(counts))} stored tiles where its size needs "
            f"{storage.per_plane}: the file is damaged"
        )
    sizes = np.asarray(counts, np.float64)
    ends = np.asarray(offsets, np.float64) + sizes
    if ends.size and float(ends.max()) > source.size:
        raise CutShort(
            f"{source.path.name}: stored tiles reach to byte {int(ends.max())}, the file ends at {source.size}: "
            "it is truncated; copy it again"
        )
    if storage.raw is not None:
        _check_rows(storage, sizes, source.path.name)
    return Plane(offsets, counts, page.jpegtables, getattr(page.keyframe, "jpegheader", None), source)


def _check_rows(storage: Storage, counts: Any, name: str) -> None:
    """Raise Damaged where a strip that is stored is shorter than its rows."""
    rows = storage.rows
    heights = np.full(storage.down, storage.segment_height)
    heights[-1] = storage.height - (storage.down - 1) * storage.segment_height
    needed = np.tile(heights, storage.samples if storage.planar else 1) * rows.width * rows.pixel_bytes
    short = np.flatnonzero((counts[: storage.per_plane] < needed) & (counts[: storage.per_plane] > 0))
    if short.size:
        i = int(short[0])
        raise Damaged(f"{name}: strip {i} holds {int(counts[i])} bytes where its rows need {int(needed[i])}")


def compression_name(compression: int) -> str:
    """The usual word for a TIFF compression tag."""
    if compression in _NAMES:
        return _NAMES[compression]
    import tifffile

    try:
        return tifffile.COMPRESSION(compression).name.lower()
    except ValueError:
        return str(compression)
