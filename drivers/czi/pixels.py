"""One stored sub-block as pixels. Pixel types and compressions: libCZI (libCZI_Pixels.h, libCZI_compress.h).

Samples of colour come as blue, green, red from the codecs that know nothing of colour, as red, green, blue from JPEG and
JPEG XR. Compression 6 puts a small header in front of the zstd stream, which may say that low and high bytes of 16 bit
samples are stored apart (hi-lo packing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.czi.directory import Block
from drivers.errors import Damaged, Unsupported
from drivers.limits import LIMITS, check
from drivers.pictures.jpeg import check_jpeg, frame_size

COMPRESSIONS = {0: "none", 1: "jpeg", 2: "lzw", 4: "jpegxr", 5: "zstd", 6: "zstd"}


@dataclass(frozen=True, slots=True)
class PixelType:
    """Samples of a pixel as they are stored."""

    name: str
    dtype: np.dtype[Any]
    """Little-endian, as in the file."""
    samples: int

    @property
    def bytes(self) -> int:
        """Bytes of a pixel."""
        return self.dtype.itemsize * self.samples


def _type(name: str, dtype: str, samples: int) -> PixelType:
    return PixelType(name, np.dtype(dtype), samples)


PIXEL_TYPES = {
    0: _type("Gray8", "<u1", 1),
    1: _type("Gray16", "<u2", 1),
    2: _type("Gray32Float", "<f4", 1),
    3: _type("Bgr24", "<u1", 3),
    4: _type("Bgr48", "<u2", 3),
    8: _type("Bgr96Float", "<f4", 3),
    9: _type("Bgra32", "<u1", 4),
    12: _type("Gray32", "<i4", 1),
    13: _type("Gray64Float", "<f8", 1),
}


def pixel_type(code: int) -> PixelType:
    """The pixel type of a code; raises Unsupported for complex numbers and what is not known."""
    if code not in PIXEL_TYPES:
        known = {10: "complex numbers", 11: "complex numbers"}.get(code, "not known")
        raise Unsupported(f"pixels of type {code} ({known}) are not read")
    return PIXEL_TYPES[code]


def check_block(block: Block) -> None:
    """Raise where a sub-block is stored in a way that is not read, or claims more than the limits allow."""
    if block.compression not in COMPRESSIONS:
        raise Unsupported(f"sub-blocks with compression {block.compression} are not read")
    if block.compression:
        check("the number of pixels of a sub-block", block.stored_height * block.stored_width, LIMITS.tile_pixels)
        size = block.stored_height * block.stored_width * pixel_type(block.pixel_type).bytes
        check("the number of bytes of a sub-block", size, LIMITS.tile_bytes)


def decode(data: bytes, block: Block) -> NDArray[Any]:
    """Pixels (height, width, samples) of the block's stored bytes; red first. Raises Damaged."""
    kind, shape = pixel_type(block.pixel_type), (block.stored_height, block.stored_width)
    # Some writers leave a block uncompressed where that is shorter, and do not say so (czifile works around it too).
    plain = len(data) == shape[0] * shape[1] * kind.bytes and not data.startswith(_STARTS.get(block.compression, b""))
    try:
        pixels = (_raw if plain else _DECODERS[block.compression])(data, kind, shape)
    except (Damaged, Unsupported):
        raise
    except Exception as error:
        name = COMPRESSIONS[block.compression]
        raise Damaged(f"the {name} stream does not decode: {' '.join(str(error).split())[:200]}") from error
    return pixels if pixels.shape[:2] == shape else _grown(pixels, shape)


def _grown(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Some writers round the size of an edge block up in the directory and down in the pixels: the edge is repeated."""
    below, beside = shape[0] - pixels.shape[0], shape[1] - pixels.shape[1]
    if not (0 <= below <= 1 and 0 <= beside <= 1):
        raise Damaged(f"the stored image is {pixels.shape[1]}x{pixels.shape[0]}, the directory says {shape[1]}x{shape[0]}")
    return np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")


def _packed(raw: Any, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    """Pixels of plain bytes; a row, a column or both may be absent (see `_grown`)."""
    height, width = shape
    for rows, columns in ((height, width), (height - 1, width), (height, width - 1), (height - 1, width - 1)):
        if len(raw) == rows * columns * kind.bytes and len(raw):
            return np.frombuffer(raw, kind.dtype).reshape(rows, columns, kind.samples)
    raise Damaged(f"holds {len(raw)} bytes where {width}x{height} pixels of {kind.name} need {width * height * kind.bytes}")


def red_first(pixels: NDArray[Any]) -> NDArray[Any]:
    """Blue, green, red, (alpha) as red, green, blue, (alpha), contiguous; other pixels as they are, in native byte order."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.shape[2] < 3:
        return pixels
    import cv2

    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _raw(data: Any, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    data = data[: shape[0] * shape[1] * kind.bytes]  # padding
    return red_first(_packed(data, kind, shape))


def _lzw(data: bytes, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    return _raw(imagecodecs.lzw_decode(data, out=shape[0] * shape[1] * kind.bytes), kind, shape)


def _zstd0(data: bytes, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    return _raw(imagecodecs.zstd_decode(data, out=shape[0] * shape[1] * kind.bytes), kind, shape)


def _zstd1(data: bytes, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    # With `samples` left at 1 the decoder keeps the order of the samples.
    size = shape[0] * shape[1] * kind.bytes
    return _raw(imagecodecs.zstd1_decode(data, itemsize=kind.dtype.itemsize, out=size), kind, shape)


def _jpeg(data: bytes, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    frame = frame_size(data)
    one_less = frame is not None and frame[1] == shape[1] - 1
    check_jpeg(data, shape[0], shape[1] - one_less)
    return _image(imagecodecs.jpeg8_decode(data), kind)


def _jpegxr(data: bytes, kind: PixelType, shape: tuple[int, int]) -> NDArray[Any]:
    import imagecodecs

    height, width = jpegxr_size(data)
    if not (0 <= shape[0] - height <= 1 and 0 <= shape[1] - width <= 1):
        raise Damaged(f"the JPEG XR image is {width}x{height}, the directory says {shape[1]}x{shape[0]}")
    return _image(imagecodecs.jpegxr_decode(data), kind)


def _image(pixels: NDArray[Any], kind: PixelType) -> NDArray[Any]:
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype != kind.dtype or pixels.shape[2] != kind.samples:
        raise Damaged(f"the stored image has {pixels.shape[2]} samples of {pixels.dtype}, the directory says {kind.name}")
    return pixels


def jpegxr_size(data: bytes) -> tuple[int, int]:
    """(height, width) in the container of a JPEG XR image (ITU-T T.832 annex A), whose bytes must all be there."""
    if data[:3] != b"II\xbc":
        raise Damaged("the JPEG XR image has no start marker")
    at = int.from_bytes(data[4:8], "little")
    tags: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], "little"), 12):
        length = 2 if data[entry + 2 : entry + 4] == b"\3\0" else 4
        tags[int.from_bytes(data[entry : entry + 2], "little")] = int.from_bytes(
            data[entry + 8 : entry + 8 + length], "little"
        )
    width, height, offset, count = (tags.get(tag, 0) for tag in (0xBC80, 0xBC81, 0xBCC0, 0xBCC1))
    if offset + count > len(data) or not offset:
        raise Damaged(f"the JPEG XR image needs {offset + count} bytes, {len(data)} are stored: it is cut short")
    return height, width


_STARTS = {1: b"\xff\xd8", 4: b"II\xbc", 5: b"\x28\xb5\x2f\xfd"}
_DECODERS: dict[int, Callable[[bytes, PixelType, tuple[int, int]], NDArray[Any]]] = {
    0: _raw,
    1: _jpeg,
    2: _lzw,
    4: _jpegxr,
    5: _zstd0,
    6: _zstd1,
}
