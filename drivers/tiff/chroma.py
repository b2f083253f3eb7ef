"""Colours that libtiff reads and tifffile does not: YCbCr with reduced chroma outside JPEG, old-style JPEG, Lab, LogLuv.

libtiff (in imagecodecs) decodes files only: a segment is handed to it as a small TIFF in memory with the page's own tags.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.limits import LIMITS, check
from drivers.model import Pixels
from drivers.pictures.color import ycbcr_to_rgb
from drivers.pictures.jpeg import check_end

if TYPE_CHECKING:
    from tifffile import TiffPage

Decode = Callable[..., Any]
"""As tifffile's: (data, index) to ((1, height, width, samples), ...)."""
Numbers = tuple[int, Sequence[int]]
"""Type of a tag, 3 (short), 4 (long) or 5 (rational), and its numbers."""
OLD_JPEG = 6
YUYV = 33007
SGILOG, SGILOG24 = 34676, 34677
LOGL, LOGLUV = 32844, 32845
YCBCR, CIELAB, ICCLAB = 6, 8, 9
_CODECS = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
_BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES, _COUNTS, _FORMAT = 258, 259, 262, 273, 277, 279, 339
_SPARE = 1 << 16
"""Bytes that may follow the pixels of a strip."""
_FILL_ORDER = 266
_COPIED = (_FILL_ORDER, 317, 529, 530, 531, 532)
"""FillOrder, Predictor, YCbCrCoefficients, YCbCrSubSampling, YCbCrPositioning, ReferenceBlackWhite."""


def is_reduced(page: TiffPage) -> bool:
    """Whether a page holds YCbCr with fewer chroma samples than pixels; without a tag it does (TIFF 6.0, section 21)."""
    return page.photometric == YCBCR and page.subsampling != (1, 1)


def rgb_decoder(page: TiffPage) -> Decode | None:
    """What decodes the segments of a page to RGB; None where tifffile's decoder serves. Raises Unsupported."""
    compression = int(page.compression)
    if compression == OLD_JPEG:
        return _old_jpeg(page)
    if compression in (SGILOG, SGILOG24) or int(page.photometric) in (LOGL, LOGLUV):
        return _log(page)
    if compression == YUYV:
        return None if page.jpegtables is not None else _Packed(*_size(page))
    if not is_reduced(page) or compression not in _CODECS:
        return None
    if page.samplesperpixel != 3 or page.bitspersample != 8:
        raise Unsupported(
            f"YCbCr with reduced chroma in {page.samplesperpixel} samples of {page.bitspersample} bits is not read"
        )
    if page.planarconfig == 2:
        raise Unsupported("YCbCr with reduced chroma in separate planes is not read; convert the image to RGB first")
    tags = tuple((code, found) for code in _COPIED if (found := _tag(page, code)) is not None)
    chroma = page.subsampling or (2, 2)
    if any(n not in (1, 2, 4) for n in chroma):
        raise Unsupported(f"YCbCr with reduced chroma, by {chroma[0]} and {chroma[1]}, is not read")
    return _Reduced(page.parent.byteorder, compression, tags, _size(page), page.imagelength, page.is_tiled, chroma)


def _size(page: TiffPage) -> tuple[int, int]:
    """(height, width) of a segment."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth


def _tag(page: TiffPage, code: int) -> Numbers | None:
    """A tag of shorts, or of rationals as numerators and denominators."""
    found = page.tags.get(code)
    if found is None:
        return None
    kind = int(found.dtype)
    values: Any = found.value
    numbers = tuple(int(v) for v in np.ravel(values)) if kind in (3, 5) else ()
    return (kind, numbers) if numbers else None


@dataclass(frozen=True, slots=True)
class _Reduced:
    """Decodes strips and tiles of YCbCr with reduced chroma. The last strip has the rows that are left."""

    order: str
    compression: int
    tags: tuple[tuple[int, Numbers], ...]
    size: tuple[int, int]
    image_height: int
    tiled: bool
    chroma: tuple[int, int]
    """Pixels along x and y that share a Cb and a Cr."""

    def __call__(self, data: bytes, index: int, **_: Any) -> tuple[Pixels]:
        height, width = self.size
        if not self.tiled:
            height = min(height, self.image_height - index * height)
        tags: dict[int, Numbers] = {
            **dict(self.tags),
            _BITS: (3, [8, 8, 8]),
            _COMPRESSION: (3, [self.compression]),
            _PHOTOMETRIC: (3, [YCBCR]),
            _SAMPLES: (3, [3]),
        }
        across, down = self.chroma
        row = -(-width // across) * (across * down + 2)
        self._check(data, -(-height // down) * row, -(-self.size[0] // down) * row)
        whole = height + -height % down, width + -width % across  # libtiff refuses images smaller than a block of chroma
        return (_by_libtiff(small_tiff(self.order, whole, tags, data))[None, :height, :width],)

    def _check(self, data: bytes, needed: int, most: int) -> None:
        """Raise Damaged where the stream does not decode to as much: libtiff's RGBA reader shows black for what it lacks.

        `most` bytes, and some more, may come: the last strip may have rows that the image has not.
        """
        import imagecodecs

        codec = _CODECS[self.compression]
        if codec == "lzw" and data[:1] == b"\0" and data[1:2] and data[1] & 1:  # as written before TIFF 5: libtiff knows it
            return
        try:
            stream = imagecodecs.bitorder_decode(data) if dict(self.tags).get(_FILL_ORDER) == (3, (2,)) else data
            found = len(stream if codec == "none" else getattr(imagecodecs, f"{codec}_decode")(stream, out=most + _SPARE))
        except Exception as error:
            raise Damaged(f"the {codec} stream does not decode: {' '.join(str(error).split())[:160]}") from error
        if found < needed:
            raise Damaged(f"holds {found} bytes where its pixels need {needed}")


def small_tiff(order: str, size: tuple[int, int], tags: Mapping[int, Numbers], data: bytes) -> bytes:
    """A TIFF of one strip with these tags by their code."""
    height, width = size
    rows = {256: (4, [width]), 257: (4, [height]), 278: (4, [height]), _OFFSETS: (4, [0]), _COUNTS: (4, [len(data)])}
    entries, heap = b"", b""
    every: dict[int, Numbers] = {**tags, **rows}
    at = 8 + 2 + 12 * len(every) + 4
    places = {code: _value(order, *value) for code, value in every.items()}
    start = at + sum(len(value) for value in places.values() if len(value) > 4)
    places[_OFFSETS] = struct.pack(f"{order}I", start)
    for code in sorted(every):
        kind, numbers = every[code]
        value = places[code]
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{order}I", at + len(heap))
        heap += value if len(value) > 4 else b""
        entries += struct.pack(f"{order}HHI", code, kind, len(numbers) // (2 if kind == 5 else 1)) + inline
    magic = b"II" if order == "<" else b"MM"
    return magic + struct.pack(f"{order}HIH", 42, 8, len(every)) + entries + bytes(4) + heap + data


def _value(order: str, kind: int, numbers: Sequence[int]) -> bytes:
    return struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)


def _by_libtiff(data: Any, index: int = 0) -> Pixels:
    """RGB (height, width, 3) as libtiff's RGBA reader shows it."""
    import imagecodecs

    return imagecodecs.tiff_decode(data, index=index, asrgb=True)[..., :3]


def _log(page: TiffPage) -> Decode:
    """Decodes SGI's LogLuv to CIE XYZ, and LogL to its Y, in 32-bit floats, as libtiff's codec does. Raises Unsupported."""
    compression, photometric = int(page.compression), int(page.photometric)
    samples = {LOGL: 1, LOGLUV: 3}.get(photometric)  # libtiff writes LogL under both numbers in the same 16-bit runs
    if samples is None or compression not in (SGILOG, SGILOG24):
        raise Unsupported(f"photometric interpretation {photometric} in compression {compression} is no LogLuv and no LogL")
    if page.samplesperpixel != samples or (samples > 1 and page.planarconfig == 2):
        raise Unsupported(f"LogLuv in {page.samplesperpixel} samples per pixel, or in separate planes, is not read")
    return _Log(page.parent.byteorder, compression, samples, _size(page), page.imagelength, page.is_tiled)


@dataclass(frozen=True, slots=True)
class _Log:
    order: str
    compression: int
    samples: int
    size: tuple[int, int]
    image_height: int
    tiled: bool

    def __call__(self, data: bytes, index: int, **_: Any) -> tuple[Pixels]:
        import imagecodecs

        height, width = self.size
        if not self.tiled:
            height = min(height, self.image_height - index * height)
        tags: dict[int, Numbers] = {
            _BITS: (3, [32] * self.samples),  # libtiff gives floats where floats are said to be stored (LogL16GuessDataFmt)
            _COMPRESSION: (3, [self.compression]),
            _PHOTOMETRIC: (3, [LOGLUV if self.samples == 3 else LOGL]),
            _SAMPLES: (3, [self.samples]),
            _FORMAT: (3, [3] * self.samples),
        }
        pixels: Any = imagecodecs.tiff_decode(small_tiff(self.order, (height, width), tags, data))
        return (pixels.reshape(1, height, width, self.samples),)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Uncompressed Y, Cb, Y, Cr of two pixels each, as Aperio GT 450 stores them under compression 33007."""

    height: int
    width: int

    def __call__(self, data: bytes, _index: int, **_: Any) -> tuple[Pixels]:
        if data.startswith(b"\xff\xd8"):  # what Bio-Formats and tifffile know this number for
            return (_jpeg(data)[None],)
        pairs = -(-self.width // 2)
        if len(data) < self.height * pairs * 4:
            raise Damaged(f"holds {len(data)} bytes where {self.width}x{self.height} pixels need {self.height * pairs * 4}")
        stored = np.frombuffer(data, np.uint8, self.height * pairs * 4).reshape(self.height, pairs, 4)
        pixels = np.empty((self.height, pairs, 2, 3), np.uint8)
        pixels[..., 0] = stored[..., 0::2]
        pixels[..., 1] = stored[..., None, 1]
        pixels[..., 2] = stored[..., None, 3]
        return (ycbcr_to_rgb(pixels.reshape(self.height, pairs * 2, 3)[:, : self.width])[None],)


def _jpeg(data: bytes) -> Pixels:
    import imagecodecs

    check_end(data)
    pixels: Any = imagecodecs.jpeg8_decode(data)
    return pixels


def _old_jpeg(page: TiffPage) -> Decode:
    """Decodes a page of old-style JPEG at once: its strips share tables and restarts, which lie anywhere in the file."""
    if page.bitspersample != 8 or page.samplesperpixel not in (1, 3):
        raise Unsupported(f"old-style JPEG of {page.samplesperpixel} samples of {page.bitspersample} bits is not read")
    if page.tags.valueof(274, 1) != 1:
        raise Unsupported("old-style JPEG that is to be turned (Orientation) is not read")
    check("the number of bytes of a decoded page", page.imagelength * page.imagewidth * 4, LIMITS.tile_bytes)
    file = page.parent.filehandle
    check("the number of bytes of an old-style JPEG", file.size, LIMITS.tile_bytes)
    index: Any = page.index
    if not isinstance(index, int):
        raise Unsupported("old-style JPEG in a sub-directory is not read")
    return _OldJpeg(Path(file.path), index, page.samplesperpixel)


@dataclass(frozen=True, slots=True)
class _OldJpeg:
    path: Path
    page: int
    samples: int

    def __call__(self, _data: bytes, _index: int, **_: Any) -> tuple[Pixels]:
        return (_by_libtiff(self.path.read_bytes(), self.page)[None, ..., : self.samples],)


@dataclass(frozen=True, slots=True)
class Lab:
    """Lab of 8 or 16 bits to 8-bit RGB as libtiff shows it, which takes D50 for white and adapts nothing.

    `icc`: ICCLab, whose a and b have an offset, and whose 16-bit L is 100 at 0xFF00 (TIFF Technote 4, ICC.1:2004-10 10.8).
    """

    icc: bool

    def __call__(self, pixels: Pixels) -> Pixels:
        if self.icc:
            pixels = _without_offset(pixels)
        height, width, count = pixels.shape
        bits = pixels.dtype.itemsize * 8
        tags: dict[int, Numbers] = {
            _BITS: (3, [bits] * count),
            _COMPRESSION: (3, [1]),
            _PHOTOMETRIC: (3, [CIELAB]),
            _SAMPLES: (3, [count]),
        }
        little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
        return _by_libtiff(small_tiff("<", (height, width), tags, little))


def _without_offset(pixels: Pixels) -> Pixels:
    found = pixels.copy()
    deep = pixels.dtype.itemsize == 2
    found[..., 1:] ^= 0x8000 if deep else 0x80
    if deep:
        wide = pixels[..., 0].astype(np.uint64) * 0xFFFF + 0x7F80
        found[..., 0] = np.minimum(wide // 0xFF00, 0xFFFF)
    return found
