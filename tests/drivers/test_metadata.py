"""What the makers' files say of themselves arrives in the written store, and nothing else does: a test per format.

Expected values are taken from the file by another reader, or from the maker of a made file. A comparison of a whole `Told`
says too that what is not in it is absent. Privacy is "standard": dates and scanner serials stay, people do not.
"""

from __future__ import annotations

import gc
import re
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.made import afi as made_afi
from tests.made import dicom as made_dicom
from tests.made import ndpi as made_ndpi
from tests.made import scn as made_scn
from tests.support.written import RGB, Seen, Told, converted, shown, told

pytestmark = pytest.mark.usefixtures("files_closed")
UM = dict.fromkeys("yx", "micrometer")


def near(*values: float | None) -> tuple[Any, ...]:
    """Numbers that were computed: equal but for the last digits."""
    return tuple(None if value is None else pytest.approx(value, rel=1e-6) for value in values)


def tags(path: Path, page: int = 0) -> dict[int, Any]:
    """Tags of a TIFF page by their codes."""
    with tifffile.TiffFile(path) as tiff:
        return {tag.code: tag.value for tag in tiff.pages[page].tags.values()}


def tiff_date(text: str) -> str:
    """The date of a TIFF tag as ISO 8601 has it."""
    return text.replace(":", "-", 2).replace(" ", "T")


def test_czi(shared_samples: Path, tmp_path: Path) -> None:
    import czifile

    path = shared_samples / "czi" / "czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"
    with czifile.CziFile(path) as file:
        root = ET.fromstring(file.metadata()).find("Metadata")
    assert root is not None
    scaling = {d.get("Id"): float(d.findtext("Value", "")) * 1e6 for d in root.iterfind("Scaling/Items/Distance")}
    image, lens = root.find("Information/Image"), root.find("Information/Instrument/Objectives/Objective")
    assert image is not None
    assert lens is not None
    # What the sub-blocks say: slices go up from the lowest one.
    focus = [float(z) for z in re.findall(rb"<FocusPosition>([^<]*)<", path.read_bytes())]
    optovar = float(root.findtext("Scaling/AutoScaling/OptovarMagnification", ""))
    described = image.findall("Dimensions/Channels/Channel")
    colors = [c.findtext("Color", "") for c in root.iterfind("DisplaySetting/Channels/Channel")]
    channels = tuple(
        Seen(
            name=channel.get("Name"),
            color=color[3:],  # #AARRGGBB
            excitation_nm=float(channel.findtext("ExcitationWavelength", "")),
            emission_nm=float(channel.findtext("EmissionWavelength", "")),
            exposure_s=float(channel.findtext("ExposureTime", "")) / 1e9,
            fluor=channel.findtext("Fluor"),
        )
        for channel, color in zip(described, colors, strict=True)
    )
    scenes = image.findall("Dimensions/S/Scenes/Scene")
    centers = {scene.get("Name"): scene.findtext("CenterPosition", "").split(",") for scene in scenes}
    sizes = {"TR1": (295, 122), "P1": (64, 64), "TR2": (352, 237)}  # as libCZI bounds them
    store = converted(path, tmp_path)
    for scene in told(store):
        center, (width, height) = [float(n) for n in centers[scene.name]], sizes[str(scene.name)]
        assert scene == Told(
            name=scene.name,
            size_um=near(scaling["Z"], scaling["Y"], scaling["X"]),
            time_step_s=float(image.findtext("Dimensions/T/Positions/Interval/Increment", "")),
            magnification=float(lens.findtext("NominalMagnification", "")) * optovar,
            aperture=float(lens.findtext("LensNA", "")),
            lens=lens.findtext("Manufacturer/Model") or lens.get("Name"),
            immersion=lens.findtext("Immersion"),
            model="Celldiscoverer 7",
            detector=root.findtext("Information/Instrument/Detectors/Detector/Manufacturer/Model"),
            acquired=image.findtext("AcquisitionDateAndTime", "")[:26] + "+00:00",
            position_um=near(center[0] - width * scaling["X"] / 2, center[1] - height * scaling["Y"] / 2, min(focus)),
            bits=int(image.findtext("ComponentBitCount", "")),
            channels=channels,
            software="ZEN (blue edition) 3.6.095.00000",
        )
    assert [scene.labels for scene in shown(store)] == [("DAPI", "EGFP")] * 3
    assert shown(store)[0].colors == ("00A1FF", "00FF5B")
    assert shown(store)[0].scale == {"t": 33.412, "c": 1, "z": 1.0, "y": 1.6, "x": 1.6}
    assert shown(store)[0].units == UM | {"t": "second", "z": "micrometer"}


def test_czi_of_listed_times(shared_samples: Path, tmp_path: Path) -> None:
    path = shared_samples / "czi" / "czitools-CellDivision_T3_Z5_CH2_X240_Y170.czi"
    (scene,) = told(converted(path, tmp_path))
    assert scene.time_step_s == pytest.approx(120.15 / 2)  # Positions/List/Offsets: 0 60.075 120.15
    assert (scene.detector, scene.lens, scene.immersion) == ("Axiocam506m", "Plan-Apochromat 50x/1.2", "Water")


def test_dicom(tmp_path: Path) -> None:
    import pydicom

    wsi = made_dicom.Wsi(paths=2, dtype="u2", codec="none", size=(150, 130), steps=(), roles=())
    path = made_dicom.make_wsi(tmp_path / "a.dcm", wsi)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data: Any = pydicom.dcmread(path)
    origin = data.TotalPixelMatrixOriginSequence[0]
    down, across = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    paths = data.OpticalPathSequence
    (scene,) = told(converted(path, tmp_path))
    assert scene == Told(
        name="a",
        size_um=near(None, float(down) * 1000, float(across) * 1000),
        magnification=float(paths[0].ObjectiveLensPower),
        aperture=float(paths[0].ObjectiveLensNumericalAperture),
        maker=data.Manufacturer,
        model=data.ManufacturerModelName,
        serial=data.DeviceSerialNumber,
        acquired="2024-03-28T14:05:09.250000+01:00",  # 20240328140509.250000+0100
        position_um=near(
            float(origin.XOffsetInSlideCoordinateSystem) * 1000, float(origin.YOffsetInSlideCoordinateSystem) * 1000, None
        ),
        channels=tuple(
            Seen(path.OpticalPathDescription, color, path.IlluminationWaveLength)
            for path, color in zip(paths, ("FF0000", "00FF00"), strict=True)  # the ends of their palettes
        ),
        software=", ".join(data.SoftwareVersions),
    )


def test_dicom_without_objective(shared_samples: Path, tmp_path: Path) -> None:
    (scene,) = told(converted(shared_samples / "dicom" / "wg26-FluorCell_4", tmp_path))
    assert (scene.maker, scene.model, scene.magnification, scene.lens) == ("3DHISTECH Kft.", None, None, None)
    assert [c.name for c in scene.channels] == ["DAPI (Blue)", "FITC (green)", "Rhodamine (orange)"]
    assert [c.excitation_nm for c in scene.channels] == [None] * 3


def test_ndpi(shared_samples: Path, tmp_path: Path) -> None:
    path = shared_samples / "ndpi" / "test3-DAPI-2-(387).ndpi"
    tag = tags(path)
    um = 10_000 / (tag[282][0] / tag[282][1])
    corner = [tag[code] / 1000 - size * um / 2 for code, size in ((65422, tag[256]), (65423, tag[257]))]
    store = converted(path, tmp_path)
    assert told(store) == [
        Told(
            name=path.stem,
            size_um=near(None, um, um),
            magnification=tag[65421],
            maker=tag[271],
            model=tag[272],
            serial=tag[65442],
            acquired=tiff_date(tag[306]),
            position_um=near(*corner, tag[65424] / 1000),
            channels=(Seen(tag[65434], "0000FF", 387, tag[65451], tag[65454] / 1e6),),
            software=tag[305],
        )
    ]
    assert shown(store)[0].labels == (tag[65434],)


def test_ndpis(tmp_path: Path) -> None:
    path = made_ndpi.make_set(tmp_path / "set.ndpis")
    tag = tags(tmp_path / "set-DAPI.ndpi")
    (scene,) = told(converted(path, tmp_path))
    assert [c.name for c in scene.channels] == [name for name, _ in made_ndpi.CHANNELS]
    assert [c.color for c in scene.channels] == ["0000FF", "00FF00", None]  # orange is none of red, green, blue
    assert [c.emission_nm for c in scene.channels] == [tag[65451]] * 3
    assert [c.exposure_s for c in scene.channels] == [None] * 3  # no tag 65454 in these
    assert (scene.name, scene.size_um, scene.magnification) == ("set", (None, 0.5, 0.5), tag[65421])
    assert (scene.maker, scene.model, scene.serial) == (tag[271], tag[272], tag[65442])


def test_qptiff(shared_samples: Path, tmp_path: Path) -> None:
    path = shared_samples / "qptiff" / "small_vectra.qptiff"
    pages = [tags(path, number) for number in range(3)]
    texts = [str(page[270]) for page in pages]

    def said(text: str, name: str) -> str:
        return re.findall(rf"<{name}>([^<]*)</{name}>", text)[0]

    tag, first = pages[0], texts[0]
    um, x, y = (tag[code][0] / tag[code][1] for code in (282, 286, 287))
    # FilterID, e.g. Semrock:FF01-391/...; the bands by their names in ScanBands of the first page
    bands = ((391, 453), (480, None), (545, None))
    assert told(converted(path, tmp_path)) == [
        Told(
            name="small_vectra",
            size_um=near(None, 10_000 / um, 10_000 / um),
            magnification=float(said(first, "Objective").rstrip("x")),
            detector=said(first, "CameraName"),
            acquired=tiff_date(tag[306]),
            position_um=near(x * 10_000, y * 10_000, None),
            channels=tuple(
                Seen(
                    said(text[text.index("</SignalUnits>") :], "Name"),
                    "{:02X}{:02X}{:02X}".format(*map(int, said(text, "Color").split(","))),
                    *band,
                    float(said(text, "ExposureTime")) / 1e6,
                )
                for text, band in zip(texts, bands, strict=True)
            ),
            software=said(first, "AcquisitionSoftware"),
        )
    ]


def test_scn(tmp_path: Path) -> None:
    region = made_scn.Region(size=(130, 140), channels=2, slices=2, depth=1)
    path = made_scn.make_scn(tmp_path / "a.scn", made_scn.Scn(regions=(region,)))
    root = ET.fromstring(str(tags(path)[270]))
    image = root.findall(".//{*}image")[1]
    view, device = image.find("{*}view"), image.find("{*}device")
    assert view is not None
    assert device is not None
    nm = {key: float(value) for key, value in view.attrib.items()}
    assert told(converted(path, tmp_path)) == [
        Told(
            name=image.get("name"),
            size_um=near(nm["spacingZ"] / 1000, nm["sizeY"] / 130 / 1000, nm["sizeX"] / 140 / 1000),
            magnification=float(image.findtext(".//{*}objective", "")),
            aperture=float(image.findtext(".//{*}numericalAperture", "")),
            maker="Leica",
            model=str(device.get("model")).partition(";")[0],
            acquired=datetime.fromisoformat(image.findtext("{*}creationDate", "")).isoformat(),
            position_um=near(nm["offsetX"] / 1000, nm["offsetY"] / 1000, None),
            channels=tuple(
                Seen(channel.get("name"), str(channel.get("rgb")).lstrip("#").upper())
                for channel in image.iterfind(".//{*}channel")
            ),
        )
    ]


def test_svs(shared_samples: Path, tmp_path: Path) -> None:
    import openslide

    path = shared_samples / "svs" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as slide:
        said = dict(slide.properties)
    um = float(said["openslide.mpp-x"])
    store = converted(path, tmp_path)
    text = (store / "OME" / "METADATA.ome.xml").read_text()
    assert told(store) == [
        Told(
            name=path.stem,
            size_um=(None, um, um),
            magnification=float(said["openslide.objective-power"]),
            maker="Aperio",
            serial=said["aperio.ScanScope ID"],
            acquired=f"20{said['aperio.Date'][6:]}-{said['aperio.Date'][:5].replace('/', '-')}T{said['aperio.Time']}",
            position_um=near(float(said["aperio.Left"]) * 1000, float(said["aperio.Top"]) * 1000, None),
            software=said["openslide.comment"].splitlines()[0].strip(),
            channels=RGB,
        )
    ]
    for key in ("aperio.User", "aperio.ImageID", "aperio.Parmset"):
        assert said[key] not in text
    assert shown(store)[0].labels == ("Red", "Green", "Blue")
    assert (shown(store)[0].scale["x"], shown(store)[0].units) == (um, UM)


def test_strict_privacy_drops_date_and_serial_only(shared_samples: Path, tmp_path: Path) -> None:
    path = shared_samples / "svs" / "CMU-1-Small-Region.svs"
    (kept,) = told(converted(path, tmp_path))
    (tmp_path / "strict").mkdir()
    (strict,) = told(converted(path, tmp_path / "strict", privacy="strict"))
    assert strict == replace(kept, acquired=None, serial=None)


def test_afi(tmp_path: Path) -> None:
    fields = "|Exposure Time = 45|Exposure Scale = 0.001|Emission Wavelength = 461|Excitation Wavelength = 360"
    path = made_afi.make_afi(tmp_path / "a.afi", made_afi.Afi(size=(130, 140), fields=fields))
    assert told(converted(path, tmp_path)) == [
        Told(
            name="a",
            size_um=(None, 0.5, 0.5),
            magnification=20,
            maker="Aperio",
            channels=tuple(Seen(word, None, 360, 461, 0.045) for word in made_afi.WORDS),
            software="Aperio Image Library v11",
        )
    ]


def test_lif(shared_samples: Path, tmp_path: Path) -> None:
    import liffile

    path = shared_samples / "lif" / "testdata_2channel_xz.lif"
    steps: list[dict[str, float]] = []
    with liffile.LifFile(path) as file:
        for image in file.images:
            ends = {axis: np.asarray(values) for axis, values in image.coords.items() if axis != "C"}
            scale = {a: abs(float(v[-1] - v[0])) / (len(v) - 1) * (1 if a == "T" else 1e6) for a, v in ends.items()}
            steps.append(scale | {"date": str(image.timestamps[0])})
            setting = next(image.xml_element.iter("ATLConfocalSettingDefinition")).attrib
            system = next(image.xml_element.iter("Attachment")).attrib, image.attrs["HardwareSetting"]
    lens = {
        "magnification": float(setting["Magnification"]),
        "aperture": float(setting["NumericalAperture"]),
        "lens": " ".join(setting["ObjectiveName"].split()),
        "immersion": "Glycerol",
        "model": system[1]["SystemTypeName"],
        "software": system[1]["Software"],
        "channels": (Seen(color="00FF00"), Seen(color="FF0000")),
    }
    assert setting["Immersion"] == "GLYC"
    xzt, xzy, xz = steps
    sizes = {
        "xzt": (None, xzt["Z"], xzt["X"]),  # sections: z is shown as y
        "xzy": (xzy["Z"], xzy["Y"], xzy["X"]),
        "xz": (None, xz["Z"], xz["X"]),
    }
    found = told(converted(path, tmp_path))
    assert found == [
        Told(
            name=name,
            size_um=near(*size),
            time_step_s=pytest.approx(step["T"]) if "T" in step else None,
            acquired=f"{step['date']}000+00:00",
            **lens,
        )
        for (name, size), step in zip(sizes.items(), steps, strict=True)
    ]


@pytest.mark.parametrize("name", ["pims-cluster", "arcadia-example-multichannel"])
def test_nd2(shared_samples: Path, tmp_path: Path, name: str) -> None:
    import nd2

    with nd2.ND2File(shared_samples / "nd2" / f"{name}.nd2") as file:
        said, frame, about = file.metadata.channels, file.frame_metadata(0).channels[0], file.text_info["description"]
        voxel, sizes = file.voxel_size(), file.sizes
    place, matrix = frame.position.stagePositionUm, frame.volume.pixelToStageTransformationMatrix
    seconds = (frame.time.absoluteJulianDayNumber - 2440587.5) * 86400  # since 1970-01-01
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(seconds * 1000))
    exposures = [float(n) * (1e-3 if unit == "ms" else 1) for n, unit in re.findall(r"Exposure: ([\d.]+) (m?s)", about)]
    scope = said[0].microscope
    (scene,) = told(converted(shared_samples / "nd2" / f"{name}.nd2", tmp_path))
    assert scene == Told(
        name=name,
        size_um=near(voxel.z if "Z" in sizes else None, voxel.y, voxel.x),
        time_step_s=pytest.approx(10.6475472) if "T" in sizes else None,
        magnification=scope.objectiveMagnification,
        aperture=scope.objectiveNumericalAperture,
        lens=scope.objectiveName,
        model=re.findall(r"Microscope Settings: *Microscope: (.*?)\s*\n", about)[0],
        detector=re.findall(r"Camera Name: ([^,\r]*)", about)[0],
        acquired=date.isoformat(),
        # Where the frame lies about the stage's position the matrix says; without it the corner is unknown.
        position_um=(None,) * 3 if matrix is None else near(place.x + matrix[2], place.y + matrix[5], place.z),
        bits=None if file.attributes.bitsPerComponentSignificant == 16 else file.attributes.bitsPerComponentSignificant,
        channels=tuple(
            Seen(
                channel.channel.name,
                "{:02X}{:02X}{:02X}".format(*channel.channel.color[:3]),
                channel.channel.excitationLambdaNm,
                channel.channel.emissionLambdaNm,
                exposures[i] if len(exposures) == len(said) else None,
            )
            for i, channel in enumerate(said)
        ),
    )


def test_vsi(shared_samples: Path, tmp_path: Path) -> None:
    import slideio

    path = shared_samples / "vsi" / "vsi-ets-test-jpg2k.vsi"
    slide = slideio.open_slide(str(path), "VSI")
    theirs, text = slide.get_scene(0), slide.raw_metadata
    exposures = [int(n) for n in re.findall(r'"tag":100002,"value":"(\d+)"', text)]
    aperture, maker, camera = (re.findall(rf'"tag":{tag},"value":"([^"]+)"', text)[0] for tag in (120061, 120133, 120132))
    assert maker == "Hamamatsu"  # the first device is the camera
    store = converted(path, tmp_path)
    (scene,) = told(store)
    assert scene == Told(
        name=theirs.name,
        size_um=(theirs.z_resolution * 1e6, pytest.approx(theirs.resolution[1] * 1e6, rel=1e-5), scene.size_um[1]),
        magnification=theirs.magnification,
        aperture=float(aperture),
        lens="UPLXAPO O 60x / 1.42",
        maker="Olympus",
        model="IX83 P2ZF",
        detector=camera,
        acquired=datetime.fromtimestamp(theirs.acquisition_time, UTC).isoformat(),
        channels=(
            Seen("C405", "0000FF", 345, 455, exposures[0] / 1e6),
            Seen("C488", "00FF02", 494, 518, exposures[1] / 1e6),
        ),
        software="OLYMPUS cellSens Dimension 3.1",
    )
    assert [theirs.get_channel_name(i) for i in range(2)] == list(shown(store)[0].labels)
    del theirs, slide  # slideio closes its files when its objects go
    gc.collect()
