"""A file that lacks its end, or a set that lacks a file, never passes for the whole one: it is an error, the same, or told.

The truth is what the whole file gives. Everyday tests take the fastest sample of each driver and few places; `slow` ones all
samples, fifty places counted from the end, and every mark that a structure begins with.
"""

from __future__ import annotations

import hashlib
import io
import logging
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import olefile
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.discovery import find_drivers
from drivers.errors import DriverError
from drivers.geometry import Box
from tests.conftest import SHARED_SAMPLES
from tests.drivers.test_conformance import made_samples
from tests.support.shared import Sample

FEW = [
    *("deflated.nd2", "stack.lif", "colour.lof", "Gray16-none.czi", "Gray8-jpegxr.czi", "cine.dcm", "wsi-sparse-j2k.dcm"),
    *("degrees.tif", "grey-16.png", "quarter.jpg", "picture.gif", "tiled.jp2", "picture.ppm", "one-level.ndpi", "set.ndpis"),
    *("slide.mrxs", "slide.vmu", "slide.vms", "slide.bif", "slide.svslide", "old-schema.scn", "colour.vsi", "five.vsi"),
    *("0.1.zarr", "sharded.zarr", "one-small-level.svs", "single.afi", "strips-u16.tif", "raw-big-endian.tif", "imagej.tif"),
    *("pyramid-sub-ifds.tif", "five-axes.ome.tif", "pyramid.ome.tif", "philips-plain.tiff", "field.qptiff", "stack.zvi"),
]
"""Of each kind of container one that is read in a moment."""
SAMPLES = {sample.name: sample for sample in made_samples()}
MARKS = re.compile(
    rb"ZISRAW|II\*\0|\xff\xd8\xff|\xff\xda|IDAT|IEND|\xda\xce\xbe\x0a|\x2a\x00\x00\x00\x70|\xfe\xff\x00\xe0|</|PK"
)
NEAR = (1, 2, 3, 4, 7, 8, 12, 16, 20, 32, 64, 100, 128, 256, 512, 1024, 2048, 4096)
SMALL = 3 << 20


def shown(path: Path) -> tuple[list[Any], set[str]]:
    """All that a slide says of its pixels, with their hashes; and its warnings."""
    with open_slide(path) as slide:
        found: list[Any] = []
        for role, scene in [*enumerate(slide.scenes), *sorted(slide.associated.items())]:
            pixels = [
                (tuple(level.shape), level.scale, hashlib.sha1(paint(level, Box.of(level.shape)).tobytes()).hexdigest())
                for level in scene.levels
            ]
            names = [channel.name for channel in scene.channels]
            found.append((role, scene.rgb, str(scene.dtype), names, scene.pixel_size, pixels))
        return found, set(slide.warnings)


def places(data: bytes, many: int, seed: str) -> list[int]:
    """How many bytes are cut off: few, shares of the whole, by chance, and where structures begin."""
    size, chance = len(data), random.Random(seed)
    near = [*NEAR, *(size * i // 16 for i in range(1, 16)), *(chance.randint(1, size) for _ in range(16))]
    marks = [*(size - match.start() for match in MARKS.finditer(data))][:100]
    marks += sorted(size - at for at in boundaries(data))
    if many < 50:
        near, marks = [1, *chance.sample(near, many - 1)], chance.sample(marks, min(many, len(marks)))
    return sorted({n for n in (*near, *marks) if 0 < n < size})


def boundaries(data: bytes) -> set[int]:
    """Where structures of a TIFF or an OLE file begin and end, as readers that are not ours see them."""
    try:
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _of_tiff(data)
        if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            return _of_ole(data)
    except Exception:  # noqa: BLE001 - a file that this reader cannot follow has no boundaries that are known
        logging.getLogger(__name__).info("no boundaries are known")
    return set()


def _of_tiff(data: bytes) -> set[int]:
    """Directories, the values of their tags, and the first and last tiles of each."""
    found: set[int] = set()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        pages = [page for top in list(tiff.pages)[:20] for page in (top, *(getattr(top, "pages", None) or ()))]
        for page in pages:
            count = len(page.tags)
            found |= {page.offset, page.offset + (8 + 20 * count + 8 if tiff.is_bigtiff else 2 + 12 * count + 4)}
            found |= {tag.valueoffset for tag in page.tags} | {tag.valueoffset + tag.valuebytecount for tag in page.tags}
            tiles = list(zip(page.dataoffsets, page.databytecounts, strict=False))
            found |= {at for start, size in (*tiles[:2], *tiles[-2:]) for at in (start, start + size)}
    return found


def _of_ole(data: bytes) -> set[int]:
    """Sectors with which directory, table and streams begin."""
    with olefile.OleFileIO(data) as file:
        sector = file.sector_size
        starts = {entry.isectStart for entry in file.direntries if entry is not None}
        return {(start + step) * sector for start in (*starts, file.first_dir_sector) for step in (0, 1, 2)}


def may_be_absent(driver: str, path: Path) -> bool:
    """Whether the rest is a whole slide by its format: chunks of Zarr that hold the fill value, levels of DICOM."""
    return (driver == "omezarr" and path.name[0] in "0123456789") or driver == "dicom"


def wrong(path: Path, driver: str, many: int) -> Iterator[str]:
    """What passes for the whole slide and is not. The files of `path`, a copy, are cut one at a time, and then absent."""
    whole, known = shown(path)
    files = sorted(file for file in path.parent.rglob("*") if file.is_file())
    if len(files) > 4:
        files = random.Random(path.name).sample(files, 4 if many < 50 else min(len(files), 8))
    for file in files:
        data = file.read_bytes()
        cuts: list[int | None] = [*places(data, many, file.name)]
        if file != path and not may_be_absent(driver, file):
            cuts.append(None)
        for cut in cuts:
            if cut is None:
                file.unlink()
            else:
                file.write_bytes(data[:-cut])
            try:
                found, warnings = shown(path)
                if found != whole and warnings <= known:
                    yield f"{file.name} without {'all' if cut is None else cut} of its {len(data)} bytes"
            except DriverError:
                pass
            file.write_bytes(data)


def layout(path: Path) -> tuple[list[Any], set[str]]:
    """All that a slide says of its pixels, without them."""
    with open_slide(path) as slide:
        found: list[Any] = []
        for role, scene in [*enumerate(slide.scenes), *sorted(slide.associated.items())]:
            levels = [(tuple(level.shape), level.scale) for level in scene.levels]
            names = [channel.name for channel in scene.channels]
            found.append((role, scene.rgb, str(scene.dtype), names, scene.pixel_size, levels))
        return found, set(slide.warnings)


def blanked(path: Path, many: int) -> Iterator[str]:
    """What passes for the whole slide where the rest of a file is zeros: a copy for which only the room was made.

    Zeros may be pixels, so these are not compared.
    """
    whole, known = layout(path)
    files = sorted(file for file in path.parent.rglob("*") if file.is_file())
    for file in random.Random(path.name).sample(files, min(len(files), many)):
        data = file.read_bytes()
        for cut in {1, *(len(data) * i // many for i in range(1, many)), len(data) - 40}:
            if not 0 < cut < len(data):
                continue
            file.write_bytes(data[:-cut] + bytes(cut))
            try:
                found, warnings = layout(path)
                if found != whole and warnings <= known:
                    yield f"{file.name} with {cut} of its {len(data)} bytes blank"
            except DriverError:
                pass
        file.write_bytes(data)


def made(sample: Sample, folder: Path) -> Path:
    """The sample alone in a folder."""
    assert sample.maker is not None
    sample.maker(folder / sample.name)
    return folder / sample.name


@pytest.mark.parametrize("name", FEW)
def test_what_is_cut_short_is_never_whole(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    assert not list(wrong(made(sample, tmp_path), str(sample.facts["driver"]), 6))


def test_a_file_of_every_driver_is_cut() -> None:
    drivers = {found.name for found in find_drivers()}
    assert drivers - {SAMPLES[name].facts["driver"] for name in FEW} == {"isyntax"}, "of which nobody can make a file"


@pytest.mark.parametrize("name", FEW)
def test_what_ends_in_zeros_is_never_whole(tmp_path: Path, name: str) -> None:
    assert not list(blanked(made(SAMPLES[name], tmp_path), 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_what_ends_in_zeros_is_never_whole_at_any_place(tmp_path: Path, name: str) -> None:
    assert not list(blanked(made(SAMPLES[name], tmp_path), 24))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_cut_short_is_never_whole_at_any_place(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    assert not list(wrong(made(sample, tmp_path), str(sample.facts["driver"]), 50))


REAL = sorted(
    p
    for p in (SHARED_SAMPLES.rglob("*") if SHARED_SAMPLES.is_dir() else [])
    if p.is_file() and p.suffix not in {".tsv", ".md", ".txt"} and p.stat().st_size < SMALL and "broken" not in p.parts
)


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL or [None], ids=lambda p: "none" if p is None else p.name)
def test_real_files_that_are_cut_short(tmp_path: Path, path: Path | None) -> None:
    if path is None:
        pytest.skip("no shared samples beside the project")
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    try:
        shown(copy)
    except DriverError:
        pytest.skip("a part of a set, or refused")
    assert not list(wrong(copy, "", 50))
