"""TIFF files that lack their last bytes: what lay there is said to be missing, whichever driver reads the file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers.discovery import open_slide
from drivers.errors import Damaged

HYPERSTACK = np.arange(2 * 3 * 4 * 24 * 30, dtype="u2").reshape(2, 3, 4, 24, 30)


def ome(path: Path) -> None:
    """T2 C3 Z4; tifffile writes the OME-XML at the end, as Bio-Formats does."""
    tifffile.imwrite(path, HYPERSTACK, ome=True, metadata={"axes": "TCZYX"}, photometric="minisblack")


def ome_big(path: Path) -> None:
    """The same as BigTIFF."""
    tifffile.imwrite(path, HYPERSTACK, metadata={"axes": "TCZYX"}, photometric="minisblack", bigtiff=True)


def described(description: str) -> Callable[[Path], None]:
    """A tiled image whose description lies at the end."""

    def make(path: Path) -> None:
        pixels = np.full((64, 64, 3), 200, "u1")
        tifffile.imwrite(path, pixels, tile=(32, 32), photometric="rgb", description=description, metadata=None)
        move_to_the_end(path, 270)

    return make


def geographic(path: Path) -> None:
    """A map, whose geographic keys lie at the end."""
    keys = [(34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1)), (305, "s", 0, "a name that does not fit an entry")]
    tifffile.imwrite(path, np.zeros((16, 16), "u1"), metadata=None, extratags=keys)
    move_to_the_end(path, 305)


def move_to_the_end(path: Path, code: int) -> None:
    """Put a copy of a tag's value at the end of the file, and point the tag to it."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[code]
        entry, offset, size = tag.offset, tag.valueoffset, tag.count
    data = bytearray(path.read_bytes())
    value = bytes(data[offset : offset + size])
    data[entry + 8 : entry + 12] = struct.pack("<I", len(data))
    path.write_bytes(bytes(data) + value)


WHOLE = {
    "ome.ome.tif": ome,
    "big.ome.tif": ome_big,
    "no-such-name.tif": ome,
    "aperio.svs": described("Aperio Image Library v12 \r\n64x64 [0,0 64x64] (32x32)|AppMag = 20|MPP = 0.5"),
    "philips.tiff": described('<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"></DataObject>'),
    "leica.scn": described('<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"/>'),
    "akoya.qptiff": described("<?xml version='1.0'?><PerkinElmer-QPI-ImageDescription/>"),
    "imagej.tif": described("ImageJ=1.53t\nimages=1\nunit=micron\n"),
    "map.tif": geographic,
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("lost", [1, 20])
def test_a_tag_past_the_end_is_truncation(tmp_path: Path, name: str, lost: int) -> None:
    path = tmp_path / name
    WHOLE[name](path)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(Damaged, match=r"(?s)truncated; copy it again"):
        open_slide(path)


@pytest.mark.parametrize("name", ["x.ome.tif", "X.OME.TIFF", "x.Ome.Btf"])
@pytest.mark.parametrize("description", [None, "a note", "<?xml version='1.0'?><other/>"])
def test_a_name_that_says_ome_and_no_ome_xml(tmp_path: Path, name: str, description: str | None) -> None:
    path = tmp_path / name
    tifffile.imwrite(path, HYPERSTACK[0, 0, 0], description=description, metadata=None, ome=False)
    with pytest.raises(Damaged, match=r"no OME-XML: copy the file again, or rename it to \.tif"):
        open_slide(path)


@pytest.mark.parametrize("keywords", [{"imagej": True}, {"ome": False}])
def test_other_metadata_order_the_pages_of_a_misnamed_file(tmp_path: Path, keywords: dict[str, bool]) -> None:
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, HYPERSTACK[0, 0], metadata={"axes": "ZYX"}, photometric="minisblack", **keywords)
    with open_slide(path) as slide:
        assert any("no OME-XML" in warning for warning in slide.warnings)
        assert sum(scene.shape.z * scene.shape.t for scene in slide.scenes) == 4


def test_a_blank_place_for_ome_xml_is_a_copy_that_was_only_preallocated(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, HYPERSTACK, ome=True, software="OME Bio-Formats 7.1.0", photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[270]
        start, stop = tag.valueoffset, tag.valueoffset + tag.count
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(stop - start) + data[stop:])
    with pytest.raises(Damaged, match=r"is blank: copy the file again"):
        open_slide(path)


def directory_last(path: Path, description: str | None, count: int = 1) -> None:
    """Images of which the first's directory lies at the very end, then cut before the pointer to the next one."""
    for number in range(count):
        tifffile.imwrite(
            path, np.full((32, 32, 3), 50 + number, "u1"), append="force" if number else False, photometric="rgb",
            tile=(16, 16), description=None if number else description, metadata=None,
        )  # fmt: skip
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    entries = data[start : start + 2 + 12 * struct.unpack_from("<H", data, start)[0]]
    struct.pack_into("<I", data, 4, len(data) + len(data) % 2)
    path.write_bytes(bytes(data) + bytes(len(data) % 2) + entries)


@pytest.mark.parametrize("count", [1, 3])
def test_without_the_last_pointer_a_picture_is_told_to_lack_some(tmp_path: Path, count: int) -> None:
    """libtiff reads such files without a word, tifffile some of them; some writers leave the pointer out."""
    directory_last(tmp_path / "a.tif", None, count)
    with suppress(Damaged), open_slide(tmp_path / "a.tif") as slide:
        assert any("further images" in warning for warning in slide.warnings)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels
 ID="Pixels:0" Type="uint8" DimensionOrder="XYCZT" SizeX="32" SizeY="32" SizeC="3" SizeZ="1" SizeT="1">
 <Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>"""
APERIO = "Aperio Image Library v1.0\r\n32x32 [0,0 32x32] (16x16) JPEG/RGB Q=70|AppMag = 20"


@pytest.mark.parametrize(("name", "description"), [("a.svs", APERIO), ("a.ome.tif", OME)])
def test_without_the_last_pointer_a_slide_is_refused(tmp_path: Path, name: str, description: str) -> None:
    directory_last(tmp_path / name, description, 3)
    with pytest.raises(Damaged, match="further images"):
        open_slide(tmp_path / name)


@pytest.mark.parametrize("spare", [0, 1, 5])
def test_pages_that_the_ome_xml_does_not_describe_are_told(tmp_path: Path, spare: int) -> None:
    ome(tmp_path / "whole.ome.tif")
    with tifffile.TiffFile(tmp_path / "whole.ome.tif") as tiff:
        described = tiff.pages.first.tags[270].value
    pages = HYPERSTACK.reshape(-1, 24, 30)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for number in range(24 + spare):
            writer.write(pages[number % 24], description=None if number else described, metadata=None)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        said = [f"{spare} pages of a.ome.tif belong to no image that the OME-XML describes and are left out"]
        assert slide.warnings == (said if spare else [])


@pytest.mark.parametrize(
    "description", ["<?xml", '<?xml version="1.0" e', '<?xml version="1.0"?>', '<?xml version="1.0"?><OM']
)
def test_a_description_that_is_the_beginning_of_xml_is_told(tmp_path: Path, description: str) -> None:
    """Of OME-XML or of another format's: the pages would pass for a time series without a word."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, HYPERSTACK.reshape(-1, 24, 30), description=description, metadata=None)
    with open_slide(path) as slide:
        assert any("begins as XML and is not whole" in warning for warning in slide.warnings)
