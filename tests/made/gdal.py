"""Pictures for the conformance suite, as Pillow and GDAL write them; `MADE` as in made_svs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.made.svs import tissue

Maker = Callable[[Path], object]
MADE: list[tuple[str, Maker, dict[str, Any]]] = []
SIZE = (301, 203)
"""(height, width): odd on purpose."""
_RGB = {"driver": "gdal", "rgb": True, "fill": 255, "dtype": "uint8"}
_GREY = {"driver": "gdal", "rgb": False, "fill": 0}
_EXIF_TAGS = ((274, 3), (271, 2), (272, 2), (306, 2))


def picture(seed: int = 50) -> NDArray[np.uint8]:
    """A colour picture."""
    return tissue(*SIZE, seed)


def exif(orientation: int, model: bytes = b"Model One") -> bytes:
    """A TIFF structure with orientation, make, model and time."""
    values = [struct.pack("<H", orientation), b"Maker\0", model + b"\0", b"2024:05:06 07:08:09\0"]
    entries, heap, at = b"", b"", 8 + 2 + 12 * len(values) + 4
    for (code, kind), value in zip(_EXIF_TAGS, values, strict=True):
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", at + len(heap))
        heap += b"" if len(value) <= 4 else value
        entries += struct.pack("<HHI", code, kind, 1 if kind == 3 else len(value)) + inline
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + bytes(4) + heap


def turned_jpeg(path: Path, orientation: int) -> None:
    """A JPEG with EXIF orientation; its camera model is no UTF-8."""
    Image.fromarray(picture()).save(path, quality=90, exif=b"Exif\0\0" + exif(orientation, b"Mod\xe8le"))


def palette_png(path: Path, *, clear: bool = False) -> None:
    """A PNG of palette colours; `clear`: one of them is transparent."""
    image = Image.fromarray(picture()).quantize(17)
    image.save(path, **({"transparency": 3} if clear else {}))


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(path: Path, name: bytes, body: bytes) -> None:
    """A PNG with a further chunk behind its header."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG")
    data = buffer.getvalue()
    path.write_bytes(data[:33] + chunk(name, body) + data[33:])


def deep_png(path: Path, samples: int) -> None:
    """16-bit PNG of 1 (grey), 2 (grey, alpha), 3 or 4 samples."""
    import imagecodecs

    pixels = np.random.default_rng(samples).integers(0, 65536, (*SIZE, samples), dtype=np.uint16)
    path.write_bytes(imagecodecs.png_encode(pixels[..., 0] if samples == 1 else pixels))


def jpeg2000(path: Path, *, tile: int = 0, codestream: bool = False) -> None:
    """JPEG 2000 with four resolutions, of which GDAL offers those that are worth it."""
    pixels = tissue(300, 260, 51)
    options: dict[str, Any] = {"num_resolutions": 4, "irreversible": False}
    if tile:
        options["tile_size"] = (tile, tile)
    Image.fromarray(pixels).save(path, "JPEG2000", no_jp2=codestream, **options)


def measured_jp2(path: Path, exponent: int) -> None:
    """JP2 whose capture resolution is 5 x 10^exponent pixels per metre down and 4 x 10^exponent across."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "JPEG2000", irreversible=False)
    data = buffer.getvalue()
    at = data.index(b"jp2h") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    resc = struct.pack(">I4sHHHHbb", 18, b"resc", 5, 1, 4, 1, exponent, exponent)
    box = struct.pack(">I4s", 8 + len(resc), b"res ") + resc
    head = struct.pack(">I", size + len(box)) + data[at + 4 : at + size]
    path.write_bytes(data[:at] + head + box + data[at + size :])


def geo_tags(unit: int | None, scale: tuple[float, float]) -> list[Any]:
    """Tags of a projected map with that unit (9001 is the metre), or of one in degrees; `scale` along x and y."""
    keys = [(1025, 1), (1024, 2), (2048, 4326)] if unit is None else [(1024, 1), (1025, 1), (3072, 32632), (3076, unit)]
    directory = [1, 1, 0, len(keys)] + [n for key, value in keys for n in (key, 0, 1, value)]
    return [
        (33550, "d", 3, (*scale, 0.0), True),
        (33922, "d", 6, (0.0,) * 6, True),
        (34735, "H", len(directory), directory, True),
    ]


def geotiff(path: Path, *, unit: int | None = 9001) -> None:
    """A tiled GeoTIFF of 16 bits with overviews, 0.5 x 0.25 of its unit a pixel."""
    coarse = np.random.default_rng(5).integers(0, 60000, (75, 63, 2), dtype=np.uint16)
    pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint16))[:600, :500]
    options: dict[str, Any] = {"tile": (128, 128), "compression": "deflate", "planarconfig": "contig", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        tags = geo_tags(unit, (0.5, 0.25))
        writer.write(pixels, photometric="minisblack", extratags=tags, extrasamples=["unspecified"], **options)
        for step in (2, 4):
            smaller = np.ascontiguousarray(pixels[::step, ::step])
            writer.write(smaller, photometric="minisblack", subfiletype=1, extrasamples=["unspecified"], **options)


def _listed(name: str, maker: Maker, facts: dict[str, Any]) -> None:
    MADE.append((name, maker, {"oracle": False, "associated": [], "magnification": None, "pixel_size_um": None} | facts))


_LEVEL0 = (1, 3, 1, *SIZE)
_CASES: list[tuple[str, Maker, dict[str, Any]]] = [
    ("picture.jpg", lambda p: Image.fromarray(picture()).save(p, quality=90), _RGB | {"compression": "jpeg"}),
    ("picture.png", lambda p: Image.fromarray(picture()).save(p), _RGB | {"compression": "png"}),
    ("picture.bmp", lambda p: Image.fromarray(picture()).save(p), _RGB | {"compression": "none"}),
    ("picture.gif", lambda p: Image.fromarray(picture()).quantize(64).save(p), _RGB | {"compression": "lzw"}),
    ("picture.webp", lambda p: Image.fromarray(picture()).save(p, lossless=True), _RGB | {"compression": "webp"}),
    ("picture.ppm", lambda p: Image.fromarray(picture()).save(p), _RGB | {"compression": "none"}),
    ("palette.png", palette_png, _RGB),
    ("turned.jpg", partial(turned_jpeg, orientation=3), _RGB),
]
for _name, _maker, _facts in _CASES:
    _listed(_name, _maker, {"levels": [_LEVEL0], "scales": [1]} | _facts)
_listed("quarter.jpg", partial(turned_jpeg, orientation=6), _RGB | {"level0": (1, 3, 1, SIZE[1], SIZE[0])})
_listed("grey-16.png", partial(deep_png, samples=1), _GREY | {"level0": (1, 1, 1, *SIZE), "dtype": "uint16"})
_listed("rgba-16.png", partial(deep_png, samples=4), _RGB | {"level0": (1, 4, 1, *SIZE), "dtype": "uint16", "fill": 0})
_JP2 = [(1, 3, 1, 300, 260), (1, 3, 1, 150, 130), (1, 3, 1, 75, 65)]
_listed("tiled.jp2", partial(jpeg2000, tile=128), _RGB | {"levels": _JP2, "scales": [1, 2, 4], "compression": "jpeg2000"})
_listed("codestream.j2k", partial(jpeg2000, codestream=True), _RGB | {"levels": _JP2, "scales": [1, 2, 4]})
_GEO = [(1, 2, 1, 600, 500), (1, 2, 1, 300, 250), (1, 2, 1, 150, 125)]
_GEO_FACTS = {"levels": _GEO, "scales": [1, 2, 4], "dtype": "uint16", "compression": "deflate", "tile": (1, 2, 1, 512, 500)}
_listed("degrees.tif", partial(geotiff, unit=None), {"driver": "geotiff", "rgb": False, "fill": 0} | _GEO_FACTS)
