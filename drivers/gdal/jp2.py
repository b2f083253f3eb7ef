"""JPEG 2000 without tiles, decoded at once: GDAL reads through all of its packets again for every block.

A picture of 20000 x 10000 took 82 s of processor time in GDAL's blocks and 15 s at once, its quarter 5.7 s and 2.7 s.
At once it takes four bytes a sample and the samples themselves, so large pictures stay with GDAL, and what GDAL and
OpenJPEG's own conversions may see differently (palettes, sYCC, channels in another order) too.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource
from drivers.gdal.dataset import Source
from drivers.model import Pixels

MOST_BYTES = 4 << 30
"""What decoding at once may take, also on a large machine: an RGB picture of 8 bits with 286 megapixels."""
_SIZ = struct.Struct(">8I")
SYCC = 18
SHOWN = {None, 0, 12, 15, 16, 17, SYCC, 20, 21}
"""Enumerated spaces (ITU-T T.801, table M.25) that are shown as RGB, grey or inks; CIELab, e-sYCC, ... would be wrong."""
_PLAIN = {16, 17}
"""Enumerated colour spaces whose samples are shown as stored: sRGB and grey (ITU-T T.800, table I.10)."""


def fits(samples: int, dtype: np.dtype[np.generic]) -> bool:
    """Whether this machine may decode that many samples at once: half of its memory at most."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return memory(samples, dtype) <= min(MOST_BYTES, machine // 2)


def memory(samples: int, dtype: np.dtype[np.generic]) -> int:
    """Bytes that decoding at once takes."""
    return samples * (4 + dtype.itemsize)


def is_untiled(source: ByteSource, codestream: int) -> bool:
    """Whether the codestream at an offset has one tile: SIZ, ITU-T T.800, A.5.1."""
    marker = source.read(codestream + 2, 2)
    width, height, _, _, tile_x, tile_y, tile_left, tile_top = _SIZ.unpack(source.read(codestream + 8, _SIZ.size))
    return marker == b"\xff\x51" and tile_left + tile_x >= width and tile_top + tile_y >= height


def require_shown(name: str, color_space: int | None, half_palette: bool) -> None:
    """Raise Unsupported for a colour space whose samples would be taken for RGB, and for indices taken for grey."""
    if half_palette:
        raise Unsupported(f"{name}: JPEG 2000 with a palette for some of its components is not read; convert it to RGB first")
    if color_space not in SHOWN:
        raise Unsupported(f"{name}: JPEG 2000 of colour space {color_space} is not read; convert it to RGB first")


def is_plain(color_space: int | None) -> bool:
    """Whether the samples are shown as stored; None: the file names no enumerated colour space."""
    return color_space is None or color_space in _PLAIN


def decode(source: Source, shape: tuple[int, int, int], dtype: np.dtype[np.generic]) -> Pixels:
    """All of a resolution, the first `shape[2]` components. Raises Damaged."""
    import imagecodecs

    skipped = 0 if source.overview is None else source.overview + 1
    data = np.memmap(source.path, np.uint8, "r")
    try:
        pixels = imagecodecs.jpeg2k_decode(data, skipres=skipped, numthreads=1)
    except (imagecodecs.Jpeg2kError, ValueError) as error:
        raise Damaged(f"{source.name}: resolution {skipped} cannot be decoded: {str(error)[:100]}") from error
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.shape[:2] != shape[:2] or pixels.shape[2] < shape[2] or pixels.dtype != dtype:
        raise Damaged(f"{source.name}: resolution {skipped} decodes to {pixels.shape}, {pixels.dtype}, not {shape}, {dtype}")
    return pixels[..., : shape[2]]
