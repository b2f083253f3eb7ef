"""The pictures of an animated PNG. Layout: PNG 3rd ed., 11.3.6 (acTL, fcTL, fdAT)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.gdal.animation import Animation, Canvas, Left, Part, uncovered
from drivers.gdal.chunks import png_chunks
from drivers.limits import LIMITS, check
from drivers.model import Pixels
from drivers.pictures.color import opaque

_LEFT = {1: Left.CLEARED, 2: Left.RESTORED}
_GREY, _RGB, _PALETTE = 0, 2, 3
_WITH_ALPHA = {4, 6}
_READ = {b"PLTE", b"tRNS", b"fcTL"}


@dataclass(frozen=True, slots=True)
class _Samples:
    """How the samples of all pictures are stored."""

    bits: int
    kind: int
    """Colour type of the header."""
    rest: bytes
    """Compression, filter, interlacing."""
    palette: bytes = b""
    clear: bytes = b""
    """tRNS: one colour, or the opacities of a palette."""

    @property
    def grey(self) -> bool:
        """One sample, and the opacity."""
        return self.kind in (_GREY, 4)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As decoded."""
        return np.dtype("u2" if self.bits == 16 else "u1")

    @property
    def most(self) -> int:
        """The sample of full opacity, on the scale of the others, which are as stored."""
        return 255 if self.kind == _PALETTE else opaque(self.dtype, self.bits)


@dataclass(slots=True)
class _Frame:
    """A picture while its chunks are collected."""

    control: bytes
    data: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(start, stop) of its compressed samples."""


@dataclass(slots=True)
class _Found:
    """What the chunks tell."""

    samples: _Samples
    frames: list[_Frame] = field(default_factory=list[_Frame])
    animated: bool = False
    hidden: bool = False
    """There are samples before the first picture of the animation."""
    whole: bool = False

    def add(self, start: int, stop: int) -> None:
        """Compressed samples."""
        if self.frames:
            self.frames[-1].data.append((start, stop))
        else:
            self.hidden = True


def apng_pictures(source: ByteSource) -> Animation | None:
    """All whole pictures of an animation, grey or RGB, and their opacity; None where the file is no animation."""
    width, height = struct.unpack(">II", source.read(16, 8))
    found = _collected(source)
    if not found.animated:
        return None
    samples = found.samples
    frames = found.frames if found.whole else found.frames[:-1]
    parts = [_part(source, samples, frame) for frame in frames if frame.data]
    canvas = Canvas(height, width, 2 if samples.grey else 4, samples.dtype, samples.most)
    clear = samples.kind in _WITH_ALPHA or bool(samples.clear) or uncovered(canvas, parts)
    return Animation(canvas, parts, clear, found.hidden, found.whole)


def _collected(source: ByteSource) -> _Found:
    head = source.read(24, 5)
    found = _Found(_Samples(head[0], head[1], head[2:]))
    for name, start, stop in png_chunks(source):
        if name in (b"IDAT", b"fdAT"):
            if not found.animated:
                break  # acTL comes first
            found.add(start + 4 if name == b"fdAT" else start, stop)
        else:
            _told(found, name, source.read(start, stop - start) if name in _READ else b"")
    return found


def _told(found: _Found, name: bytes, data: bytes) -> None:
    """What a chunk without samples says."""
    match name:
        case b"acTL":
            found.animated = True
        case b"PLTE":
            found.samples = replace(found.samples, palette=data)
        case b"tRNS":
            found.samples = replace(found.samples, clear=data)
        case b"fcTL":
            found.frames.append(_Frame(data))
        case b"IEND":
            found.whole = True
        case _:
            pass


def _part(source: ByteSource, samples: _Samples, frame: _Frame) -> Part:
    _, width, height, left, top, _, _, after, blend = struct.unpack(">5I2H2B", frame.control)
    decode = partial(_decoded, source, samples, frame.data, (height, width))
    return Part(top, left, height, width, decode, _LEFT.get(after, Left.KEPT), blend=blend == 1)


def _decoded(source: ByteSource, samples: _Samples, data: list[tuple[int, int]], size: tuple[int, int]) -> Pixels:
    """The picture decoded alone, out of a file that holds nothing else; indices of a palette as greys."""
    import imagecodecs

    check("the number of compressed bytes of a picture", sum(b - a for a, b in data), LIMITS.tile_bytes)
    kind = _GREY if samples.kind == _PALETTE else samples.kind
    head = struct.pack(">IIBB", size[1], size[0], samples.bits, kind) + samples.rest
    stored = b"".join(source.read(a, b - a) for a, b in data)
    file = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in ((b"IHDR", head), (b"IDAT", stored), (b"IEND", b"")))
    try:
        pixels: Any = imagecodecs.png_decode(file)
    except (imagecodecs.PngError, ValueError) as error:
        raise Damaged(f"a picture cannot be decoded: {str(error)[:100]}") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[:2] != size or pixels.dtype != samples.dtype:
        raise Damaged(f"a picture decodes to {pixels.shape} of type {pixels.dtype}, not {size}")
    if samples.bits < 8:  # libpng spreads them over 0 to 255
        pixels //= 255 // ((1 << samples.bits) - 1)
    return pixels if samples.kind in _WITH_ALPHA else _with_opacity(pixels, samples)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _with_opacity(pixels: Pixels, samples: _Samples) -> Pixels:
    if samples.kind == _PALETTE:
        colors = np.frombuffer(samples.palette[: len(samples.palette) // 3 * 3][:768], np.uint8).reshape(-1, 3)
        table = np.zeros((256, 4), np.uint8)
        table[:, 3] = 255
        table[: len(colors), :3] = colors
        table[: len(samples.clear), 3] = np.frombuffer(samples.clear[:256], np.uint8)
        return table[pixels[..., 0]]
    seen = np.full((*pixels.shape[:2], 1), samples.most, pixels.dtype)
    if len(samples.clear) == 2 * pixels.shape[2]:
        one = np.frombuffer(samples.clear, ">u2") & (1 << samples.bits) - 1
        seen[(pixels == one).all(axis=2)] = 0
    return np.concatenate([pixels, seen], axis=2)
