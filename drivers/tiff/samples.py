"""What the samples of a page are: the one place that maps PhotometricInterpretation to colour images and channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.model import ALPHA, RGB_CHANNELS, Channel
from drivers.pictures.color import (
    SHOWN_INVERTED,
    Inverted,
    Palette,
    WithExtras,
    WithoutExtras,
    YCbCr,
    cmyk_to_rgb,
    deep_palette_of,
    palette_of,
)
from drivers.pictures.jpeg2000 import decoded_as_rgb, says_srgb
from drivers.tiff.chroma import CIELAB, ICCLAB, LOGL, LOGLUV, OLD_JPEG, YUYV, Lab, is_reduced
from drivers.tiff.level import Convert, LevelFacts
from drivers.tiff.metadata import tag, text
from drivers.tiff.storage import GIVE_RGB, JPEG, JPEG2000

if TYPE_CHECKING:
    from tifffile import TiffPage

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, SEPARATED, YCBCR = range(7)
_PHOTOMETRIC = 262
_YCBCR_JPEG2000 = 33003
_DESCRIPTION, _SOFTWARE, _BIOFORMATS = 270, 305, "OME Bio-Formats"
_LOOKED_AT = 1 << 16
"""Bytes of a stream that are read for what it says of its colour."""
_ASSOCIATED = 1
_ALPHA = {_ASSOCIATED, 2, 999}
"""Associated, unassociated, and what Corel wrote for the latter (libtiff reads it so)."""
_UINT8 = np.dtype("u1")
_INKS = tuple(Channel(name) for name in ("Cyan", "Magenta", "Yellow", "Black"))
_FROM_LAB = "the colours are stored as Lab and written as 8-bit RGB, as libtiff converts them"
_FROM_LOG = "the pixels are stored as LogLuv and written as 32-bit CIE XYZ, as libtiff decodes them"
_FROM_LOG_L = "the pixels are stored as LogL and written as 32-bit luminance (CIE Y), as libtiff decodes them"
_BY_NUMBER = (
    "compression 33003 says YCbCr, the tags say RGB and the JPEG 2000 stream says nothing: converted from YCbCr, as "
    "OpenSlide and libvips read it; Bio-Formats would show the samples as stored"
)
_WRITTEN_INVERTED = "a bilevel image stored as WhiteIsZero: its values are inverted, 0 is black and 1 is white"
_MULTIPLIED = "the colours are stored multiplied by their alpha (associated alpha), and are left so"


@dataclass(frozen=True, slots=True)
class Samples:
    """How the samples of a page become channels. `convert` is for `LevelFacts`."""

    channels: int
    dtype: np.dtype[Any]
    rgb: bool = False
    """The first three channels are colours; a fourth can only be their alpha."""
    convert: Convert | None = None
    whole: bool = False
    ycbcr: bool = False
    """See `LevelFacts.ycbcr`."""
    significant_bits: int | None = None
    white: bool = False
    """Brightfield is plausible: pixels that no tile covers are white."""
    warnings: tuple[str, ...] = ()
    alpha: int | None = None
    """The last channel, where it is the one alpha of the others."""
    described: tuple[Channel, ...] = ()
    """The channels of a page, as far as the tags describe them."""

    def channels_for(self, count: int) -> tuple[Channel, ...]:
        """Descriptions of `count` channels, from pages of such samples one after the other."""
        return (self.described * -(-count // max(1, len(self.described))))[:count]

    def alpha_of(self, count: int) -> int | None:
        """The alpha of a scene of `count` channels: only where one page holds them all."""
        return self.alpha if count == self.channels else None

    def facts(self, scale: float) -> LevelFacts:
        """For a level whose pages hold such samples."""
        fill = 255 if self.white else 0
        return LevelFacts(scale, fill, self.convert, self.channels, self.dtype, self.whole, self.ycbcr)


def samples_of(page: TiffPage, *, indexed: bool = False) -> Samples:
    """The samples of a page as scenes show them; raises Unsupported where their colour is not understood.

    `indexed`: palette indices are data and the palette a look-up table, as in ImageJ and OME files, and no values are
    inverted.
    """
    dtype = page.dtype
    assert dtype is not None
    if dtype.kind == "c":
        raise Unsupported("complex samples are not read; write magnitude or real and imaginary part as channels")
    photometric = _photometric(page)
    read = {YCBCR: _ycbcr, CIELAB: _lab, ICCLAB: _lab, LOGLUV: _log, LOGL: _log}.get(
        YCBCR if page.compression == YUYV else photometric
    )
    if read is not None:
        return read(page)
    if photometric == PALETTE:
        return _grey(page) if indexed else _palette(page)
    if photometric == WHITE_IS_ZERO:
        return _white_is_zero(page, indexed)
    if photometric in (BLACK_IS_ZERO, MASK):
        return _grey(page)
    if photometric == RGB:
        return _rgb(page, ome=indexed)
    if photometric == SEPARATED:
        return _inks(page, ()) if indexed else _cmyk(page)
    raise Unsupported(f"colours of kind {_name(page)} are not read; convert the image to RGB first")


def _photometric(page: TiffPage) -> int:
    """The tag; where it is missing (tifffile then says WhiteIsZero) what libtiff's RGBA reader guesses."""
    if _PHOTOMETRIC in page.tags:
        return int(page.photometric)
    return RGB if page.samplesperpixel == 3 else BLACK_IS_ZERO


def _name(page: TiffPage) -> str:
    return str(getattr(page.photometric, "name", page.photometric))


def _alpha(page: TiffPage, colors: int) -> int | None:
    """The sample that is the alpha of the `colors` before it: the only one beside them, and the tag must say so.

    Writers of many bands (libvips) call all that follow the third alpha: more than one is never alpha.
    """
    kinds = [int(kind) for kind in page.extrasamples]
    return colors if page.samplesperpixel == colors + 1 and len(kinds) == 1 and kinds[0] in _ALPHA else None


def _opacity(page: TiffPage, alpha: int | None) -> tuple[str, ...]:
    """What is to be said of the alpha."""
    return (_MULTIPLIED,) if alpha is not None and int(page.extrasamples[0]) == _ASSOCIATED else ()


def _words(page: TiffPage, colors: tuple[Channel, ...], alpha: int | None) -> tuple[Channel, ...]:
    """Descriptions of `colors` and what follows; of more than one more nothing is known, nor of what comes before."""
    extra = page.samplesperpixel - len(colors)
    if alpha is not None:
        return (*colors, ALPHA)
    return (*colors, *[Channel()] * extra) if extra < 2 else tuple(Channel() for _ in range(page.samplesperpixel))


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


def _grey(page: TiffPage, *, inverted: bool = False) -> Samples:
    alpha = _alpha(page, 1)
    return Samples(
        channels=page.samplesperpixel,
        dtype=_plain(page),
        significant_bits=_bits(page),
        warnings=((SHOWN_INVERTED,) if inverted else ()) + _opacity(page, alpha),
        alpha=alpha,
        described=_words(page, (Channel(inverted=inverted),), alpha),
    )


def _white_is_zero(page: TiffPage, measured: bool) -> Samples:
    """Bilevel scans, whose paper is 0, become what they show. Other values are measured, and inverted by viewers only.

    ImageJ writes this tag for its inverting look-up table and keeps the values (ij.io.TiffEncoder); libtiff, tifffile and
    GDAL give them as stored.
    """
    if measured or _equal_bits(page) != 1:
        return _grey(page, inverted=True)
    plain = _grey(page)
    inverted = Inverted(1, plain.dtype)
    convert = inverted if plain.channels == 1 else WithExtras(inverted, 1)
    return replace(plain, convert=convert, whole=True, warnings=(_WRITTEN_INVERTED, *plain.warnings))


def _palette(page: TiffPage) -> Samples:
    colormap = tag(page, 320)
    if colormap is None or np.size(colormap) < 3 or np.size(colormap) % 3:
        raise Damaged("a palette image without a sound ColorMap")
    extra = page.samplesperpixel - 1
    if extra and page.dtype != _UINT8:
        raise Unsupported(f"a palette image with {extra} more samples of type {page.dtype} is not read")
    return _converted(page, 1, Palette(palette_of(colormap)), _UINT8)


def deep_palette(page: TiffPage) -> Samples | None:
    """The colours of a page of palette colours with the 16 bits of the palette; None where 8 tell all.

    Further samples, which have bits of their own, are not among them.
    """
    colormap = tag(page, 320)
    if not has_palette(page) or colormap is None:
        return None
    table = deep_palette_of(colormap)
    if table is None:
        return None
    convert = WithoutExtras(Palette(table), 1)
    return Samples(3, np.dtype("u2"), rgb=True, convert=convert, whole=True, described=RGB_CHANNELS)


def has_palette(page: TiffPage) -> bool:
    """Whether its first sample is an index of colours."""
    return _photometric(page) == PALETTE


def _converted(page: TiffPage, stored: int, convert: Convert, dtype: np.dtype[Any]) -> Samples:
    """The first `stored` samples converted to RGB, the others behind them as they are."""
    extra, alpha = page.samplesperpixel - stored, _alpha(page, stored)
    return Samples(
        channels=3 + extra,
        dtype=dtype,
        rgb=extra == (0 if alpha is None else 1),
        convert=WithExtras(convert, stored) if extra else convert,
        whole=True,
        warnings=_opacity(page, alpha),
        alpha=None if alpha is None else 3,
        described=(*RGB_CHANNELS, *([Channel()] * extra if alpha is None else [ALPHA])),
    )


def _rgb(page: TiffPage, *, ome: bool) -> Samples:
    """RGB as the tag says; but Aperio's JPEG 2000 of YCbCr has a number of its own, and the tag says RGB of it too.

    Bio-Formats writes RGB under that number, without a component transform (JAIIIOServiceImpl), in OME-TIFF and TIFF; so do
    raw2ometiff and QuPath, which write with it.
    """
    count, alpha, dtype = page.samplesperpixel, _alpha(page, 3), _plain(page)
    colour = count == 3 or alpha is not None
    ycbcr, told = (False, ()) if page.compression != _YCBCR_JPEG2000 or count != 3 or ome else _by_number(page)
    return Samples(
        channels=count,
        dtype=dtype,
        rgb=colour,
        significant_bits=_bits(page),
        white=colour and dtype == _UINT8 and _bits(page) is None,
        warnings=(*_opacity(page, alpha), *told),
        alpha=alpha,
        described=_words(page, RGB_CHANNELS[:count], alpha),
        ycbcr=ycbcr,
    )


def _by_number(page: TiffPage) -> tuple[bool, tuple[str, ...]]:
    """(whether RGB of compression 33003 is YCbCr where its stream has no component transform, warnings).

    Aperio writes YCbCr and the tag RGB; Bio-Formats writes RGB. Of other writers, a JP2 box that says sRGB is believed.
    """
    first = page.parent.pages.first
    if (text(first, _SOFTWARE) or "").startswith(_BIOFORMATS):
        return False, ()
    if (text(first, _DESCRIPTION) or "").startswith("Aperio"):
        return True, ()
    file = page.parent.filehandle
    file.seek(int(page.dataoffsets[0]) if page.dataoffsets else 0)
    stream = file.read(_LOOKED_AT)
    if says_srgb(stream):
        return False, ()
    return True, () if decoded_as_rgb(stream) else (_BY_NUMBER,)


def _cmyk(page: TiffPage) -> Samples:
    count, alpha, inks = page.samplesperpixel, _alpha(page, 4), int(tag(page, 332) or 1)
    if inks != 1 or count < 4 or (count > 4 and alpha is None):
        return _inks(page, _INKS[:count] if inks == 1 else ())
    dtype = _plain(page)
    if dtype.kind != "u" or _bits(page) is not None:
        return _inks(page, _INKS)
    return _converted(page, 4, cmyk_to_rgb, dtype)


def _inks(page: TiffPage, names: tuple[Channel, ...]) -> Samples:
    """Inks that are not mixed to colours: each is a channel."""
    count = page.samplesperpixel
    described = (*names, *[Channel()] * (count - len(names)))
    return Samples(count, _plain(page), significant_bits=_bits(page), described=described)


def _ycbcr(page: TiffPage) -> Samples:
    if page.samplesperpixel != 3 or page.dtype != _UINT8:
        raise Unsupported(f"YCbCr with {page.samplesperpixel} samples of type {page.dtype} is not read")
    convert: Convert | None = None
    if page.compression in (OLD_JPEG, YUYV) or (is_reduced(page) and page.compression not in JPEG | JPEG2000 | GIVE_RGB):
        pass  # decoded to RGB: drivers/tiff/chroma.py
    elif page.compression not in JPEG | JPEG2000 | GIVE_RGB:
        convert = _coefficients(page)
    elif page.planarconfig == 2:
        raise Unsupported("YCbCr in separately compressed planes is not read")
    about = Samples(3, _UINT8, rgb=True, convert=convert, whole=convert is not None, white=True, described=RGB_CHANNELS)
    return replace(about, ycbcr=page.compression in JPEG2000)


def _lab(page: TiffPage) -> Samples:
    kinds = (np.dtype("u1"), np.dtype("u2"))
    if page.samplesperpixel != 3 or page.dtype not in kinds or _bits(page) is not None:
        raise Unsupported(f"{_name(page)} with {page.samplesperpixel} samples of type {page.dtype} is not read")
    return Samples(
        3,
        _UINT8,
        rgb=True,
        convert=Lab(page.photometric == ICCLAB),
        whole=True,
        white=True,
        described=RGB_CHANNELS,
        warnings=(_FROM_LAB,),
    )


def _log(page: TiffPage) -> Samples:
    """LogLuv as the CIE XYZ that it codes, LogL as its Y: floats, not multiplied by the tag StoNits."""
    if int(page.photometric) == LOGL:
        return Samples(1, np.dtype("f4"), described=(Channel("Y"),), warnings=(_FROM_LOG_L,))
    return Samples(3, np.dtype("f4"), described=tuple(Channel(name) for name in "XYZ"), warnings=(_FROM_LOG,))


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
