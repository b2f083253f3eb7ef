"""Display windows: lowest below highest, start and end between them, for every sample type and any constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.model import Channel
from tests.support.memory_driver import memory_scene
from tests.support.stores import converted, ome, own, pyramid, slide_of

pytestmark = pytest.mark.usefixtures("files_closed")
CONSTANTS = [
    ("float32", 1e20), ("float64", 1.7e308), ("float64", -1.7e308), ("float32", 0), ("float32", np.nan), ("float32", -np.inf),
    ("uint8", 255), ("uint16", 65535), ("int16", -32768), ("int64", 5), ("uint64", 9),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), CONSTANTS)
@pytest.mark.parametrize("stated", [None, (-5.0, 1e6), (7.0, 7.0)])
def test_constant_images_have_a_window(tmp_path: Path, dtype: str, value: float, stated: tuple[float, float] | None) -> None:
    array = np.full((1, 1, 1, 70, 80), value, dtype)
    with np.errstate(all="ignore"):
        converted(slide_of(tmp_path, memory_scene(pyramid(array), channels=[Channel(window=stated)])), tmp_path / "x.zarr")
    (channel,) = ome(tmp_path / "x.zarr")["omero"]["channels"]
    window = channel["window"]
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    warned = any("OME-XML has no" in text for text in own(tmp_path / "x.zarr")["warnings"])
    assert warned == (dtype in ("int64", "uint64"))


EDGES = [
    (dtype, value)
    for dtype in ("uint16", "int16", "uint32", "int32", "uint64", "int64")
    for value in (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) - 49)
]


@pytest.mark.parametrize(("dtype", "lowest"), EDGES)
def test_samples_at_the_edge_of_their_type_are_seen(tmp_path: Path, dtype: str, lowest: int) -> None:
    """Fifty values that lie next to each other: no window may show all that the type can hold."""
    values = np.array([lowest + i % 50 for i in range(70 * 80)], dtype).reshape(1, 1, 1, 70, 80)
    converted(slide_of(tmp_path, memory_scene(pyramid(values))), tmp_path / "x.zarr")
    window = ome(tmp_path / "x.zarr")["omero"]["channels"][0]["window"]
    assert lowest <= window["start"] < window["end"] <= lowest + 49
    assert window["end"] - window["start"] >= 20
    assert window["min"] == np.iinfo(dtype).min
    assert window["max"] == np.iinfo(dtype).max
