"""What the samples of a page are: the one place that maps PhotometricInterpretation to colour images and channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.pictures.color import FirstSamples, Inverted, Palette, YCbCr, cmyk_to_rgb, palette_of, ycbcr_to_rgb
from drivers.tiff.level import Convert, LevelFacts
from drivers.tiff.metadata import tag
from drivers.tiff.storage import JPEG, JPEG2000

if TYPE_CHECKING:
    from tifffile import TiffPage

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, SEPARATED, YCBCR = range(7)
_PHOTOMETRIC = 262
_YCBCR_JPEG2000 = 33003
_ALPHA = {1, 2}
_UINT8 = np.dtype("u1")


@dataclass(frozen=True, slots=True)
class Samples:
    """How the samples of a page become channels. `convert` is for `LevelFacts`."""

    channels: int
    dtype: np.dtype[Any]
    rgb: bool = False
    convert: Convert | None = None
    whole: bool = False
    significant_bits: int | None = None
    white: bool = False
    """Brightfield is plausible: pixels that no tile covers are white."""
    warnings: tuple[str, ...] = ()

    def facts(self, scale: float) -> LevelFacts:
        """For a level whose pages hold such samples."""
        return LevelFacts(scale, 255 if self.white else 0, self.convert, self.channels, self.dtype, self.whole)


def samples_of(page: TiffPage, *, indexed: bool = False) -> Samples:
    """The samples of a page as scenes show them; raises Unsupported where their colour is not understood.

    `indexed`: palette indices are data and the palette a look-up table, as in ImageJ and OME files, and all samples are
    channels.
    """
    dtype, count = page.dtype, page.samplesperpixel
    assert dtype is not None
    if dtype.kind == "c":
        raise Unsupported("complex samples are not read; write magnitude or real and imaginary part as channels")
    photometric = _photometric(page)
    if photometric == PALETTE:
        return _grey(page, 1) if indexed else _palette(page)
    if photometric == WHITE_IS_ZERO:
        return _inverted(page)
    if photometric in (BLACK_IS_ZERO, MASK):
        return _grey(page, count if indexed else count - _alpha(page))
    if photometric == RGB:
        return _rgb(page, indexed)
    if photometric == SEPARATED:
        return _grey(page, count) if indexed else _cmyk(page)
    if photometric == YCBCR:
        return _ycbcr(page)
    raise Unsupported(f"colours of kind {_name(page)} are not read; convert the image to RGB first")


def _photometric(page: TiffPage) -> int:
    """The tag; where it is missing (tifffile then says WhiteIsZero) what libtiff's RGBA reader guesses."""
    if _PHOTOMETRIC in page.tags:
        return int(page.photometric)
    return RGB if page.samplesperpixel == 3 else BLACK_IS_ZERO


def _name(page: TiffPage) -> str:
    return str(getattr(page.photometric, "name", page.photometric))


def _alpha(page: TiffPage) -> int:
    """How many samples at the end are alpha, associated or not."""
    kinds = [int(kind) for kind in page.extrasamples]
    trailing = 0
    while trailing < min(len(kinds), page.samplesperpixel - 1) and kinds[-1 - trailing] in _ALPHA:
        trailing += 1
    return trailing


def _dropped(page: TiffPage, count: int) -> tuple[str, ...]:
    """The warning that samples after the first `count` are left out."""
    if count == page.samplesperpixel:
        return ()
    kinds = {1: "associated", 2: "unassociated"}
    words = sorted({kinds.get(int(kind), "unspecified") for kind in page.extrasamples} or {"unspecified"})
    return (f"the alpha channel ({', '.join(words)}) is left out",)


def _bits(page: TiffPage) -> int | None:
    assert page.dtype is not None
    if page.dtype.kind == "b":
        return 1
    bits = _equal_bits(page)
    return bits if bits is not None and page.dtype.kind in "ui" and bits < page.dtype.itemsize * 8 else None


def _equal_bits(page: TiffPage) -> int | None:
    """Bits per sample; None where they differ (RGB 565), which tifffile gives as a tuple."""
    bits: Any = page.bitspersample
    return bits if isinstance(bits, int) else None


def _plain(page: TiffPage) -> np.dtype[Any]:
    assert page.dtype is not None
    return _UINT8 if page.dtype.kind == "b" else page.dtype.newbyteorder("=")


def _cut(page: TiffPage, count: int) -> Convert | None:
    """Drops samples after the first `count`; not needed for planes, which are simply not read."""
    return None if count == page.samplesperpixel or page.planarconfig == 2 else FirstSamples(count)


def _grey(page: TiffPage, count: int) -> Samples:
    return Samples(
        channels=count,
        dtype=_plain(page),
        convert=_cut(page, count),
        significant_bits=_bits(page),
        warnings=_dropped(page, count),
    )


def _inverted(page: TiffPage) -> Samples:
    count, bits = page.samplesperpixel - _alpha(page), _equal_bits(page)
    assert page.dtype is not None
    if page.dtype.kind not in "bu" or bits is None:
        raise Unsupported(f"WhiteIsZero with samples of type {page.dtype} is not defined by the TIFF standard")
    dtype = _plain(page)
    return Samples(
        channels=count,
        dtype=dtype,
        convert=Inverted((1 << bits) - 1, count, dtype),
        whole=True,
        significant_bits=_bits(page),
        warnings=_dropped(page, count),
    )


def _palette(page: TiffPage) -> Samples:
    colormap = tag(page, 320)
    if colormap is None or np.size(colormap) < 3 or np.size(colormap) % 3:
        raise Damaged("a palette image without a sound ColorMap")
    return Samples(3, _UINT8, rgb=True, convert=Palette(palette_of(colormap)), whole=True, warnings=_dropped(page, 1))


def _rgb(page: TiffPage, keep: bool) -> Samples:
    count = page.samplesperpixel - (0 if keep else _alpha(page))
    colour, dtype = count == 3, _plain(page)
    return Samples(
        channels=count,
        dtype=dtype,
        rgb=colour,
        convert=_cut(page, count),
        significant_bits=_bits(page),
        white=colour and dtype == _UINT8 and _bits(page) is None,
        warnings=_dropped(page, count),
    )


def _cmyk(page: TiffPage) -> Samples:
    count, inks = page.samplesperpixel - _alpha(page), int(tag(page, 332) or 1)
    if inks != 1 or count != 4:
        return _grey(page, count)  # other inks than CMYK: each is a channel
    if page.dtype != _UINT8:
        raise Unsupported(f"CMYK with samples of type {page.dtype} is not read; convert the image to RGB first")
    return Samples(3, _UINT8, rgb=True, convert=cmyk_to_rgb, whole=True, warnings=_dropped(page, count))


def _ycbcr(page: TiffPage) -> Samples:
    if page.samplesperpixel != 3 or page.dtype != _UINT8:
        raise Unsupported(f"YCbCr with {page.samplesperpixel} samples of type {page.dtype} is not read")
    convert: Convert | None = None
    if page.compression == _YCBCR_JPEG2000:
        convert = ycbcr_to_rgb
    elif page.compression not in JPEG | JPEG2000:  # those decoders give RGB
        convert = _coefficients(page)
    elif page.planarconfig == 2:
        raise Unsupported("YCbCr in separate JPEG planes is not read")
    return Samples(3, _UINT8, rgb=True, convert=convert, whole=convert is not None, white=True)


def _coefficients(page: TiffPage) -> YCbCr:
    luma, reference = _numbers(tag(page, 529), 3), _numbers(tag(page, 532), 6)
    default = YCbCr()
    sound = len(luma) == 3 and luma[1] > 0
    ranged = len(reference) == 6 and all(a != b for a, b in zip(reference[0::2], reference[1::2], strict=True))
    return YCbCr((luma[0], luma[1], luma[2]) if sound else default.luma, reference if ranged else default.reference)


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    """`count` numbers of a tag, which may hold rationals (numerator, denominator in turn); empty where it does not."""
    flat = [float(v) for v in np.ravel(value)] if value is not None else []
    if len(flat) == 2 * count:
        flat = [a / b if b else 0.0 for a, b in zip(flat[0::2], flat[1::2], strict=True)]
    return tuple(flat) if len(flat) == count else ()
