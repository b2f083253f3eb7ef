"""Fill values of Zarr inputs, bit for bit as zarr-python reads them, and as our own stores state them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide, paint
from drivers.errors import Damaged, Unsupported
from drivers.fill import fill_json, fill_of
from drivers.geometry import Box
from tests.support.stores import SMALL

BIG = 2**53 + 1
STATED: list[tuple[str, object]] = [
    ("float32", "NaN"),
    ("float64", "NaN"),
    ("float16", "NaN"),
    ("float32", "Infinity"),
    ("float32", "-Infinity"),
    ("float64", 0.1),
    ("float32", 0.1),
    ("float16", 65504),
    ("float32", -0.0),
    ("float64", BIG),
    ("float64", 5e-324),
    ("int64", BIG),
    ("int64", -BIG),
    ("int64", -(2**63)),
    ("uint64", 2**64 - 1),
    ("uint64", 2**63 + 1),
    ("int32", -7),
    ("uint32", 2**32 - 1),
    ("int8", -128),
    ("uint16", 65535),
    ("uint8", 255.0),
    ("bool", True),
    ("bool", False),
]
ONLY_V3: list[tuple[str, object]] = [
    ("float32", "0x7fc00000"),
    ("float32", "0x7fc00abc"),
    ("float32", "0xffc00000"),
    ("float64", "0x7ff8000000000123"),
    ("float16", "0x7e00"),
    ("float32", "0x3f800000"),
    ("float64", "0xbff8000000000000"),
]
CASES = (
    [(2, *case) for case in STATED] + [(3, *case) for case in STATED + ONLY_V3] + [(2, "uint16", None), (2, "float32", None)]
)
AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def store(path: Path, version: int, dtype: str, fill: object, shards: tuple[int, int] | None = None) -> Path:
    """128 x 128 samples in chunks of 32, of which five are stored, and one of these holds the fill value in a corner."""
    group = zarr.open_group(path, mode="w", zarr_format=version)  # type: ignore[arg-type]
    array: Any = group.create_array(
        "0", shape=(128, 128), chunks=(32, 32), shards=shards, dtype=dtype, fill_value=0, config={"write_empty_chunks": True}
    )
    values = np.arange(64 * 64).reshape(64, 64) % (2 if dtype == "bool" else 100)
    array[:64, :64] = values.astype(dtype)
    array[96:, 96:] = np.ones((32, 32), dtype)
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    multiscales = [{"version": "0.4", "axes": AXES, "datasets": datasets, "name": "a"}]
    group.attrs.update(
        {"multiscales": multiscales} if version == 2 else {"ome": {"version": "0.5", "multiscales": multiscales}}
    )
    place = path / "0" / (".zarray" if version == 2 else "zarr.json")
    document = json.loads(place.read_text())
    document["fill_value"] = fill
    place.write_text(json.dumps(document))
    return path


def truth(path: Path) -> Any:
    """Level 0 as zarr-python reads it."""
    array: Any = zarr.open_array(path, mode="r")
    return np.asarray(array[:])


def patterns(pixels: Any) -> Any:
    """Samples bit by bit."""
    pixels = np.ascontiguousarray(pixels)
    return pixels.view("u1" if pixels.dtype == bool else f"u{pixels.dtype.itemsize}")


@pytest.mark.parametrize(("version", "dtype", "fill"), CASES)
def test_absent_chunks_read_as_zarr_python_reads_them(tmp_path: Path, version: int, dtype: str, fill: object) -> None:
    path = store(tmp_path / "a.zarr", version, dtype, fill)
    expected = truth(path / "0")
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert (patterns(paint(level, Box.of(level.shape))[0, 0, 0]) == patterns(expected)).all()
    for ours in ("0.4", "0.5"):
        out = tmp_path / f"{ours}.ome.zarr"
        convert(path, out, Conversion(Options(**SMALL, ome_zarr=ours)))
        stored = truth(out / "0").reshape(expected.shape)
        exact = ours == "0.5" or not str(fill).startswith("0x")  # v2 knows one NaN only
        assert np.array_equal(stored, expected, equal_nan=expected.dtype.kind == "f")
        assert not exact or (patterns(stored) == patterns(expected)).all()
        array: Any = zarr.open_array(out / "0", mode="r")
        assert np.array_equal(array.fill_value, expected[-1, 0], equal_nan=expected.dtype.kind == "f")
        assert len([p for p in (out / "0").rglob("*") if p.is_file()]) < 6  # what is only fill is not stored


@pytest.mark.parametrize(("dtype", "fill"), [("float32", "NaN"), ("uint64", 2**64 - 1), ("float64", "-Infinity")])
def test_absent_chunks_of_shards(tmp_path: Path, dtype: str, fill: object) -> None:
    path = store(tmp_path / "a.zarr", 3, dtype, fill, (64, 64))
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert (patterns(paint(level, Box.of(level.shape))[0, 0, 0]) == patterns(truth(path / "0"))).all()


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("uint8", 300),
        ("uint8", -1),
        ("uint64", 2**64),
        ("int16", 1.5),
        ("int16", "NaN"),
        ("uint8", "0xff"),
        ("float32", "0x7fc"),
        ("float32", "0x7f8_0001"),
        ("float32", "0x-7fc0000"),
        ("float32", "abc"),
        ("float32", [1, 2]),
        ("bool", 2),
        ("float64", {"a": 1}),
    ],
)
def test_a_fill_value_that_is_no_sample_is_refused(tmp_path: Path, dtype: str, fill: object) -> None:
    for version in (2, 3):
        with pytest.raises(Damaged, match="fill value"):
            open_slide(store(tmp_path / f"{version}.zarr", version, dtype, fill))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_samples_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(Unsupported, match="complex"):
        open_slide(store(tmp_path / "a.zarr", 3, dtype, [0.0, "NaN"]))


@pytest.mark.parametrize(
    "dtype",
    ["<f16", "longdouble", "|S4", "<M8[ns]", "|V6", "r16", "bfloat16", "uint2", [["a", "<u2"]], {"name": "numpy.datetime64"},
     {"name": "structured", "configuration": {"fields": [["a", "uint16"]]}}],
)  # fmt: skip
@pytest.mark.parametrize("version", [2, 3])
def test_other_samples_are_refused(tmp_path: Path, dtype: object, version: int) -> None:
    """Also where nothing is stored: a level of them would be all fill."""
    path = store(tmp_path / "a.zarr", version, "uint8", 0)
    place = path / "0" / (".zarray" if version == 2 else "zarr.json")
    document = json.loads(place.read_text())
    document["dtype" if version == 2 else "data_type"] = dtype
    place.write_text(json.dumps(document))
    with pytest.raises(Unsupported, match=r"array 0: samples of type .* are not read"):
        open_slide(path)


@pytest.mark.parametrize(("version", "dtype", "fill"), [c for c in CASES if c[2] is not None])
def test_what_is_stated_reads_back(version: int, dtype: str, fill: object) -> None:
    kind = np.dtype("u1") if dtype == "bool" else np.dtype(dtype)
    value = fill_of(fill, np.dtype(dtype))
    again = fill_of(json.loads(json.dumps(fill_json(value, kind, 3))), kind)
    assert (patterns(np.array([value], kind)) == patterns(np.array([again], kind))).all()


def test_zero_of_another_sign_is_not_taken_for_the_fill(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 3, "float32", 0.0)
    array: Any = zarr.open_array(path / "0", mode="r+", config={"write_empty_chunks": True})
    array[64:96, 64:96] = -0.0
    convert(path, tmp_path / "o.ome.zarr", Conversion(Options(**SMALL)))
    assert (patterns(truth(tmp_path / "o.ome.zarr" / "0").reshape(128, 128)) == patterns(truth(path / "0"))).all()


def test_a_payload_is_kept_where_zarr_python_drops_it() -> None:
    assert np.array([fill_of("0x7e05", np.dtype("f2"))], "f2").view("u2")[0] == 0x7E05
    assert fill_json(fill_of("0x7e05", np.dtype("f2")), np.dtype("f2"), 3) == "0x7e05"
    assert fill_json(fill_of("0x7e05", np.dtype("f2")), np.dtype("f2"), 2) == "NaN"
