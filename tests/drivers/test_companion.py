"""A companion file of OME-TIFF given itself opens its set; what it names and is not there is told."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.errors import Damaged, DriverError, Incomplete
from drivers.geometry import Box
from drivers.paint import paint

pytestmark = pytest.mark.usefixtures("files_closed")
NAMESPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
PIXELS = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)
"""Channel, z, y, x; a file for each channel."""


def make(folder: Path, name: str = "set.companion.ome", bom: bytes = b"", binary_only: bool = True) -> Path:
    entries = "".join(
        f'<TiffData IFD="0" PlaneCount="3" FirstC="{c}"><UUID FileName="c{c}.ome.tif">urn:uuid:{c}</UUID></TiffData>'
        for c in range(2)
    )
    channels = "".join(f'<Channel ID="Channel:0:{c}" Name="ch{c}" SamplesPerPixel="1"/>' for c in range(2))
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME {NAMESPACE} UUID="urn:uuid:master"><Image ID="Image:0" Name="all">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="9" SizeY="8" SizeZ="3" SizeC="2" SizeT="1" '
        f'PhysicalSizeX="0.5" PhysicalSizeXUnit="um">{channels}{entries}</Pixels></Image></OME>'.replace('"um"', '"µm"')
    )
    (folder / name).write_bytes(bom + xml.encode())
    for c in range(2):
        about = f'<BinaryOnly MetadataFile="{name}" UUID="urn:uuid:master"/>' if binary_only else ""
        own = f'<?xml version="1.0"?><OME {NAMESPACE} UUID="urn:uuid:{c}">{about}</OME>'
        tifffile.imwrite(folder / f"c{c}.ome.tif", PIXELS[c], description=own, metadata=None, photometric="minisblack")
    return folder / name


@pytest.mark.parametrize("name", ["set.companion.ome", "SET.COMPANION.OME", "set.ome.xml"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("binary_only", [True, False])
def test_a_companion_opens_its_set(tmp_path: Path, *, name: str, bom: bytes, binary_only: bool) -> None:
    path = make(tmp_path, name, bom, binary_only)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, slide.path, scene.name) == ("ometiff", path, "all")
        assert [file.name for file in slide.files] == [name, "c0.ome.tif", "c1.ome.tif"]
        assert [channel.name for channel in scene.channels] == ["ch0", "ch1"]
        assert scene.pixel_size.x_um == 0.5
        level = scene.levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], PIXELS)


def test_the_set_is_the_same_by_its_members(tmp_path: Path) -> None:
    make(tmp_path)
    with open_slide(tmp_path / "c1.ome.tif") as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], PIXELS)


@pytest.mark.parametrize("missing", ["c0.ome.tif", "c1.ome.tif"])
def test_a_file_that_is_not_there(tmp_path: Path, missing: str) -> None:
    path = make(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(Incomplete, match=missing):
        open_slide(path)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('FileName="c0.ome.tif"', 'FileName="../c0.ome.tif"', DriverError),
        ('<UUID FileName="c1.ome.tif">urn:uuid:1</UUID>', "", Damaged),
        ("</OME>", "", Damaged),
        ("TiffData", "MetadataOnly", DriverError),
    ],
)
def test_a_companion_that_is_broken(tmp_path: Path, old: str, new: str, error: type[DriverError]) -> None:
    path = make(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(error, match=r"set\.companion\.ome"):
        open_slide(path)


@pytest.mark.parametrize("name", ["other.companion.ome", "other.ome", "other.xml", "other.ome.xml"])
@pytest.mark.parametrize("there", [True, False])
def test_a_renamed_companion_is_found_by_its_uuid(tmp_path: Path, name: str, there: bool) -> None:
    path = make(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.rename(tmp_path / name)
    if there:  # another document has taken its name
        path.write_text(text.replace("urn:uuid:master", "urn:uuid:another").replace('"XYZCT"', '"XYCZT"'), encoding="utf-8")
    with open_slide(tmp_path / "c1.ome.tif") as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], PIXELS)
        assert tmp_path / name in slide.files
        assert f"{name} is {path.name} by its UUID, under another name" in slide.warnings


def test_two_companions_of_one_uuid_and_none(tmp_path: Path) -> None:
    path = make(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.unlink()
    with pytest.raises(Incomplete, match=r"set\.companion\.ome"):
        open_slide(tmp_path / "c1.ome.tif")
    for name in ("one.ome", "two.ome"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(Incomplete, match=r"one\.ome, two\.ome"):
        open_slide(tmp_path / "c1.ome.tif")
