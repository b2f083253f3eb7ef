"""CZI files made by the tests, segment by segment as ZEISS describes them ("ZISRAW (CZI) File Format").

`MADE` lists them for the conformance suite as (name, maker, facts). libCZI writes neither pyramids nor attachments, JPEG,
phases or sets of files, so a whole file is laid out here; what libCZI does write is compared in test_czi.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
TYPES = {
    "Gray8": (0, "<u1", 1),
    "Gray16": (1, "<u2", 1),
    "Gray32Float": (2, "<f4", 1),
    "Bgr24": (3, "<u1", 3),
    "Bgr48": (4, "<u2", 3),
    "Bgra32": (9, "<u1", 4),
    "Gray64ComplexFloat": (10, "<c8", 1),
    "Gray32": (12, "<i4", 1),
}
CODES = {"none": 0, "jpeg": 1, "lzw": 2, "jpegxr": 4, "zstd0": 5, "zstd1": 6, "zstd1-hilo": 6}


@dataclass(frozen=True, slots=True)
class Block:
    """A sub-block: pixels (height, width, samples), red first, and where they lie."""

    pixels: Image
    kind: str = "Gray16"
    codec: str = "none"
    at: dict[str, int] = field(default_factory=dict[str, int])
    """Start of every dimension; X and Y of course."""
    size: tuple[int, int] | None = None
    """(height, width) it shows, where that is not its own size: a pyramid."""
    claims: tuple[int, int] | None = None
    """(height, width) the directory gives as stored, where that is wrong."""
    part: int = 0
    data: bytes | None = None
    """Stored bytes instead of the encoded pixels."""
    note: bytes = b"<METADATA/>"
    """What the sub-block says of itself."""
    attached: bytes = b""


@dataclass(frozen=True, slots=True)
class Czi:
    """What to make."""

    blocks: Sequence[Block]
    xml: str | None = None
    attachments: Sequence[tuple[str, str, bytes]] = ()
    """(name, kind, content)"""
    part: int = 0
    pending: bool = False


def encode(block: Block) -> bytes:
    """The stored bytes of a block."""
    if block.data is not None:
        return block.data
    _, dtype, samples = TYPES[block.kind]
    pixels = np.ascontiguousarray(block.pixels.astype(dtype).reshape(*block.pixels.shape[:2], samples))
    image = pixels[..., 0] if samples == 1 else pixels
    plain = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:samples]] if samples > 1 else pixels)
    return ENCODERS[block.codec](image, plain.tobytes())


ENCODERS: dict[str, Callable[[Image, bytes], bytes]] = {
    # codec: encoder of the image (red first) or of its bytes (blue first)
    "none": lambda image, raw: raw,
    "jpeg": lambda image, raw: imagecodecs.jpeg8_encode(image, level=92),
    "jpegxr": lambda image, raw: _jpegxr(image),
    "lzw": lambda image, raw: imagecodecs.lzw_encode(raw),
    "zstd0": lambda image, raw: imagecodecs.zstd_encode(raw, 3),
    "zstd1": lambda image, raw: b"\x01" + imagecodecs.zstd_encode(raw, 3),
    # low bytes of all samples, then the high ones (libCZI, libCZI_compress.h)
    "zstd1-hilo": lambda image, raw: b"\x03\x01\x01" + imagecodecs.zstd_encode(raw[0::2] + raw[1::2], 3),
}


def _jpegxr(image: Image) -> bytes:
    """Lossless, colour marked as 24bppBGR: the only 8 bit colour format that libCZI takes, and what ZEN writes."""
    data = imagecodecs.jpegxr_encode(image, level=100)
    return data.replace(_JPEGXR_FORMAT + b"\x0d", _JPEGXR_FORMAT + b"\x0c", 1)


_JPEGXR_FORMAT = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")
"""Pixel formats of JPEG XR, but for the last byte (ITU-T T.832 annex A.7.18)."""


def _entry(block: Block, position: int) -> bytes:
    height, width = block.pixels.shape[:2]
    full = block.size or (height, width)
    stored = block.claims or (height, width)
    dimensions = [(b"X", block.at.get("X", 0), full[1], stored[1]), (b"Y", block.at.get("Y", 0), full[0], stored[0])]
    dimensions += [
        (name.encode(), start, 1, 0 if name in "SM" else 1) for name, start in block.at.items() if name not in "XY"
    ]
    pyramid = 0 if full == (height, width) else 2
    code, codec = TYPES[block.kind][0], CODES[block.codec]
    head = struct.pack("<2siqiiBB4si", b"DV", code, position, block.part, codec, pyramid, 0, b"", len(dimensions))
    return head + b"".join(struct.pack("<4siifi", name, start, size, 0.0, own) for name, start, size, own in dimensions)


def _segment(name: bytes, data: bytes) -> bytes:
    padded = data + b"\0" * (-len(data) % 32)
    return struct.pack("<16sqq", name, len(padded), len(data)) + padded


def _subblock(block: Block, position: int) -> bytes:
    note, data = block.note, encode(block)
    head = struct.pack("<iiq", len(note), len(block.attached), len(data)) + _entry(block, position)
    return _segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + note + data + block.attached)


def czi_bytes(czi: Czi) -> bytes:
    """The whole file."""
    out = bytearray(_segment(b"ZISRAWFILE", b"\0" * 512))
    entries: list[bytes] = []
    for block in czi.blocks:
        entries.append(_entry(block, len(out) if block.part == czi.part else 544))
        if block.part == czi.part:
            out += _subblock(block, len(out))
    directory = len(out)
    out += _segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(entries)).ljust(128, b"\0") + b"".join(entries))
    metadata = len(out) if czi.xml is not None else 0
    if czi.xml is not None:
        text = czi.xml.encode()
        out += _segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0).ljust(256, b"\0") + text)
    attachments = _attach(out, czi.attachments) if czi.attachments else 0
    fields = (1, 0, 0, 0, b"", b"", czi.part, directory, metadata, 0xFFFF if czi.pending else 0, attachments)
    struct.pack_into("<iiii16s16siqqiq", out, 32, *fields)
    return bytes(out)


def _attach(out: bytearray, attachments: Sequence[tuple[str, str, bytes]]) -> int:
    entries: list[bytes] = []
    for name, kind, content in attachments:
        entry = struct.pack("<2s10sqi16s8s80s", b"A1", b"", len(out), 0, b"", kind.encode(), name.encode())
        entries.append(entry)
        head = struct.pack("<q8x", len(content)) + entry
        out += _segment(b"ZISRAWATTACH", head.ljust(256, b"\0") + content)
    at = len(out)
    out += _segment(b"ZISRAWATTDIR", struct.pack("<i", len(entries)).ljust(256, b"\0") + b"".join(entries))
    return at


def make(path: Path, czi: Czi) -> Path:
    """Write the file."""
    path.write_bytes(czi_bytes(czi))
    return path


# -- pixels --


@cache
def cells(height: int, width: int, seed: int = 1) -> Image:
    """Smooth 14 bit cells on a dark ground; the same for the same numbers."""
    random = np.random.default_rng(seed)
    small = random.random((height // 12 + 3, width // 12 + 3), np.float32)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = 9000 * np.clip(smooth, 0, 1) ** 3 + 60 * random.random((height, width), np.float32) + 100
    image = noisy.astype(np.uint16)[..., None]
    image.flags.writeable = False
    return image


def colours(height: int, width: int, seed: int = 1) -> Image:
    """Three 8 bit channels that differ a good deal, so that an exchange of red and blue shows."""
    planes = [cells(height, width, seed + i)[..., 0] // (40 * (i + 1)) for i in range(3)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def reduced(image: Image, factor: int, up: bool = True) -> Image:
    """Means of factor x factor blocks; sizes rounded up (edges repeated) or down."""
    height, width = image.shape[:2]
    if up:
        image = np.pad(image, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    parts = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, -1)
    return (parts.mean(axis=(1, 3)) + 0.5).astype(image.dtype)


def tiled(image: Image, size: int, template: Block, factor: int = 1) -> list[Block]:
    """The image cut into blocks of `size`, with ascending M; `factor`: how much it is reduced."""
    height, width = image.shape[:2]
    x, y = template.at.get("X", 0), template.at.get("Y", 0)
    found: list[Block] = []
    for top in range(0, height, size):
        for left in range(0, width, size):
            part = image[top : top + size, left : left + size]
            at = template.at | {"X": x + left * factor, "Y": y + top * factor} | ({"M": len(found)} if factor == 1 else {})
            full = (part.shape[0] * factor, part.shape[1] * factor)
            found.append(replace(template, pixels=part, at=at, size=full if factor > 1 else None))
    return found


# -- metadata --

OBJECTIVE = """
<Objectives><Objective Id="Objective:1" Name="Wrong"><NominalMagnification>5</NominalMagnification></Objective>
<Objective Id="Objective:2" Name="Plan-Apochromat 20x/0.8"><LensNA>0.8</LensNA><NominalMagnification>20</NominalMagnification>
<Immersion>Air</Immersion><Manufacturer><Model>Plan-Apochromat 20x/0.8 M27</Model></Manufacturer></Objective></Objectives>
<Microscopes><Microscope Id="Microscope:1" Name="Axioscan 7"/></Microscopes>"""
CHANNELS = """
<Channel Id="Channel:0" Name="DAPI"><ExcitationWavelength>353</ExcitationWavelength>
<EmissionWavelength>465</EmissionWavelength><Color>#FF123456</Color><Fluor>DAPI</Fluor><ExposureTime>20000000</ExposureTime>
<ContrastMethod>Fluorescence</ContrastMethod><ComponentBitCount>14</ComponentBitCount></Channel>
<Channel Id="Channel:1" Name="EGFP"><EmissionWavelength>509</EmissionWavelength><ComponentBitCount>14</ComponentBitCount>
<ExposureTime>0</ExposureTime></Channel>"""
DISPLAY = """
<Channel Id="Channel:1" Name="EGFP"><Color>#FF00FF5B</Color><High>0.25</High></Channel>
<Channel Id="Channel:0" Name="DAPI"><Color>#FF00A1FF</Color><Low>0.01</Low><High>0.2</High></Channel>"""


def document(scenes: str = "", channels: str = CHANNELS, display: str = DISPLAY, more: str = "") -> str:
    """The XML of a file, as ZEN writes it, shortened."""
    return f"""<ImageDocument><Metadata><Information>
<Document><UserName>Doctor Who</UserName><CreationDate>2020-01-01T00:00:00Z</CreationDate></Document>
<Application><Name>ZEN 3.9</Name><Version>3.9.1</Version></Application>
<Image><AcquisitionDateAndTime>2024-05-06T07:08:09.1234567Z</AcquisitionDateAndTime>
<Dimensions><Channels>{channels}</Channels><T><Positions><Interval><Start>0</Start><Increment>2.5</Increment></Interval>
</Positions></T><S><Scenes>{scenes}</Scenes></S></Dimensions>
<ObjectiveSettings><ObjectiveRef Id="Objective:2"/></ObjectiveSettings></Image>
<Instrument>{OBJECTIVE}</Instrument></Information>
<Scaling><AutoScaling><OptovarMagnification>0.5</OptovarMagnification></AutoScaling><Items>
<Distance Id="X"><Value>3.25E-07</Value></Distance><Distance Id="Y"><Value>3.25E-07</Value></Distance>
<Distance Id="Z"><Value>1E-06</Value></Distance></Items></Scaling>
<DisplaySetting><Channels>{display}</Channels></DisplaySetting>{more}</Metadata></ImageDocument>"""


# -- the files --


def make_mosaic(path: Path) -> Path:
    """Bgr24 mosaic, levels 2 and 4, sizes rounded up, all attachments."""
    image, template = colours(700, 905), Block(np.empty(0), "Bgr24", "zstd1", {"C": 0, "S": 0, "X": -300, "Y": 1 << 20})
    blocks = tiled(image, 256, template)
    blocks += tiled(reduced(image, 2), 256, template, 2) + tiled(reduced(image, 4), 256, template, 4)
    label = make_nested(colours(60, 50, 7))
    thumbnail = imagecodecs.jpeg8_encode(colours(40, 52), level=90)
    attachments = [("EventList", "CZEVL", b"12345678"), ("Label", "CZI", label)]
    attachments += [("SlidePreview", "CZI", make_nested(colours(45, 90, 8))), ("Thumbnail", "JPG", thumbnail)]
    xml = document(channels='<Channel Id="Channel:0"><ContrastMethod>Brightfield</ContrastMethod></Channel>', display="")
    return make(path, Czi(blocks, xml, attachments))


def make_nested(image: Image) -> bytes:
    """A CZI that is an attachment."""
    return czi_bytes(Czi([Block(image, "Bgr24", "jpegxr", {"C": 0})]))


def make_stack(path: Path) -> Path:
    """Gray16 of two channels, three slices and two times, hi-lo packed."""
    blocks = [
        Block(cells(90, 130, 1 + c + 2 * z + 6 * t), "Gray16", "zstd1-hilo", {"T": t, "C": c, "Z": z, "X": 17, "Y": 19})
        for t in range(2)
        for c in range(2)
        for z in range(3)
    ]
    return make(path, Czi(blocks, document()))


def make_thirds(path: Path) -> Path:
    """Gray16 with levels 3 and 9, as older ZEN made them."""
    image = cells(700, 640)
    template = Block(np.empty(0), "Gray16", "zstd0", {"C": 0, "X": 5, "Y": -9000})
    blocks = tiled(image, 300, template) + tiled(reduced(image, 3), 300, template, 3)
    return make(path, Czi(blocks + tiled(reduced(reduced(image, 3), 3), 300, template, 9)))


def make_plain(path: Path, kind: str, codec: str, seed: int = 3) -> Path:
    """One block of a pixel type and a compression."""
    return make(path, Czi([picture(kind, codec, seed)]))


def picture(kind: str, codec: str, seed: int = 3) -> Block:
    """A block of 70 x 95 pixels."""
    _, dtype, samples = TYPES[kind]
    image = (colours(70, 95, seed) if samples > 1 else cells(70, 95, seed)).astype(dtype)
    if samples == 4:
        image = np.concatenate([image, np.full((70, 95, 1), 200, np.uint8)], axis=2)
    if dtype == "<u1" and samples == 1:
        image = (cells(70, 95, seed) // 40).clip(0, 255).astype(np.uint8)
    if dtype == "<u2" and samples == 3:
        image = image * 200
    return Block(image, kind, codec, {"C": 0, "T": 0, "Z": 0, "X": 0, "Y": 0})


_NONE = {"driver": "czi", "oracle": False}
_UNKNOWN = {"pixel_size_um": None, "magnification": None, "associated": []}


def _plain(kind: str, codec: str) -> tuple[str, Callable[[Path], Path], dict[str, Any]]:
    _, dtype, samples = TYPES[kind]
    facts = {
        "dtype": np.dtype(dtype).name,
        "rgb": samples >= 3,
        "levels": [(1, samples, 1, 70, 95)],
        "fill": 255 if samples >= 3 and dtype == "<u1" else 0,
        "compression": {"zstd0": "zstd", "zstd1": "zstd", "zstd1-hilo": "zstd"}.get(codec, codec),
    }
    return f"{kind}-{codec}.czi", lambda path: make_plain(path, kind, codec), _NONE | _UNKNOWN | facts


PLAIN = [
    *(("Gray8", codec) for codec in ("none", "jpeg", "lzw", "jpegxr", "zstd0", "zstd1")),
    *(("Gray16", codec) for codec in ("none", "jpegxr", "zstd0", "zstd1-hilo")),
    *(("Gray32Float", codec) for codec in ("none", "zstd1")),
    *(("Bgr24", codec) for codec in ("none", "jpeg", "lzw", "jpegxr", "zstd0", "zstd1")),
    *(("Bgr48", codec) for codec in ("none", "jpegxr", "zstd1-hilo")),
    ("Bgra32", "zstd0"),
    ("Gray32", "zstd0"),
]
"""Pixel types and the compressions they are made with."""

MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (
        "mosaic.czi",
        make_mosaic,
        _NONE
        | {
            "dtype": "uint8",
            "rgb": True,
            "levels": [(1, 3, 1, 700, 905), (1, 3, 1, 350, 453), (1, 3, 1, 175, 227)],
            "scales": [1.0, 2.0, 4.0],
            "tile": (1, 3, 1, 256, 256),
            "fill": 255,
            "compression": "zstd",
            "associated": ["label", "preview", "thumbnail"],
            "pixel_size_um": 0.325,
            "magnification": 10.0,
        },
    ),
    (
        "stack.czi",
        make_stack,
        _NONE
        | {
            "dtype": "uint16",
            "rgb": False,
            "levels": [(2, 2, 3, 90, 130)],
            "fill": 0,
            "compression": "zstd",
            "associated": [],
            "pixel_size_um": 0.325,
            "magnification": 10.0,
        },
    ),
    (
        "thirds.czi",
        make_thirds,
        _NONE
        | _UNKNOWN
        | {"levels": [(1, 1, 1, 700, 640), (1, 1, 1, 234, 214), (1, 1, 1, 78, 72)], "scales": [1.0, 3.0, 9.0]},
    ),
    *(_plain(kind, codec) for kind, codec in PLAIN),
]
