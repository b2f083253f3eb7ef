"""Every shared sample, all the way: inspected, converted and fully verified, accepted by the independent checker, and level
0 of the store pixel for pixel what another reader has.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.inspection import inspection
from converter.options import Options
from drivers import open_slide
from drivers.errors import DriverError
from tests.conftest import SHARED_SAMPLES
from tests.support.oracles import level_0
from tests.support.shared import REFUSED, Sample, shared_samples
from tests.support.stores import axes_of, five, images, own

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("files_closed")]
CHECKER = SHARED_SAMPLES.parent / "tools" / "check_store.py"
OFF_BY_ONE = {
    "raster/pillow-pil_sample_cmyk.jpg": "GDAL and Pillow round colours out of CMYK differently",
}
"""Samples of which the other reader may differ by one, and why."""


@pytest.fixture(params=shared_samples(), ids=lambda sample: sample.name)
def sample(request: pytest.FixtureRequest) -> Sample:
    """Every sample that is read."""
    return request.param


def test_every_sample_is_read_or_refused_for_a_stated_reason() -> None:
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    for name, reason in REFUSED.items():
        with pytest.raises(DriverError, match=reason), open_slide(SHARED_SAMPLES / name):
            pass


def test_from_file_to_store(sample: Sample, tmp_path: Path) -> None:
    assert sample.path is not None
    with open_slide(sample.path) as slide:
        seen = inspection(slide)
    store = tmp_path / "slide.ome.zarr"
    receipt = convert(sample.path, store, Conversion(Options(verify="full", workers=2)))
    assert receipt.status == "done"
    checked = subprocess.run([sys.executable, CHECKER, store], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    expected = level_0(sample.path)
    assert len(expected) == len(seen["scenes"])
    groups = [store / scene["group"] for scene in own(store)["scenes"] if scene["index"] is not None]
    for group, scene, pixels in zip(groups, seen["scenes"], expected, strict=True):
        assert pixels.shape == tuple(scene["shape"][axis] for axis in "tczyx")
        compare(group, scene, pixels, 1 if sample.name in OFF_BY_ONE else 0)
    assert set(groups) <= set(images(store))


def compare(group: Path, scene: dict[str, Any], expected: Any, tolerance: int) -> None:
    """Level 0 of an image group of a store against an array."""
    array = zarr.open_array(str(group / "0"), mode="r")
    assert array.dtype.name == scene["dtype"]
    stored = five(np.asarray(array[...]), axes_of(group))
    if scene["alpha"] is not None and scene["dtype"] == "uint8":
        expected = np.delete(expected, scene["alpha"], axis=1)  # the one alpha of an 8-bit colour image is left out
    if not tolerance:
        np.testing.assert_array_equal(stored, expected)
        return
    assert stored.shape == expected.shape
    assert int(np.abs(stored.astype(int) - expected).max()) <= tolerance
