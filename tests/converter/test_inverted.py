"""Stored values are the measurement: what only the display inverts is said in omero; only bilevel scans are inverted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from converter.convert import Conversion, convert
from converter.options import Options
from tests.made.tiff import PLAIN, noise
from tests.support.stores import SMALL, ome, stored

pytestmark = pytest.mark.usefixtures("files_closed")
SIZE = (40, 60)
IMAGEJ = "ImageJ=1.54f\nmin=0.0\nmax=200.0\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A WhiteIsZero file. `flipped`: its values are written the other way round; else they are told to be shown so."""

    name: str
    dtype: str
    tags: dict[str, Any]
    flipped: bool = False


CASES = [
    Case("imagej8.tif", "u1", {"description": IMAGEJ}),
    Case("imagej16.tif", "u2", {"description": IMAGEJ}),
    Case("imagej-float.tif", "f4", {"description": IMAGEJ}),
    Case("imagej-bits.tif", "?", {"description": IMAGEJ}),
    Case("grey8.tif", "u1", {}),
    Case("grey16.tif", "u2", {"compression": "deflate", "tile": (16, 32)}),
    Case("signed.tif", "i2", {}),
    Case("wide.tif", "u4", {}),
    Case("float.tif", "f4", {"compression": "lzw"}),
    Case("double.tif", "f8", {}),
    Case("grey.ome.tif", "u2", {"description": None}),
    Case("scan.tif", "?", {}, flipped=True),
    Case("fax.tif", "?", {"compression": "packbits"}, flipped=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_white_is_zero(tmp_path: Path, case: Case) -> None:
    path, target = tmp_path / case.name, tmp_path / "a.zarr"
    pixels = noise(SIZE) > 99 if case.dtype == "?" else noise(SIZE, case.dtype)
    more = {"metadata": {"axes": "YX"}, "ome": True} if "ome" in case.name else {}
    tags = {key: value for key, value in case.tags.items() if value is not None}
    tifffile.imwrite(path, pixels, photometric="miniswhite", **(PLAIN | tags | more))
    receipt = convert(path, target, Conversion(Options(**SMALL)))
    want = tifffile.imread(path).astype("u1" if case.dtype == "?" else case.dtype)
    np.testing.assert_array_equal(stored(target, "0")[0], 1 - want if case.flipped else want)
    said = [warning for warning in receipt.warnings if "inverted" in warning]
    assert len(said) == 1
    assert ("its values are inverted" in said[0]) == case.flipped
    (channel,) = ome(target)["omero"]["channels"]
    assert channel["inverted"] is not case.flipped


def test_inverted_table_of_imagej(tmp_path: Path) -> None:
    """A hyperstack's table from green to black; the other from black to white."""
    ramp = np.arange(256, dtype="u1")
    tables = [np.stack([0 * ramp, ramp[::-1], 0 * ramp]), np.stack([ramp] * 3)]
    pixels = noise((2, *SIZE))
    meta = {"axes": "CYX", "LUTs": tables, "mode": "composite"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata=meta)
    convert(tmp_path / "a.tif", tmp_path / "a.zarr", Conversion(Options(**SMALL)))
    np.testing.assert_array_equal(stored(tmp_path / "a.zarr", "0"), pixels)
    channels = ome(tmp_path / "a.zarr")["omero"]["channels"]
    assert [(c["color"], c["inverted"]) for c in channels] == [("00FF00", True), ("FFFFFF", False)]
