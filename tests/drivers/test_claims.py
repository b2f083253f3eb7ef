"""Two stored blocks that claim one place, in OME-TIFF and the tile table of VSI: refused with both names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged
from drivers.geometry import Box
from tests.made.vsi import PNG, Stack, Vsi, make_vsi

XML = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
    'DimensionOrder="XYZCT" SizeX="64" SizeY="64" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>{}</Pixels>'
    "</Image></OME>"
)


def ome(
    path: Path, entries: list[tuple[int, int]], values: tuple[int, ...] = (10, 20), compression: str | None = None
) -> Path:
    """Pages of one value each, given by (z, page)."""
    data = "".join(f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="{page}" PlaneCount="1"/>' for z, page in entries)
    with tifffile.TiffWriter(path, ome=False) as file:
        for i, value in enumerate(values):
            about = {"description": XML.format(data)} if i == 0 else {}
            file.write(np.full((64, 64), value, "u1"), compression=compression, metadata=None, **about)
    return path


def test_a_plane_of_two_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"page 0 of a\.ome\.tif and to page 1 of a\.ome\.tif"):
        open_slide(ome(tmp_path / "a.ome.tif", [(0, 0), (0, 1)]))


@pytest.mark.parametrize("entries", [[(0, 0), (1, 1)], [(0, 0), (1, 1), (0, 0)]])
def test_a_plane_named_twice_is_no_claim(tmp_path: Path, entries: list[tuple[int, int]]) -> None:
    with open_slide(ome(tmp_path / "a.ome.tif", entries)) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box.of(level.shape))[0, 0, :, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("compression", ["zlib", None])
def test_copies_of_a_plane_count_once(tmp_path: Path, compression: str | None) -> None:
    path = ome(tmp_path / "a.ome.tif", [(0, 0), (1, 1), (0, 2)], (10, 20, 10), compression)
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box.of(level.shape))[0, 0, :, 0, 0].tolist() == [10, 20]
        said = "page 0 of a.ome.tif and page 2 of a.ome.tif are copies: page 2 of a.ome.tif is left out"
        assert slide.warnings == [f"plane t 0, c 0, z 0: {said}"]


@pytest.mark.parametrize("asked", ["a.ome.tif", "b.ome.tif"])
def test_the_file_that_was_asked_for_keeps_its_own(tmp_path: Path, asked: str) -> None:
    names = ("a.ome.tif", "b.ome.tif")
    data = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name[0]}</UUID></TiffData>'
        for name in names
        for z in (0, 1)
    )
    for name in names:
        with tifffile.TiffWriter(tmp_path / name, ome=False) as file:
            own = XML.format(data).replace("<OME ", f'<OME UUID="urn:uuid:{name[0]}" ')
            file.write(np.full((64, 64), 10, "u1"), description=own, metadata=None)
            file.write(np.full((64, 64), 20, "u1"), metadata=None)
    with open_slide(tmp_path / asked) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box.of(level.shape))[0, 0, :, 0, 0].tolist() == [10, 20]
        assert all(warning.endswith(f" of {names[asked == names[0]]} is left out") for warning in slide.warnings)
        assert len(slide.warnings) == 2


def test_a_page_of_two_planes_is_told(tmp_path: Path) -> None:
    with open_slide(ome(tmp_path / "a.ome.tif", [(0, 0), (1, 0)])) as slide:
        said = "image 0 t 0, c 0, z 0 and image 0 t 0, c 0, z 1 are both page 0 of a.ome.tif: the OME-XML names it twice"
        spare = "1 pages of a.ome.tif belong to no image that the OME-XML describes and are left out"
        assert sorted(slide.warnings) == sorted([said, spare])


def test_a_page_of_two_images_is_told(tmp_path: Path) -> None:
    entries = "".join(f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"/>' for z in (0, 1))
    one = XML.format(entries).removesuffix("</OME>")
    both = one + one[one.index("<Image") :].replace(":0", ":1") + "</OME>"
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=False) as file:
        file.write(np.full((64, 64), 10, "u1"), description=both, metadata=None)
        file.write(np.full((64, 64), 20, "u1"), metadata=None)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert len(slide.scenes) == 2
        (said,) = slide.warnings
        assert said.startswith("image 0 t 0, c 0, z 0 and image 1 t 0, c 0, z 0 are both page 0 of a.ome.tif")
        assert said.endswith("(1 more planes repeat pages)")


def vsi(path: Path, table: list[tuple[tuple[int, int], int]]) -> Path:
    """Tiles of 10 and 20 beside each other; then the table of tiles is ((column, row), value) as asked."""
    pixels = np.repeat(np.array([10, 20, 30], "u1"), 64)[None, None, None, None].repeat(64, axis=3)
    make_vsi(path, Vsi((Stack([pixels], order=(None,), pyramid=True),)))
    file = next(path.parent.rglob("*.ets"))
    data = bytearray(file.read_bytes())
    at, size = int.from_bytes(data[32:40], "little"), 4 + 4 * 3 + 16
    rows = [data[at + i * size : at + (i + 1) * size] for i in range(3)]
    body = b""
    for (x, y), value in table:
        row = bytearray(rows[value // 10 - 1])
        tile = data[int.from_bytes(row[16:24], "little") :][: 64 * 64]
        row[4:12] = x.to_bytes(4, "little") + y.to_bytes(4, "little")
        row[16:24] = (len(data)).to_bytes(8, "little")
        data += tile  # a stored tile of its own for each entry
        body += row
    data[32:40], data[40:44] = len(data).to_bytes(8, "little"), len(table).to_bytes(4, "little")
    file.write_bytes(data + body)
    return path


def test_tiles_of_vsi(tmp_path: Path) -> None:
    with open_slide(vsi(tmp_path / "a.vsi", [((0, 0), 10), ((1, 0), 20), ((2, 0), 30), ((1, 0), 20)])) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box.of(level.shape))[0, 0, 0, 0, ::64].tolist() == [10, 20, 30]
        said = "entry 1 repeats entry 3 of the tile table at the same place and is left out"
        assert [warning for warning in slide.warnings if "table" in warning] == [f"stack1/frame_t.ets: {said}"]


def test_tiles_of_vsi_that_differ(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"frame_t\.ets: entries 1 and 3 of the tile table claim the same place"):
        open_slide(vsi(tmp_path / "a.vsi", [((0, 0), 10), ((1, 0), 20), ((2, 0), 30), ((1, 0), 10)]))


@pytest.mark.parametrize("same", [True, False])
def test_tiles_of_vsi_that_are_coded_anew(tmp_path: Path, same: bool) -> None:
    """A tile that is stored twice, as two PNG streams of other bytes: the pixels are what counts."""
    shown = np.random.default_rng(3).integers(0, 255, (64, 64)).astype("u1")
    stack = Stack([np.concatenate([shown, shown], 1)[None, None, None]], order=(None,), pyramid=True, compression=PNG)
    path = make_vsi(tmp_path / "a.vsi", Vsi((stack,)))
    file = next(tmp_path.rglob("*.ets"))
    data = bytearray(file.read_bytes())
    at, size = int.from_bytes(data[32:40], "little"), 4 + 4 * 3 + 16
    rows = [data[at : at + size], data[at + size : at + 2 * size]]
    stream = imagecodecs.png_encode(shown if same else shown[::-1], level=0)
    assert stream not in data
    rows.append(bytearray(rows[1]))
    rows[2][16:24], rows[2][24:28] = len(data).to_bytes(8, "little"), len(stream).to_bytes(4, "little")
    data += stream
    data[32:40], data[40:44] = len(data).to_bytes(8, "little"), (3).to_bytes(4, "little")
    file.write_bytes(data + b"".join(rows))
    if not same:
        with pytest.raises(Damaged, match="entries 1 and 2 of the tile table claim the same place and differ"):
            open_slide(path)
        return
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, 0, 0], np.concatenate([shown, shown], 1))
        assert [warning for warning in slide.warnings if "entry 1 repeats entry 2 of the tile table" in warning]


@pytest.mark.parametrize("other", [{}, {"compression": "zlib"}, {"compression": "lzw", "tile": (16, 32)}, {"byteorder": ">"}])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("asked", ["a.ome.tif", "b.ome.tif"])
def test_the_same_pixels_in_two_codings(tmp_path: Path, *, other: dict[str, Any], same: bool, asked: str) -> None:
    """Each file names one plane of two as its own and the other file's."""
    names, pixels = ("a.ome.tif", "b.ome.tif"), np.random.default_rng(1).integers(0, 255, (64, 64)).astype("u2")
    data = "".join(
        f'<TiffData FirstZ="0" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for name in names
    )
    for name, about in zip(names, ({"compression": "zstd"}, other), strict=True):
        changed = pixels.copy()
        changed[63, 63] += name == "b.ome.tif" and not same
        how, order = {k: v for k, v in about.items() if k != "byteorder"}, about.get("byteorder", "<")
        xml = XML.format(data).replace("<OME ", f'<OME UUID="urn:uuid:{name}" ').replace('SizeZ="2"', 'SizeZ="1"')
        with tifffile.TiffWriter(tmp_path / name, ome=False, byteorder=order) as file:
            file.write(changed, metadata=None, description=xml.replace("uint8", "uint16"), **how)
    if not same:
        with pytest.raises(Damaged, match=r"page 0 of [ab]\.ome\.tif and to page 0 of [ab]\.ome\.tif, which differ"):
            open_slide(tmp_path / asked)
        return
    with open_slide(tmp_path / asked) as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, 0, 0], pixels)
        left = "b.ome.tif" if asked == "a.ome.tif" else "a.ome.tif"
        assert any(w.endswith(f"are copies: page 0 of {left} is left out") for w in slide.warnings), slide.warnings
