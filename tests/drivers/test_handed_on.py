"""Where a specific TIFF driver hands a file on and the general one refuses it, the message holds both reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.discovery import find_drivers
from drivers.errors import Damaged, DriverError, Incomplete, OutsideKind, Unsupported
from drivers.model import Driver, Slide
from tests.made.tiff import ome_image, ome_xml, write_ome

pytestmark = pytest.mark.usefixtures("files_closed")
REASON = "slide.ome.tif: its tiles are knitted"
SPECIFIC = ["aperio", "philips", "qptiff", "scn", "ndpi", "geotiff", "openslide"]


def drivers(name: str, general: DriverError) -> list[Driver]:
    """The driver of that name, which hands every file on, and a general one that refuses it."""

    def hand_on(_path: Path) -> Slide:
        raise OutsideKind(REASON)

    def refuse(_path: Path) -> Slide:
        raise general

    def matches(_path: Path, _head: bytes) -> bool:
        return True

    found = {one.name: one.driver for one in find_drivers() if one.driver is not None}
    own = replace(found[name], matches=matches, open=hand_on, specific=True)
    return [own, replace(found["tiff"], open=refuse)]


@pytest.mark.parametrize("name", SPECIFIC)
@pytest.mark.parametrize("kind", [Unsupported, Damaged, Incomplete])
def test_both_reasons(tmp_path: Path, name: str, kind: type[DriverError]) -> None:
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 8), "u1"))
    with pytest.raises(kind) as raised:
        open_slide(path, drivers(name, kind("slide.ome.tif: page 3 is crooked")))
    assert not isinstance(raised.value, OutsideKind)
    assert str(raised.value) == f"{REASON}; the general driver tiff: page 3 is crooked"


def test_one_reason_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 8), "u1"))
    with pytest.raises(Unsupported) as raised:
        open_slide(path, drivers("aperio", Unsupported(REASON)))
    assert str(raised.value) == REASON


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif"])
def test_an_ome_tiff_is_never_handed_on(tmp_path: Path, name: str) -> None:
    """Its pages would pass for a time series."""
    image = ome_image({"X": 9, "Y": 8, "Z": 1, "C": 1, "T": 1}, "")
    path = write_ome(tmp_path / name, ome_xml(image * 2), [np.zeros((8, 9), "u1")] * 2)
    with pytest.raises(Unsupported, match=f"^{name}: the OME-XML describes several images and has no TiffData") as raised:
        open_slide(path)
    assert "holds no OME-XML" not in str(raised.value)
