"""What picture files carry beside their pixels: EXIF, colour profile, resolution. Read from the file itself: GDAL gives
some of it for some formats, and fails on text that is not UTF-8.

Layouts: JPEG markers (ITU-T T.81, JFIF 1.02, ICC.1 annex B.4), PNG chunks (W3C PNG 3rd ed.), WebP's RIFF chunks (RFC 9649),
JP2 boxes (ITU-T T.800 annex I).
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.errors import DriverError
from drivers.files import ByteSource
from drivers.gdal.bitmap import Bitmap, bitmap_of
from drivers.gdal.chunks import png_chunks, riff_chunks
from drivers.gdal.jp2 import SYCC, is_plain, is_untiled
from drivers.gdal.kinds import CODESTREAM, Kind
from drivers.gdal.multi import markers
from drivers.limits import LIMITS
from drivers.pictures.jpeg2000 import has_reduced_chroma

_HEADER = 4096
_CHUNKS = 200_000
_DISPLAY_PER_M = 1200 / 0.0254
"""Cameras, scanners and paint programs write up to 1200 dots per inch without having measured anything."""
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FINEST_PER_M = 1e10


@dataclass(slots=True)
class Embedded:
    """Bytes as stored; None where the file has none."""

    exif: bytes | None = None
    """A TIFF structure."""
    icc: bytes | None = None
    per_m: tuple[float, float] | None = None
    """Pixels per metre along y and x."""
    progressive: bool = False
    at_once: bool = False
    """JPEG 2000 of one tile, in colours that are shown as stored."""
    ycbcr: bool = False
    """JPEG 2000 whose samples are sYCC, all of one size: GDAL gives them as they are stored."""
    color_space: int | None = None
    """Enumerated colour space of a JP2 file."""
    half_palette: bool = False
    """A JP2 file with a palette beside components that do not go through it: GDAL shows the indices."""
    multiplied: bool = False
    """A JP2 file whose colours are stored multiplied by their opacity."""
    chroma: bytes | None = None
    """The first bytes of a JPEG 2000 codestream whose chroma is reduced."""
    clear: tuple[int, ...] | None = None
    """The samples of the one colour of a PNG that is transparent (tRNS)."""
    bitmap: Bitmap | None = None
    """A bitmap that GDAL would not show right."""
    icc_parts: dict[int, bytes] = field(default_factory=dict[int, bytes])


def embedded(source: ByteSource, kind: Kind) -> Embedded:
    """What `source` carries; damage in it is not told, since the pixels do not depend on it."""
    found = Embedded()
    read = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "JP2OpenJPEG": _jp2, "BMP": _bmp}.get(kind.driver)
    if read is not None:
        with contextlib.suppress(DriverError, struct.error, zlib.error, ValueError, IndexError):
            read(source, found)
    if found.icc_parts:
        found.icc = b"".join(part for _, part in sorted(found.icc_parts.items()))
    return found


def pixel_size_um(per_m: tuple[float, float] | None) -> tuple[float | None, float | None]:
    """(y, x) micrometres, only where the resolution is finer than what is written for screens and paper."""
    if per_m is None or not all(_DISPLAY_PER_M * 1.001 < n < _FINEST_PER_M for n in per_m):
        return None, None
    return 1e6 / per_m[0], 1e6 / per_m[1]


def profile(icc: bytes | None, channels: int) -> tuple[bytes | None, str | None]:
    """(profile, warning): the profile where it describes the colours that are shown."""
    if not icc:
        return None, None
    if len(icc) > LIMITS.icc_bytes:
        return None, f"the ICC profile of {len(icc)} bytes is over the limit and was dropped"
    space = icc[16:20]
    if (space == b"RGB " and channels == 3) or (space == b"GRAY" and channels == 1):
        return icc, None
    return None, "the ICC profile is for other colours than those shown and was dropped"


def jpeg_carries(source: ByteSource, start: int) -> Embedded:
    """What the JPEG that begins at byte `start` carries."""
    found = Embedded()
    with contextlib.suppress(DriverError, struct.error, IndexError):
        _jpeg(source, found, start)
    found.icc = b"".join(part for _, part in sorted(found.icc_parts.items())) or None
    return found


def _jpeg(source: ByteSource, found: Embedded, start: int = 0) -> None:
    for marker, _, body in markers(source, start):
        if marker in _PROGRESSIVE:
            found.progressive = True
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and found.exif is None:
            found.exif = body[6:]
        elif (
            marker == 0xE2
            and body.startswith(b"ICC_PROFILE\0")
            and sum(map(len, found.icc_parts.values())) < LIMITS.icc_bytes
        ):
            found.icc_parts[body[12]] = body[14:]
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            unit, x, y = struct.unpack(">BHH", body[7:12])
            scale = {1: 1 / 0.0254, 2: 100.0}.get(unit)
            found.per_m = None if scale is None or not x or not y else (y * scale, x * scale)


def _png(source: ByteSource, found: Embedded) -> None:
    mask = (1 << source.read(24, 1)[0]) - 1
    colors = {0: 1, 2: 3}.get(source.read(25, 1)[0])
    for name, at, stop in png_chunks(source):
        size = stop - at
        if name == b"tRNS" and colors is not None and size == 2 * colors:
            found.clear = tuple(value & mask for value in struct.unpack(f">{colors}H", source.read(at, size)))
        elif name == b"eXIf" and size <= LIMITS.metadata_bytes:
            found.exif = source.read(at, size)
        elif name == b"iCCP" and size <= LIMITS.icc_bytes:
            packed = source.read(at, size).partition(b"\0")[2][1:]
            found.icc = zlib.decompressobj().decompress(packed, LIMITS.icc_bytes + 1)
        elif name == b"pHYs" and size == 9:
            x, y, unit = struct.unpack(">IIB", source.read(at, 9))
            found.per_m = (y, x) if unit == 1 else None


def _webp(source: ByteSource, found: Embedded) -> None:
    for name, at, stop in riff_chunks(source, 12, source.size):
        size = stop - at
        if name == b"EXIF" and size <= LIMITS.metadata_bytes:
            found.exif = source.read(at, size).removeprefix(b"Exif\0\0")
        elif name == b"ICCP" and size <= LIMITS.icc_bytes:
            found.icc = source.read(at, size)


def _bmp(source: ByteSource, found: Embedded) -> None:
    found.bitmap = bitmap_of(source)


def _jp2(source: ByteSource, found: Embedded) -> None:
    if source.read(0, len(CODESTREAM)) == CODESTREAM:
        found.chroma = _chroma(source, 0, source.size)
        found.at_once = is_untiled(source, 0)
        return
    space: int | None = None
    for name, start, stop in _boxes(source, 0, source.size):
        if name == b"jp2h":
            space = _jp2_header(source, (start, stop), found)
        elif name == b"jp2c":
            found.color_space = space
            found.chroma = _chroma(source, start, stop)
            found.at_once = is_plain(space) and is_untiled(source, start)
            found.ycbcr = space == SYCC and found.chroma is None
            return


def _chroma(source: ByteSource, start: int, stop: int) -> bytes | None:
    header = source.read(start, min(_HEADER, stop - start))
    return header if has_reduced_chroma(header) else None


def _jp2_header(source: ByteSource, place: tuple[int, int], found: Embedded) -> int | None:
    """Profile and resolution out of the header box; gives the enumerated colour space."""
    space: int | None = None
    for name, a, b in _boxes(source, *place):
        if name == b"colr" and source.read(a, 1) == b"\1":
            space = int.from_bytes(source.read(a + 3, 4), "big")
        elif name == b"colr" and source.read(a, 1) in (b"\2", b"\3") and b - a <= LIMITS.icc_bytes:
            found.icc = source.read(a + 3, b - a - 3)
        elif name == b"cmap":  # component, whether by the palette, column
            found.half_palette = len({source.read(at + 2, 1) for at in range(a, min(b, a + 4 * LIMITS.channels), 4)}) > 1
        elif name == b"cdef":  # the number of rows; channel, type, which colour
            rows = range(a + 2, min(b, a + 6 * LIMITS.channels), 6)
            found.multiplied = any(source.read(at + 2, 2) == b"\0\2" for at in rows)
        elif name == b"res ":
            for kind, c, _ in _boxes(source, a, b):
                if kind == b"resc":
                    ny, dy, nx, dx, ey, ex = struct.unpack(">HHHHbb", source.read(c, 10))
                    found.per_m = (ny / dy * 10.0**ey, nx / dx * 10.0**ex) if dy and dx else None
    return space


def _boxes(source: ByteSource, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start and stop of the contents) of the boxes in a part of the file."""
    for _ in range(_CHUNKS):
        if at + 8 > stop:
            return
        size, name = struct.unpack(">I4s", source.read(at, 8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", source.read(at + 8, 8))[0], 16
        size = size or stop - at
        if size < head or at + size > stop:
            return
        yield name, at + head, at + size
        at += size
