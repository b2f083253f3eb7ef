"""Metadata of formats that many programs write, read back from the store: OME-TIFF, OME-Zarr, Philips and ImageJ TIFF, MRXS,
maps and pictures. As tests/drivers/test_metadata.py; and what pictures do not know stays unknown.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from converter.inspection import inspection
from drivers import open_slide
from drivers.model import PixelSize
from tests.conftest import SHARED_SAMPLES
from tests.made.gdal import exif, geotiff, png_with
from tests.made.omezarr import Store, make_layout
from tests.made.openslide import MRXS, make_mrxs
from tests.made.philips import Philips, make_philips
from tests.made.tiff import noise, ome_image, ome_xml, write_ome
from tests.support.shared import shared_samples
from tests.support.written import RGB, Seen, Told, converted, shown, told

pytestmark = pytest.mark.usefixtures("files_closed")
UM = dict.fromkeys("yx", "micrometer")
COLOURS = ("Red", "Green", "Blue")

INSTRUMENT = """<Instrument ID="Instrument:0"><Microscope Manufacturer="Maker" Model="M1" SerialNumber="S1"/>
<Detector ID="Detector:0" Model="Camera 2"/>
<Objective ID="Objective:0" Model="Plan 40x" NominalMagnification="40.0" LensNA="0.95" Immersion="Oil"/></Instrument>"""
CHANNELS = """<Channel ID="Channel:0:0" Name="DAPI" Color="65535" ExcitationWavelength="358.0" EmissionWavelength="461.0"
 Fluor="DAPI"/><Channel ID="Channel:0:1"/><TiffData/><Plane TheZ="0" TheT="0" TheC="0" ExposureTime="0.25"
 PositionX="10.5" PositionXUnit="µm" PositionY="-3.0" PositionYUnit="µm"/>"""


def test_ometiff(tmp_path: Path) -> None:
    size = {"X": 9, "Y": 8, "Z": 1, "C": 2, "T": 1}
    pixels = 'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="250.0" PhysicalSizeYUnit="nm" SignificantBits="7"'
    image = ome_image(size, CHANNELS, pixels=pixels)
    head = '<AcquisitionDate>2024-03-28T14:05:09</AcquisitionDate><InstrumentRef ID="Instrument:0"/>'
    image = image.replace("<Pixels ", f'{head}<ObjectiveSettings ID="Objective:0"/><Pixels ', 1)
    path = write_ome(tmp_path / "a.ome.tif", ome_xml(INSTRUMENT + image), list(noise((2, 8, 9))))
    store = converted(path, tmp_path)
    text = (store / "OME" / "METADATA.ome.xml").read_text()
    assert 'PhysicalSizeY="250.0" PhysicalSizeYUnit="nm"' in text  # kept as it was written
    (scene,) = told_in_um(store)
    assert scene == Told(
        name=scene.name,
        size_um=(None, 0.25, 0.5),
        magnification=40,
        aperture=0.95,
        lens="Plan 40x",
        immersion="Oil",
        maker="Maker",
        model="M1",
        serial="S1",
        detector="Camera 2",
        acquired="2024-03-28T14:05:09",
        position_um=(10.5, -3.0, None),
        bits=7,
        channels=(Seen("DAPI", "0000FF", 358, 461, 0.25, "DAPI"), Seen()),
        software="made",
    )
    assert shown(store)[0].labels == ("DAPI", "Channel 1")
    assert shown(store)[0].colors[0] == "0000FF"
    assert (shown(store)[0].scale, shown(store)[0].units) == ({"c": 1, "y": 0.25, "x": 0.5}, UM)


def told_in_um(store: Path) -> list[Told]:
    """`told` of a document that keeps its own units: nanometres are put into micrometres first."""
    place = store / "OME" / "METADATA.ome.xml"
    text = place.read_text("utf-8")
    place.write_text(
        text.replace('PhysicalSizeY="250.0" PhysicalSizeYUnit="nm"', 'PhysicalSizeY="0.25" PhysicalSizeYUnit="µm"')
    )
    try:
        return told(store)
    finally:
        place.write_text(text, "utf-8")


def test_ometiff_of_others(shared_samples: Path, tmp_path: Path) -> None:
    path = shared_samples / "ometiff" / "qupath-cells-2z.ome.tif"
    with tifffile.TiffFile(path) as tiff:
        text = tiff.ome_metadata or ""
    said = {key: float(value) for key, value in re.findall(r'(PhysicalSize[XYZ])="([\d.]+)"', text)}
    store = converted(path, tmp_path)
    assert told(store) == [
        Told(
            size_um=tuple(said[f"PhysicalSize{axis}"] for axis in "ZYX"),
            time_step_s=0.0,  # as its writer says of a single time; the time axis has no unit for it
            software="OME Bio-Formats 6.8.0",
        )
    ]
    assert shown(store)[0].units == UM | {"z": "micrometer"}


@pytest.mark.parametrize("schema", ["2008-09", "2010-06", "2012-06", "2013-06", "2015-01", "2016-06"])
def test_ometiff_of_every_schema_becomes_2016(tmp_path: Path, schema: str) -> None:
    channels = '<Channel ID="Channel:0:0" Name="DAPI" ExcitationWavelength="358"/><Channel ID="Channel:0:1"/><TiffData/>'
    sizes = 'DimensionOrder="XYCZT" PhysicalSizeX="0.5" PhysicalSizeY="0.25"'
    xml = ome_xml(ome_image({"X": 9, "Y": 8, "Z": 1, "C": 2, "T": 1}, channels, pixels=sizes))
    path = write_ome(tmp_path / "a.ome.tif", xml.replace("2016-06", schema), list(noise((2, 8, 9))))
    (scene,) = told(converted(path, tmp_path))  # which validates
    assert scene == Told(
        name=scene.name, size_um=(None, 0.25, 0.5), channels=(Seen("DAPI", excitation_nm=358), Seen()), software="made"
    )


@pytest.mark.parametrize("value", ["0", "0.0", "-1", "NaN", "INF", "", "0,5"])
def test_ometiff_of_sizes_that_mean_nothing(tmp_path: Path, value: str) -> None:
    channel = f'<Channel ID="Channel:0:0" EmissionWavelength="{value}" EmissionWavelengthUnit="nm"/><TiffData/>'
    sizes = f'DimensionOrder="XYCZT" PhysicalSizeX="{value}" PhysicalSizeXUnit="mm" PhysicalSizeY="0.25"'
    xml = ome_xml(ome_image({"X": 9, "Y": 8, "Z": 1, "C": 1, "T": 1}, channel, pixels=sizes))
    store = converted(write_ome(tmp_path / "a.ome.tif", xml, [noise((8, 9))]), tmp_path)
    assert told(store)[0].size_um == (None, 0.25, None)
    assert told(store)[0].channels == (Seen(),)


def test_omezarr(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="Writer 1">'
        f'{INSTRUMENT}<Image ID="Image:0" Name="tissue"><InstrumentRef ID="Instrument:0"/>'
        '<ObjectiveSettings ID="Objective:0"/>'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="101" SizeY="90" SizeC="2" SizeZ="1" SizeT="1">'
        '<Channel ID="Channel:0:0" Name="DAPI" EmissionWavelength="461.0"/><Channel ID="Channel:0:1"/>'
        "<MetadataOnly/></Pixels>"
        "</Image></OME>"
    )
    old = Store(version="0.4", size=(2, 90, 101), chunk=(1, 32, 32), levels=2, name=None)
    path = make_layout(tmp_path / "a.zarr", [("0", old)], xml)
    with open_slide(path) as slide:
        size = slide.scenes[0].pixel_size
    given = json.loads((path / "0" / ".zattrs").read_text())
    store = converted(path, tmp_path)
    assert told(store) == [
        Told(
            name="tissue",
            magnification=40,
            aperture=0.95,
            lens="Plan 40x",
            immersion="Oil",
            maker="Maker",
            model="M1",
            serial="S1",
            detector="Camera 2",
            channels=(Seen("DAPI", emission_nm=461), Seen()),
            software="Writer 1",
        )
    ]
    first = given["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert shown(store)[0].scale == {"c": 1, "y": first[1], "x": first[2]} == {"c": 1, "y": size.y_um, "x": size.x_um}
    assert list(shown(store)[0].labels) == [channel["label"] for channel in given["omero"]["channels"]]
    assert list(shown(store)[0].colors) == [channel["color"].upper() for channel in given["omero"]["channels"]]


def test_philips(tmp_path: Path) -> None:
    path = make_philips(tmp_path / "a.tiff", Philips(size=(300, 400), depth=2, spacing_mm=(0.0003, 0.00025)))
    with tifffile.TiffFile(path) as tiff:
        text = tiff.pages.first.description

    def said(name: str) -> str:
        found = re.findall(rf'Name="{name}"[^>]*>([^<]*)<', text)
        return found[-1 if name == "DICOM_PIXEL_SPACING" else 0].replace("&quot;", "")

    date = said("DICOM_ACQUISITION_DATETIME")
    store = converted(path, tmp_path)
    assert (
        told(store)
        == [
            Told(
                name="a",
                size_um=(None, pytest.approx(0.3), pytest.approx(0.25)),  # DICOM: rows first
                maker=said("DICOM_MANUFACTURER"),
                serial=said("DICOM_DEVICE_SERIAL_NUMBER"),
                acquired=f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}",
                software=said("DICOM_SOFTWARE_VERSIONS").replace(" ", ", "),
                channels=RGB,
            )
        ]
    )
    assert "SmFuZSBEb2U=" not in (store / "OME" / "METADATA.ome.xml").read_text()  # the barcode


def test_mrxs(tmp_path: Path) -> None:
    import openslide

    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    ini = tmp_path / "a" / "Slidedat.ini"
    ini.write_text(ini.read_text("utf-8-sig").replace("OBJECTIVE_NAME", "CAMERA_TYPE = CIS\nOBJECTIVE_NAME"), "utf-8-sig")
    with openslide.OpenSlide(path) as slide:
        said = dict(slide.properties)
    um = float(said["openslide.mpp-x"])
    store = converted(path, tmp_path)
    assert told(store) == [
        Told(
            name="a",
            size_um=(None, um, um),
            magnification=float(said["openslide.objective-power"]),
            lens=said["mirax.GENERAL.OBJECTIVE_NAME"],
            maker="3DHISTECH",
            detector="CIS",
            acquired="2019-12-24T11:12:13",
            channels=RGB,
            position_um=(int(said["openslide.bounds-x"]) * um, int(said["openslide.bounds-y"]) * um, None),
        )
    ]
    assert said["mirax.GENERAL.SLIDE_NAME"] not in (store / "OME" / "METADATA.ome.xml").read_text()


def test_imagej(tmp_path: Path) -> None:
    lut = np.zeros((3, 256), "u1")
    lut[1] = np.arange(256)
    labels = ["DAPI", "FITC"] * 6  # channels vary fastest
    meta: dict[str, Any] = {"axes": "TZCYX", "unit": "um", "spacing": 1.5, "finterval": 0.25, "LUTs": [lut, lut[::-1]]}
    meta |= {"Ranges": (10.0, 900.0, 20.0, 800.0), "Labels": labels}
    pixels = noise((2, 3, 2, 17, 23), "u2")
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 2), metadata=meta)
    store = converted(tmp_path / "a.tif", tmp_path)
    assert told(store) == [
        Told(
            name="a",
            size_um=(1.5, 0.5, 0.25),
            time_step_s=0.25,
            channels=(Seen("DAPI", "00FF00"), Seen("FITC", "00FF00")),
            software="tifffile.py",
        )
    ]
    assert shown(store)[0].windows == ((10, 900), (20, 800))
    assert shown(store)[0].units == UM | {"t": "second", "z": "micrometer"}


def test_imagej_labels_of_slices_name_no_channel(tmp_path: Path) -> None:
    meta: dict[str, Any] = {"axes": "ZCYX", "Labels": [f"patient {i}.tif" for i in range(4)]}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 2, 17, 23), "u2"), imagej=True, metadata=meta)
    store = converted(tmp_path / "a.tif", tmp_path)
    assert [c.name for c in told(store)[0].channels] == [None, None]
    assert "patient" not in (store / "OME" / "METADATA.ome.xml").read_text()


def test_geotiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    geotiff(path)
    with tifffile.TiffFile(path) as tiff:
        said = tiff.geotiff_metadata or {}
    step = said["ModelPixelScale"]
    assert said["ProjLinearUnitsGeoKey"] == 9001  # metre
    store = converted(path, tmp_path)
    assert told(store) == [Told(name="a", size_um=(None, step[1] * 1e6, step[0] * 1e6), channels=(Seen(), Seen()))]
    assert shown(store)[0].scale == {"c": 1, "y": step[1] * 1e6, "x": step[0] * 1e6}


# -- nothing is invented --

PICTURES = [
    sample for sample in shared_samples() if sample.name.startswith(("raster/", "jp2/")) and "10kx5k" not in sample.name
]


@pytest.mark.parametrize("sample", PICTURES, ids=lambda sample: sample.name)
def test_pictures_have_no_pixel_size(sample: Any, tmp_path: Path) -> None:
    store = converted(sample.path, tmp_path)
    (image,) = told(store)
    colour = sample.facts["rgb"]
    dated = "cmyk" in sample.name  # has EXIF with a date and a program
    known = Told(name=image.name, acquired=image.acquired if dated else None, software=image.software if dated else None)
    known = replace(known, channels=RGB) if colour else known
    alpha = "RGBA_16" in sample.name  # of 16 bits: a measurement, kept and named
    assert (tuple(seen.name for seen in image.channels) == (*COLOURS, "Alpha")) == alpha
    assert replace(image, channels=known.channels) == known if alpha else image == known
    assert (image.acquired == "2009-03-06T22:15:00") == dated
    assert shown(store)[0].units == {}
    assert set(shown(store)[0].scale.values()) == {1.0}
    assert shown(store)[0].labels == ((*COLOURS, "Alpha") if alpha else COLOURS if colour else ("Channel 0",))


def test_a_png_without_phys_has_no_pixel_size_at_all(tmp_path: Path) -> None:
    Image.fromarray(noise((30, 40, 3))).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.scenes[0].resolution == (None, None)  # slideio: 3.5e-4 metres
        (scene,) = inspection(slide)["scenes"]
    assert scene["pixel_size"] == {"z": None, "y": None, "x": None, "unit": None}
    assert (scene["magnification"], scene["time_step_s"], scene["position"]) == (None, None, None)
    store = converted(tmp_path / "a.png", tmp_path)
    text = (store / "OME" / "METADATA.ome.xml").read_text()
    for word in ("PhysicalSize", "Objective", "Instrument", "AcquisitionDate", "Plane", "Wavelength", "Exposure"):
        assert word not in text
    assert shown(store)[0].units == {}


def test_dots_per_inch_are_no_pixel_size(tmp_path: Path) -> None:
    png_with(tmp_path / "a.png", b"pHYs", bytes.fromhex("00002e2300002e2301"))  # 11811 a metre: 300 dpi
    assert told(converted(tmp_path / "a.png", tmp_path))[0].size_um == (None, None, None)


def test_exif_of_a_camera(tmp_path: Path) -> None:
    Image.fromarray(noise((30, 40, 3))).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif(1))
    (image,) = told(converted(tmp_path / "a.jpg", tmp_path))
    assert image == Told(name="a", maker=image.maker, model="Model One", acquired=image.acquired, channels=RGB)
    assert image.maker


def test_every_shared_sample_states_what_it_states_or_null(tmp_path: Path) -> None:
    """`inspect` of every sample: numbers are positive or null, never the zero or the guess of other readers."""
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    for sample in shared_samples():
        assert sample.path is not None
        with open_slide(sample.path) as slide:
            found = inspection(slide)
        for scene in found["scenes"]:
            size = scene["pixel_size"]
            numbers = [size["z"], size["y"], size["x"], scene["magnification"], scene["time_step_s"]]
            assert all(number is None or number > 0 for number in numbers), (sample.name, numbers)
            assert (size["unit"] is None) == all(size[axis] is None for axis in "zyx")
        assert found["acquired"] is None or re.match(r"(19|20)\d\d-\d\d-\d\dT", found["acquired"]), sample.name


def test_a_made_slide_without_facts_tells_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((30, 40)), photometric="minisblack", metadata=None, software=False)
    assert told(converted(path, tmp_path)) == [Told(name="a")]
    assert replace(told(tmp_path / "converted.ome.zarr")[0], name=None) == Told()


DEFAULTS = {
    "1 per mm": [((10, 10), 3), ((25.4, 25.4), 2)],
    "1 per cm": [((1, 1), 3), ((2.54, 2.54), 2)],
    "1 per inch": [((1, 1), 2), ((0.3937, 0.3937), 3)],
    "72 dpi": [((72, 72), 2), ((28.35, 28.35), 3), ((28, 28), 3)],
    "96 dpi": [((96, 96), 2), ((37.795, 37.795), 3)],
    "150 dpi": [((150, 150), 2), ((59.055, 59.055), 3)],
    "300 dpi": [((300, 300), 2), ((118.11, 118.11), 3), ((118, 118), 3)],
    "101 um": [((99, 99), 3)],
    "one axis only": [((40000, 1), 3), ((1, 40000), 3), ((40000, 118.11), 3)],
    "no unit": [((40000, 40000), 1)],
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_resolutions_that_libraries_write_where_they_know_nothing(tmp_path: Path, kind: str) -> None:
    for number, (resolution, unit) in enumerate(DEFAULTS[kind]):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, np.zeros((9, 9), np.uint8), resolution=resolution, resolutionunit=unit, metadata=None)
        with open_slide(path) as slide:
            assert slide.scenes[0].pixel_size == PixelSize(), resolution


@pytest.mark.parametrize(
    ("resolution", "unit", "size"),
    [((40000, 20000), 3, (0.5, 0.25)), ((101600, 101600), 2, (0.25, 0.25)), ((100, 100), 3, (100, 100))],
)
def test_resolutions_that_were_measured(
    tmp_path: Path, resolution: tuple[int, int], unit: int, size: tuple[float, float]
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((9, 9), np.uint8), resolution=resolution, resolutionunit=unit, metadata=None
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.scenes[0].pixel_size == PixelSize(*(pytest.approx(um) for um in size))


@pytest.mark.parametrize(
    ("keys", "z_um", "y_um"),
    [
        ({"unit": "um", "spacing": -1.5}, 1.5, 0.25),
        ({"unit": "um", "spacing": 2, "zunit": "nm"}, 0.002, 0.25),
        ({"unit": "nm", "spacing": 300, "zunit": "micron"}, 300, 0.00025),
        ({"unit": "mm", "yunit": "um", "spacing": 1}, 1000, 0.25),
        ({"unit": "um", "spacing": 2, "zunit": "pixel"}, None, 0.25),
        ({"unit": "um", "spacing": "nan"}, None, 0.25),
        ({"unit": "um", "spacing": 0}, None, 0.25),
        ({"unit": "pixel", "spacing": 2}, None, None),
        ({"unit": "\\u00B5m", "spacing": 2}, 2, 0.25),
        ({"unit": "Micron", "spacing": 2}, 2, 0.25),
    ],
)
def test_units_of_imagej(tmp_path: Path, keys: dict[str, Any], z_um: float | None, y_um: float | None) -> None:
    pixels = np.zeros((3, 9, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX"} | keys)
    with open_slide(tmp_path / "a.tif") as slide:
        size = slide.scenes[0].pixel_size
    assert size.z_um == (None if z_um is None else pytest.approx(z_um))
    assert size.y_um == (None if y_um is None else pytest.approx(y_um))
