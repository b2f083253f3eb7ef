"""OME-XML of written stores, read back with ome-types and checked against its schema."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest
from ome_types.model import OME, Pixels_DimensionOrder, PixelType

from converter.writing.omexml import ome_xml, pixel_type
from drivers.errors import Damaged
from drivers.model import Channel, Facts, PixelSize, Position, Scene
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import converted, own, parsed, pyramid, schema, slide_of, texture, violations

ACQUIRED = datetime.fromisoformat("2024-03-28T14:05:09")  # files state no zone
FACTS = Facts(
    acquired=ACQUIRED,
    microscope_manufacturer="Aperio",
    microscope_model="GT450",
    microscope_serial="SS12345",
    objective_model="UPLXAPO20X",
    objective_na=0.8,
    immersion="Oil",
    software="Scan 1.2",
)
CHANNELS = (
    Channel("DAPI", "0000FF", 358.0, 461.0, 0.1, "DAPI", (100.0, 3000.0)),
    Channel("FITC", "00FF00", 490.0, 525.0, 0.25),
    Channel("Cy5", "FF0080", 640.0, 670.0),
    Channel(),
)


def fluorescence(**more: Any) -> Scene:
    """Four channels, two slices, three times, with everything a file may state."""
    known: dict[str, Any] = {
        "name": "Position 1", "channels": CHANNELS, "pixel_size": PixelSize(0.325, 0.32, 1.5), "magnification": 20.0,
        "position": Position(1200.5, -300.25), "time_step_s": 2.5, "significant_bits": 12, "facts": FACTS,
    }  # fmt: skip
    return memory_scene(pyramid(texture((3, 4, 2, 70, 90), "uint16")), **known | more)


def brightfield(**more: Any) -> Scene:
    levels = pyramid(texture((1, 3, 1, 150, 130)), interleaved=True, fill=255)
    return memory_scene(levels, rgb=True, **{"name": "slide", "facts": FACTS} | more)


def read(store: Path) -> OME:
    """The document of a store, after the schema has passed it."""
    text = (store / "OME" / "METADATA.ome.xml").read_text()
    schema().assertValid(parsed(text))
    return ome_types.from_xml(text)


def made(scene: Scene, privacy: str = "standard") -> OME:
    text = ome_xml([(scene, scene.name)], privacy, "slidemill 1").text
    schema().assertValid(parsed(text))
    return ome_types.from_xml(text)


def test_everything_a_file_states(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, fluorescence()), store)
    (image,) = read(store).images
    pixels = image.pixels
    assert image.name == "Position 1"
    assert image.acquisition_date is not None
    assert image.acquisition_date.replace(tzinfo=None) == ACQUIRED
    assert (pixels.size_t, pixels.size_c, pixels.size_z, pixels.size_y, pixels.size_x) == (3, 4, 2, 70, 90)
    assert (pixels.physical_size_x, pixels.physical_size_y, pixels.physical_size_z) == (0.32, 0.325, 1.5)
    assert pixels.physical_size_x_unit.value == pixels.physical_size_y_unit.value == "µm"
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (2.5, "s")
    assert (pixels.type, pixels.significant_bits) == (PixelType.UINT16, 12)
    assert pixels.dimension_order is Pixels_DimensionOrder.XYZCT
    assert pixels.metadata_only is not None
    assert violations(store) == []


def test_channels() -> None:
    pixels = made(fluorescence()).images[0].pixels
    assert [c.name for c in pixels.channels] == ["DAPI", "FITC", "Cy5", None]
    assert [c.samples_per_pixel for c in pixels.channels] == [1, 1, 1, 1]
    assert pixels.channels[0].fluor == "DAPI"
    assert (pixels.channels[1].excitation_wavelength, pixels.channels[1].emission_wavelength) == (490, 525)
    assert pixels.channels[3].excitation_wavelength is None
    exposures = {plane.the_c: plane.exposure_time for plane in pixels.planes}
    assert exposures[0] == 0.1
    assert exposures[1] == 0.25


@pytest.mark.parametrize(
    ("color", "signed"),
    [
        ("000000", 255),
        ("0000FF", 65535),
        ("00FF00", 16711935),
        ("FF0000", -16776961),
        ("FFFFFF", -1),
        ("7FFFFF", 2147483647),
        ("800000", -2147483393),
    ],
)
def test_colours_are_signed_rgba(color: str, signed: int) -> None:
    text = ome_xml([(fluorescence(channels=(Channel("a", color),)), "x")], "standard", "y").text
    assert f'Color="{signed}"' in text
    found = ome_types.from_xml(text).images[0].pixels.channels[0].color
    assert found.as_rgb_tuple()[:3] == tuple(bytes.fromhex(color))


def test_instrument() -> None:
    document = made(brightfield(magnification=40.0))
    (instrument,) = document.instruments
    assert instrument.microscope is not None
    assert (instrument.microscope.manufacturer, instrument.microscope.model) == ("Aperio", "GT450")
    assert instrument.microscope.serial_number == "SS12345"
    (objective,) = instrument.objectives
    assert (objective.nominal_magnification, objective.lens_na, objective.model) == (40.0, 0.8, "UPLXAPO20X")
    assert objective.immersion is not None
    assert objective.immersion.value == "Oil"
    settings = document.images[0].objective_settings
    assert settings is not None
    assert settings.id == objective.id


@pytest.mark.parametrize(
    ("stated", "written"), [("air", "Air"), ("Glycerin", "Glycerol"), ("Silicone", "Other"), (None, None)]
)
def test_immersion_in_the_words_of_the_schema(stated: str | None, written: str | None) -> None:
    lens = made(brightfield(facts=replace(FACTS, immersion=stated))).instruments[0].objectives[0]
    assert (lens.immersion.value if lens.immersion else None) == written


def test_detector_and_focus() -> None:
    document = made(brightfield(facts=replace(FACTS, detector_model="Camera 2"), position=Position(1, 2, -3.5)))
    assert [detector.model for detector in document.instruments[0].detectors] == ["Camera 2"]
    (plane,) = document.images[0].pixels.planes
    assert (plane.position_z, plane.position_z_unit.value) == (-3.5, "µm")


def test_creator_names_the_software_of_the_file() -> None:
    assert made(brightfield()).creator == "slidemill 1; from a file by Scan 1.2"
    assert made(brightfield(facts=replace(FACTS, software=None))).creator == "slidemill 1"


def test_position() -> None:
    plane = made(fluorescence()).images[0].pixels.planes[0]
    assert (plane.position_x, plane.position_y) == (-300.25, 1200.5)
    assert plane.position_x_unit.value == "µm"


def test_colour_is_three_channels_of_one_sample() -> None:
    pixels = made(brightfield()).images[0].pixels
    assert [c.samples_per_pixel for c in pixels.channels] == [1, 1, 1]
    assert pixels.size_c == 3


def test_what_is_unknown_is_left_out() -> None:
    text = ome_xml([(memory_scene([memory_level(texture((1, 1, 1, 9, 9)), (8, 8))]), "x")], "standard", "y").text
    for word in (
        "PhysicalSize",
        "Unit",
        "Instrument",
        "Objective",
        "AcquisitionDate",
        "Plane",
        "TimeIncrement",
        "SignificantBits",
        "Color",
    ):
        assert word not in text


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64", "uint64", "int64", "float16"]
)
def test_pixel_types_are_those_of_theschema(dtype: str) -> None:
    assert pixel_type(np.dtype(dtype)) in {member.value for member in PixelType}
    made(memory_scene([memory_level(np.zeros((1, 1, 1, 3, 3), dtype), (8, 8))]))


@pytest.mark.parametrize("name", ["", "a & b < c > \"d\" 'e'", "line\nbreak", "bell\x07", "\ud800 lone", "日本 🔬", "\ufffe"])
def test_names_are_always_valid_xml(name: str) -> None:
    scene = brightfield(name=name, facts=Facts(microscope_model=name, objective_model=name))
    document = made(scene)
    assert document.images[0].name is not None
    if name.isprintable():
        assert document.images[0].name == name


def test_several_images_in_order(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, [fluorescence(), brightfield(), fluorescence(name="Position 2")]), store, scenes=("2", "1"))
    document = read(store)
    assert [image.name for image in document.images] == ["Position 2", "slide"]
    assert [image.pixels.size_c for image in document.images] == [4, 3]
    assert len({image.id for image in document.images}) == 2
    assert violations(store) == []


def test_strict_drops_dates_and_serials() -> None:
    found = ome_xml([(brightfield(), "x")], "strict", "y")
    for word in ("SS12345", "2024", "14:05"):
        assert word not in found.text
    assert found.removed == ["acquisition date", "scanner serial number"]
    assert "Aperio" in found.text
    kept = ome_xml([(brightfield(), "x")], "standard", "y")
    assert "SS12345" in kept.text
    assert "2024-03-28T14:05:09" in kept.text
    assert kept.removed == []


# -- the file's own OME-XML --

NS = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
SOURCE = f"""<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="{NS}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" UUID="urn:uuid:00000000-0000-4000-8000-000000000000"
  Creator="Vendor 1" xsi:schemaLocation="{NS} {NS}/ome.xsd">
 <Experimenter ID="Experimenter:0" FirstName="Ada" LastName="Patientname" Email="ada@example.org"/>
 <Instrument ID="Instrument:0">
  <Microscope Manufacturer="Maker" Model="M1" SerialNumber="SN-777"/>
  <Objective ID="Objective:0" NominalMagnification="63.0" LensNA="1.4" SerialNumber="LENS-9"/>
 </Instrument>
 <Image ID="Image:0" Name="first">
  <AcquisitionDate>2021-02-03T04:05:06</AcquisitionDate>
  <ExperimenterRef ID="Experimenter:0"/>
  <Description>Patient Jane Roe</Description>
  <InstrumentRef ID="Instrument:0"/>
  <ObjectiveSettings ID="Objective:0"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8"
    BigEndian="true" SizeX="90" SizeY="70" SizeZ="1" SizeC="1" SizeT="1"
    PhysicalSizeX="0.1" PhysicalSizeXUnit="µm">
   <Channel ID="Channel:0:0" SamplesPerPixel="1" Name="GFP" EmissionWavelength="509.0"/>
   <TiffData IFD="0" PlaneCount="1"><UUID FileName="x.ome.tif">urn:uuid:00000000-0000-4000-8000-000000000000</UUID></TiffData>
   <Plane TheC="0" TheT="0" TheZ="0" ExposureTime="0.5"/>
  </Pixels>
  <AnnotationRef ID="Annotation:0"/>
 </Image>
 <Image ID="Image:1" Name="second">
  <Pixels ID="Pixels:1" DimensionOrder="XYCZT" Type="uint8" SizeX="90" SizeY="70" SizeZ="1" SizeC="1" SizeT="1">
   <Channel ID="Channel:1:0" SamplesPerPixel="1" Name="DAPI"/>
   <BinData Length="0" BigEndian="true"/>
  </Pixels>
 </Image>
 <StructuredAnnotations>
  <XMLAnnotation ID="Annotation:0"><Value><Raw xmlns="">Patient ID 4711</Raw></Value></XMLAnnotation>
 </StructuredAnnotations>
</OME>
"""


def own_xml(index: int = 0, source: str = SOURCE) -> Scene:
    facts = Facts(ome_xml=source, ome_image=index)
    return memory_scene(pyramid(texture((1, 1, 1, 70, 90))), name=("first", "second")[index], facts=facts)


def test_source_is_valid_to_begin_with() -> None:
    schema().assertValid(parsed(SOURCE))


@pytest.mark.parametrize("privacy", ["standard", "strict", "keep"])
def test_storage_is_taken_out_and_metadata_stay(tmp_path: Path, privacy: str) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, [own_xml(0), own_xml(1)]), store, privacy=privacy)
    text = (store / "OME" / "METADATA.ome.xml").read_text()
    for word in ("TiffData", "BinData", "BigEndian", "x.ome.tif", "urn:uuid"):
        assert word not in text
    assert text.count("MetadataOnly") == 2
    document = read(store)
    assert [image.name for image in document.images] == ["first", "second"]
    pixels = document.images[0].pixels
    assert (pixels.physical_size_x, pixels.channels[0].name, pixels.channels[0].emission_wavelength) == (0.1, "GFP", 509.0)
    assert pixels.planes[0].exposure_time == 0.5
    assert document.instruments[0].objectives[0].lens_na == 1.4
    assert violations(store) == []


def test_a_channel_of_several_samples_is_written_as_so_many_channels(tmp_path: Path) -> None:
    """The array has planes: readers that take a Channel for one of them (Bio-Formats, raw2ometiff) need as many."""
    grey = '<Channel ID="Channel:0:1" SamplesPerPixel="1" Name="DAPI" Color="65535"/>'
    source = SOURCE.replace(
        'SamplesPerPixel="1" Name="GFP" EmissionWavelength="509.0"/>', f'SamplesPerPixel="3" Color="-1"/>{grey}'
    )
    source = source.replace('SizeZ="1" SizeC="1"', 'Interleaved="true" SizeZ="1" SizeC="4"', 1)
    source = source.replace("ExposureTime", 'DeltaT="7.0" ExposureTime').replace(
        "</Pixels>", '<Plane TheC="1" TheT="0" TheZ="0" ExposureTime="0.25"/></Pixels>', 1
    )
    schema().assertValid(parsed(source))
    facts = Facts(ome_xml=source, ome_image=0)
    converted(slide_of(tmp_path, memory_scene(pyramid(texture((1, 4, 1, 70, 90))), facts=facts)), tmp_path / "x.zarr")
    pixels = read(tmp_path / "x.zarr").images[0].pixels
    assert [(c.samples_per_pixel, c.name, c.color.as_hex()) for c in pixels.channels] == [
        (1, "Red", "#f00"), (1, "Green", "#0f0"), (1, "Blue", "#00f"), (1, "DAPI", "#00f"),
    ]  # fmt: skip
    assert len({c.id for c in pixels.channels}) == pixels.size_c == 4
    assert [(p.the_c, p.exposure_time) for p in pixels.planes] == [(0, 0.5), (3, 0.25)]
    assert not pixels.interleaved
    assert violations(tmp_path / "x.zarr") == []


def test_personal_data_go_unless_kept(tmp_path: Path) -> None:
    personal = ("Ada", "Patientname", "ada@example.org", "Jane Roe", "4711", "Experimenter", "AnnotationRef")
    dated = ("2021-02-03", "SN-777", "LENS-9")
    expected = {"standard": (personal, dated), "strict": (personal + dated, ()), "keep": ((), personal + dated)}
    for privacy, (gone, there) in expected.items():
        store = tmp_path / f"{privacy}.zarr"
        converted(slide_of(tmp_path, own_xml()), store, privacy=privacy)
        text = (store / "OME" / "METADATA.ome.xml").read_text()
        everything = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
        for word in gone:
            assert word not in text, (privacy, word)
            if not word.endswith("Ref") and word != "Experimenter":
                assert word.encode() not in everything, (privacy, word)
        for word in there:
            assert word in text, (privacy, word)
        removed = own(store)["removed"]
        assert ("Experimenter" in removed) == (privacy != "keep")
        assert ("AcquisitionDate" in removed) == (privacy == "strict")


def test_only_the_chosen_image_stays(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, [own_xml(0), own_xml(1)]), store, scenes=("1",))
    assert [image.name for image in read(store).images] == ["second"]


@pytest.mark.parametrize(
    "bad", ["<OME", "", '<!DOCTYPE x [<!ENTITY a "b">]><OME>&a;</OME>', '<!DOCTYPE x SYSTEM "file:///etc/passwd"><OME/>']
)
def test_source_that_cannot_beparsed(bad: str) -> None:
    with pytest.raises(Damaged, match="OME-XML"):
        ome_xml([(own_xml(0, bad), "x")], "standard", "y")


def test_source_with_fewer_images_than_its_index() -> None:
    with pytest.raises(Damaged, match="OME-XML"):
        ome_xml([(own_xml(1, f'<OME xmlns="{NS}"/>'), "x")], "standard", "y")


def test_other_prefixes_are_understood() -> None:
    source = SOURCE.replace('xmlns="http', 'xmlns:ome="http', 1)
    for tag in ("OME", "Experimenter", "Instrument", "Microscope", "Objective", "Image", "AcquisitionDate", "ExperimenterRef",
                "Description", "InstrumentRef", "ObjectiveSettings", "Pixels", "Channel", "TiffData", "UUID", "Plane",
                "AnnotationRef", "BinData", "StructuredAnnotations", "XMLAnnotation", "Value"):  # fmt: skip
        for end in (" ", ">", "/"):
            source = source.replace(f"<{tag}{end}", f"<ome:{tag}{end}").replace(f"</{tag}{end}", f"</ome:{tag}{end}")
    schema().assertValid(parsed(source))
    text = ome_xml([(own_xml(0, source), "x")], "standard", "y").text
    schema().assertValid(parsed(text))
    assert "TiffData" not in text
    assert "Jane Roe" not in text


# -- raw metadata and profiles --


def test_raw_metadata_only_when_kept(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, brightfield(), raw_metadata="PatientID = 4711|é")
    for privacy in ("standard", "strict", "keep"):
        store = tmp_path / f"{privacy}.zarr"
        converted(slide, store, privacy=privacy)
        everything = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
        assert (b"4711" in everything) == (privacy == "keep")
        assert ("raw metadata" in own(store)["removed"]) == (privacy != "keep")
        assert violations(store) == []


def profile(name: str) -> bytes:
    """The least an ICC profile needs to say its name: header, one tag."""
    text = name.encode("utf-16-be")
    block = b"mluc\0\0\0\0" + (1).to_bytes(4, "big") + (12).to_bytes(4, "big") + b"enUS" + len(text).to_bytes(4, "big")
    block += (28).to_bytes(4, "big") + text
    return b"\0" * 128 + (1).to_bytes(4, "big") + b"desc" + (144).to_bytes(4, "big") + len(block).to_bytes(4, "big") + block


@pytest.mark.parametrize("icc", [profile("ScanScope v1"), b"no profile at all", bytes(200), profile("x")[:150]])
def test_profile_is_kept_as_stored(tmp_path: Path, icc: bytes) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, brightfield(icc=icc)), store)
    found = own(store)["icc_profile"]["0"]
    assert (store / found["file"]).read_bytes() == icc
    assert (store / "OME" / "icc" / "0.icc").read_bytes() == icc
    assert (found["size"], found["sha256"], found["applied"]) == (len(icc), hashlib.sha256(icc).hexdigest(), False)
    assert found["description"] == ("ScanScope v1" if icc == profile("ScanScope v1") else found["description"])
    if icc == b"no profile at all":
        assert found["description"] is None
    assert violations(store) == []


def test_no_profile_no_attribute(tmp_path: Path) -> None:
    converted(slide_of(tmp_path, brightfield()), tmp_path / "x.zarr")
    assert "icc_profile" not in own(tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr" / "OME" / "icc").exists()
