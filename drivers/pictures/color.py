"""Colour as stored to colour as shown. All functions take and give (height, width, samples)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.model import Pixels

SHOWN_INVERTED = (
    "the file is to be shown inverted (low values bright): the values are as stored, and omero's `inverted` tells viewers"
)
"""What is said of such a file."""


def opaque(dtype: np.dtype[Any], bits: int | None = None) -> int:
    """The sample of full opacity, on the scale of the others: the greatest of `bits`, or of an integer type; 1 of floats."""
    if bits is not None:
        return (1 << bits) - 1
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


# JFIF, full-range BT.601, as 16-bit fixed point: the arithmetic of libjpeg and OpenSlide.
_X = np.arange(256, dtype=np.int32) - 128
_CR_R = (91881 * _X + 32768) >> 16
_CB_B = (116130 * _X + 32768) >> 16
_CR_G = -46802 * _X
_CB_G = -22554 * _X + 32768


def ycbcr_to_rgb(pixels: Pixels) -> Pixels:
    """Full-range 8-bit YCbCr to RGB. Aperio's 33003 stores YCbCr which the JPEG 2000 stream does not declare."""
    y = pixels[..., 0].astype(np.int32)
    cb, cr = pixels[..., 1], pixels[..., 2]
    rgb = np.empty_like(pixels)
    rgb[..., 0] = np.clip(y + _CR_R[cr], 0, 255)
    rgb[..., 1] = np.clip(y + ((_CB_G[cb] + _CR_G[cr]) >> 16), 0, 255)
    rgb[..., 2] = np.clip(y + _CB_B[cb], 0, 255)
    return rgb


@dataclass(frozen=True, slots=True)
class WithExtras:
    """Converts the first `count` samples; the others follow as they are stored."""

    convert: Callable[[Pixels], Pixels]
    count: int

    def __call__(self, pixels: Pixels) -> Pixels:
        shown = self.convert(pixels[..., : self.count])
        return np.concatenate([shown, pixels[..., self.count :].astype(shown.dtype, copy=False)], axis=-1)


@dataclass(frozen=True, slots=True)
class WithoutExtras:
    """Converts the first `count` samples; the others are not shown."""

    convert: Callable[[Pixels], Pixels]
    count: int

    def __call__(self, pixels: Pixels) -> Pixels:
        return self.convert(pixels[..., : self.count])


@dataclass(frozen=True, slots=True)
class Strongest:
    """A grey value stored in a false colour: the largest of those samples that carry it."""

    carriers: tuple[int, ...]

    def __call__(self, pixels: Pixels) -> Pixels:
        return pixels[..., list(self.carriers)].max(axis=2, keepdims=True)


@dataclass(frozen=True, slots=True)
class Inverted:
    """WhiteIsZero to black-is-zero: `maximum` minus the value."""

    maximum: int
    dtype: np.dtype[Any]

    def __call__(self, pixels: Pixels) -> Pixels:
        return np.subtract(self.maximum, pixels, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class Palette:
    """Palette indices to RGB of 8 bits, or of the palette's 16; indices past the map show its last colour."""

    table: NDArray[Any]
    """Shape (entries, 3)."""

    def __call__(self, pixels: Pixels) -> Pixels:
        return self.table[np.minimum(pixels[..., 0], len(self.table) - 1)]


def palette_of(colormap: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """The ColorMap tag (all reds, then greens, then blues, 16 bits each) as (entries, 3) of 8 bits.

    The high byte counts, as in libtiff; maps of old writers hold 8-bit values, known by none being over 255.
    """
    table = np.asarray(colormap, np.uint16).reshape(3, -1).T
    return (table if int(table.max()) < 256 else table >> 8).astype(np.uint8)


def deep_palette_of(colormap: Sequence[int] | NDArray[Any]) -> NDArray[np.uint16] | None:
    """The ColorMap tag as (entries, 3) of 16 bits; None where the high byte tells all.

    So it does where writers made 16 bits of 8: shifted, times 257, or with ones below.
    """
    table = np.asarray(colormap, np.uint16).reshape(3, -1).T
    low, high = table & 255, table >> 8
    plain = int(table.max()) < 256 or any(np.array_equal(low, made) for made in (low * 0, high, low * 0 + 255))
    return None if plain else table


def cmyk_to_rgb(pixels: Pixels) -> Pixels:
    """CMYK (0 is no ink) to RGB of the same unsigned type without a profile: nk - C * nk / max, nk = max - K, rounded.

    With 8 bits this is Pillow's arithmetic.
    """
    most = int(np.iinfo(pixels.dtype).max)
    wide = np.uint32 if most <= 0xFFFF else np.uint64  # most * most and its half fit
    rest = np.subtract(most, pixels[..., 3:4], dtype=wide)
    product = pixels[..., :3].astype(wide) * rest
    product += most // 2
    return (rest - product // most).astype(pixels.dtype)


@dataclass(frozen=True, slots=True)
class YCbCr:
    """8-bit YCbCr to RGB with the coefficients and the black and white of the file (TIFF 6.0, section 21)."""

    luma: tuple[float, float, float] = (0.299, 0.587, 0.114)
    reference: tuple[float, ...] = (0, 255, 128, 255, 128, 255)

    def __call__(self, pixels: Pixels) -> Pixels:
        black, white = self.reference[0::2], self.reference[1::2]
        y = (pixels[..., 0].astype(np.float32) - black[0]) * 255 / (white[0] - black[0])
        cb = (pixels[..., 1].astype(np.float32) - black[1]) * 127 / (white[1] - black[1])
        cr = (pixels[..., 2].astype(np.float32) - black[2]) * 127 / (white[2] - black[2])
        red, green, blue = self.luma
        r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
        g = (y - blue * b - red * r) / green
        return np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255).astype(np.uint8)
