"""cellSens files for the tests, in the layout that `drivers/vsi` describes: a .vsi with a tag tree, and its .ets files.

No program that writes the format is at hand: these files show that the reader follows the layout, not that the layout is
right. That is shown by real files only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.svs import reduced, tissue

MADE: list[tuple[str, Callable[[Path], object], dict[str, Any]]] = []
Z, T, LAMBDA, C, PHASE = 1, 2, 3, 4, 9
RAW, JPEG, JPEG2000, PNG, BMP = 0, 2, 3, 8, 9
_KINDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 9, "f8": 10}
_INLINE, _EXTENDED, _EXTRA = 1 << 30, 1 << 28, 1 << 27
INT, TIME, DOUBLE, BOOL, TEXT, UNIT, RECT, DOUBLES, LIMITS, BGR = 5, 7, 10, 12, 8192, 13, 259, 260, 268, 270
UM, NM = "10^-6m^1", "10^-9m^1"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the tag tree: (kind, value), or further fields; `index` is the number beside the tag."""

    tag: int
    value: Any = None
    kind: int = INT
    inside: Sequence[Field] | None = None
    index: int | None = None

    def bytes(self) -> bytes:
        """As stored, with the offset of the next field left at 0."""
        extra = b"" if self.index is None else struct.pack("<i", self.index)
        flag = _EXTRA if extra else 0
        if self.inside is not None:
            return struct.pack("<IiiI", _EXTENDED | flag | 1, self.tag, 0, 0) + extra + volume(self.inside)
        if self.kind in (INT, BOOL):
            return struct.pack("<IiiI", _INLINE | flag | self.kind, self.tag, 0, self.value & 0xFFFFFFFF) + extra
        body = self._body()
        return struct.pack("<IiiI", flag | self.kind, self.tag, 0, len(body)) + extra + body

    def _body(self) -> bytes:
        if self.kind in (TEXT, UNIT):
            return str(self.value).encode("utf-16-le") + b"\0\0"
        letters = {TIME: "q", DOUBLE: "d", RECT: "4i", DOUBLES: "2d", LIMITS: "2d"}.get(self.kind, f"{np.size(self.value)}B")
        return struct.pack("<" + letters, *np.ravel(self.value).tolist())


def volume(fields: Sequence[Field]) -> bytes:
    """A volume: its header and its fields, each with the way to the next."""
    out = bytearray(struct.pack("<HHIqII", 24, 21321, 1, 24, len(fields), 0))
    for i, item in enumerate(fields):
        data = bytearray(item.bytes())
        following = len(out) + len(data) if i + 1 < len(fields) else 0
        data[8:12] = struct.pack("<i", following)
        out += data
    return bytes(out)


def quantity(tag: int, value: float, unit: str) -> Field:
    """A number with its unit."""
    return Field(tag, inside=[Field(268435456, unit, UNIT), Field(268435458, value, DOUBLE)])


@dataclass(frozen=True, slots=True)
class Stack:
    """An image: tiles out of `pixels` (one array a level, axes t c z y x), or of a TIFF page where `page` is given."""

    pixels: Sequence[NDArray[Any]]
    index: int = 1
    name: str = "40x"
    kind: int = 0
    compression: int = RAW
    tile: int = 64
    order: tuple[int | None, ...] = (T, Z, C, None)
    """Meaning of the coordinates after x and y; the last one is the level of a pyramid."""
    pyramid: bool = False
    samples: int = 1
    bgr: bool = False
    left_out: tuple[tuple[int, ...], ...] = ()
    page: int | None = None
    split: int = 1
    """Channels in a wavelength or phase axis, which `order` names besides C."""
    names: tuple[str, ...] = ("DAPI", "FITC", "Cy3", "Cy5")
    sized: bool = True
    states: tuple[int, int] | None = None
    """(height, width) that the tags give where they are wrong."""
    scale: tuple[float, float] = (0.25, 0.25)


@dataclass(frozen=True, slots=True)
class Vsi:
    """A .vsi file."""

    stacks: tuple[Stack, ...] = ()
    pages: tuple[NDArray[Any], ...] = field(default_factory=lambda: (np.full((20, 30, 3), 9, np.uint8),))


def make_vsi(path: Path, vsi: Vsi) -> Path:
    """Write the .vsi file and the .ets files it needs."""
    document = Field(2, inside=[Field(34, "cellSens", TEXT), Field(35, "3.1", TEXT), Field(15, "Canary Author", TEXT)])
    tree = volume([document, Field(2000, inside=[_image(stack) for stack in vsi.stacks], index=0)])
    plain = path.with_suffix(".plain")
    with tifffile.TiffWriter(plain) as writer:
        for page in vsi.pages:
            writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None)
    _shift(plain, tree, path)
    plain.unlink()
    for stack in vsi.stacks:
        if stack.page is None:
            folder = path.parent / f"_{path.stem}_" / f"stack{stack.index}"
            folder.mkdir(parents=True)
            (folder / "frame_t.ets").write_bytes(ets(stack))
    return path


def _shift(plain: Path, tree: bytes, path: Path) -> None:
    """The TIFF with the tag tree between its header and the rest: all offsets move by its length."""
    data, by = plain.read_bytes(), len(tree) + len(tree) % 2
    out = bytearray(data[:8] + tree + bytes(len(tree) % 2) + data[8:])
    at = 4
    while offset := struct.unpack_from("<I", out, at)[0]:
        struct.pack_into("<I", out, at, offset + by)
        place = offset + by
        count = struct.unpack_from("<H", out, place)[0]
        for i in range(count):
            code, kind, number = struct.unpack_from("<HHI", out, place + 2 + 12 * i)
            where = place + 2 + 12 * i + 8
            if number * {2: 1, 3: 2, 4: 4, 5: 8}.get(kind, 1) > 4 or code == 273:
                value = struct.unpack_from("<I", out, where)[0]
                struct.pack_into("<I", out, where, value + by)
        at = place + 2 + 12 * count
    path.write_bytes(out)


def _image(stack: Stack) -> Field:
    height, width = stack.states or stack.pixels[0].shape[3:]
    boundary = [Field(2053, (0, 0, width, height), RECT)] if stack.sized else []
    frame = [Field(2018, inside=[*boundary, Field(20005, 1, BOOL)])]
    if stack.page is not None:
        frame = [Field(2016, 0, index=stack.page)]
    settings = [Field(120060, 40.0, DOUBLE), Field(120061, 0.95, DOUBLE), Field(120065, "UPLSAPO 40x", TEXT)]
    lens = Field(1, inside=[Field(120114, inside=settings), Field(120133, "Olympus", TEXT)])
    stand = Field(2, inside=[Field(120114, inside=[]), Field(120130, 40500), Field(120132, "VS120", TEXT)])
    camera = Field(3, inside=[Field(120114, inside=[Field(100049, 12)])])
    properties = [
        Field(2030, stack.name, TEXT),
        Field(2074, stack.kind),
        Field(2015, 1622473135, TIME),
        Field(2018, (-1000.5, 2000.25), DOUBLES),
        Field(2019, stack.scale, DOUBLES),
        Field(2020, UM, UNIT),
        Field(2043, inside=[lens, stand, camera]),
    ]
    dimensions = [Field(2007, index=i, inside=_dimension(stack, meaning)) for i, meaning in enumerate(stack.order)]
    return Field(
        2001, index=stack.index, inside=[Field(2002, inside=frame, index=0), Field(2005, inside=properties), *dimensions]
    )


def _dimension(stack: Stack, meaning: int | None) -> list[Field]:
    if meaning is None:
        return []
    common = [Field(2023, meaning)]
    if meaning == Z:
        common.append(quantity(2013, 1.5, UM))
    if meaning == T:
        common.append(quantity(2016, 250.0, "10^-3s^1"))
    if meaning != C:
        return [Field(2008, index=0, inside=common)]
    return [Field(2008, index=i, inside=[*common, *_channel(name)]) for i, name in enumerate(stack.names)]


def _channel(name: str) -> list[Field]:
    table = Field(2004, inside=[Field(268435458, [0, 0, 0, 10, 20, 255], BGR)])
    exposure = Field(2043, inside=[Field(1, inside=[Field(120114, inside=[Field(100002, 50000)])])])
    limits = Field(2003, (100.0, 3000.0), LIMITS)
    return [Field(2419, name, TEXT), quantity(2417, 455.0, NM), quantity(2474, 345.0, NM), table, exposure, limits]


def ets(stack: Stack) -> bytes:
    """The .ets file of an image."""
    dtype = stack.pixels[0].dtype
    table, body, at = b"", b"", 64 + 228
    tiles = list(_tiles(stack))
    for coordinates, pixels in tiles:
        data = b"" if coordinates in stack.left_out else encoded(pixels, stack)
        if coordinates not in stack.left_out:
            table += struct.pack(f"<I{len(coordinates)}iqII", 0, *coordinates, at + len(body), len(data), 0)
        body += data
    count = len(tiles) - len(stack.left_out)
    dimensions = 2 + len(stack.order)
    first = struct.pack("<4sIIIQIIQIIQII", b"SIS\0", 64, 3, dimensions, 64, 228, 0, at + len(body), count, 0, 0, 0, 0)
    order = 1 if stack.bgr else 0
    space = 3 if stack.samples == 3 else 1
    head = (b"ETS\0", 196614, _KINDS[dtype.str[1:]], stack.samples, space, stack.compression, 90, stack.tile, stack.tile, 1)
    second = struct.pack("<4s9I68x40sII72x", *head, b"\xff\xff", order, int(stack.pyramid))
    return first + second + body + table


def _tiles(stack: Stack) -> Iterable[tuple[tuple[int, ...], NDArray[Any]]]:
    for level, pixels in enumerate(stack.pixels):
        t, c, z, height, width = pixels.shape
        planes = c // stack.samples
        for i, k, j in np.ndindex(t, planes, z):
            for y in range(-(-height // stack.tile)):
                for x in range(-(-width // stack.tile)):
                    block = pixels[i, k * stack.samples : (k + 1) * stack.samples, j]
                    block = block[:, y * stack.tile : (y + 1) * stack.tile, x * stack.tile : (x + 1) * stack.tile]
                    full = np.full((stack.tile, stack.tile, stack.samples), 7, pixels.dtype)
                    full[: block.shape[1], : block.shape[2]] = block.transpose(1, 2, 0)
                    where = {T: i, Z: j, C: k // stack.split, LAMBDA: k % stack.split, PHASE: k % stack.split, None: 0}
                    yield (x, y, *(where[m] for m in stack.order[:-1]), level), full


def encoded(pixels: NDArray[Any], stack: Stack) -> bytes:
    """A tile as stored."""
    if stack.compression == RAW:
        return (pixels[..., ::-1] if stack.bgr else pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    flat = np.ascontiguousarray(pixels if stack.samples > 1 else pixels[..., 0])
    if stack.compression == JPEG:
        return bytes(imagecodecs.jpeg8_encode(flat, level=95))
    if stack.compression == JPEG2000:
        return bytes(imagecodecs.jpeg2k_encode(flat, level=0, codecformat="j2k", reversible=True))
    return bytes(imagecodecs.png_encode(flat) if stack.compression == PNG else imagecodecs.bmp_encode(flat))


def noise(shape: tuple[int, ...], dtype: str = "u2") -> NDArray[Any]:
    """Random samples, axes t c z y x."""
    return (np.random.default_rng(sum(shape)).random(shape) * 250).astype(dtype)


def colour(height: int = 300, width: int = 203, levels: int = 3) -> list[NDArray[Any]]:
    """A colour pyramid; sizes are rounded up, as the format has it."""
    images = [tissue(height, width, 70)]
    for _ in range(levels - 1):
        last = images[-1]
        even = np.pad(last, ((0, last.shape[0] % 2), (0, last.shape[1] % 2), (0, 0)), "edge")
        images.append(reduced(even, 2))
    return [image.transpose(2, 0, 1)[None, :, None] for image in images]


COLOUR = Stack(colour(), compression=JPEG, samples=3, pyramid=True, order=(None,))
FIVE = Stack([noise((2, 3, 4, 100, 90))], compression=JPEG2000, name="five axes")
_SLIDE = Vsi((
    Stack(colour(64, 50, 1), kind=1, name="Overview", compression=PNG, samples=3, order=(None,), pyramid=True),
    Stack(colour(20, 20, 1), index=10000, kind=2, name="Sample Mask", page=0),
    Stack(colour(), index=10001, compression=JPEG, samples=3, pyramid=True, order=(None,)),
    Stack(colour(150, 120, 2), index=10004, compression=BMP, samples=3, pyramid=True, order=(None,)),
))  # fmt: skip
_FACTS = {"driver": "vsi", "oracle": False, "magnification": 40.0, "pixel_size_um": 0.25}
_LEVELS = [(1, 3, 1, 300, 203), (1, 3, 1, 150, 102), (1, 3, 1, 75, 51)]


def _listed(name: str, vsi: Vsi, **facts: Any) -> None:
    MADE.append((name, partial(make_vsi, vsi=vsi), _FACTS | facts))


_COLOUR_FACTS: dict[str, Any] = {"levels": _LEVELS, "scales": [1, 2, 4], "rgb": True, "fill": 255, "dtype": "uint8"}
_listed("colour.vsi", Vsi((COLOUR,)), **_COLOUR_FACTS, compression="jpeg", tile=(1, 3, 1, 64, 64), associated=[])
_listed("five.vsi", Vsi((FIVE,)), levels=[(2, 3, 4, 100, 90)], rgb=False, dtype="uint16", compression="jpeg2000")
_listed("slide.vsi", _SLIDE, **_COLOUR_FACTS, associated=["overview", "sample-mask"])
_listed("sparse.vsi", Vsi((replace(FIVE, left_out=((0, 0, 1, 2, 1, 0), (1, 1, 0, 0, 0, 0))),)), level0=(2, 3, 4, 100, 90))
