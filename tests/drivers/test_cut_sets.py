"""As test_cut_short.py, for files and sets that the samples of the drivers have none of."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError
from drivers.geometry import Box
from tests.drivers import test_companion
from tests.drivers.test_cut_short import blanked, wrong
from tests.drivers.test_dicom import dicomdir
from tests.made.dicom import Wsi, make_wsi
from tests.made.lif import COLOUR, STACK, make_xlef
from tests.made.micromanager import MicroManager, Stored, make_micromanager
from tests.made.tiff import noise
from tests.support.stores import SMALL

HYPERSTACK = np.arange(2 * 3 * 4 * 20 * 24, dtype="u2").reshape(2, 3, 4, 20, 24)


def stack_of_metamorph(path: Path) -> Path:
    """Five planes behind one directory; UIC2 has 24 bytes a plane where the tag speaks of 8, and lies at the end."""
    count, height, width = 5, 20, 24
    pixels = noise((count, height, width)).tobytes()
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, [8]), 277: (3, [1]),
            278: (4, [height]), 279: (4, [height * width]), 33628: (4, None), 33629: (5, None), 33630: (5, None)}  # fmt: skip
    at = 8 + len(pixels) + 2 + 12 * len(tags) + 4
    calibration, waves = struct.pack("<4I", 0, 0, 2, 1), struct.pack("<10I", *[500, 1] * count)
    places = {33628: (2, at), 33630: (count, at + len(calibration)), 33629: (count, at + len(calibration) + len(waves))}
    entries = b""
    for code, (kind, values) in sorted(tags.items()):
        number, value = places[code] if values is None else (1, values[0])
        entries += struct.pack("<HHII", code, kind, number, value)
    times = b"".join(struct.pack("<6I", 2 * plane, 1, 2450000, plane, 2450000, plane) for plane in range(count))
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(head + calibration + waves + times)
    return path


def micromanager(path: Path) -> Path:
    """Two channels of three slices, whose order only the index at the end tells."""
    pages = [Stored(10 + i, (i % 2, i // 2, 0, 0)) for i in range(6)]
    return make_micromanager(path, MicroManager(pages, {"Channels": 2, "Slices": 3}))


def tiff(**options: Any) -> Callable[[Path], Path]:
    """T2 C3 Z4 (or what the options say) as tifffile writes it."""

    def make(path: Path) -> Path:
        tifffile.imwrite(path, HYPERSTACK, photometric="minisblack", **options)
        return path

    return make


def companion(path: Path) -> Path:
    """A companion.ome and its two files; `path` is one of them."""
    test_companion.make(path.parent)
    return path


def disk(path: Path) -> Path:
    """A DICOMDIR and a slide of several files."""
    make_wsi(path.parent / "slide", Wsi(codec="none", steps=(2,)))
    return dicomdir(path, sorted(file.name for file in path.parent.glob("slide*")))


def zipped(path: Path) -> Path:
    """Our own store in a ZIP file."""
    source = path.parent.parent / "source.tif"
    tifffile.imwrite(source, noise((100, 90)), metadata=None)
    convert(source, path, Conversion(Options(**SMALL)))
    return path


SETS: dict[str, Callable[[Path], Path]] = {
    "a.stk": stack_of_metamorph,
    "mm.tif": micromanager,
    "contiguous.tif": tiff(imagej=True, metadata={"axes": "TZCYX"}),
    "big-endian.tif": tiff(imagej=True, byteorder=">", metadata={"axes": "TZCYX", "Labels": [str(i) for i in range(24)]}),
    "shaped.tif": tiff(bigtiff=True, compression="zlib"),
    "c1.ome.tif": companion,
    "set.companion.ome": companion,
    "DICOMDIR": disk,
    "a.xlef": lambda path: make_xlef(path, [STACK, COLOUR]),
    "a.ozx": zipped,
}
BLANK_TOLD = ("mm.tif", "c1.ome.tif", "set.companion.ome", "DICOMDIR", "a.xlef", "a.ozx")


@pytest.mark.parametrize("name", SETS)
def test_what_is_cut_short_is_never_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    assert not list(wrong(SETS[name](tmp_path / "set" / name), "", 6))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_what_is_cut_short_is_never_whole_at_any_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    assert not list(wrong(SETS[name](tmp_path / "set" / name), "dicom" if name == "DICOMDIR" else "", 50))


@pytest.mark.parametrize("name", BLANK_TOLD)
def test_what_ends_in_zeros_is_never_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    assert not list(blanked(SETS[name](tmp_path / "set" / name), 8))


@pytest.mark.parametrize("lost", [1, 20, 120, 127, 128])
def test_without_its_index_a_micromanager_stack_is_no_time_series(tmp_path: Path, lost: int) -> None:
    path = micromanager(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(Damaged, match=r"index of Micro-Manager .* truncated; copy it again"):
        open_slide(path)


def test_a_micromanager_stack_whose_index_was_never_written_is_told(tmp_path: Path) -> None:
    path = micromanager(tmp_path / "a.tif")
    data = path.read_bytes()
    path.write_bytes(data[:12] + bytes(4) + data[16:-128])
    with open_slide(path) as slide:
        assert any("index of Micro-Manager was not written" in warning for warning in slide.warnings)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kept", [30, 60, 100])
def test_a_directory_that_is_blank_in_parts(tmp_path: Path, *, big: bool, order: str, kept: int) -> None:
    """Of a copy for which only the room was made: what the last directory does not say would pass for its default."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as writer:  # type: ignore[arg-type]
        for value in range(3):
            writer.write(np.full((20, 24), value, "u1"), metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        start = file.pages[-1].offset
    data = path.read_bytes()
    path.write_bytes(data[: start + kept] + bytes(len(data) - start - kept))
    with pytest.raises(DriverError, match="blank in parts"):
        open_slide(path)


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_shard_that_is_cut_short(tmp_path: Path, *, checksum: bool, place: str, packed: bool) -> None:
    """Of white chunks that are stored as they are, the last bytes say "not stored": a shifted index looks sound."""
    sharding = ShardingCodec(
        chunk_shape=(16, 16),
        codecs=[BytesCodec(), ZstdCodec()] if packed else [BytesCodec()],
        index_codecs=[BytesCodec(), Crc32cCodec()] if checksum else [BytesCodec()],
        index_location=place,
    )
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array: Any = group.create_array(
        "0", shape=(64, 64), chunks=(64, 64), dtype="uint8", fill_value=0, serializer=sharding, compressors=None
    )
    array[:] = np.where(np.arange(64 * 64).reshape(64, 64) < 300, 7, 255).astype("u1")
    scale = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [scale], "name": "a"}]}
    (shard,) = (file for file in (path / "0").rglob("*") if file.is_file() and file.name != "zarr.json")
    data = shard.read_bytes()
    assert (whole(path) == array[:]).all()
    for cut in {1, 4, 8, *range(16, len(data), 48)}:
        shard.write_bytes(data[:-cut])
        with pytest.raises(Damaged):
            whole(path)


def whole(path: Path) -> Any:
    """The pixels of a plane."""
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        return paint(level, Box.of(level.shape))[0, 0, 0]
