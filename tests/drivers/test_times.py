"""Times and places of single planes: as other readers of the same file find them, and in the OME-XML that is written."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import ome_types
import pytest
import tifffile

from converter.writing.omexml import ome_xml
from drivers import open_slide
from drivers.lif.image import Axis, Dimension, Layout, T
from drivers.lif.times import measured_step_of
from drivers.metadata.times import interval_of, mean_interval_s
from drivers.model import PlaneFacts, Position
from tests.conftest import SHARED_SAMPLES
from tests.support.stores import simple_slide
from tests.support.written import converted

needs_samples = pytest.mark.skipif(not SHARED_SAMPLES.is_dir(), reason="no shared samples beside the project")


def ome_tiff(path: Path, planes: str, increment: str = "", times: int = 3) -> Path:
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" SizeZ="1" '
        f'SizeC="1" SizeT="{times}" {increment}><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/>{planes}'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(path, np.zeros((times, 8, 9), np.uint8), description=xml, metadata=None, photometric="minisblack")
    return path


def plane(t: int, delta: str, unit: str = "", more: str = "") -> str:
    units = f' DeltaTUnit="{unit}"' if unit else ""
    return f'<Plane TheZ="0" TheT="{t}" TheC="0" DeltaT="{delta}"{units} {more}/>'


@pytest.mark.parametrize(
    ("planes", "increment", "seconds"),
    [
        (plane(0, "1.5") + plane(1, "3.5") + plane(2, "6.5"), "", 2.5),
        (plane(0, "0", "ms") + plane(2, "5000", "ms"), "", 2.5),
        (plane(0, "0", "min") + plane(1, "1", "min"), "", 60.0),
        (plane(0, "1.5") + plane(1, "3.5"), 'TimeIncrement="7" TimeIncrementUnit="s"', 7.0),
        (plane(0, "1.5") + plane(1, "3.5"), 'TimeIncrement="0"', 2.0),
        (plane(0, "1.5"), "", None),
        (plane(0, "5") + plane(2, "5"), "", None),
        (plane(0, "5") + plane(2, "1"), "", None),
        (plane(0, "x") + plane(2, "nan"), "", None),
        ("", "", None),
        ("", 'TimeIncrement="2" TimeIncrementUnit="ds"', 0.2),
        ("", 'TimeIncrement="2" TimeIncrementUnit="ps"', 2e-12),
        (plane(0, "0", "ks") + plane(1, "3", "ks"), "", 3000.0),
        (
            plane(2, "5").replace('TheZ="0"', 'TheZ="1"') + plane(0, "1").replace('TheZ="0"', 'TheZ="1"'),
            "",
            None,
        ),  # no such z
        (plane(0, "1") + plane(7, "99"), "", None),  # no such time
    ],
)
def test_the_mean_interval_of_ome_tiff(tmp_path: Path, planes: str, increment: str, seconds: float | None) -> None:
    with open_slide(ome_tiff(tmp_path / "a.ome.tif", planes, increment)) as slide:
        assert slide.scenes[0].time_step_s == seconds


def test_times_of_another_slice_tell_the_interval(tmp_path: Path) -> None:
    planes = "".join(plane(t, str(1 + 2 * t)).replace('TheZ="0"', 'TheZ="2"') for t in range(3))
    path = ome_tiff(tmp_path / "a.ome.tif", planes, times=9)  # nine pages: three of each slice
    data = path.read_bytes().replace(b'SizeZ="1"', b'SizeZ="3"').replace(b'SizeT="9"', b'SizeT="3"')
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert slide.scenes[0].time_step_s == 2.0


@pytest.mark.parametrize("schema", ["2016-06", "2015-01", "2013-06"])
def test_planes_of_ome_tiff_of_an_older_schema_are_kept(tmp_path: Path, schema: str) -> None:
    """What is written for an older schema comes from the facts; its own document cannot be kept."""
    places = "".join(
        plane(t, str(t * 2.5), "", f'PositionX="{t}" PositionXUnit="mm" PositionY="1" PositionYUnit="mm"') for t in range(3)
    )
    path = ome_tiff(tmp_path / "a.ome.tif", places)
    path.write_bytes(path.read_bytes().replace(b"2016-06", schema.encode()))
    store = converted(path, tmp_path)
    found = ome_types.from_xml((store / "OME" / "METADATA.ome.xml").read_text()).images[0].pixels.planes
    unit = 1 if schema == "2016-06" else 1000  # as the file says, or in micrometres
    assert [(p.the_t, p.delta_t, p.position_x) for p in found] == [(0, 0, 0), (1, 2.5, unit), (2, 5, 2 * unit)]


def test_planes_of_ome_tiff_are_kept(tmp_path: Path) -> None:
    places = "".join(plane(t, str(t * 2.5), "s", f'PositionX="{t}" PositionXUnit="mm"') for t in range(3))
    store = converted(ome_tiff(tmp_path / "a.ome.tif", places), tmp_path)
    found = ome_types.from_xml((store / "OME" / "METADATA.ome.xml").read_text()).images[0].pixels.planes
    assert [(p.the_t, p.delta_t, p.position_x) for p in found] == [(0, 0, 0), (1, 2.5, 1), (2, 5, 2)]


@needs_samples
def test_nd2_as_its_library_reads_it() -> None:
    nd2 = pytest.importorskip("nd2", reason="nd2, the oracle, is not installed")
    path = SHARED_SAMPLES / "nd2" / "pims-cluster.nd2"
    with nd2.ND2File(path) as theirs, open_slide(path) as slide:
        (scene,) = slide.scenes
        for plane in scene.planes:
            frame = theirs.frame_metadata(plane.t * scene.shape.z + plane.z).channels[plane.c]
            assert plane.delta_t_s == frame.time.relativeTimeMs / 1000
        assert len(scene.planes) == scene.shape.t * scene.shape.c * scene.shape.z
        ends = [theirs.frame_metadata(t * scene.shape.z).channels[0].time.relativeTimeMs for t in (0, scene.shape.t - 1)]
        assert theirs.experiment[0].parameters.periodMs == 0  # as fast as it went: only the frames tell
        assert scene.time_step_s == pytest.approx((ends[1] - ends[0]) / 1000 / (scene.shape.t - 1))


@needs_samples
@pytest.mark.parametrize(
    "name", ["czitools-CellDivision_T3_Z5_CH2_X240_Y170.czi", "czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"]
)
def test_czi_as_czifile_reads_it(name: str) -> None:
    czifile = pytest.importorskip("czifile", reason="czifile, the oracle, is not installed")
    with czifile.CziFile(SHARED_SAMPLES / "czi" / name) as theirs, open_slide(SHARED_SAMPLES / "czi" / name) as slide:
        stamps = next(a.data() for a in theirs.attachments() if a.attachment_entry.content_file_type == "CZTIMS")
        found = [p.delta_t_s for p in slide.scenes[0].planes if (p.c, p.z) == (0, 0)]
    assert found == pytest.approx(list(np.asarray(stamps) - np.asarray(stamps)[0]), abs=0.5)


def test_planes_are_written(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 1, 30, 40), np.uint8)
    slide = simple_slide(tmp_path, pixels)
    planes = [
        PlaneFacts(t, c, 0, delta_t_s=2.5 * t + c / 10, position=Position(10.0 * t, 5.0, 1.0))
        for t in range(2)
        for c in range(2)
    ]
    scene = replace(slide.scenes[0], planes=planes)
    found = ome_types.from_xml(ome_xml([(scene, "a")], "standard", "test").text).images[0].pixels.planes
    assert [(p.the_t, p.the_c, p.delta_t, p.position_y, p.position_x) for p in found] == [
        (0, 0, 0, 0, 5), (0, 1, 0.1, 0, 5), (1, 0, 2.5, 10, 5), (1, 1, 2.6, 10, 5),
    ]  # fmt: skip
    still = replace(scene, planes=[replace(p, position=planes[0].position) for p in planes], position=planes[0].position)
    found = ome_types.from_xml(ome_xml([(still, "a")], "standard", "test").text).images[0].pixels.planes
    assert [p.position_y for p in found] == [0, None, None, None]


def test_intervals() -> None:
    assert mean_interval_s({}) is None
    assert mean_interval_s({0: 1.0}) is None
    assert mean_interval_s({0: 1.0, 4: 3.0}) == 0.5
    assert mean_interval_s({0: 3.0, 4: 1.0}) is None
    assert interval_of([PlaneFacts(0, 1, 0, 1.0), PlaneFacts(3, 1, 0, 7.0), PlaneFacts(1, 2, 0, 100.0)]) == 2.0
    assert interval_of([PlaneFacts(0, 0, 0)]) is None


@pytest.mark.parametrize(
    ("stamps", "times", "seconds"),
    [
        ("0 5f5e100 bebc200", 3, 10.0),
        ("0 1 5f5e100 5f5e101 bebc200 bebc201", 3, 10.0),  # two planes a time point
        ("0 5f5e100", 3, None),
        ("0 x 5", 3, None),
        ("5 5 5", 3, None),
        ("", 3, None),
        ("0", 1, None),
    ],
)
def test_the_mean_interval_of_lif(stamps: str, times: int, seconds: float | None) -> None:
    image = ET.fromstring(f"<Image><TimeStampList>{stamps}</TimeStampList></Image>")
    axis = Axis((0,), None)
    t = Axis(tuple(range(times)), Dimension(T, times, 1, 0.0, "s"))
    layout = Layout(np.dtype("u1"), t, axis, axis, axis, axis, rgb=False, parts=())
    assert measured_step_of(image, layout) == seconds
