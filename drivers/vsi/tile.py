"""A stored tile of an ETS file as pixels (height, width, samples)."""

from __future__ import annotations

import numpy as np

from drivers.errors import Damaged, DriverError
from drivers.model import Pixels
from drivers.pictures import jpeg2000
from drivers.pictures.frames import picture_size
from drivers.pictures.jpeg import check_end, frame_size
from drivers.vsi.ets import BMP, JPEG, JPEG2000, JPEG_LOSSLESS, PNG, RAW, Header

_TIFF_CODES = {JPEG2000: 34712, PNG: 34933}


def decode(data: bytes, header: Header) -> Pixels:
    """Decode one tile. Raises Damaged, before it decodes where the stored picture is larger than a tile."""
    if header.compression == RAW:
        return _raw(data, header)
    _check(data, header)
    try:
        pixels = _decoded(data, header)
    except (DriverError, MemoryError):
        raise
    except Exception as error:
        raise Damaged(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] < header.components or pixels.dtype.itemsize != header.dtype.itemsize:
        raise Damaged(f"decodes to {pixels.shape} {pixels.dtype}, its place has {header.components} samples {header.dtype}")
    if pixels.shape[0] > header.tile_height or pixels.shape[1] > header.tile_width:
        raise Damaged(f"decodes to {pixels.shape[1]}x{pixels.shape[0]}, larger than a tile")
    return (
        pixels[..., : header.components].view(header.dtype)
        if pixels.dtype != header.dtype
        else pixels[..., : header.components]
    )


def _raw(data: bytes, header: Header) -> Pixels:
    if len(data) < header.tile_bytes:
        raise Damaged(f"holds {len(data)} bytes where a tile needs {header.tile_bytes}")
    shape = (header.tile_height, header.tile_width, header.components)
    stored = np.frombuffer(data, header.dtype.newbyteorder("<"), int(np.prod(shape))).reshape(shape)
    pixels = stored.astype(header.dtype, copy=False)
    return pixels[..., ::-1] if header.bgr and header.components == 3 else pixels


def _check(data: bytes, header: Header) -> None:
    size = picture_size(_TIFF_CODES.get(header.compression, 0), data)
    if header.compression in (JPEG, JPEG_LOSSLESS):
        if not data.startswith(b"\xff\xd8"):
            raise Damaged("the JPEG stream has no start marker")
        check_end(data)
        size = frame_size(data)
    elif header.compression == BMP and data.startswith(b"BM") and len(data) >= 26:
        width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (18, 22))
        size = abs(height), width
    if size is None or not (0 < size[0] <= header.tile_height and 0 < size[1] <= header.tile_width):
        said = "has no header" if size is None else f"is {size[1]}x{size[0]}"
        raise Damaged(f"the stored picture {said}, the tile {header.tile_width}x{header.tile_height}")


def _decoded(data: bytes, header: Header) -> Pixels:
    import imagecodecs

    decoders = {
        JPEG: imagecodecs.jpeg8_decode,
        JPEG_LOSSLESS: imagecodecs.jpeg_decode,
        JPEG2000: jpeg2000.decode,
        PNG: imagecodecs.png_decode,
        BMP: imagecodecs.bmp_decode,
    }
    return decoders[header.compression](data)
