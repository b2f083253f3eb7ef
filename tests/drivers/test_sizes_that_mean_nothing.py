"""Resolution tags that are defaults of libraries, and ImageJ's calibration: sizes written by hand from the tags' meaning."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers.discovery import open_slide
from drivers.model import PixelSize

INCH, CM, NONE = 2, 3, 1
DEFAULTS = [
    (10, CM), (25.4, INCH), (1, INCH), (1, CM), (1, NONE), (72, INCH), (28.35, CM), (28, CM), (96, INCH), (37.8, CM),
    (38, CM), (150, INCH), (59.06, CM), (59, CM), (300, INCH), (118.11, CM), (118, CM), (299.9994, INCH), (600, INCH),
    (236, CM), (1200, INCH), (472, CM), (99, CM), (200, INCH), (40000, NONE),
]  # fmt: skip
MEASURED = [
    (40000, CM, 0.25), (20000, CM, 0.5), (101600, INCH, 0.25), (1000, CM, 10.0), (500, CM, 20.0), (100, CM, 100.0),
    (5080, INCH, 5.0), (21645.02, CM, 0.462),
]  # fmt: skip


def size_of(path: Path) -> PixelSize:
    with open_slide(path) as slide:
        return slide.scenes[0].pixel_size


def tiff(path: Path, per: tuple[Any, Any], unit: int) -> Path:
    tifffile.imwrite(path, np.zeros((40, 50, 3), "u1"), photometric="rgb", metadata=None, resolution=per, resolutionunit=unit)
    return path


@pytest.mark.parametrize(("per", "unit"), DEFAULTS)
def test_defaults_are_unknown(tmp_path: Path, per: float, unit: int) -> None:
    assert size_of(tiff(tmp_path / "a.tif", (per, per), unit)) == PixelSize()


@pytest.mark.parametrize(("per", "unit", "um"), MEASURED)
def test_measured_sizes_stay(tmp_path: Path, per: float, unit: int, um: float) -> None:
    size = size_of(tiff(tmp_path / "a.tif", (per, per), unit))
    assert (size.y_um, size.x_um) == pytest.approx((um, um), rel=1e-5)


def test_pixels_need_not_be_square(tmp_path: Path) -> None:
    assert size_of(tiff(tmp_path / "a.tif", (40000, 20000), CM)) == PixelSize(0.5, 0.25)


@pytest.mark.parametrize("y", [(0, 1), (1, 0), (0, 0), (72, 1), (118, 1), (10, 1)])
def test_one_side_without_a_meaning_makes_both_unknown(tmp_path: Path, y: tuple[int, int]) -> None:
    path = tiff(tmp_path / "a.tif", (40000, 40000), CM)
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[283].valueoffset
    with path.open("r+b") as out:
        out.seek(place)
        out.write(struct.pack("<2I", *y))
    assert size_of(path) == PixelSize()


IMAGEJ = [
    ("unit=um", (4, 2), NONE, (0.5, 0.25, None)),
    ("unit=micron", (4, 2), NONE, (0.5, 0.25, None)),
    ("unit=Microns", (4, 4), NONE, (0.25, 0.25, None)),
    ("unit=\\u00B5m", (4, 4), NONE, (0.25, 0.25, None)),
    ("unit=\\u00b5m", (4, 4), INCH, (0.25, 0.25, None)),
    ("unit=nm", (0.004, 0.004), NONE, (0.25, 0.25, None)),
    ("unit=mm", (4000, 4000), NONE, (0.25, 0.25, None)),
    ("unit=mm", (1, 1), NONE, (1000.0, 1000.0, None)),
    ("unit=cm", (40000, 40000), CM, (0.25, 0.25, None)),
    ("unit=cm", (10, 10), CM, (None, None, None)),
    ("unit=inch", (72, 72), INCH, (None, None, None)),
    ("unit=inch", (101600, 101600), INCH, (0.25, 0.25, None)),
    ("unit=pixel", (4, 4), NONE, (None, None, None)),
    ("unit=pixel", (40000, 40000), CM, (None, None, None)),
    ("min=0", (40000, 40000), CM, (0.25, 0.25, None)),
    ("min=0", (1, 1), CM, (None, None, None)),
    ("unit=um\nspacing=1.5", (4, 4), NONE, (0.25, 0.25, 1.5)),
    ("unit=um\nspacing=-1.5", (4, 4), NONE, (0.25, 0.25, 1.5)),
    ("unit=um\nspacing=0", (4, 4), NONE, (0.25, 0.25, None)),
    ("unit=um\nspacing=nan", (4, 4), NONE, (0.25, 0.25, None)),
    ("unit=um\nzunit=nm\nspacing=200", (4, 4), NONE, (0.25, 0.25, 0.2)),
    ("unit=nm\nyunit=um\nzunit=mm\nspacing=0.002", (0.004, 4), NONE, (0.25, 0.25, 2.0)),
    ("unit=um\nzunit=pixel\nspacing=3", (4, 4), NONE, (0.25, 0.25, None)),
    ("unit=pixel\nspacing=3", (4, 4), NONE, (None, None, None)),
    ("unit=inch\nspacing=1", (72, 72), INCH, (None, None, None)),
    ("unit=cm\nspacing=1", (10, 10), CM, (None, None, None)),
    ("spacing=1", (40000, 40000), CM, (0.25, 0.25, None)),
    ("spacing=0.0002", (40000, 40000), CM, (0.25, 0.25, 2.0)),
    ("unit=um\nzunit=inch\nspacing=0.001", (4, 4), NONE, (0.25, 0.25, 25.4)),
    ("unit=thou", (101.6, 101.6), NONE, (0.25, 0.25, None)),
]


def imagej(path: Path, keys: str, per: tuple[float, float], unit: int) -> Path:
    text = f"ImageJ=1.53t\nimages=3\nslices=3\n{keys}\n"
    with tifffile.TiffWriter(path) as writer:
        for page in range(3):
            writer.write(
                np.zeros((40, 50), "u1"), description=text if page == 0 else None, metadata=None, contiguous=False,
                resolution=per, resolutionunit=unit,
            )  # fmt: skip
    return path


@pytest.mark.parametrize(("keys", "per", "unit", "expected"), IMAGEJ)
def test_imagej_calibration(
    tmp_path: Path, keys: str, per: tuple[float, float], unit: int, expected: tuple[float | None, ...]
) -> None:
    path = imagej(tmp_path / "a.tif", keys, per, unit)
    size = size_of(path)
    for found, wanted in zip((size.y_um, size.x_um, size.z_um), expected, strict=True):
        assert found is wanted if wanted is None else found == pytest.approx(wanted, rel=1e-6)
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        if "spacing=" in keys and "nan" not in keys:  # what the keys say, as tifffile reads them
            stated = (file.imagej_metadata or {})["spacing"]
            assert abs(stated) == float(keys.rpartition("spacing=")[2].strip("-"))


UNITS = [
    ("km", 1e9), ("hm", 1e8), ("dam", 1e7), ("m", 1e6), ("dm", 1e5), ("cm", 1e4), ("mm", 1e3), ("µm", 1.0), ("nm", 1e-3),
    ("pm", 1e-6), ("fm", 1e-9), ("Å", 1e-4), ("in", 25400.0), ("thou", 25.4), ("ft", 304800.0), ("yd", 914400.0),
    ("pt", 352.7777778), ("li", 2116.6666667), ("pixel", None), ("reference frame", None), ("furlong", None),
]  # fmt: skip
"""UnitsLength of the OME schema, in micrometres: written by hand."""


@pytest.mark.parametrize(("unit", "um"), UNITS)
def test_units_of_ome_xml(tmp_path: Path, unit: str, um: float | None) -> None:
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="50" SizeY="40" SizeZ="1" '
        f'SizeC="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeXUnit="{unit}" PhysicalSizeY="0.5" PhysicalSizeYUnit="{unit}">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((40, 50), "u1"), description=xml.encode(), metadata=None)
    size = size_of(tmp_path / "a.ome.tif")
    assert size.z_um is None
    assert (size.y_um, size.x_um) == ((None, None) if um is None else (pytest.approx(um / 2),) * 2)


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ("finterval=0.25", 0.25),
        ("finterval=2\ntunit=min", 120.0),
        ("finterval=2\ntunit=hr", 7200.0),
        ("finterval=2\ntunit=Sec", 2.0),
        ("finterval=2\ntunit=\\u00B5s", 2e-6),
        ("finterval=2\ntunit=frame", None),
        ("finterval=0", None),
        ("finterval=-1", None),
        ("fps=7", None),
    ],
)
def test_imagej_frame_interval(tmp_path: Path, keys: str, seconds: float | None) -> None:
    with open_slide(imagej(tmp_path / "a.tif", f"unit=um\n{keys}", (4, 4), NONE)) as slide:
        assert slide.scenes[0].time_step_s == seconds
