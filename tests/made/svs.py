"""SVS files made by the tests: tissue that never was, in every way Aperio stores it.

`MADE` lists them for the conformance suite as (name, maker, facts). The odd ones (missing tiles, wrong coarse levels)
have makers of their own below, for the tests that need them. Tiles are encoded here and handed to tifffile as bytes,
since it writes neither YCbCr JPEG 2000 nor abbreviated JPEG streams with tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

Image = NDArray[np.uint8]
ICC = b"\0\0\0\x90test" + bytes(range(136))
"""Stands for a profile: drivers keep its bytes and do not look inside."""


@dataclass(frozen=True, slots=True)
class Svs:
    """What to make. Sizes are (height, width)."""

    size: tuple[int, int] = (1030, 1301)
    codec: str = "jpeg-rgb"
    """jpeg-rgb, jpeg-ycbcr, jpeg-420, j2k-ycbcr, j2k-rgb, lzw, deflate, raw."""
    tile: tuple[int, int] = (240, 240)
    steps: tuple[int, ...] = (4, 4)
    """Factor from each level to the next; sizes are rounded down at every step."""
    tables: bool = False
    """Move the JPEG tables out of the tiles, as Aperio does."""
    slices: int = 1
    fields: tuple[str, ...] = ("AppMag = 20", "MPP = 0.2520", "Date = 03/28/24", "Time = 14:05:09")
    note: bytes = b""
    """Raw bytes behind the fields."""
    icc: bytes | None = ICC
    words: bool = True
    """Name label and macro in the description, as older scanners do; else only NewSubfileType tells (GT 450)."""
    associated: tuple[str, ...] = ("thumbnail", "label", "macro")
    level_type: int = 0
    """NewSubfileType of the coarse levels; clones write 1, as TIFF asks."""
    tiled_label: bool = False
    """A label that looks like a level: tiled, of nearly the slide's aspect."""
    spoil: str = ""
    """How the coarsest level is wrong: picture, shifted, uneven; empty: it is right."""
    seed: int = 1


@cache
def tissue(height: int, width: int, seed: int = 1) -> Image:
    """Smooth pink and violet tissue with texture on a nearly white ground; the same for the same numbers."""
    random = np.random.default_rng(seed)

    def clouds(cell: int) -> NDArray[np.float32]:
        small = random.random((height // cell + 3, width // cell + 3), np.float32)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)

    body = 1 / (1 + np.exp(-18 * (0.6 * clouds(211) + 0.4 * clouds(67) - 0.45)))
    nuclei = 1 / (1 + np.exp(-25 * (clouds(9) - 0.62)))
    ground, eosin, haematoxylin = (np.array(c, np.float32) for c in ((243, 242, 244), (222, 150, 190), (96, 62, 142)))
    picture = ground + body[..., None] * (eosin - ground + nuclei[..., None] * (haematoxylin - eosin))
    picture += 8 * (random.random((height, width, 1), np.float32) - 0.5)
    image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    image.flags.writeable = False
    return image


def reduced(image: Image, factor: int) -> Image:
    """The mean of factor x factor blocks; rows and columns that do not fill a block are left out."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    part = np.ascontiguousarray(image[: height * factor, : width * factor])
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


def ycbcr(image: Image) -> Image:
    """RGB to full-range BT.601 YCbCr."""
    red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    stored = np.stack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402], axis=-1)
    return np.clip(np.rint(stored), 0, 255).astype(np.uint8)


def split_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """(tables, abbreviated stream): DQT and DHT segments go to the tables, everything else stays (T.81 B.4, B.5)."""
    tables, stream, at = b"", data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] in (0xDB, 0xC4):
            tables += data[at:end]
        else:
            stream += data[at:end]
        at = end
    return b"\xff\xd8" + tables + b"\xff\xd9", stream + data[at:]


def padded_tiles(image: Image, tile: tuple[int, int]) -> Iterator[Image]:
    """Tiles row by row; the last ones repeat the edge, as scanners do."""
    height, width = tile
    for y in range(0, image.shape[0], height):
        for x in range(0, image.shape[1], width):
            part = image[y : y + height, x : x + width]
            below, beside = height - part.shape[0], width - part.shape[1]
            yield np.pad(part, ((0, below), (0, beside), (0, 0)), mode="edge")


def _jpeg_ycbcr(tile: Image, subsampling: str) -> bytes:
    return imagecodecs.jpeg8_encode(
        tile, level=80, colorspace="RGB", outcolorspace="YCBCR", subsampling=subsampling, optimize=False
    )


def _jpeg_rgb(tile: Image) -> bytes:
    """As Aperio stores RGB: not converted, components 0, 1, 2 all at full size, no JFIF or Adobe marker to say so."""
    data = imagecodecs.jpeg8_encode(
        tile, level=85, colorspace="YCBCR", outcolorspace="YCBCR", subsampling="444", optimize=False
    )
    out, at = bytearray(data[:2]), 2
    while True:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = bytearray(data[at:end])
        first = {0xC0: 10, 0xDA: 5}.get(marker)  # component ids, 3 bytes apart in SOF0, 2 in SOS
        for number in range(3) if first else ():
            segment[first + number * (3 if marker == 0xC0 else 2)] = number
        if not 0xE0 <= marker <= 0xEF:
            out += segment
        at = end
        if marker == 0xDA:
            return bytes(out) + data[at:]


_J2K: dict[str, Any] = {"level": 60, "codecformat": "j2k", "reversible": False}
ENCODERS: dict[str, tuple[int, int, Callable[[Image], bytes]]] = {
    # codec: (Compression, PhotometricInterpretation, encoder)
    "jpeg-rgb": (7, 2, _jpeg_rgb),
    "jpeg-ycbcr": (7, 6, lambda tile: _jpeg_ycbcr(tile, "444")),
    "jpeg-420": (7, 6, lambda tile: _jpeg_ycbcr(tile, "420")),
    "j2k-ycbcr": (33003, 2, lambda tile: imagecodecs.jpeg2k_encode(ycbcr(tile), mct=False, **_J2K)),
    "j2k-rgb": (33005, 2, lambda tile: imagecodecs.jpeg2k_encode(tile, mct=True, **_J2K)),
    "lzw": (5, 2, lambda tile: imagecodecs.lzw_encode(tile.tobytes())),
    "deflate": (8, 2, lambda tile: imagecodecs.zlib_encode(tile.tobytes())),
    "raw": (1, 2, lambda tile: tile.tobytes()),
}


def level_images(svs: Svs) -> list[Image]:
    """The pixels of every level, before they are encoded."""
    images = [tissue(*svs.size, svs.seed)]
    for step in svs.steps:
        images.append(reduced(images[-1], step))
    last = images[-1]
    if svs.spoil == "picture":
        images[-1] = tissue(*last.shape[:2], svs.seed + 50)
    elif svs.spoil == "shifted":
        images[-1] = np.roll(last, (3, 5), (0, 1))
    elif svs.spoil == "uneven":
        height, width = last.shape[:2]
        images[-1] = cv2.resize(images[-2], (width - width // 7, height - height // 7), interpolation=cv2.INTER_AREA)
    return images


def make_svs(path: Path, svs: Svs) -> Path:
    """Write the file: level 0, thumbnail, further levels, label, macro, in Aperio's order."""
    images = level_images(svs)
    with tifffile.TiffWriter(path, bigtiff=False, byteorder="<") as writer:
        for number in range(svs.slices):
            image = images[0] if number == 0 else tissue(*svs.size, svs.seed + number)
            _write_level(writer, svs, image, first=number == 0)
            if number == 0 and "thumbnail" in svs.associated:
                _write_strips(writer, svs, _small(images[0], 200), "thumbnail")
        for step, image in enumerate(images[1:], 1):
            for number in range(svs.slices):
                part = image if number == 0 else level_images(replace(svs, seed=svs.seed + number))[step]
                _write_level(writer, svs, part, first=False)
        for role in ("label", "macro"):
            if role in svs.associated:
                _write_strips(writer, svs, tissue(90, 120 if role == "label" else 300, 7), role)
    if svs.codec == "jpeg-rgb":  # tifffile calls every JPEG of three samples YCbCr
        with tifffile.TiffFile(path) as tiff:
            tiled = [page.index for page in tiff.pages if page.is_tiled]
        for page in tiled:
            patch_array(path, page, 262, {0: 2})
    return path


def _small(image: Image, height: int) -> Image:
    return cv2.resize(image, (image.shape[1] * height // image.shape[0], height), interpolation=cv2.INTER_AREA)


def _write_level(writer: tifffile.TiffWriter, svs: Svs, image: Image, *, first: bool) -> None:
    compression, photometric, encode = ENCODERS[svs.codec]
    tiles: list[Any] = [encode(tile) for tile in padded_tiles(image, svs.tile)]
    tables = None
    if svs.tables:
        splits = [split_jpeg(tile) for tile in tiles]
        tables = splits[0][0]
        assert all(other == tables for other, _ in splits)
        tiles = [stream for _, stream in splits]
    writer.write(
        iter(tiles),
        shape=image.shape,
        dtype=image.dtype,
        tile=svs.tile,
        photometric=photometric,
        compression=compression,
        subsampling=(2, 2) if svs.codec == "jpeg-420" else (1, 1) if photometric == 6 else None,
        jpegtables=tables,
        description=_description(svs, image, first=first),
        iccprofile=svs.icc if first else None,
        subfiletype=0 if first or image.shape[:2] == svs.size else svs.level_type,
        software=False,
        metadata=None,
    )


def _write_strips(writer: tifffile.TiffWriter, svs: Svs, image: Image, role: str) -> None:
    height, width = image.shape[:2]
    words = {
        "thumbnail": f"\n{svs.size[1]}x{svs.size[0]} -> {width}x{height} - |" + "|".join(svs.fields),
        "label": f"\nlabel {width}x{height}",
        "macro": f"\nmacro {width}x{height}",
    }
    said = words[role] if svs.words or role == "thumbnail" else ""
    tiled = role == "label" and svs.tiled_label
    if tiled:
        image = tissue(svs.size[0] * 10 // 57, svs.size[1] * 10 // 57, 7)
    writer.write(
        image,
        rowsperstrip=None if tiled else 16,
        tile=(256, 256) if tiled else None,
        photometric="rgb",
        compression="lzw" if role == "label" else None,
        predictor=role == "label",
        subfiletype={"thumbnail": 0, "label": 1, "macro": 9}[role],
        description=f"Aperio Image Library v12.0.15 {said}",
        software=False,
        metadata=None,
    )


def _description(svs: Svs, image: Image, *, first: bool) -> bytes:
    height, width = svs.size
    shrunk = "" if first else f" -> {image.shape[1]}x{image.shape[0]}"
    size = f"{width}x{height}"
    head = f"Aperio Image Library v12.0.15 \r\n{size} [0,0 {size}] ({svs.tile[1]}x{svs.tile[0]}){shrunk} JPEG/RGB Q=80|"
    return (head + "|".join(svs.fields)).encode() + svs.note


def _facts(svs: Svs, **more: Any) -> dict[str, Any]:
    sizes = [svs.size]
    scales = [1]
    for step in svs.steps:
        sizes.append((sizes[-1][0] // step, sizes[-1][1] // step))
        scales.append(scales[-1] * step)
    names = {"jpeg": "jpeg", "j2k": "jpeg2000", "lzw": "lzw", "deflate": "deflate", "raw": "none"}
    return {
        "driver": "aperio",
        "dtype": "uint8",
        "rgb": True,
        "levels": [(1, 3, svs.slices, *size) for size in sizes],
        "scales": scales,
        "tile": (1, 3, 1, *svs.tile),
        "fill": 255,
        "compression": names[svs.codec.split("-")[0]],
        "associated": sorted(svs.associated),
        "pixel_size_um": 0.252,
        "magnification": 20.0,
        "oracle": svs.codec != "j2k-ycbcr",  # tifffile leaves YCbCr as it is
    } | more


KINDS: dict[str, Svs] = {
    "jpeg-rgb-240": Svs(),
    "jpeg-rgb-tables": Svs(size=(630, 701), tables=True, seed=2),
    "jpeg-ycbcr-256": Svs(size=(630, 701), codec="jpeg-ycbcr", tile=(256, 256), seed=3),
    "jpeg-420-tables": Svs(size=(630, 701), codec="jpeg-420", tile=(256, 256), tables=True, seed=4),
    "j2k-ycbcr-33003": Svs(codec="j2k-ycbcr", tile=(256, 256), size=(400, 505), steps=(4,), seed=5),
    "j2k-rgb-33005": Svs(codec="j2k-rgb", size=(400, 505), steps=(4,), seed=6),
    "lzw": Svs(codec="lzw", size=(500, 613), seed=7),
    "deflate": Svs(codec="deflate", size=(500, 613), tile=(256, 256), seed=8),
    "raw": Svs(codec="raw", size=(500, 613), seed=9),
    "levels-1-4-16-32": Svs(steps=(4, 4, 2), size=(1031, 1303), seed=10),
    "levels-1-4-16-64": Svs(steps=(4, 4, 4), size=(1215, 1407), seed=11),
    "z-slices": Svs(slices=3, size=(500, 611), steps=(4,), seed=12),
    "gt450": Svs(size=(630, 701), words=False, tile=(256, 256), seed=13),
    "gt450-tiled-label": Svs(words=False, tiled_label=True, seed=17),
    "clone-reduced-levels": Svs(size=(630, 701), level_type=1, words=False, seed=18),
    "one-small-level": Svs(size=(100, 61), steps=(), seed=14),
    "not-utf8": Svs(size=(300, 301), steps=(), note=b"|User = \xff\xfe\x80\xe9", seed=15),
    "no-facts": Svs(size=(300, 300), steps=(), fields=("Filename = x",), icc=None, associated=(), seed=16),
}


def _maker(svs: Svs) -> Callable[[Path], Path]:
    return lambda path: make_svs(path, svs)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"{name}.svs", _maker(svs), _facts(svs)) for name, svs in KINDS.items()
]
next(facts for name, _, facts in MADE if name == "no-facts.svs").update(pixel_size_um=None, magnification=None)


# -- tiles that are not there or not right, by patching a whole file --


def patch_array(path: Path, page: int, code: int, values: dict[int, int]) -> None:
    """Overwrite elements of an array tag (e.g. 324 TileOffsets, 325 TileByteCounts) in place."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
        size, at, order = tag.valuebytecount // tag.count, tag.valueoffset, tiff.byteorder
    with path.open("r+b") as file:
        for index, value in values.items():
            assert 0 <= index < tag.count
            file.seek(at + index * size)
            file.write(value.to_bytes(size, "little" if order == "<" else "big"))


def stored_tile(path: Path, page: int, index: int) -> bytes:
    """The bytes of a stored tile."""
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[page].dataoffsets[index], tiff.pages[page].databytecounts[index]
    return path.read_bytes()[offset : offset + count]


def replace_tile(path: Path, page: int, index: int, data: bytes) -> Path:
    """Put other bytes in the place of a tile: at the end of the file, where its table then points."""
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(data)
    patch_array(path, page, 324, {index: end})
    patch_array(path, page, 325, {index: len(data)})
    return path


def make_missing_tiles(path: Path, tiles: Sequence[int] = (1, 4), page: int = 0) -> Path:
    """Tiles with offset 0 and length 0: a sparse file. `page` 0 is level 0, 2 the first coarse level."""
    make_svs(path, Svs(size=(700, 700), seed=20))
    patch_array(path, page, 324, dict.fromkeys(tiles, 0))
    patch_array(path, page, 325, dict.fromkeys(tiles, 0))
    return path


def make_empty_tiles(path: Path, tiles: Sequence[int] = (8,), page: int = 0) -> Path:
    """Tiles that are listed with zero length, as some scanners leave at the right and bottom edge of coarse levels."""
    make_svs(path, Svs(size=(700, 700), seed=20))
    patch_array(path, page, 325, dict.fromkeys(tiles, 0))
    return path


def make_spoiled(path: Path, spoil: str, size: tuple[int, int] = (1600, 1600), **more: Any) -> Path:
    """A coarsest level that must not be reused: "picture" (another one), "shifted", "uneven" (no integer factor)."""
    return make_svs(path, Svs(size=size, spoil=spoil, seed=21, **more))


def make_with_mpp(path: Path, mpp: str | None) -> Path:
    """A small slide whose MPP field holds these characters; None: no such field."""
    fields = ("AppMag = 40", *(() if mpp is None else (f"MPP = {mpp}",)))
    return make_svs(path, Svs(size=(100, 100), steps=(), fields=fields, seed=22))
