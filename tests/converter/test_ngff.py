"""OME-Zarr metadata as written: axes, units, scales, half-pixel translations, colours and display windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.checking.verify import verify_store
from drivers.model import Channel, PixelSize, Scene
from tests.support.memory_driver import memory_scene
from tests.support.stores import Array, converted, ome, own, pyramid, simple_slide, slide_of, stored, texture, violations

RGB = texture((1, 3, 1, 300, 290))


def written(folder: Path, scene: Scene, **options: Any) -> dict[str, Any]:
    """OME attributes of the image that becomes of a scene."""
    store = folder / f"{len(list(folder.iterdir()))}.zarr"
    converted(slide_of(folder, scene), store, **options)
    assert violations(store) == []
    return ome(store)


def rgb(array: Array = RGB, factors: tuple[int, ...] = (1,), **more: Any) -> Scene:
    return memory_scene(pyramid(array, factors, interleaved=True, fill=255), rgb=True, **more)


def transformations(found: dict[str, Any], level: int) -> tuple[list[float], list[float] | None]:
    """(scale, translation) of a level."""
    both = found["multiscales"][0]["datasets"][level]["coordinateTransformations"]
    assert [t["type"] for t in both] == (["scale", "translation"] if len(both) > 1 else ["scale"])
    return both[0]["scale"], both[1]["translation"] if len(both) > 1 else None


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_scales_and_translations(tmp_path: Path, version: str) -> None:
    found = written(tmp_path, rgb(factors=(1, 4), pixel_size=PixelSize(0.5, 0.25)), ome_zarr=version)
    assert transformations(found, 0) == ([1.0, 0.5, 0.25], None)
    assert transformations(found, 1) == ([1.0, 1.0, 0.5], [0.0, 0.25, 0.125])
    assert transformations(found, 2) == ([1.0, 2.0, 1.0], [0.0, 0.75, 0.375])
    assert transformations(found, 3) == ([1.0, 4.0, 2.0], [0.0, 1.75, 0.875])
    assert [a.get("unit") for a in found["multiscales"][0]["axes"]] == [None, "micrometer", "micrometer"]
    assert [a["type"] for a in found["multiscales"][0]["axes"]] == ["channel", "space", "space"]
    assert found["multiscales"][0]["type"] == "mean"
    assert found["multiscales"][0]["metadata"]["native_levels"] == [0, 2]


def test_unknown_pixel_size_means_no_unit(tmp_path: Path) -> None:
    found = written(tmp_path, rgb())
    assert all("unit" not in axis for axis in found["multiscales"][0]["axes"])
    assert transformations(found, 0)[0] == [1.0, 1.0, 1.0]
    assert transformations(found, 1) == ([1.0, 2.0, 2.0], [0.0, 0.5, 0.5])
    (store,) = tmp_path.glob("*.zarr")
    assert any("pixel size" in warning for warning in own(store)["warnings"])


def test_nearest_keeps_the_first_pixel_in_its_place(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, rgb(pixel_size=PixelSize(0.5, 0.5))), store, downsample="nearest")
    scale, moved = transformations(ome(store), 1)
    assert scale == [1.0, 1.0, 1.0]
    assert moved is None or moved == [0.0, 0.0, 0.0]


def test_scale_is_that_of_the_factor_and_not_of_the_rounded_size(tmp_path: Path) -> None:
    array = texture((1, 3, 1, 515, 651))
    found = written(tmp_path, rgb(array, (1, 4, 16), pixel_size=PixelSize(0.5, 0.5)))
    assert [transformations(found, i)[0][1] for i in range(5)] == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_five_axes(tmp_path: Path) -> None:
    scene = memory_scene(pyramid(texture((3, 2, 4, 90, 80), "uint16")), pixel_size=PixelSize(0.5, 0.5, 2.0), time_step_s=30.0)
    found = written(tmp_path, scene)
    axes = [(a["name"], a["type"], a.get("unit")) for a in found["multiscales"][0]["axes"]]
    assert axes == [
        ("t", "time", "second"), ("c", "channel", None), ("z", "space", "micrometer"), ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]  # fmt: skip
    assert transformations(found, 0)[0] == [30.0, 1.0, 2.0, 0.5, 0.5]
    assert transformations(found, 1) == ([30.0, 1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.25, 0.25])
    assert found["omero"]["rdefs"] == {"defaultT": 0, "defaultZ": 2, "model": "color"}


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_array_metadata(tmp_path: Path, version: str) -> None:
    store = tmp_path / "x.zarr"
    converted(slide_of(tmp_path, rgb()), store, ome_zarr=version)
    if version == "0.4":
        found = json.loads((store / "0" / ".zarray").read_text())
        assert (found["zarr_format"], found["dimension_separator"], found["fill_value"]) == (2, "/", 255)
        assert json.loads((store / "0" / ".zattrs").read_text()) == {"_ARRAY_DIMENSIONS": ["c", "y", "x"]}
        assert json.loads((store / ".zgroup").read_text()) == {"zarr_format": 2}
        assert ome(store)["multiscales"][0]["version"] == "0.4"
        assert not list(store.rglob("zarr.json"))
        return
    found = json.loads((store / "0" / "zarr.json").read_text())
    assert found["dimension_names"] == ["c", "y", "x"]
    assert found["fill_value"] == 255
    assert found["codecs"][0]["name"] == "sharding_indexed"
    sharding = found["codecs"][0]["configuration"]
    assert sharding["codecs"][-1]["name"] == "crc32c"
    assert sharding["index_codecs"][-1]["name"] == "crc32c"
    last = json.loads((store / "3" / "zarr.json").read_text())
    assert last["shape"] == [3, 37, 36]
    assert last["codecs"][0]["name"] == "bytes"
    assert [c["name"] for c in last["codecs"]] == ["bytes", "blosc"]
    assert ome(store)["version"] == "0.5"
    assert not list(store.rglob(".z*"))


def test_colour_image(tmp_path: Path) -> None:
    omero = written(tmp_path, rgb(name="a slide"))["omero"]
    assert [(c["label"], c["color"], c["active"]) for c in omero["channels"]] == [
        ("Red", "FF0000", True), ("Green", "00FF00", True), ("Blue", "0000FF", True)
    ]  # fmt: skip
    assert all(c["window"] == {"min": 0, "max": 255, "start": 0, "end": 255} for c in omero["channels"])
    assert omero["rdefs"]["model"] == "color"
    assert omero["name"] == "a slide"


WINDOWS: list[tuple[str, int | None, tuple[float, float]]] = [
    ("uint8", None, (0, 255)), ("int8", None, (-128, 127)), ("uint16", None, (0, 65535)), ("uint16", 12, (0, 4095)),
    ("uint16", 16, (0, 65535)), ("int16", None, (-32768, 32767)), ("uint32", None, (0, 2**32 - 1)),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "bits", "limits"), WINDOWS)
def test_windows(tmp_path: Path, dtype: str, bits: int | None, limits: tuple[float, float]) -> None:
    array = texture((1, 2, 1, 120, 110), dtype)
    if bits is not None:
        array = array >> (16 - bits)
    found = written(tmp_path, memory_scene(pyramid(array), significant_bits=bits))
    (store,) = tmp_path.glob("*.zarr")
    coarsest = stored(store, "1")
    for i, channel in enumerate(found["omero"]["channels"]):
        window = channel["window"]
        assert (window["min"], window["max"]) == limits
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
        if dtype in ("uint8", "int8"):
            assert (window["start"], window["end"]) == limits
        else:
            wanted = np.quantile(coarsest[i].astype(np.float64), [0.001, 0.999])
            slack = 0.01 * float(np.ptp(coarsest[i].astype(np.float64)))
            assert [window["start"], window["end"]] == pytest.approx(wanted, abs=slack)


def test_window_that_the_file_asks_for(tmp_path: Path) -> None:
    array = texture((1, 2, 1, 120, 110), "uint16")
    channels = (Channel("a", "00FFFF", window=(100.0, 2000.0)), Channel("b", window=(5.5, 5.5)))
    found = written(tmp_path, memory_scene(pyramid(array), channels=channels))["omero"]["channels"]
    assert (found[0]["window"]["start"], found[0]["window"]["end"]) == (100, 2000)
    assert found[0]["color"] == "00FFFF"
    assert found[1]["window"]["start"] < found[1]["window"]["end"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_of_floats_are_of_what_was_seen(tmp_path: Path, dtype: str) -> None:
    array = texture((1, 2, 1, 120, 110), dtype)
    array[0, 1] = np.nan
    array[0, 0, 0, 0, 0] = np.inf
    found = written(tmp_path, memory_scene(pyramid(array)))["omero"]["channels"]
    window = found[0]["window"]
    assert -301 < window["min"] < window["max"] < 1000
    assert window["min"] <= window["start"] < window["min"] + 10
    assert window["max"] - 10 < window["end"] <= window["max"]
    assert found[1]["window"]["min"] < found[1]["window"]["max"]


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_flat_images_have_a_window_all_the_same(tmp_path: Path, value: int) -> None:
    array = np.full((1, 1, 1, 100, 100), value, np.uint16)
    window = written(tmp_path, memory_scene(pyramid(array)))["omero"]["channels"][0]["window"]
    assert window["start"] < window["end"]


def test_channels_without_names_and_colours_get_some(tmp_path: Path) -> None:
    array = texture((1, 8, 1, 40, 40), "uint16")
    found = written(tmp_path, memory_scene(pyramid(array), channels=()))["omero"]["channels"]
    assert len({c["label"] for c in found}) == 8
    assert len({c["color"] for c in found[:6]}) == 6
    assert [c["active"] for c in found] == [True] * 6 + [False] * 2
    single = written(tmp_path, memory_scene(pyramid(texture((1, 1, 1, 40, 40))), channels=()))["omero"]
    assert single["channels"][0]["color"] == "FFFFFF"
    assert single["rdefs"]["model"] == "greyscale"


def test_one_channel_of_a_known_dye_is_shown_in_its_colour(tmp_path: Path) -> None:
    scene = memory_scene(pyramid(texture((1, 1, 1, 40, 40), "uint16")), channels=(Channel("DAPI"),))
    omero = written(tmp_path, scene)["omero"]
    assert omero["channels"][0]["color"] == "0000FF"
    assert omero["rdefs"]["model"] == "color"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_layout_of_several_images(tmp_path: Path, version: str) -> None:
    store = tmp_path / "x.zarr"
    slide = slide_of(tmp_path, [rgb(name="a"), rgb(name="b")], associated={"thumbnail": rgb(name="thumbnail")})
    converted(slide, store, ome_zarr=version)
    root = ome(store)
    assert root["bioformats2raw.layout"] == 3
    assert type(root["bioformats2raw.layout"]) is int
    assert ome(store / "OME")["series"] == ["0", "1"]
    assert [ome(store / name)["multiscales"][0]["name"] for name in ("0", "1", "associated/thumbnail")] == [
        "a",
        "b",
        "thumbnail",
    ]
    if version == "0.5":
        versions = {ome(store / name).get("version") for name in ("", "OME", "0", "1", "associated/thumbnail")}
        assert versions == {"0.5"}


def test_own_keys_are_outside_ome(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    converted(simple_slide(tmp_path, RGB, rgb=True), store)
    found = json.loads((store / "zarr.json").read_text())["attributes"]
    assert set(found) == {"ome", "slidemill"}
    assert set(found["ome"]) == {"version", "multiscales", "omero"}
    record = found["slidemill"]
    assert record["version"]
    assert record["fingerprint"].startswith("sha256:")
    assert record["options"]["codec"] == "blosc-lz4-5"
    assert record["path"] == "memory.slide"
    assert record["output"] == "x.zarr"
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_nearest_lies_where_the_pixel_lies_that_it_takes(tmp_path: Path, version: str) -> None:
    """Below a level of the slide (factor 4, its pixels centred) as below level 0."""
    pixels = texture((1, 1, 1, 512, 640))
    slide = simple_slide(tmp_path, pixels, factors=(1, 4), pixel_size=PixelSize(0.5, 0.25))
    converted(slide, tmp_path / "x.zarr", downsample="nearest", native_levels="always", chunk=32, ome_zarr=version)
    (multiscale,) = ome(tmp_path / "x.zarr")["multiscales"]
    moved = [d["coordinateTransformations"][1]["translation"][-2:] for d in multiscale["datasets"][1:]]
    # level 1 of factor 2 takes pixel (0, 0) of level 0; level 2 is the slide's; what lies below takes its first pixels
    assert moved == [[0, 0], *[[1.5 * 0.5, 1.5 * 0.25]] * (len(moved) - 1)]
    assert multiscale["metadata"]["native_levels"] == [0, 2]
    assert verify_store(tmp_path / "x.zarr", depth="full").violations == []
    found = stored(tmp_path / "x.zarr", "3").squeeze()
    np.testing.assert_array_equal(found, stored(tmp_path / "x.zarr", "2").squeeze()[::2, ::2])


def test_windows_of_16_bits_are_quantiles(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).poisson(300, (1, 1, 1, 300, 400)).astype(np.uint16)
    pixels[0, 0, 0, 5, 5] = 65535
    converted(simple_slide(tmp_path, pixels), tmp_path / "x.zarr")
    window = ome(tmp_path / "x.zarr")["omero"]["channels"][0]["window"]
    assert (window["min"], window["max"]) == (0, 65535)
    assert 200 < window["start"] < window["end"] < 400
