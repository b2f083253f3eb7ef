"""A stored frame to samples (rows, columns, samples). Every decoder of imagecodecs releases the interpreter's lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.dicom.pixels import PixelFacts
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.limits import LIMITS, check
from drivers.model import Pixels
from drivers.pictures import jpeg2000
from drivers.pictures.color import ycbcr_to_rgb
from drivers.pictures.frames import picture_size
from drivers.pictures.jpeg import check_end, check_jpeg

_JPEG2000 = 34712  # the TIFF compression by which `picture_size` knows the codec
_YCBCR = ("YBR_FULL", "YBR_FULL_422")
_SOF55 = b"\xff\xf7"


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the frames of an instance; safe from any thread."""

    facts: PixelFacts

    def __call__(self, data: bytes) -> Pixels:
        """A whole frame, as shown: colours as RGB, black as zero."""
        try:
            return self.shown(self._stored(data))
        except (DriverError, MemoryError):
            raise
        except Exception as error:
            raise Damaged(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error

    def shown(self, pixels: Pixels) -> Pixels:
        """Samples as stored to samples of the level."""
        f = self.facts
        if f.palette is not None:
            return f.palette[np.minimum(pixels[..., 0], len(f.palette) - 1)]
        if f.inverted and f.dtype.kind == "u":
            return np.subtract((1 << f.bits) - 1, pixels, dtype=f.dtype)
        return pixels

    def raw(self, data: bytes, rows: int) -> Pixels:
        """Samples of `rows` uncompressed rows."""
        f = self.facts
        if f.subsampled:
            return _unpacked(data, (rows, f.columns))
        pixels = np.frombuffer(data, f.stored, rows * f.columns * f.stored_samples)
        if f.planar:
            pixels = pixels.reshape(f.stored_samples, rows, f.columns).transpose(1, 2, 0)
        else:
            pixels = pixels.reshape(rows, f.columns, f.stored_samples)
        pixels = self._bits(pixels.astype(f.dtype if f.palette is None else f.stored.newbyteorder("="), copy=False))
        return self._declared(pixels)

    def _stored(self, data: bytes) -> Pixels:
        f = self.facts
        if f.compression == "none":
            return self.raw(data, f.rows)
        if f.compression == "deflate":
            return self.raw(_inflated(data, f.frame_bytes), f.rows)
        pixels = self._decoded(data)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        if pixels.shape != (f.rows, f.columns, f.stored_samples):
            raise Damaged(f"decodes to {pixels.shape} where {(f.rows, f.columns, f.stored_samples)} is claimed")
        if f.palette is not None or pixels.dtype == f.dtype:
            return pixels
        if pixels.dtype.itemsize > f.dtype.itemsize:
            raise Damaged(f"decodes to {pixels.dtype}, the file claims {f.dtype}")
        wide = pixels.astype(f.dtype)  # a signed image in a codec that knows no sign
        return self._bits(wide) if pixels.dtype.kind != f.dtype.kind else wide

    def _decoded(self, data: bytes) -> Pixels:
        import imagecodecs

        f = self.facts
        match f.compression:
            case "jpeg":
                check_jpeg(data, f.rows, f.columns)
                return _jpeg(data, f)
            case "ljpeg":
                check_jpeg(data, f.rows, f.columns)
                return self._declared(imagecodecs.ljpeg_decode(data))
            case "jpegls":
                check_end(data)
                _check_size(_jpegls_size(data), f)
                return self._declared(imagecodecs.jpegls_decode(data))
            case "jpeg2000" | "htj2k":
                _check_size(picture_size(_JPEG2000, data), f)
                return _recoloured(jpeg2000.decode(data, high_throughput=f.compression == "htj2k"), data, f)
            case "jpegxl":
                return imagecodecs.jpegxl_decode(data)
            case _:
                return self._rle(data)

    def _rle(self, data: bytes) -> Pixels:
        """Segments are planes of bytes, the highest first, whatever the byte order (PS3.5 G.2)."""
        import imagecodecs

        f = self.facts
        decoded = imagecodecs.dicomrle_decode(data, f.stored.newbyteorder("<"), out=f.frame_bytes)
        out = np.frombuffer(decoded, f.stored.newbyteorder("<")).reshape(f.stored_samples, f.rows, f.columns)
        pixels = self._bits(out.transpose(1, 2, 0).astype(f.dtype if f.palette is None else out.dtype, copy=False))
        return self._declared(pixels)

    def _declared(self, pixels: Pixels) -> Pixels:
        """RGB of samples whose codec knows nothing of colour: what they are only the data set says."""
        f = self.facts
        return ycbcr_to_rgb(pixels) if f.photometric in _YCBCR and pixels.shape[-1] == 3 else pixels

    def _bits(self, pixels: Pixels) -> Pixels:
        """Without what lies beside the stored bits (overlays of old files), with the sign of the highest of them."""
        f = self.facts
        unused = f.stored.itemsize * 8 - f.bits
        if unused == 0 or f.stored.kind == "f":
            return pixels
        left = f.stored.itemsize * 8 - 1 - f.high_bit
        return np.right_shift(np.left_shift(pixels, max(0, left)), unused)


def _jpeg(data: bytes, facts: PixelFacts) -> Pixels:
    import imagecodecs

    if facts.stored_samples != 3:
        return imagecodecs.jpeg8_decode(data)
    space = "YCBCR" if stored_as_ycbcr(data, facts.photometric) else "RGB"
    return imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB")


def stored_as_ycbcr(data: bytes, photometric: str) -> bool:
    """Whether a JPEG of three components holds YCbCr. What the stream shows counts before what the data set says.

    Adobe's marker tells; reduced components can only be chroma; components named R, G, B are those.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe" and length >= 14:
            return data[at + 15] != 0
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            ids, sampling = data[at + 10 : at + 19 : 3], data[at + 11 : at + 19 : 3]
            if len(set(sampling)) > 1:
                return True
            if ids == b"RGB":
                return False
        at += 2 + length
    return photometric != "RGB"


def _recoloured(pixels: Pixels, data: bytes, facts: PixelFacts) -> Pixels:
    """RGB of a JPEG 2000 frame. Some writers store YCbCr that the stream does not declare (no component transform)."""
    if facts.stored_samples != 3 or not facts.photometric.startswith("YBR") or jpeg2000.decoded_as_rgb(data):
        return pixels
    if pixels.dtype != np.uint8:
        raise Unsupported(f"YCbCr ({facts.photometric}) of type {pixels.dtype} without a component transform is not read")
    return ycbcr_to_rgb(pixels)


def _jpegls_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(_SOF55, 0, 4096)
    return None if at < 0 else (int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big"))


def _check_size(size: tuple[int, int] | None, facts: PixelFacts) -> None:
    if size != (facts.rows, facts.columns):
        stored = "of no size" if size is None else f"{size[1]}x{size[0]}"
        raise Damaged(f"the stored picture is {stored}, the frame {facts.columns}x{facts.rows}")


def _unpacked(data: bytes, size: tuple[int, int]) -> Pixels:
    """Y Y Cb Cr for two pixels, both chroma samples shared (PS3.3 C.7.6.3.1.2), to RGB."""
    pairs = np.frombuffer(data, np.uint8).reshape(size[0], size[1] // 2, 4)
    pixels = np.empty((*size, 3), np.uint8)
    pixels[..., 0] = pairs[..., :2].reshape(size)
    pixels[..., 1], pixels[..., 2] = np.repeat(pairs[..., 2], 2, axis=1), np.repeat(pairs[..., 3], 2, axis=1)
    return ycbcr_to_rgb(pixels)


def _inflated(data: bytes, size: int) -> bytes:
    import zlib

    check("the number of bytes of a decoded frame", size, LIMITS.tile_bytes)
    inflated: Any = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
    if len(inflated) < size:
        raise Damaged(f"inflates to {len(inflated)} bytes where {size} are claimed")
    return inflated
