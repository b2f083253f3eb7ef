"""Files broken in one way each. `BROKEN` lists them as (name, maker, kinds): how reading them may end.

The names B1 to B60 are classes of damage that have hurt TIFF readers before. Every TIFF here is put together by hand,
tag by tag, since no library writes them.
"""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from tests.made import svs as made_svs
from tests.made.svs import Svs, make_svs, tissue

APERIO = b"Aperio Image Library v12.0.15 \r\n64x64 |AppMag = 20|MPP = 0.5\0"
SHORT, LONG = 3, 4
_FORMATS = {1: "B", 2: "s", SHORT: "H", LONG: "I", 7: "s"}
Value = Sequence[Any] | bytes


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands for the offset of the directory with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Directory:
    """Tags by code as (type, values), what each claims to count, and the number or offset of the next directory."""

    tags: Mapping[int, tuple[int, Value]]
    claims: Mapping[int, int] = field(default_factory=dict)
    following: Ref | int = 0

    @property
    def size(self) -> int:
        """Bytes of the directory with the values that do not fit an entry."""
        return 2 + 12 * len(self.tags) + 4 + sum(len(self._value(c, [0])) for c in self.tags if self._outside(c))

    def _outside(self, code: int) -> bool:
        return len(self._value(code, [0])) > 4

    def _value(self, code: int, offsets: Sequence[int]) -> bytes:
        kind, values = self.tags[code]
        if isinstance(values, bytes):
            return values
        numbers = [offsets[v.number % len(offsets)] if isinstance(v, Ref) else v for v in values]
        return struct.pack(f"<{len(numbers)}{_FORMATS[kind]}", *numbers)

    def packed(self, offset: int, offsets: Sequence[int]) -> bytes:
        """The directory as it stands at `offset`."""
        entries, outside = b"", b""
        at = offset + 2 + 12 * len(self.tags) + 4
        for code, (kind, values) in sorted(self.tags.items()):
            value = self._value(code, offsets)
            place = value.ljust(4, b"\0")
            if len(value) > 4:
                place = struct.pack("<I", at + len(outside))
                outside += value
            entries += struct.pack("<HHI", code, kind, self.claims.get(code, len(values))) + place
        after = offsets[self.following.number] if isinstance(self.following, Ref) else self.following
        return struct.pack("<H", len(self.tags)) + entries + struct.pack("<I", after) + outside


def assemble(directories: Sequence[Directory], data: bytes = b"") -> bytes:
    """A TIFF: header, data at offset 8, directories."""
    data += b"\0" * (len(data) % 2)
    offsets = [8 + len(data)]
    for directory in directories:
        offsets.append(offsets[-1] + directory.size)
    body = b"".join(d.packed(offset, offsets) for d, offset in zip(directories, offsets, strict=False))
    return b"II*\0" + struct.pack("<I", offsets[0]) + data + body


def tiled(tiles: Sequence[bytes], size: int = 64, tile: int = 32, compression: int = 1, photometric: int = 2) -> Directory:
    """Tags of an RGB image in tiles, whose data lie one after the other from offset 8."""
    starts = [8 + sum(map(len, tiles[:i])) for i in range(len(tiles))]
    return Directory(
        _image(size, compression, photometric)
        | {322: (LONG, [tile]), 323: (LONG, [tile]), 324: (LONG, starts), 325: (LONG, [len(t) for t in tiles])}
    )


def stripped(strip: bytes, size: int = 64, compression: int = 1, photometric: int = 2) -> Directory:
    """Tags of an RGB image in one strip at offset 8."""
    strips = {273: (LONG, [8]), 278: (LONG, [size]), 279: (LONG, [len(strip)])}
    return Directory(_image(size, compression, photometric) | strips)


def _image(size: int, compression: int, photometric: int) -> dict[int, tuple[int, Value]]:
    return {
        256: (LONG, [size]),
        257: (LONG, [size]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [compression]),
        262: (SHORT, [photometric]),
        277: (SHORT, [3]),
    }


def changed(directory: Directory, tags: Mapping[int, tuple[int, Value]], **rest: Any) -> Directory:
    """The directory with other tags."""
    return Directory(
        dict(directory.tags) | dict(tags),
        rest.get("claims", directory.claims),
        rest.get("following", directory.following),
    )


def zeros_deflated(count: int) -> bytes:
    """A zlib stream of `count` zeros (whole MiB), without compressing them all: one flushed block, repeated."""
    packer = zlib.compressobj(9)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    check = struct.pack(">I", (count % 65521) << 16 | 1)
    return head + block * (count >> 20) + b"\x03\x00" + check


@cache
def jpeg(size: int) -> bytes:
    """A square JPEG."""
    return imagecodecs.jpeg8_encode(np.ascontiguousarray(tissue(size, size, 30)), level=80)


def jpeg_claiming(size: int) -> bytes:
    """A JPEG of 32 pixels whose frame header claims more."""
    data = bytearray(jpeg(32))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", size, size)
    return bytes(data)


def jpeg2000_claiming(size: int) -> bytes:
    """A JPEG 2000 stream of 32 pixels whose SIZ claims more, for image and tile."""
    data = bytearray(imagecodecs.jpeg2k_encode(np.ascontiguousarray(tissue(32, 32, 30)), codecformat="j2k"))
    at = data.index(b"\xff\x51") + 6
    data[at : at + 8] = struct.pack(">II", size, size)
    data[at + 16 : at + 24] = struct.pack(">II", size, size)
    return bytes(data)


PLAIN = bytes(range(256)) * 12  # one tile of 32 x 32 RGB
FOUR = [PLAIN] * 4
GIB = 1 << 30

Maker = Callable[[Path], object]
Case = tuple[str, Maker, frozenset[str]]
BROKEN: list[Case] = []
D, L, U, P, OK = "damaged", "limit", "unsupported", "unsafe_path", "readable"


def add(name: str, content: bytes | Callable[[], bytes], *kinds: str, suffix: str = ".tif") -> None:
    """List a case; `content` is the file, or gives it when it is needed."""
    add_file(name, partial(_write, content), *kinds, suffix=suffix)


def add_file(name: str, maker: Maker, *kinds: str, suffix: str = ".tif") -> None:
    """List a case; `maker` writes the file."""
    BROKEN.append((name + suffix, maker, frozenset(kinds)))


def _write(content: bytes | Callable[[], bytes], path: Path) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content())


def both(name: str, directories: Sequence[Directory] | Directory, data: bytes, *kinds: str) -> None:
    """List a case twice: as a plain TIFF and as an SVS."""
    listed = [directories] if isinstance(directories, Directory) else list(directories)
    add(name, assemble(listed, data), *kinds)
    described = changed(listed[0], {270: (2, APERIO)}, claims=listed[0].claims, following=listed[0].following)
    add(f"{name}-aperio", assemble([described, *listed[1:]], data), *kinds, suffix=".svs")


def _many(count: int) -> bytes:
    start, size = 8, 18
    links = [start + (i + 1) * size for i in range(count - 1)] + [0]
    return b"II*\0" + struct.pack("<I", start) + b"".join(struct.pack("<HHHIII", 1, 254, LONG, 1, 0, link) for link in links)


def _doubling(depth: int) -> bytes:
    """Every directory names the next one twice: 2 ** depth of them to whoever follows all."""
    inner = [changed(whole, {330: (LONG, [Ref(i + 1), Ref(i + 1)])}) for i in range(depth)]
    return assemble([*inner, whole], joined)


def _nested(depth: int) -> bytes:
    inner = [changed(whole, {330: (LONG, [Ref(i + 1)])}) for i in range(depth)]
    return assemble([*inner, whole], joined)


def _one_tile(data: bytes, compression: int, photometric: int = 2) -> bytes:
    return assemble([tiled([data], 32, 32, compression, photometric)], data)


def _deflate_bomb() -> bytes:
    data = zeros_deflated(GIB)
    grey = {258: (SHORT, [8]), 262: (SHORT, [1]), 277: (SHORT, [1])}
    return assemble([changed(stripped(data, 32768, 8), grey)], data)


def _sparse(path: Path, content: bytes, size: int) -> None:
    path.write_bytes(content)
    os.truncate(path, size)


def _huge_tag(path: Path, code: int, kind: int, size: int) -> None:
    base = changed(whole, {code: (kind, b"\0" * 8)}, claims={code: size})
    content = assemble([base], joined)
    _sparse(path, content, len(content) + size)  # the value begins inside and reaches far into the hole


def _strips(path: Path) -> None:
    tifffile.imwrite(path, tissue(300, 400, 31), rowsperstrip=16, compression="deflate", photometric="rgb")


def _tiles(path: Path) -> None:
    tifffile.imwrite(path, tissue(300, 400, 31), tile=(128, 128), compression="lzw", photometric="rgb", bigtiff=True)


def _pages(path: Path) -> None:
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 9999, (6, 100, 90), np.uint16), photometric="minisblack")


def cut(make: Maker, share: float, path: Path) -> None:
    """The first part of a whole file."""
    make(path)
    os.truncate(path, int(path.stat().st_size * share))


def flipped(codec: str, seed: int, path: Path) -> None:
    """A small slide with 30 random bytes changed, in its directories as in its data."""
    make_svs(path, Svs(size=(200, 210), steps=(), codec=codec, tile=(128, 128), associated=(), seed=32))
    random = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for at in random.integers(8, len(data) if seed % 2 else 600, 30):
        data[at] = random.integers(256)
    path.write_bytes(bytes(data))


whole = tiled(FOUR)
joined = b"".join(FOUR)
both("whole", whole, joined, OK)
add("whole-strip", assemble([stripped(PLAIN * 4)], PLAIN * 4), OK)

# -- directories --
both("B1-next-is-itself", changed(whole, {}, following=Ref(0)), joined, D)
both("B2-two-in-a-circle", [changed(whole, {}, following=Ref(1)), changed(whole, {}, following=Ref(0))], joined, D)
add("B3-100000-directories", lambda: _many(100_000), L)
both("B4-sub-directory-is-itself", changed(whole, {330: (LONG, [Ref(0)])}), joined, D)
both(
    "B4-sub-directories-in-a-circle",
    [changed(whole, {330: (LONG, [Ref(1)])}), changed(whole, {330: (LONG, [Ref(0)])})],
    joined,
    D,
)
both("B4-sub-directory-past-the-end", changed(whole, {330: (LONG, [2**31])}), joined, D)
add("B4-sub-directories-without-end", lambda: _doubling(24), L)
add("B4-sub-directories-too-deep", lambda: _nested(500), L)
add("B5-65535-entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(200), D)
add("B5-no-entries", b"II*\0\x08\0\0\0\0\0" + bytes(200), D)
add("B6-first-directory-past-the-end", b"II*\0" + struct.pack("<I", 2**31) + bytes(100), D)
add("B6-no-directory", b"II*\0\0\0\0\0" + bytes(100), D)
add("B6-header-only", b"II*\0", D)
add("B6-bigtiff-header-only", b"II+\0\x08\0\0\0", D)


# -- sizes, tables, tags --
huge = {256: (LONG, [2**32 - 1]), 257: (LONG, [2**32 - 1])}
both("B7-huge", changed(whole, huge), joined, L)
add("B7-huge-strips", assemble([changed(stripped(PLAIN), huge | {278: (LONG, [2**32 - 1])})], PLAIN), L)
wide = {256: (LONG, [2**31]), 257: (LONG, [2**31]), 322: (LONG, [16]), 323: (LONG, [16])}
both("B8-too-many-tiles", changed(whole, wide), joined, L)
many = {256: (LONG, [900_000]), 257: (LONG, [900_000]), 322: (LONG, [16]), 323: (LONG, [16])}
both("B8-more-tiles-than-listed", changed(whole, many), joined, D)
both("B9-tile-width-0", changed(whole, {322: (LONG, [0])}), joined, D)
both("B9-tile-height-0", changed(whole, {323: (LONG, [0])}), joined, D)
both("B9-width-0", changed(whole, {256: (LONG, [0])}), joined, D)
both("B9-huge-tile", changed(whole, {322: (LONG, [2**31]), 323: (LONG, [2**31])}), joined, L)
both("B10-too-few-offsets", changed(whole, {324: (LONG, [8])}), joined, D)
both("B10-too-few-counts", changed(whole, {325: (LONG, [3072])}), joined, D)
both("B11-offset-past-the-end", changed(whole, {324: (LONG, [8, 8, 2**31 - 7, 8])}), joined, D)
add("B11-strip-past-the-end", assemble([changed(stripped(PLAIN * 4), {273: (LONG, [2**31])})], joined), D)
both("B12-count-of-4-gb", changed(whole, {325: (LONG, [3072, 3072, 2**32 - 1, 3072])}), joined, D)
add("B12-strip-count-of-4-gb", assemble([changed(stripped(PLAIN), {279: (LONG, [2**32 - 1])})], PLAIN), D)
both("B13-description-claims-2-gb", changed(whole, {270: (2, APERIO)}, claims={270: 2**31}), joined, D)
both("B13-offsets-claim-2-gb", changed(whole, {}, claims={324: 2**29}), joined, D)
both("B14-bits-65535", changed(whole, {258: (SHORT, [65535] * 3)}), joined, U)
both("B14-samples-65535", changed(whole, {277: (SHORT, [65535])}), joined, L, U)
both("B14-samples-0", changed(whole, {277: (SHORT, [0])}), joined, D, U)
both("B14-compression-unknown", changed(whole, {259: (SHORT, [4711])}), joined, U)

# -- compressed data --
add("B15-deflate-bomb", _deflate_bomb, L)
for _name, _compression, _stream in (
    ("deflate", 8, lambda: zeros_deflated(GIB)),
    ("zstd", 50000, lambda: imagecodecs.zstd_encode(bytes(GIB >> 2), level=1)),
    ("lzma", 34925, lambda: imagecodecs.lzma_encode(bytes(GIB >> 5), level=0)),
    ("lzw", 5, lambda: imagecodecs.lzw_encode(bytes(GIB >> 4))),
    ("packbits", 32773, lambda: b"\x81\0" * (GIB >> 11)),
):
    add(f"B16-{_name}-longer-than-its-tile", partial(lambda s, c: _one_tile(s(), c), _stream, _compression), D, OK)
add("B17-jpeg-smaller-than-its-tile", lambda: _one_tile(jpeg(16), 7, photometric=6), D)
add("B18-jpeg-larger-than-its-tile", lambda: _one_tile(jpeg(2048), 7, photometric=6), D)
add("B18-jpeg-larger-than-its-strip", lambda: assemble([stripped(jpeg(512), 64, 7, 6)], jpeg(512)), D)
add("B19-jpeg-claims-65500", lambda: _one_tile(jpeg_claiming(65500), 7, photometric=6), D, L)
for _compression in (33003, 33005, 34712):
    add(f"B19-jpeg2000-{_compression}", partial(lambda c: _one_tile(jpeg2000_claiming(65500), c), _compression), D, L)
add("B20-jpeg-tile-cut", lambda: _one_tile(jpeg(32)[: len(jpeg(32)) // 2], 7, photometric=6), D)
add("B20-jpeg-strip-cut", lambda: assemble([stripped(jpeg(64)[:-400], 64, 7, 6)], jpeg(64)[:-400]), D)
add("B20-deflate-cut", lambda: _one_tile(zlib.compress(PLAIN)[:-20], 8), D)
add("B20-raw-cut", assemble([stripped(PLAIN)], PLAIN), D)
add("B20-raw-tile-cut", lambda: _one_tile(PLAIN[:-20], 1), D)
add("B21-garbage-in-a-lzw-tile", lambda: _one_tile(bytes(range(200)), 5), D)
add("B21-garbage-in-a-jpeg-tile", lambda: _one_tile(bytes(range(200)), 7, photometric=6), D)
both("B21-zero-length", changed(whole, {325: (LONG, [3072, 0, 3072, 3072])}), joined, D)
add("B24-description-is-no-text", assemble([changed(whole, {270: (2, b"\xff\xfe\x80\0\0\xe9|\0")})], joined), OK)


# -- no TIFF at all --
add("B25-empty", b"", D, suffix=".svs")
add("B25-one-byte", b"I", U, suffix=".svs")
add("B25-text", b"no image, just words\n" * 100, U)
add("B25-zeros", bytes(100_000), U, suffix=".svs")
add("B25-png", lambda: imagecodecs.png_encode(np.ascontiguousarray(tissue(40, 40))), OK, suffix=".svs")
add("B25-zip", b"PK\x03\x04" + bytes(500), U, suffix=".ome.tiff")
add_file("B25-wrong-suffix", lambda path: make_svs(path, Svs(size=(60, 60), steps=())), OK, suffix=".jpg")
add("B25-magic-only", b"MM\0*", D)

# -- sizes of the file and of its metadata --
add_file("B53-description-of-500-mb", lambda path: _huge_tag(path, 270, 2, 500 << 20), L)
add_file("B53-xmp-of-500-mb", lambda path: _huge_tag(path, 700, 1, 500 << 20), L)
add_file("B58-terabyte-of-nothing", lambda path: _sparse(path, b"", 1 << 40), U)
add_file("B58-terabyte-behind-a-tiff", lambda path: _sparse(path, assemble([whole], joined), 1 << 40), OK)
add_file("B59-icc-of-200-mb", lambda path: _huge_tag(path, 34675, 7, 200 << 20), OK)
both("B59-icc-broken", changed(whole, {34675: (7, b"no profile at all")}), joined, OK)
both("B56-one-pixel", changed(whole, {256: (LONG, [1]), 257: (LONG, [1])}), joined, OK)
long_image = {256: (LONG, [1]), 257: (LONG, [1_000_000]), 278: (LONG, [1_000_000]), 279: (LONG, [3_000_000])}
add("B56-a-million-rows", assemble([changed(stripped(b""), long_image)], bytes(3_000_000)), OK)

# -- cut short --
for _percent in (10, 30, 50, 75, 99):
    for _name, _make, _suffix in (
        ("svs", lambda path: make_svs(path, Svs(size=(500, 600))), ".svs"),
        ("tiles", _tiles, ".tif"),
        ("strips", _strips, ".tif"),
        ("pages", _pages, ".tif"),
    ):
        # The last hundredth of an SVS is in its macro image, which is left out with a word.
        _kinds = (OK,) if (_name, _percent) == ("svs", 99) else (D,)
        add_file(f"cut-{_name}-{_percent}", partial(cut, _make, _percent / 100), *_kinds, suffix=_suffix)

# -- bits flipped: nothing tells wrong pixels from right ones, but nothing may crash either --
for _codec in made_svs.ENCODERS:
    for _seed in range(4):
        add_file(f"flipped-{_codec}-{_seed}", partial(flipped, _codec, _seed), D, L, U, OK, suffix=".svs")


# -- no regular files --
def _listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


NO_FILES: list[Case] = [
    ("folder.svs", Path.mkdir, frozenset({P})),
    ("fifo.svs", os.mkfifo, frozenset({P})),
    ("socket.svs", _listening, frozenset({P})),
    ("zero.svs", lambda path: path.symlink_to("/dev/zero"), frozenset({P})),
    ("null.svs", lambda path: path.symlink_to("/dev/null"), frozenset({P})),
    ("to-fifo.svs", _link_to_fifo, frozenset({P})),
    ("circle.svs", lambda path: path.symlink_to(path), frozenset({"unreadable"})),
    ("dangling.svs", lambda path: path.symlink_to("nowhere.svs"), frozenset({"incomplete"})),
]
