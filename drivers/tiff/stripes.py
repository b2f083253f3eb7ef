"""Hamamatsu's levels: one JPEG a level, its restart intervals used as stripes of 8 rows, joined here to bands.

A JPEG cannot be entered in its middle but at restart markers, whose offsets NDPI lists (tag 65426, high words in 65432).
Intervals are put behind the level's own header with the height patched, and their markers renumbered. Levels without
restart markers are one picture. Facts: OpenSlide's description of the format, tifffile's tags, and a real file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import CutShort, Damaged, DriverError, Unsupported
from drivers.files import ByteSource
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import Level, Pixels
from drivers.pictures.jpeg import EOI, check_end, frame_offset, frame_size
from drivers.tiff.level import LevelFacts
from drivers.tiff.metadata import tag
from drivers.tiles import Grid

if TYPE_CHECKING:
    from tifffile import TiffPage

MCU_STARTS, MCU_STARTS_HIGH = 65426, 65432
BAND_ROWS, BAND_BYTES = 512, 16 << 20
HEADER_BYTES = 64 << 10
_STRIPS, _COUNTS = 273, 279
_YCBCR = 6
_SLACK = 16
"""Pixels by which the sizes of tags and picture may differ: at levels without restart markers it is one row."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The JPEG of a page. `stripe` is (height, width) of a restart interval, None where the whole is read at once."""

    height: int
    width: int
    samples: int
    colour: bool
    """Stored as YCbCr."""
    stripe: tuple[int, int] | None
    header: bytes
    """Up to the first stripe, with the height and width of a stripe; empty where there are none."""
    bounds: NDArray[np.int64]
    """Offsets in the file: where each stripe starts, and where the last one ends."""

    @property
    def across(self) -> int:
        """Stripes side by side."""
        return 1 if self.stripe is None else -(-self.width // self.stripe[1])

    @property
    def block(self) -> tuple[int, int]:
        """(height, width) of a band: whole stripes, of not more than BAND_ROWS rows and BAND_BYTES bytes."""
        if self.stripe is None:
            return self.height, self.width
        height, width = self.stripe
        rows = max(1, min(BAND_ROWS, BAND_BYTES // (width * self.samples)) // height)
        return rows * height, width

    @property
    def layout(self) -> tuple[object, ...]:
        """What the planes of one level must share."""
        return self.height, self.width, self.samples, self.colour, self.block


def picture_of(page: TiffPage, source: ByteSource) -> Picture:
    """The JPEG of a page as its tags and header say; raises Damaged, Unsupported or LimitExceeded."""
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    check("the number of pixels", height * width, LIMITS.level_pixels)
    strips, counts = tag(page, _STRIPS), tag(page, _COUNTS)
    if not strips or not counts or len(strips) != 1 or len(counts) != 1:
        raise Unsupported("a JPEG level in several strips is not read")
    if page.bitspersample != 8 or samples not in (1, 3):
        raise Unsupported(f"JPEG with {samples} samples of {page.bitspersample} bits is not read")
    start, end = int(strips[0]), int(strips[0]) + int(counts[0])
    if end > source.size:
        raise CutShort(
            f"{source.path.name}: a level reaches to byte {end}, the file ends at {source.size}: it is truncated; "
            "copy it again"
        )
    colour = samples == 3 and page.photometric == _YCBCR
    starts = _starts(page)
    if starts is None or page.jpegheader is None or len(starts) == 1:
        return _whole(page, source, colour, (start, end))
    stripe = page.tilelength, page.tilewidth
    bounds = np.append(starts + start, end)
    down, across = -(-height // stripe[0]), -(-width // stripe[1])
    if len(starts) != down * across:
        raise Damaged(f"lists {len(starts)} restart intervals where its size needs {down * across}")
    if width % stripe[1] and across > 1:
        raise Unsupported(f"restart intervals of {stripe[1]} pixels do not divide rows of {width}")
    if (np.diff(bounds) <= 0).any():
        raise Damaged("the table of restart intervals is not in order")
    check("the number of pixels of a restart interval", stripe[0] * stripe[1], LIMITS.tile_pixels)
    return Picture(height, width, samples, colour, stripe, bytes(page.jpegheader), bounds)


def _starts(page: TiffPage) -> NDArray[np.int64] | None:
    """Offsets of the restart intervals in the picture; None where the page has none.

    Without the tag of high words, a table of a picture over 4 GiB runs over: it then starts again from small numbers.
    """
    low = tag(page, MCU_STARTS)
    if low is None:
        return None
    starts = np.asarray(low, np.int64).reshape(-1)
    high = tag(page, MCU_STARTS_HIGH)
    if high is not None and np.size(high) == starts.size:
        return starts + (np.asarray(high, np.int64).reshape(-1) << 32)
    return starts + (np.cumsum(np.diff(starts, prepend=starts[:1]) < 0).astype(np.int64) << 32)


def _whole(page: TiffPage, source: ByteSource, colour: bool, place: tuple[int, int]) -> Picture:
    """A picture without restart markers: its own header has the last word on its size, tags may be a row off."""
    size = frame_size(source.read(place[0], min(HEADER_BYTES, place[1] - place[0])))
    tags = page.imagelength, page.imagewidth
    if size is None or any(abs(a - b) >= _SLACK for a, b in zip(size, tags, strict=True)):
        found = "no frame header" if size is None else f"a frame of {size[1]}x{size[0]}"
        raise Damaged(f"the JPEG has {found}, the tags say {tags[1]}x{tags[0]}")
    check("the number of pixels of a level without restart markers", size[0] * size[1], LIMITS.tile_pixels)
    return Picture(*size, page.samplesperpixel, colour, None, b"", np.array(place, np.int64))


@dataclass(frozen=True, slots=True)
class BandReader:
    """`Level.read` for planes of pictures indexed [z]; the key is the grid position."""

    source: ByteSource
    planes: tuple[Picture, ...]
    facts: LevelFacts

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        picture = self.planes[key.z]
        try:
            data = self._whole(picture) if picture.stripe is None else self._band(picture, key)
            pixels = _decode(data, picture)
        except DriverError as error:
            name = self.source.path.name
            raise type(error)(f"{name}: tile {key.y},{key.x}: {str(error).removeprefix(f'{name}: ')}") from error
        block = pixels if self.facts.convert is None else self.facts.convert(pixels)
        return block.transpose(2, 0, 1)[None, :, None]

    def _whole(self, picture: Picture) -> bytes:
        start, end = (int(bound) for bound in picture.bounds)
        data = self.source.read(start, end - start)
        if not data.startswith(b"\xff\xd8"):
            raise Damaged("the JPEG stream has no start marker")
        check_end(data)
        return data

    def _band(self, picture: Picture, key: Shape) -> bytes:
        """A JPEG of the band's stripes. Each stripe must end with the marker of its number in the level."""
        assert picture.stripe is not None
        rows = picture.block[0] // picture.stripe[0]
        down, last = -(-picture.height // picture.stripe[0]), len(picture.bounds) - 2
        stripes = range(key.y * rows, min((key.y + 1) * rows, down))
        parts = [_header(picture, len(stripes) * picture.stripe[0])]
        for number, data in enumerate(self._stripes(picture, stripes, key.x)):
            index = stripes[number] * picture.across + key.x
            if index == last:
                data = data[: data.rfind(EOI) + 2]  # noqa: PLW2901 - writers may pad behind the end
            if data[-2:] != (EOI if index == last else _restart(index)):
                raise Damaged(f"restart interval {index} does not end with its marker: the level is cut short or overwritten")
            parts += [data[:-2], _restart(number)]
        parts[-1] = EOI
        return b"".join(parts)

    def _stripes(self, picture: Picture, rows: range, column: int) -> Iterator[bytes]:
        """The stored bytes of stripes of one column: one read where they follow each other in the file."""
        starts = [row * picture.across + column for row in rows]
        if picture.across > 1:
            for i in starts:
                yield self._read(picture.bounds[i], picture.bounds[i + 1])
            return
        first = picture.bounds[starts[0]]
        data = self._read(first, picture.bounds[starts[-1] + 1])
        for i in starts:
            yield data[picture.bounds[i] - first : picture.bounds[i + 1] - first]

    def _read(self, start: int, end: int) -> bytes:
        check("the number of bytes of restart intervals", int(end - start), LIMITS.tile_bytes)
        return self.source.read(int(start), int(end - start))


def _restart(number: int) -> bytes:
    return bytes((0xFF, 0xD0 + number % 8))


def _header(picture: Picture, height: int) -> bytes:
    at = frame_offset(picture.header)
    if at is None:
        raise Damaged("the JPEG header has no frame")
    return picture.header[: at + 5] + height.to_bytes(2, "big") + picture.header[at + 7 :]


def _decode(data: bytes, picture: Picture) -> Pixels:
    import imagecodecs

    stored = "YCBCR" if picture.colour else None
    try:
        pixels: Any = imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace="RGB" if picture.colour else None)
    except MemoryError:
        raise
    except Exception as error:
        raise Damaged(f"cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] != picture.samples:
        raise Damaged(f"decodes to {pixels.shape[2]} samples where the tags say {picture.samples}")
    return pixels


def build_striped(source: ByteSource, planes: tuple[Picture, ...], facts: LevelFacts) -> Level:
    """A level of shape (1, channels, slices, height, width); raises Unsupported where the slices differ."""
    first = planes[0]
    if any(other.layout != first.layout for other in planes):
        raise Unsupported("slices of one level are stored in different ways")
    channels = facts.channels or first.samples
    shape = Shape(1, channels, len(planes), first.height, first.width)
    tile = Shape(1, channels, 1, *first.block)
    return Level(
        shape=shape,
        dtype=np.dtype("u1"),
        index=Grid(shape, tile),
        read=BandReader(source, planes, facts),
        tile=tile,
        fill=facts.fill,
        scale=facts.scale,
        compression="jpeg",
        interleaved=channels > 1,
    )
