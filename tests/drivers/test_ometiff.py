"""The OME-TIFF driver: five dimensions, pyramids, sets of files, metadata; against what was written and tifffile."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath
from drivers.formats.ometiff import DRIVER
from drivers.geometry import Box
from drivers.model import Level, Pixels, PixelSize, Position
from tests.made.tiff import PLAIN, five, halves, noise, ome_image, ome_xml, write_ome

pytestmark = pytest.mark.usefixtures("files_closed")
ONE = {"X": 9, "Y": 8, "Z": 1, "C": 1, "T": 1}


def whole(level: Level) -> Pixels:
    """All pixels of a level."""
    return paint(level, Box.of(level.shape))


def data(ifd: int, count: int = 1, *, uuid: str = "", **first: int) -> str:
    """A TiffData element; `uuid` is a whole UUID element."""
    start = " ".join(f'First{axis}="{n}"' for axis, n in first.items())
    return f'<TiffData IFD="{ifd}" PlaneCount="{count}" {start}>{uuid}</TiffData>'


def uuid_of(name: str, number: int) -> str:
    """A UUID element that names a file."""
    return f'<UUID FileName="{name}">urn:uuid:{number}</UUID>'


# -- planes --


@pytest.mark.parametrize("order", ["XY" + "".join(p) for p in permutations("ZCT")])
def test_every_dimension_order(tmp_path: Path, order: str) -> None:
    pixels = noise((2, 3, 4, 8, 9), "u2")  # t c z y x
    stored = pixels.transpose(*["TCZ".index(axis) for axis in reversed(order[2:])], 3, 4).reshape(-1, 8, 9)
    xml = ome_xml(ome_image(ONE | {"T": 2, "C": 3, "Z": 4}, "<TiffData/>", pixels=f'DimensionOrder="{order}"'))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, list(stored))) as slide:
        assert slide.driver == "ometiff"
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels)


@pytest.mark.parametrize("order", ["XYZCT", "XYCTZ"])
def test_planes_named_one_by_one_in_any_order(tmp_path: Path, order: str) -> None:
    pixels = noise((2, 3, 4, 8, 9), "u2")  # t c z y x
    places = list(np.ndindex(2, 3, 4))
    np.random.default_rng(3).shuffle(places)
    inner = "".join(data(i, T=int(t), C=int(c), Z=int(z)) for i, (t, c, z) in enumerate(places))
    xml = ome_xml(ome_image(ONE | {"T": 2, "C": 3, "Z": 4}, inner, pixels=f'DimensionOrder="{order}"'))
    path = write_ome(tmp_path / "a.ome.tif", xml, [pixels[tuple(place)] for place in places])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels)


@pytest.mark.parametrize("shape", ["TCZYX", "ZCYX", "YX", "TZYX"])
def test_what_tifffile_writes(tmp_path: Path, shape: str) -> None:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 30}
    pixels = noise([sizes[axis] for axis in shape], "u2")
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata={"axes": shape}, photometric="minisblack")
    with open_slide(tmp_path / "a.ome.tif") as slide:
        got = whole(slide.scenes[0].levels[0])
    order = [axis for axis in "TCZYX" if axis in shape]
    want = pixels.transpose([shape.index(axis) for axis in order])
    np.testing.assert_array_equal(got, want.reshape([sizes[axis] if axis in shape else 1 for axis in "TCZYX"]))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb(tmp_path: Path, planar: str) -> None:
    pixels = noise((20, 30, 3))
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    xml = ome_xml(ome_image(ONE | {"X": 30, "Y": 20, "C": 3}, '<Channel SamplesPerPixel="3"/><TiffData/>'))
    path = write_ome(tmp_path / "a.ome.tif", xml, [stored], photometric="rgb", planarconfig=planar)
    with open_slide(path) as slide:
        assert slide.scenes[0].rgb
        assert slide.scenes[0].levels[0].fill == 255
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), five(pixels))


def test_rgb_pages_of_several_channels_are_channels(tmp_path: Path) -> None:
    pages = [noise((8, 9, 3), seed=i) for i in range(2)]
    inner = '<Channel Name="a" SamplesPerPixel="3"/><Channel Name="b" SamplesPerPixel="3"/><TiffData/>'
    path = write_ome(tmp_path / "a.ome.tif", ome_xml(ome_image(ONE | {"C": 6}, inner)), pages)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert not scene.rgb
        assert [channel.name for channel in scene.channels] == [
            f"{name} {hue}" for name in "ab" for hue in ("Red", "Green", "Blue")
        ]
        assert [channel.color for channel in scene.channels] == ["FF0000", "00FF00", "0000FF"] * 2
        want = np.concatenate(pages, axis=2).transpose(2, 0, 1)
        np.testing.assert_array_equal(whole(scene.levels[0])[0, :, 0], want)


def test_planes_that_are_not_stored_show_the_fill(tmp_path: Path) -> None:
    pages = [noise((8, 9), seed=i) + 1 for i in range(2)]
    xml = ome_xml(ome_image(ONE | {"Z": 3}, data(0, Z=0) + data(1, Z=2)))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, pages)) as slide:
        got = whole(slide.scenes[0].levels[0])[0, 0]
        np.testing.assert_array_equal(got, [pages[0], np.zeros((8, 9)), pages[1]])
        assert list(slide.warnings) == ["image 0: 1 of 3 planes are not stored and show the fill value: t 0, c 0, z 1"]
        assert len(slide.scenes[0].levels[0].index.gaps()) == 1


def test_a_palette_is_a_table_for_display(tmp_path: Path) -> None:
    pixels = noise((8, 9))
    path = tmp_path / "a.ome.tif"
    xml = ome_xml(ome_image(ONE, "<TiffData/>"))
    colormap = np.tile(np.arange(256, dtype="u2") * 257, (3, 1))
    tifffile.imwrite(path, pixels, photometric="palette", colormap=colormap, description=xml.encode(), **PLAIN)
    with open_slide(path) as slide:
        assert not slide.scenes[0].rgb
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), five(pixels))


def test_several_images_and_the_roles_of_some(tmp_path: Path) -> None:
    names = ["specimen", "label image", "Macro", "second"]
    pages = [noise((8, 9), seed=i) for i in range(4)]
    images = [ome_image(ONE, data(i), image=f'ID="Image:{i}" Name="{name}"') for i, name in enumerate(names)]
    with open_slide(write_ome(tmp_path / "a.ome.tif", ome_xml("".join(images)), pages)) as slide:
        assert [scene.name for scene in slide.scenes] == ["specimen", "second"]
        assert sorted(slide.associated) == ["label", "macro"]
        assert [scene.facts.ome_image for scene in slide.scenes] == [0, 3]
        np.testing.assert_array_equal(whole(slide.associated["macro"].levels[0]), five(pages[2]))


def test_an_image_alone_is_a_scene_whatever_its_name(tmp_path: Path) -> None:
    xml = ome_xml(ome_image(ONE, "<TiffData/>", image='ID="Image:0" Name="label"'))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, [noise((8, 9))])) as slide:
        assert [scene.name for scene in slide.scenes] == ["label"]


# -- pyramids --


def write_pyramid(path: Path, planes: list[list[Any]], lost: int = -1) -> Path:
    """Planes with their reduced images as SubIFDs; plane `lost` has one fewer."""
    xml = ome_xml(ome_image(ONE | {"X": 143, "Y": 101, "Z": len(planes)}, "<TiffData/>"))
    options: dict[str, Any] = PLAIN | {"photometric": "minisblack", "compression": "deflate", "tile": (32, 32)}
    with tifffile.TiffWriter(path) as writer:
        for number, images in enumerate(planes):
            reduced = images[1:-1] if number == lost else images[1:]
            description = xml.encode() if number == 0 else None
            writer.write(images[0], subifds=len(reduced), description=description, **options)
            for image in reduced:
                writer.write(image, subfiletype=1, **options)
    return path


def test_pyramid_of_every_plane(tmp_path: Path) -> None:
    planes = [halves(noise((101, 143), seed=i), 2) for i in range(3)]
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", planes)) as slide:
        levels = slide.scenes[0].levels
        assert [(level.shape.y, level.shape.x, level.scale) for level in levels] == [
            (101, 143, 1.0),
            (50, 71, 2.0),
            (25, 35, 4.0),
        ]
        for i, level in enumerate(levels):
            np.testing.assert_array_equal(whole(level)[0, 0], [images[i] for images in planes])


def test_a_level_that_a_plane_lacks_is_left_out(tmp_path: Path) -> None:
    planes = [halves(noise((101, 143), seed=i), 2) for i in range(3)]
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", planes, lost=1)) as slide:
        assert len(slide.scenes[0].levels) == 2
        assert list(slide.warnings) == ["image 0: level 35x25 has 2 of 3 planes and is left out"]


# -- sets of files --


def write_set(folder: Path, names: tuple[str, str] = ("a.ome.tif", "b.ome.tif")) -> list[Any]:
    """Two files with a z slice each, both with the whole document; the slices."""
    pages = [noise((8, 9), seed=i) for i in range(2)]
    inner = "".join(data(0, uuid=uuid_of(name, i), Z=i) for i, name in enumerate(("a.ome.tif", "b.ome.tif")))
    for i, name in enumerate(names):
        write_ome(folder / name, ome_xml(ome_image(ONE | {"Z": 2}, inner), uuid=f"urn:uuid:{i}"), [pages[i]])
    return pages


@pytest.mark.parametrize("opened", [0, 1])
def test_set_of_files(tmp_path: Path, opened: int) -> None:
    pages, names = write_set(tmp_path), ["a.ome.tif", "b.ome.tif"]
    with open_slide(tmp_path / names[opened]) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, 0], pages)
        assert list(slide.files) == [tmp_path / names[opened], tmp_path / names[1 - opened]]
        assert list(slide.warnings) == []


def test_missing_companion_is_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(Incomplete, match=r"^a\.ome\.tif: .*'b\.ome\.tif' is not there"):
        open_slide(tmp_path / "a.ome.tif")


def test_renamed_file_of_a_set_is_known_by_its_uuid(tmp_path: Path) -> None:
    pages = write_set(tmp_path, ("renamed.ome.tif", "b.ome.tif"))
    with open_slide(tmp_path / "renamed.ome.tif") as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, 0], pages)


def test_renamed_single_file(tmp_path: Path) -> None:
    page = noise((8, 9))
    xml = ome_xml(ome_image(ONE, data(0, uuid=uuid_of("former name.ome.tif", 7))))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, [page])) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), five(page))


@pytest.mark.parametrize("name", ["../b.ome.tif", "link.ome.tif", "/etc/hostname"])
def test_companions_outside_the_folder_are_not_opened(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_set(tmp_path)
    (folder / "link.ome.tif").symlink_to(tmp_path / "b.ome.tif")
    inner = data(0, uuid=uuid_of("a.ome.tif", 0), Z=0) + data(0, uuid=uuid_of(name, 1), Z=1)
    path = write_ome(folder / "a.ome.tif", ome_xml(ome_image(ONE | {"Z": 2}, inner)), [noise((8, 9))])
    with pytest.raises(UnsafePath, match="outside its folder"):
        open_slide(path)


def test_another_uuid_is_a_warning(tmp_path: Path) -> None:
    write_set(tmp_path)
    inner = data(0, uuid=uuid_of("c.ome.tif", 0), Z=0) + data(0, uuid=uuid_of("b.ome.tif", 9), Z=1)
    path = write_ome(tmp_path / "c.ome.tif", ome_xml(ome_image(ONE | {"Z": 2}, inner)), [noise((8, 9))])
    with open_slide(path) as slide:
        assert list(slide.warnings) == ["b.ome.tif has another UUID than the one this file asks for"]


@pytest.mark.parametrize("master", ["all.companion.ome", "a.ome.tif"])
def test_binary_only_files_find_their_metadata(tmp_path: Path, master: str) -> None:
    pages = write_set(tmp_path)
    if master.endswith("companion.ome"):
        with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
            (tmp_path / master).write_text(tiff.ome_metadata or "", encoding="utf-8")
    (tmp_path / "b.ome.tif").unlink()
    xml = ome_xml(f'<BinaryOnly MetadataFile="{master}" UUID="urn:uuid:0"/>', uuid="urn:uuid:1")
    path = write_ome(tmp_path / "b.ome.tif", xml, [pages[1]])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, 0], pages)
        assert set(slide.files) == {path, tmp_path / master, tmp_path / "a.ome.tif"}


@pytest.mark.parametrize("uuid", [uuid_of("gone.ome.tif", 9), "<UUID>urn:uuid:9</UUID>"])
def test_a_plane_in_a_file_that_is_missing_is_never_another_plane(tmp_path: Path, uuid: str) -> None:
    xml = ome_xml(ome_image(ONE | {"Z": 2}, data(0, Z=0) + data(0, uuid=uuid, Z=1)))
    with pytest.raises(Incomplete, match=r"gone\.ome\.tif|urn:uuid:9"):
        open_slide(write_ome(tmp_path / "a.ome.tif", xml, [noise((8, 9))]))


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTZC"])
@pytest.mark.parametrize("inner", ["", "<MetadataOnly/>"])
def test_pages_without_tiffdata_are_in_dimension_order(tmp_path: Path, order: str, inner: str) -> None:
    pixels = noise((2, 3, 4, 8, 9), "u2")  # t c z y x
    stored = pixels.transpose(*["TCZ".index(axis) for axis in reversed(order[2:])], 3, 4).reshape(-1, 8, 9)
    xml = ome_xml(ome_image(ONE | {"T": 2, "C": 3, "Z": 4}, inner, pixels=f'DimensionOrder="{order}"'))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, list(stored))) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels)
        assert any("no TiffData" in warning for warning in slide.warnings)
    with pytest.raises(Damaged, match="truncated"):
        open_slide(write_ome(tmp_path / "b.ome.tif", xml, list(stored)[:-1]))


# -- metadata --

FULL = """<Instrument ID="Instrument:0"><Microscope Manufacturer="Maker" Model="M" SerialNumber="12"/>
<Objective ID="Objective:0" NominalMagnification="10.0"/>
<Objective ID="Objective:1" NominalMagnification="40.0" LensNA="0.95" Model="Plan" Immersion="Air"/></Instrument>"""
BEFORE = """<AcquisitionDate>2024-02-29T13:14:15Z</AcquisitionDate><InstrumentRef ID="Instrument:0"/>
<ObjectiveSettings ID="Objective:1"/>"""
CHANNELS = """<Channel Name="DAPI" Color="65535" ExcitationWavelength="405" EmissionWavelength="0.46"
 EmissionWavelengthUnit="µm" Fluor="dye" SamplesPerPixel="1"/><Channel Color="-16776961"/>"""
PLANES = """<Plane TheZ="0" TheC="0" TheT="0" ExposureTime="20" ExposureTimeUnit="ms" PositionX="1" PositionXUnit="mm"
 PositionY="2" PositionYUnit="µm"/><Plane TheZ="0" TheC="1" TheT="0" ExposureTime="0.5"/>"""


def test_metadata(tmp_path: Path) -> None:
    sizes = (
        'PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5" PhysicalSizeZ="0.001" PhysicalSizeZUnit="mm" '
        'TimeIncrement="500" TimeIncrementUnit="ms" SignificantBits="12"'
    )
    image = ome_image(ONE | {"C": 2}, CHANNELS + "<TiffData/>" + PLANES, before=BEFORE, pixels=sizes)
    xml = ome_xml(FULL + image)
    with open_slide(write_ome(tmp_path / "name.ome.tif", xml, [noise((8, 9), "u2")] * 2)) as slide:
        scene = slide.scenes[0]
        assert scene.name == "name.ome"
        assert scene.pixel_size == PixelSize(0.5, 0.25, 1.0)
        assert (scene.time_step_s, scene.significant_bits, scene.magnification) == (0.5, 12, 40.0)
        assert scene.position == Position(2.0, 1000.0)
        first, second = scene.channels
        assert (first.name, first.color, first.fluor) == ("DAPI", "0000FF", "dye")
        assert (first.excitation_nm, first.emission_nm, first.exposure_s) == (405.0, 460.0, 0.02)
        assert (second.name, second.color, second.exposure_s) == (None, "FF0000", 0.5)
        facts = scene.facts
        assert facts.acquired == datetime(2024, 2, 29, 13, 14, 15, tzinfo=UTC)
        assert (facts.microscope_manufacturer, facts.microscope_model, facts.microscope_serial) == ("Maker", "M", "12")
        assert (facts.objective_model, facts.objective_na, facts.immersion) == ("Plan", 0.95, "Air")
        assert (facts.software, facts.ome_xml, facts.ome_image) == ("made", xml, 0)
        assert slide.raw_metadata == xml


@pytest.mark.parametrize(
    "attributes", ['PhysicalSizeX="0"', 'PhysicalSizeX="nan"', 'PhysicalSizeX="1" PhysicalSizeXUnit="pixel"']
)
def test_pixel_sizes_that_mean_nothing_are_unknown(tmp_path: Path, attributes: str) -> None:
    xml = ome_xml(ome_image(ONE, "<TiffData/>", pixels=attributes))
    with open_slide(write_ome(tmp_path / "a.ome.tif", xml, [noise((8, 9))])) as slide:
        assert slide.scenes[0].pixel_size == PixelSize()


# -- damage --


@pytest.mark.parametrize(
    ("xml", "error"),
    [
        (ome_xml(""), Damaged),
        (ome_xml(ome_image(ONE, data(5))), Damaged),
        (ome_xml(ome_image(ONE | {"Z": 3}, "<TiffData/>" + data(2, Z=2))), Damaged),
        (ome_xml(ome_image(ONE | {"Z": 0}, "<TiffData/>")), Damaged),
        (ome_xml(ome_image(ONE | {"Z": 10**9, "T": 10**9}, "<TiffData/>")), LimitExceeded),
        (ome_xml(ome_image(ONE, "<TiffData/>", pixels='DimensionOrder="XYZZZ"')), Damaged),
        (ome_xml(ome_image(ONE, data(-1))), Damaged),
        (ome_xml(ome_image(ONE, "<TiffData/>"))[:-9], Damaged),
        (ome_xml(ome_image(ONE, "<TiffData/>"), before='<!DOCTYPE a [<!ENTITY b "c">]>'), Damaged),
        (ome_xml(ome_image(ONE, "<TiffData/>"), before="<!DOCTYPE a>"), Damaged),
        (ome_xml(ome_image(ONE, "<TiffData/>") + "<a>" * 300 + "</a>" * 300), LimitExceeded),
    ],
    ids=[
        "no image",
        "page past the end",
        "page lost",
        "size 0",
        "huge",
        "order",
        "negative",
        "cut",
        "entity",
        "doctype",
        "deep",
    ],
)
def test_xml_that_contradicts_the_file(tmp_path: Path, xml: str, error: type[DriverError]) -> None:
    path = write_ome(tmp_path / "a.ome.tif", xml, [noise((8, 9))])
    with pytest.raises(error) as raised:
        open_slide(path)
    assert str(raised.value).startswith("a.ome.tif: ")
    assert "\n" not in str(raised.value)


def test_matches_only_ome(tmp_path: Path) -> None:
    for name, text, expected in [
        ("a.tif", ome_xml(""), True),
        ("b.tif", "<DataObject>OME</DataObject>", False),
        ("c.tif", "about <OME >", False),
        ("d.tif", '<ome:OME xmlns:ome="x"></ome:OME>', True),
        ("e.tif", "", False),
    ]:
        path = tmp_path / name
        tifffile.imwrite(path, noise((8, 9)), description=text, **PLAIN)
        assert DRIVER.matches(path, path.read_bytes()[:4096]) is expected, name
    (tmp_path / "f.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert not DRIVER.matches(tmp_path / "f.tif", b"II*\0\xff\xff\xff\xff")


# -- files of others --


def test_shared_samples_equal_tifffile(shared_samples: Path) -> None:
    for path in sorted((shared_samples / "ometiff").glob("*.tif*")):
        with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
            assert slide.driver == "ometiff"
            for scene, series in zip(slide.scenes, tiff.series(squeeze=False), strict=True):
                want, axes = series.asarray(squeeze=False), series.axes.replace("S", "")
                got = whole(scene.levels[0])
                if scene.rgb:
                    np.testing.assert_array_equal(got, five(tifffile.imread(path).transpose(1, 2, 0)))
                else:
                    np.testing.assert_array_equal(
                        got, want.reshape(want.shape[:5]).transpose([axes.index(a) for a in "TCZYX"])
                    )
