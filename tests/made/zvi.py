"""AxioVision files made by the tests: a writer of OLE2 compound files (Microsoft [MS-CFB]), and the streams of a ZVI in one.

The layout is the published one: "ZVI Format Specification" as Bio-Formats and libzvi read it; with the defaults the header of
an item lies at byte 296, as in all files that were described. `MADE` lists files for the conformance suite.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
END, FREE, FAT_SECTOR, DIFAT_SECTOR = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFC
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - OLE dates have no zone


# --- compound files ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    name: str
    content: bytes | None = None
    children: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    number: int = 0
    links: tuple[int, int, int] = (FREE, FREE, FREE)
    start: int = 0
    size: int = 0


def _tree(streams: Mapping[str, bytes]) -> _Node:
    root = _Node("Root Entry")
    for path, content in streams.items():
        node = root
        for name in path.split("/"):
            node = node.children.setdefault(name, _Node(name))
        node.content = content
    return root


def _numbered(node: _Node, found: list[_Node]) -> None:
    node.number = len(found)
    found.append(node)
    for child in node.children.values():
        _numbered(child, found)


def _linked(nodes: Sequence[_Node]) -> int:
    """The root of a balanced tree of siblings, sorted as [MS-CFB] wants: shorter names first."""
    if not nodes:
        return FREE
    middle = len(nodes) // 2
    node = nodes[middle]
    node.links = (_linked(nodes[:middle]), _linked(nodes[middle + 1 :]), node.links[2])
    return node.number


def _link(node: _Node) -> None:
    for child in node.children.values():
        _link(child)
    ordered = sorted(node.children.values(), key=lambda n: (len(n.name), n.name.upper()))
    node.links = (*node.links[:2], _linked(ordered))


def _entry(node: _Node, kind: int) -> bytes:
    name = (node.name + "\0").encode("utf-16-le")
    head = name.ljust(64, b"\0") + struct.pack("<HBB3I", len(name), kind, 1, *node.links)
    return head + bytes(36) + struct.pack("<IQ", node.start, node.size)


class _Sectors:
    """Sectors of a file and what follows each."""

    def __init__(self, size: int, scattered: bool) -> None:
        self.size, self.scattered = size, scattered
        self.data: list[bytes] = []
        self.following: list[int] = []

    def add(self, content: bytes) -> int:
        """Append a chain, its sectors in reverse order where the file is to be scattered; the first sector."""
        parts = [content[i : i + self.size].ljust(self.size, b"\0") for i in range(0, len(content), self.size)]
        if not parts:
            return END
        base = len(self.data)
        order = list(range(base, base + len(parts)))
        if self.scattered:
            order.reverse()
            self.data += reversed(parts)
        else:
            self.data += parts
        links = [0] * len(parts)
        for i, place in enumerate(order):
            links[place - base] = order[i + 1] if i + 1 < len(order) else END
        self.following += links
        return order[0]


def compound(streams: Mapping[str, bytes], version: int = 3, scattered: bool = False) -> bytes:
    """The bytes of a compound file with the streams, by path."""
    size = 512 if version == 3 else 4096
    root, nodes = _tree(streams), list[_Node]()
    _numbered(root, nodes)
    _link(root)
    sectors, small, mini = _Sectors(size, scattered), _Sectors(64, scattered), 0
    for node in nodes:
        if node.content is not None:
            node.size = len(node.content)
            node.start = (sectors if node.size >= 4096 else small).add(node.content)
    container = b"".join(small.data)
    root.start, root.size = sectors.add(container), len(container)
    table = struct.pack(f"<{len(small.following)}I", *small.following)
    first_mini, mini = sectors.add(table + b"\xff" * (-len(table) % size)), -(-len(table) // size)
    kinds = [5 if n is root else 1 if n.content is None else 2 for n in nodes]
    first_entry = sectors.add(b"".join(_entry(n, k) for n, k in zip(nodes, kinds, strict=True)))
    return _finished(sectors, version, first_entry, (first_mini, mini))


def _finished(sectors: _Sectors, version: int, directory: int, mini: tuple[int, int]) -> bytes:
    """Behind the streams: the FAT, and the sectors that list its sectors beyond the 109th."""
    size, used = sectors.size, len(sectors.data)
    per, fats, difats = size // 4, 0, 0
    while fats * per < used + fats + difats:
        fats += 1
        difats = max(0, -(-(fats - 109) // (per - 1)))
    following = [*sectors.following, *[FAT_SECTOR] * fats, *[DIFAT_SECTOR] * difats]
    following += [FREE] * (fats * per - len(following))
    places = list(range(used, used + fats))
    rest = places[109:]
    lists = b""
    for i in range(difats):
        part = rest[i * (per - 1) : (i + 1) * (per - 1)]
        onward = used + fats + i + 1 if i + 1 < difats else END
        lists += struct.pack(f"<{per}I", *part, *[FREE] * (per - 1 - len(part)), onward)
    header = MAGIC + bytes(16) + struct.pack("<6H", 0x3E, version, 0xFFFE, size.bit_length() - 1, 6, 0)
    header += struct.pack("<IIIIIIIIII", 0, 0, fats, directory, 0, 4096, *mini, used + fats if difats else END, difats)
    header += struct.pack("<109I", *(places + [FREE] * 109)[:109])
    assert len(header) == 512
    return header.ljust(size, b"\0") + b"".join(sectors.data) + struct.pack(f"<{len(following)}I", *following) + lists


# --- values and tags --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Odd:
    """A value that is written as it is, type and all."""

    content: bytes


_SCALARS: dict[type, tuple[str, int]] = {bool: ("h", 11), int: ("i", 3), float: ("d", 5)}


def value(content: object) -> bytes:
    """A typed value: the number of its type, and its bytes."""
    if content is None:
        return struct.pack("<H", 0)
    if isinstance(content, Odd):
        return content.content
    if isinstance(content, datetime):
        return struct.pack("<Hd", 7, (content - EPOCH) / timedelta(days=1))
    if isinstance(content, str | bytes):
        data = content if isinstance(content, bytes) else (content + "\0").encode("utf-16-le")
        return struct.pack("<HI", 65 if isinstance(content, bytes) else 8, len(data)) + data
    layout, number = _SCALARS[type(content)]
    return struct.pack(f"<H{layout}", number, content)


def tag_list(tags: Mapping[int, object]) -> bytes:
    """Version, count, and for each tag value, number, attribute."""
    parts = [value(content) + value(number) + value(0) for number, content in tags.items()]
    return value(0x20001000) + value(len(tags)) + b"".join(parts)


DISPATCH = struct.pack("<H", 9) + bytes(16)


def stored_object(name: str) -> bytes:
    """The name of a storage beside the stream."""
    text = (name + "\0").encode("utf-16-le")
    return struct.pack("<HI", 69, len(text)) + text


# --- images -----------------------------------------------------------------------------------------------------------

FORMATS = {
    ("|u1", 3): 1,
    ("|u1", 4): 2,
    ("|u1", 1): 3,
    ("<u2", 1): 4,
    ("<i4", 1): 5,
    ("<f4", 1): 6,
    ("<f8", 1): 7,
    ("<u2", 3): 8,
    ("<i4", 3): 9,
}


@dataclass(frozen=True, slots=True)
class Plane:
    """One image item. `pixels` are (height, width) or (height, width, samples), red first."""

    pixels: Image
    z: int = 0
    c: int = 0
    t: int = 0
    scene: int = 0
    tile: int = 0
    tags: Mapping[int, object] = field(default_factory=dict[int, object])
    packed: str = ""
    """ "", "jpeg" or "zlib"."""
    bits: int | None = None
    before: bytes = b""
    """Objects in front of the header that usual files have not."""
    spare_block: bool = False
    """Another block of coordinates, all zero, in front of the right one."""


def number_of(plane: Plane) -> int:
    """Of the pixel format."""
    return FORMATS[plane.pixels.dtype.str, 1 if plane.pixels.ndim == 2 else plane.pixels.shape[2]]


def payload(plane: Plane) -> bytes:
    """The stored image: blue first, but for JPEG."""
    pixels = plane.pixels
    if plane.packed == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(pixels, level=95))
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    raw = np.ascontiguousarray(pixels).tobytes()
    return b"WZL\0" + struct.pack("<I", len(raw)) + zlib.compress(raw) if plane.packed else raw


def contents(plane: Plane) -> bytes:
    """The `Contents` of an item."""
    height, width, *samples = plane.pixels.shape
    count = samples[0] if samples else 1
    number = number_of(plane)
    bits = plane.bits if plane.bits is not None else 0 if plane.packed else plane.pixels.itemsize * 8
    values = [0x30001003, 16, None, None, width, height, 1, number, 1, bits, bytes(16)]
    block = struct.pack("<8i", 0, 0, plane.z, plane.c, plane.t, plane.scene, plane.tile, 0).ljust(128, b"\0")
    head = b"".join(value(v) for v in values) + (value(bytes(128)) if plane.spare_block else b"") + value(block)
    head += DISPATCH + stored_object("Tags") + 3 * DISPATCH + plane.before
    size = plane.pixels.itemsize * count
    return head + struct.pack("<I6i", 0x10002000, width, height, 1, size, number, bits) + payload(plane)


@dataclass(frozen=True, slots=True)
class Zvi:
    """A file of items."""

    planes: Sequence[Plane]
    tags: Mapping[int, object] = field(default_factory=dict[int, object])
    thumbnail: Image | None = None
    """(height, width, 3), red first."""
    count: int | None = None
    """Of items, as the image states it."""
    more: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    size: tuple[int, int] | None = None
    """(height, width) that the image states."""


def bitmap(pixels: Image) -> bytes:
    """A Windows bitmap of 24 bits, rows from below, each padded to 4 bytes."""
    height, width, _ = pixels.shape
    rows = [row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in np.ascontiguousarray(pixels[::-1, :, ::-1])]
    data = b"".join(rows)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data


def streams(zvi: Zvi) -> dict[str, bytes]:
    """All streams by path."""
    height, width = zvi.size or zvi.planes[0].pixels.shape[:2]
    count = len(zvi.planes) if zvi.count is None else zvi.count
    values = [0x30001003, 16, None, None, width, height, 1, number_of(zvi.planes[0]), count, 16, bytes(16), bytes(128)]
    image = b"".join(value(v) for v in values) + stored_object("Layers") + stored_object("Tags") + stored_object("Scaling")
    found = {
        "Image/Contents": image,
        "Image/Tags/Contents": tag_list({515: width, 516: height, **zvi.tags}),
        "Tags": bytes(16) + tag_list({1537: "a title with a name"}),
    }
    for i, plane in enumerate(zvi.planes):
        repeated = {2819: plane.z, 2820: plane.c, 2821: plane.t, 2822: plane.tile, 2827: plane.scene}
        found[f"Image/Item({i})/Contents"] = contents(plane)
        found[f"Image/Item({i})/Tags/Contents"] = tag_list({**repeated, **plane.tags})
    if zvi.thumbnail is not None:
        found["Thumbnail"] = bytes(26) + bitmap(zvi.thumbnail)
    return {**found, **zvi.more}


def make_zvi(path: Path, zvi: Zvi, version: int = 3, scattered: bool = False) -> Path:
    """Write the file."""
    path.write_bytes(compound(streams(zvi), version, scattered))
    return path


def numbers(*shape: int, dtype: str = "u2", seed: int = 1) -> Image:
    """Pixels that differ from each other."""
    drawn = np.random.default_rng(seed).integers(0, 250 if dtype == "u1" else 60000, shape)
    return drawn.astype(dtype)


SCALE = {769: 0.0645, 770: 76, 772: 0.0645, 773: 76, 775: 0.25, 776: 76}
CHANNELS: list[dict[int, object]] = [
    {1284: "Hoechst 33342", 1282: 0xFF0000, 2564: 50.0, 0x1000110: 365, 0x1000111: 445},
    {1284: "Cy3", 1282: 0x0080FF, 2564: 1000.572, 0x1000110: 550.0, 0x1000111: 570.0},
]
TAKEN = datetime(2012, 6, 21, 14, 33, 16, 230000)  # noqa: DTZ001 - OLE dates have no zone
OPTICS: dict[int, object] = {
    2049: "Plan-Apochromat 100x/1.40 Oil DIC M27",
    2076: 100.0,
    2077: 1.4,
    2105: 2,
    2075: "Axio Imager.Z2",
    1801: "Doctor Who",
}


def _stack() -> Zvi:
    """t2 c2 z3 of 16 bits; z begins at 13, channels are 2 and 4, as AxioVision leaves them after cutting out a part."""
    planes = [
        Plane(
            numbers(30, 41, seed=100 * t + 10 * c + z),
            z + 13,
            2 * c + 2,
            t,
            tags={**CHANNELS[c], 1025: TAKEN + timedelta(seconds=5 * t), 300: 5 * t / 86400, 2073: 1000.0, 2074: -2000.0},
            bits=12,
        )
        for t in range(2)
        for z in range(3)
        for c in range(2)
    ]
    return Zvi(planes, {**SCALE, **OPTICS}, numbers(9, 14, 3, dtype="u1"))


STACK = _stack()
COLOUR = Zvi([Plane(numbers(33, 45, 3, dtype="u1", seed=5))], {**SCALE, 2564: 26.0})
DEEP_COLOUR = Zvi([Plane(numbers(33, 45, 3, dtype="u2", seed=6), bits=36)])


def mosaic(dtype: str = "u2", packed: str = "", overlap: int = 4) -> tuple[Zvi, Image]:
    """(3 x 2 tiles of 40 x 30 pixels of 2 channels, the plane they were cut from); each tile at its stage position."""
    rows, columns, height, width = 2, 3, 30, 40
    size = (height + (rows - 1) * (height - overlap), width + (columns - 1) * (width - overlap))
    whole = numbers(2, *size, dtype=dtype, seed=9)
    planes: list[Plane] = []
    for c in range(2):
        for row in range(rows):
            for column in range(columns):
                y, x = row * (height - overlap), column * (width - overlap)
                tags: dict[int, object] = {2817: column, 2818: row, 2073: 500.0 + 0.5 * (x + 20), 2074: 90.0 + 0.5 * (y + 15)}
                tile = whole[c, y : y + height, x : x + width]
                planes.append(Plane(tile, c=c, tile=row * columns + column, tags=tags, packed=packed))
    scale = {769: 0.5, 770: 76, 772: 0.5, 773: 76}
    return Zvi(planes, {**scale, 2838: columns, 2839: rows}, size=size), whole


FACTS = {"driver": "zvi", "fill": 0, "compression": "none", "oracle": False}
MADE: list[tuple[str, Callable[[Path], object], dict[str, Any]]] = [
    (
        "stack.zvi",
        lambda path: make_zvi(path, STACK),
        FACTS | {"level0": (2, 2, 3, 30, 41), "pixel_size_um": 0.0645, "magnification": 100.0, "associated": ["thumbnail"]},
    ),
    (
        "colour.zvi",
        lambda path: make_zvi(path, COLOUR, scattered=True),
        FACTS | {"level0": (1, 3, 1, 33, 45), "rgb": True, "fill": 255, "dtype": "uint8"},
    ),
    (
        "mosaic.zvi",
        lambda path: make_zvi(path, mosaic("u1", "zlib")[0], version=4),
        FACTS | {"level0": (1, 2, 1, 56, 112), "dtype": "uint8", "compression": "deflate", "pixel_size_um": 0.5},
    ),
]
