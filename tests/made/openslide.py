"""Slides that only OpenSlide reads, made by their published layouts (openslide.org/formats): MRXS, Trestle, VMS and VMU,
BIF, Sakura.

No real file of these formats was met: OpenSlide itself is both the reader and the judge of what is made here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.made.svs import reduced, tissue

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
    images: tuple[tuple[str, bytes], ...] = ()
    """Name ("SlideThumbnail", "SlideBarcode", "SlidePreview") and JPEG stream of associated images."""
    apart: bool = False
    """They lie in a data file of their own, the second."""


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
    files = [data, bytearray(b"MRXS more")] if slide.apart else [data]
    records: list[tuple[int, int, int, int, int]] = []
    for _, stream in slide.images:
        records.append((0, 0, len(files[-1]), len(stream), len(files) - 1))
        files[-1] += stream
    for number, held in enumerate(files):
        (folder / f"Data{number:04}.dat").write_bytes(held)
    (folder / "Index.dat").write_bytes(_index(lists, records))
    (folder / "Slidedat.ini").write_text(_ini(slide), "utf-8-sig")
    return path


def canvas(slide: Mrxs) -> NDArray[np.uint8]:
    """The whole of level 0: white where no picture was taken."""
    pixels = tissue(slide.down * TILE, slide.across * TILE, 82).copy()
    for x, y in slide.absent:
        pixels[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = 255
    return pixels


def _index(lists: list[list[tuple[int, int, int, int]]], records: list[tuple[int, int, int, int, int]]) -> bytes:
    head = b"01.02" + _ID
    root = len(head) + 8
    beside = root + 4 * len(lists)
    out = bytearray(head + struct.pack("<ii", root, beside) + bytes(4 * len(lists) + 4 * len(records)))
    for number, record in enumerate(records):
        struct.pack_into("<i", out, beside + 4 * number, len(out))
        out += struct.pack("<iiii5i", 0, len(out) + 8, 1, 0, *record)
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
        f"NONHIER_COUNT = {min(1, len(slide.images))}",
        "HIER_0_NAME = Slide zoom level",
    ]
    lines += [f"HIER_0_COUNT = {slide.levels}"]
    lines += [f"HIER_0_VAL_{i}_SECTION = LAYER_0_LEVEL_{i}_SECTION" for i in range(slide.levels)]
    if slide.images:
        lines += ["NONHIER_0_NAME = Scan data layer", f"NONHIER_0_COUNT = {len(slide.images)}"]
        lines += [f"NONHIER_0_VAL_{i} = ScanDataLayer_{name}" for i, (name, _) in enumerate(slide.images)]
        lines += [f"NONHIER_0_VAL_{i}_SECTION = NONHIERLAYER_{name}" for i, (name, _) in enumerate(slide.images)]
    lines += ["[DATAFILE]", f"FILE_COUNT = {1 + slide.apart}"]
    lines += [f"FILE_{i} = Data{i:04}.dat" for i in range(1 + slide.apart)]
    types = {"SlideThumbnail": "THUMBNAIL", "SlideBarcode": "BARCODE", "SlidePreview": "PREVIEW"}
    for name, _ in slide.images:
        lines += [f"[NONHIERLAYER_{name}]", f"{types[name]}_IMAGE_TYPE = JPEG"]
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


def vmu(path: Path) -> None:
    """A Hamamatsu VMU slide: pictures of 12 bits, not compressed, in columns of 128 pixels."""
    pixels = tissue(256, 384, 96).astype(np.uint16) * 16 + 7
    _ngr(path.parent / f"{path.stem}.ngr", pixels, 128)
    _ngr(path.parent / f"{path.stem}_map.ngr", reduced(tissue(256, 384, 96), 4).astype(np.uint16) * 16, 96)
    (path.parent / f"{path.stem}_macro.jpg").write_bytes(jpeg(tissue(40, 60, 97)))
    lines = ["[Uncompressed Virtual Microscope Specimen]", "NoLayers=1", f"ImageFile={path.stem}.ngr", "MapScale=4"]
    lines += [f"MapFile={path.stem}_map.ngr", f"MacroImage={path.stem}_macro.jpg", "BitsPerPixel=36", "PixelOrder=RGB"]
    lines += ["SourceLens=20", "PhysicalWidth=192000", "PhysicalHeight=128000"]
    lines += ["PhysicalMacroWidth=1", "PhysicalMacroHeight=1"]
    path.write_text("\r\n".join(lines) + "\r\n")


def _ngr(path: Path, pixels: NDArray[np.uint16], column: int) -> None:
    height, width = pixels.shape[:2]
    columns = [pixels[:, x : x + column].astype("<u2").tobytes() for x in range(0, width, column)]
    path.write_bytes(struct.pack("<2sHiiiiii", b"GN", 0, width, height, column, 0, 0, 28) + b"".join(columns))


@dataclass(frozen=True, slots=True)
class Bif:
    """A Ventana slide: one area of tiles that overlap."""

    across: int = 3
    down: int = 2
    overlap: tuple[int, int] = (8, 6)
    """(x, y)"""


def bif_picture(slide: Bif) -> NDArray[np.uint8]:
    """What the tiles show together."""
    width = slide.across * (TILE - slide.overlap[0]) + slide.overlap[0]
    height = slide.down * (TILE - slide.overlap[1]) + slide.overlap[1]
    return tissue(400, 400, 90)[:height, :width]


def bif(path: Path, slide: Bif = Bif()) -> None:
    """A BigTIFF with label, thumbnail and two levels of 64 x 64 tiles."""
    shown = bif_picture(slide)
    stored = np.empty((slide.down * TILE, slide.across * TILE, 3), np.uint8)
    for row, column in np.ndindex(slide.down, slide.across):
        y, x = row * (TILE - slide.overlap[1]), column * (TILE - slide.overlap[0])
        place = (slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE))
        stored[place] = shown[y : y + TILE, x : x + TILE]
    scan = '<?xml version="1.0"?><iScan Magnification="20" ScanRes="0.465" UnitNumber="BI1" UserName="Canary" Z-layers="1"/>'
    common: dict[str, Any] = {"metadata": None, "photometric": "rgb"}
    tiled: dict[str, Any] = {"tile": (TILE, TILE), "compression": "jpeg", "compressionargs": {"level": 95}}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(tissue(50, 120, 91), description="Label Image", extratags=[_xmp(scan)], **common)
        writer.write(tissue(40, 60, 92), description="Thumbnail", **common)
        writer.write(stored, description="level=0 mag=20 quality=95", extratags=[_xmp(_joints(slide))], **common, **tiled)
        writer.write(reduced(stored, 2), description="level=1 mag=10 quality=95", **common, **tiled)


def _xmp(text: str) -> tuple[Any, ...]:
    return (700, 1, len(text) + 1, text.encode() + b"\0", True)


def _joints(slide: Bif) -> str:
    """How the tiles lie: numbered from the lowest row up, every second row from the right."""

    def number(row: int, column: int) -> int:
        up = slide.down - 1 - row
        return up * slide.across + (slide.across - 1 - column if up % 2 else column) + 1

    def joint(direction: str, one: int, two: int, overlap: tuple[int, int]) -> str:
        words = f'Direction="{direction}" Tile1="{one}" Tile2="{two}" OverlapX="{overlap[0]}" OverlapY="{overlap[1]}"'
        return f'<TileJointInfo FlagJoined="1" Confidence="100" {words}/>'

    found: list[str] = []
    for row, column in np.ndindex(slide.down, slide.across):
        here = number(row, column)
        if column + 1 < slide.across:
            found.append(joint("RIGHT", here, number(row, column + 1), (slide.overlap[0], 0)))
        if row:
            found.append(joint("UP", here, number(row - 1, column), (0, slide.overlap[1])))
    area = f'AOIScanned="1" AOIIndex="0" Pos-X="0" Pos-Y="0" Width="{TILE}" Height="{TILE}"'
    area += f' NumRows="{slide.down}" NumCols="{slide.across}"'
    origin = '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin>'
    info = f"<SlideStitchInfo><ImageInfo {area}>{''.join(found)}</ImageInfo></SlideStitchInfo>"
    return f'<?xml version="1.0"?><EncodeInfo Ver="2">{info}{origin}</EncodeInfo>'


def sakura(path: Path) -> None:
    """An SQLite database with two levels of 64 x 64 tiles, every colour a JPEG of its own."""
    pixels = tissue(300, 406, 93)
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.executescript(_SAKURA)
        entries = [("++MagicBytes", "SVGigaPixelImage"), ("++VersionBytes", "1.0.0.0")]
        base.executemany("insert into pool values (?, ?)", entries)
        header = struct.pack("<5I", TILE, pixels.shape[1], pixels.shape[0], 0, 1)
        base.execute("insert into pool values ('Header', ?)", (header,))
        for step in (1, 2):
            base.executemany("insert into pool values (?, ?)", _sakura_tiles(reduced(pixels, step), step))
        scans = [jpeg(tissue(height, 40, 95)) for height in (30, 31, 32)]
        base.execute("insert into SVSlideDataXPO values (1, 'Canary', '', '', 'Canary', '', '', 1, 2)")
        base.execute("insert into SVHRScanDataXPO values (1, 1, '', '', '', '', 0.00025, 40.0, '', ?)", scans[:1])
        base.executemany("insert into SVScannedImageDataXPO values (?, ?)", [(1, scans[1]), (2, scans[2])])
        base.commit()


_SAKURA = """
create table DataManagerSQLiteConfigXPO (OID integer, TableName text);
insert into DataManagerSQLiteConfigXPO values (1, 'pool');
create table pool (id text, data blob); create table SVScannedImageDataXPO (OID integer, Image blob);
create table SVSlideDataXPO (OID integer, SlideId text, Date text, Description text, Creator text, DiagnosisCode text,
    Keywords text, m_labelScan integer, m_overviewScan integer);
create table SVHRScanDataXPO (OID integer, ParentSlide integer, ScanId text, Date text, Name text, Description text,
    ResolutionMmPerPix real, NominalLensMagnification real, FocussingMethod text, ThumbnailImage blob);
"""


def _sakura_tiles(pixels: NDArray[Any], step: int) -> Iterator[tuple[str, bytes]]:
    """(name, JPEG): the name tells the place in pixels of level 0, the step, the colour and the focal plane."""
    for y in range(0, pixels.shape[0], TILE):
        for x in range(0, pixels.shape[1], TILE):
            full = np.full((TILE, TILE, 3), 255, np.uint8)
            block = pixels[y : y + TILE, x : x + TILE]
            full[: block.shape[0], : block.shape[1]] = block
            for color in range(3):
                yield f"T;{x * step}|{y * step};{step};{color};0", jpeg(full[..., color])


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
    ("slide.vmu", vmu, _FACTS | {"levels": [(1, 3, 1, 256, 384)], "associated": ["macro"], "pixel_size_um": 0.5}),
    (
        "slide.bif",
        bif,
        _FACTS
        | {"levels": [(1, 3, 1, 122, 176), (1, 3, 1, 61, 88)], "scales": [1, 2], "associated": ["macro", "thumbnail"]}
        | {"pixel_size_um": 0.465, "magnification": 20.0},
    ),
    (
        "slide.svslide",
        sakura,
        _FACTS
        | {"levels": [(1, 3, 1, 300, 406), (1, 3, 1, 150, 203)], "scales": [1, 2], "magnification": 40.0}
        | {"associated": ["label", "macro", "thumbnail"], "pixel_size_um": 0.25},
    ),
    ("slide.vms", vms, _FACTS | {"levels": [(1, 3, 1, 256, 512)], "associated": ["macro"], "pixel_size_um": 0.5}),
]
