"""Slides that only OpenSlide reads, made by their published layouts (openslide.org/formats): MRXS, Trestle and VMS.

No real file of these formats was met: OpenSlide itself is both the reader and the judge of what is made here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.made_svs import reduced, tissue

MADE: list[tuple[str, Callable[[Path], object], dict[str, Any]]] = []
TILE = 64
_ID = b"CANARYSLIDE0000000000000000000000"


def jpeg(pixels: NDArray[Any]) -> bytes:
    """A JPEG stream."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=95))


def marked_jpeg(path: Path, pixels: NDArray[Any]) -> None:
    """A JPEG with a restart marker after every row of blocks, which OpenSlide insists on."""
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=95, subsampling=1, restart_marker_rows=1)


def trestle(path: Path) -> None:
    """A tiled TIFF of two levels that do not overlap."""
    base = tissue(600, 500, 80)
    words = "Background Color=FFFFFF;OverlapsXY= 0 0 0 0;Objective Power=20"
    options: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 95}, "tile": (128, 128), "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        for pixels in (base, reduced(base, 2)):
            options |= {"description": words, "software": "MedScan", "resolution": (0.5, 0.5)}
            writer.write(pixels, photometric="rgb", **options)


@dataclass(frozen=True, slots=True)
class Mrxs:
    """An MRXS slide: a grid of square pictures, some of them not taken."""

    across: int = 8
    down: int = 6
    levels: int = 3
    absent: frozenset[tuple[int, int]] = frozenset((x, y) for x in range(8) for y in range(6) if x < 2 or y < 2)
    """(x, y) of pictures that were not taken."""


def make_mrxs(path: Path, slide: Mrxs) -> Path:
    """Write the .mrxs file, which is a JPEG, and its folder."""
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(jpeg(tissue(40, 50, 81)))
    pixels = canvas(slide)
    data, lists = bytearray(b"MRXS data"), list[list[tuple[int, int, int, int]]]()
    for level in range(slide.levels):
        entries: list[tuple[int, int, int, int]] = []
        for y in range(0, slide.down, 1 << level):
            for x in range(0, slide.across, 1 << level):
                places = {(x + i, y + j) for i in range(1 << level) for j in range(1 << level)}
                if places <= slide.absent:
                    continue
                size = TILE << level
                block = pixels[y * TILE : y * TILE + size, x * TILE : x * TILE + size]
                full = np.full((size, size, 3), 255, np.uint8)
                full[: block.shape[0], : block.shape[1]] = block
                stream = jpeg(reduced(full, 1 << level) if level else full)
                entries.append((y * slide.across + x, len(data), len(stream), 0))
                data += stream
        lists.append(entries)
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(_index(lists))
    (folder / "Slidedat.ini").write_text(_ini(slide), "utf-8-sig")
    return path


def canvas(slide: Mrxs) -> NDArray[np.uint8]:
    """The whole of level 0: white where no picture was taken."""
    pixels = tissue(slide.down * TILE, slide.across * TILE, 82).copy()
    for x, y in slide.absent:
        pixels[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = 255
    return pixels


def _index(lists: list[list[tuple[int, int, int, int]]]) -> bytes:
    head = b"01.02" + _ID
    root = len(head) + 8
    out = bytearray(head + struct.pack("<ii", root, 0) + bytes(4 * len(lists)))
    struct.pack_into("<i", out, len(head) + 4, 0)
    for level, entries in enumerate(lists):
        struct.pack_into("<i", out, root + 4 * level, len(out))
        out += struct.pack("<iiii", 0, len(out) + 8, len(entries), 0)
        for entry in entries:
            out += struct.pack("<iiii", *entry)
    return bytes(out)


def _ini(slide: Mrxs) -> str:
    lines = ["[GENERAL]", "SLIDE_VERSION = 01.02", f"SLIDE_ID = {_ID.decode()}", "SLIDE_NAME = Canary Name"]
    lines += [f"IMAGENUMBER_X = {slide.across}", f"IMAGENUMBER_Y = {slide.down}", "OBJECTIVE_MAGNIFICATION = 20"]
    lines += ["OBJECTIVE_NAME = Plan-Apochromat", "SLIDE_CREATIONDATETIME = 24/12/2019 11:12:13"]
    lines += [
        "[HIERARCHICAL]",
        "INDEXFILE = Index.dat",
        "HIER_COUNT = 1",
        "NONHIER_COUNT = 0",
        "HIER_0_NAME = Slide zoom level",
    ]
    lines += [f"HIER_0_COUNT = {slide.levels}"]
    lines += [f"HIER_0_VAL_{i}_SECTION = LAYER_0_LEVEL_{i}_SECTION" for i in range(slide.levels)]
    lines += ["[DATAFILE]", "FILE_COUNT = 1", "FILE_0 = Data0000.dat"]
    for i in range(slide.levels):
        lines += [f"[LAYER_0_LEVEL_{i}_SECTION]", "OVERLAP_X = 0", "OVERLAP_Y = 0", f"IMAGE_CONCAT_FACTOR = {min(i, 1)}"]
        lines += [f"MICROMETER_PER_PIXEL_{a} = {0.25 * (1 << i)}" for a in "XY"]
        lines += [
            "IMAGE_FORMAT = JPEG",
            "IMAGE_FILL_COLOR_BGR = 16777215",
            f"DIGITIZER_WIDTH = {TILE}",
            f"DIGITIZER_HEIGHT = {TILE}",
        ]
    return "\r\n".join(lines) + "\r\n"


def vms(path: Path) -> None:
    """A Hamamatsu VMS slide of 2 x 1 pictures and a map."""
    pixels = tissue(256, 512, 83)
    for column in range(2):
        name = path.parent / f"{path.stem}_{column}.jpg"
        marked_jpeg(name, pixels[:, column * 256 : (column + 1) * 256])
    marked_jpeg(path.parent / f"{path.stem}_map.jpg", reduced(pixels, 4))
    (path.parent / f"{path.stem}_macro.jpg").write_bytes(jpeg(tissue(64, 128, 84)))
    lines = ["[Virtual Microscope Specimen]", "NoLayers=1", "NoJpegColumns=2", "NoJpegRows=1"]
    lines += [f"ImageFile={path.stem}_0.jpg", f"ImageFile(1,0)={path.stem}_1.jpg", f"MapFile={path.stem}_map.jpg"]
    lines += [f"MacroImage={path.stem}_macro.jpg", f"OptimisationFile={path.stem}.opt", "SourceLens=20"]
    lines += ["PhysicalWidth=256000", "PhysicalHeight=128000", "PhysicalMacroWidth=1", "PhysicalMacroHeight=1"]
    path.write_text("\r\n".join(lines) + "\r\n")


MRXS = Mrxs()
_FACTS: dict[str, Any] = {"driver": "openslide", "oracle": False, "rgb": True, "fill": 255, "dtype": "uint8"}
_MRXS_LEVELS = [(1, 3, 1, 256, 384), (1, 3, 1, 128, 192), (1, 3, 1, 64, 96)]
MADE += [
    ("trestle.tif", trestle, _FACTS | {"levels": [(1, 3, 1, 600, 500), (1, 3, 1, 300, 250)], "scales": [1, 2]}),
    (
        "slide.mrxs",
        partial(make_mrxs, slide=MRXS),
        _FACTS | {"levels": _MRXS_LEVELS, "scales": [1, 2, 4], "magnification": 20.0},
    ),
    ("slide.vms", vms, _FACTS | {"levels": [(1, 3, 1, 256, 512)], "associated": ["macro"], "pixel_size_um": 0.5}),
]
