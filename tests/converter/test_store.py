"""Whole conversions: the store holds the slide pixel for pixel, computed levels are what numpy says, validators agree."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.planning.trust import assess
from converter.receipt import Receipt
from drivers import open_slide
from drivers.geometry import Box, Shape
from drivers.model import Channel, Level, PixelSize, Scene, Slide
from drivers.paint import paint
from drivers.tiles import Grid
from tests.made.svs import Svs, make_svs
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import (
    SMALL,
    Array,
    averaged,
    axes_of,
    by_mean,
    converted,
    five,
    images,
    own,
    pyramid,
    simple_slide,
    slide_of,
    stored,
    texture,
    violations,
)

pytestmark = pytest.mark.usefixtures("files_closed")
Make = Callable[[Path], Slide]
SIZE = PixelSize(0.5, 0.25)
WITH_NAN = texture((1, 1, 1, 150, 170), "float32")
WITH_NAN[..., 5:9, 11:60] = np.nan
HOLES = texture((1, 3, 1, 300, 290))
HOLES[..., 64:256, 128:290] = 255

SLIDES: dict[str, Make] = {
    "rgb": lambda p: simple_slide(p, texture((1, 3, 1, 201, 153)), rgb=True, pixel_size=SIZE),
    "rgb-native-4-16": lambda p: simple_slide(p, texture((1, 3, 1, 533, 389)), (1, 4, 16), rgb=True, pixel_size=SIZE),
    "rgb-native-3": lambda p: simple_slide(p, texture((1, 3, 1, 242, 201)), (1, 3), rgb=True),
    "rgb-background": lambda p: simple_slide(p, HOLES, rgb=True, pixel_size=SIZE),
    "rgb-planar": lambda p: slide_of(p, memory_scene(pyramid(texture((1, 3, 1, 200, 130)), fill=255), rgb=True)),
    "uint16-5d": lambda p: simple_slide(
        p, texture((2, 2, 3, 130, 97), "uint16"), time_step_s=1.5, pixel_size=PixelSize(1, 1, 2)
    ),
    "uint16-channels": lambda p: simple_slide(p, texture((1, 5, 1, 80, 160), "uint16"), significant_bits=12),
    "z-native-2": lambda p: simple_slide(p, texture((1, 2, 2, 128, 140), "uint16"), (1, 2), pixel_size=SIZE),
    "float32": lambda p: simple_slide(p, texture((1, 2, 1, 150, 170), "float32"), pixel_size=SIZE),
    "float32-nan": lambda p: simple_slide(p, WITH_NAN),
    "float64": lambda p: simple_slide(p, texture((1, 1, 1, 99, 170), "float64")),
    "int8": lambda p: simple_slide(p, texture((1, 1, 1, 257, 129), "int8")),
    "int16": lambda p: simple_slide(p, texture((1, 1, 2, 97, 129), "int16")),
    "uint32": lambda p: simple_slide(p, texture((1, 1, 1, 97, 129), "uint32")),
    "one-channel": lambda p: simple_slide(p, texture((1, 1, 1, 128, 128)), pixel_size=SIZE),
    "1x1": lambda p: simple_slide(p, texture((1, 3, 1, 1, 1)), rgb=True),
    "16x16": lambda p: simple_slide(p, texture((1, 1, 1, 16, 16))),
    "one-row": lambda p: simple_slide(p, texture((1, 1, 1, 1, 1000))),
    "one-column": lambda p: simple_slide(p, texture((1, 1, 1, 777, 1), "uint16")),
    "65x63": lambda p: simple_slide(p, texture((1, 3, 1, 65, 63)), rgb=True),
    "blank": lambda p: simple_slide(p, np.full((1, 3, 1, 200, 200), 255, np.uint8), rgb=True),
}
# A store that a public validator cannot judge, and why.
NOT_VALIDATED: dict[str, str] = {}


def check_pixels(store: Path, slide: Slide, receipt: Receipt) -> None:
    """Every level against what it was made from: the slide's level, or the level above in the store."""
    record = receipt.as_json()
    for image in [*record["scenes"], *record["associated"]]:
        scene = slide.associated[image["role"]] if "role" in image else slide.scenes[image["index"]]
        folder = store / image["group"]
        axes = axes_of(folder)
        made: dict[str, Array] = {}
        for level in image["levels"]:
            name, (method, _, origin) = level["path"], level["source"].partition(":")
            pixels = five(stored(folder, name), axes)
            assert [n for n, a in zip(pixels.shape, "tczyx", strict=True) if a in axes] == level["shape"]
            if method == "native":
                native = scene.levels[int(origin)]
                wanted = paint(native, Box.of(native.shape))
            else:
                assert method == "mean"
                wanted = by_mean(made[origin])
            made[name] = pixels
            assert pixels.dtype == wanted.dtype
            assert pixels.shape == wanted.shape
            if wanted.dtype.kind == "f" and method != "native":
                # Values of both signs cancel out: what counts is the precision of the four, not of their mean.
                slack = 2 * float(np.finfo(wanted.dtype).eps) * float(np.nanmax(np.abs(made[origin])))
                np.testing.assert_allclose(pixels, wanted, rtol=0, atol=slack)
            else:
                np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("name", SLIDES)
def test_store_equals_slide(tmp_path: Path, name: str, version: str) -> None:
    slide = SLIDES[name](tmp_path)
    store = tmp_path / "out.ome.zarr"
    receipt = converted(slide, store, ome_zarr=version)
    assert receipt.status == "done"
    check_pixels(store, slide, receipt)
    assert violations(store) == []


UNSHARDED: dict[str, Any] = {"shard": None, "codec": "none"}
OTHER: dict[str, Any] = {"codec": "zstd-3", "chunk": 32}
WAYS = [
    ("0.5", "auto", UNSHARDED),
    ("0.5", "bioformats2raw", OTHER),
    ("0.4", "auto", OTHER),
    ("0.4", "bioformats2raw", UNSHARDED),
]


@pytest.mark.parametrize(
    ("version", "layout", "options"), WAYS, ids=lambda way: way if isinstance(way, str) else way["codec"]
)
def test_layouts_and_options(tmp_path: Path, version: str, layout: str, options: dict[str, Any]) -> None:
    slide = SLIDES["rgb-native-4-16"](tmp_path)
    store = tmp_path / "out.zarr"
    receipt = converted(slide, store, ome_zarr=version, layout=layout, **options)
    assert images(store) == [store / "0" if layout == "bioformats2raw" else store]
    assert [s["levels"][2]["source"] for s in receipt.as_json()["scenes"]] == ["native:1"]
    check_pixels(store, slide, receipt)
    assert violations(store) == []


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_several_scenes_and_associated_images(tmp_path: Path, version: str) -> None:
    kinds: list[tuple[tuple[int, ...], str]] = [
        ((1, 3, 1, 200, 130), "uint8"), ((2, 1, 1, 90, 70), "uint16"), ((1, 1, 1, 20, 20), "float32")
    ]  # fmt: skip
    scenes = [
        memory_scene(pyramid(texture(shape, dtype), fill=0), rgb=shape[1] == 3, name=f"scene {i}")
        for i, (shape, dtype) in enumerate(kinds)
    ]
    small = memory_scene(pyramid(texture((1, 3, 1, 50, 60)), interleaved=True), rgb=True, name="thumbnail")
    slide = slide_of(tmp_path, scenes, associated={"thumbnail": small, "label": small, "macro": small})
    store = tmp_path / "out.zarr"
    receipt = converted(slide, store, ome_zarr=version)
    assert images(store) == [store / "0", store / "1", store / "2", store / "associated" / "thumbnail"]
    assert receipt.removed == ["label", "macro"]
    check_pixels(store, slide, receipt)
    assert violations(store) == []

    chosen = tmp_path / "chosen.zarr"
    receipt = converted(slide, chosen, ome_zarr=version, scenes=("scene 2", "0"), associated=("macro", "label"))
    assert [(s["index"], s["group"]) for s in receipt.as_json()["scenes"]] == [(2, "0"), (0, "1")]
    check_pixels(chosen, slide, receipt)
    assert violations(chosen) == []


@pytest.mark.parametrize("kind", ["jpeg", "j2k"])
def test_made_svs(tmp_path: Path, made: Callable[[str, Callable[[Path], object]], Path], kind: str) -> None:
    from converter.convert import Conversion, convert
    from converter.options import Options

    svs = Svs(size=(530, 701)) if kind == "jpeg" else Svs(codec="j2k-ycbcr", tile=(256, 256), size=(300, 350))
    path = made(f"store-{kind}.svs", lambda p: make_svs(p, svs))
    store = tmp_path / "out.ome.zarr"
    receipt = convert(path, store, Conversion(Options(**SMALL, associated=("thumbnail", "macro"))))
    with open_slide(path) as slide:
        check_pixels(store, slide, receipt)
    sources = [level["source"] for level in own(store)["scenes"][0]["levels"]]
    assert sources[:4] == ["native:0", "mean:0", "native:1", "mean:2"]
    assert violations(store) == []


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_ome_zarr_py_reads_it(tmp_path: Path, version: str) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    array = texture((1, 3, 1, 301, 403))
    slide = simple_slide(tmp_path, array, rgb=True, pixel_size=SIZE)
    store = tmp_path / "out.ome.zarr"
    receipt = converted(slide, store, ome_zarr=version)
    location = parse_url(str(store), mode="r")
    assert location is not None
    nodes = list(Reader(location)())
    assert nodes
    assert len(nodes[0].data) == len(receipt.as_json()["scenes"][0]["levels"])
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), array[0, :, 0])
    assert nodes[0].metadata["channel_names"] == ["Red", "Green", "Blue"]


def test_tensorstore_reads_it(tmp_path: Path) -> None:
    import tensorstore

    array = texture((1, 3, 1, 301, 403))
    for version, driver in (("0.5", "zarr3"), ("0.4", "zarr")):
        store = tmp_path / f"{version}.zarr"
        converted(simple_slide(tmp_path, array, rgb=True), store, ome_zarr=version)
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{store}/0"}}
        opened = tensorstore.open(spec, read=True).result()
        np.testing.assert_array_equal(opened.read().result(), array[0, :, 0])


def test_background_is_not_stored(tmp_path: Path) -> None:
    for name in ("blank", "rgb-background"):
        store = tmp_path / f"{name}.zarr"
        converted(SLIDES[name](tmp_path), store)
        shards = [path for path in (store / "0" / "c").rglob("*") if path.is_file()]
        assert len(shards) == (0 if name == "blank" else 3 * 3 - 2)
    assert (stored(tmp_path / "blank.zarr", "0") == 255).all()


@pytest.mark.parametrize("method", ["mode", "nearest"])
def test_other_methods_leave_native_levels_alone(tmp_path: Path, method: str) -> None:
    array = texture((1, 1, 1, 256, 200), "uint8") // 32
    slide = simple_slide(tmp_path, array, (1, 2))
    store = tmp_path / "out.zarr"
    record = converted(slide, store, downsample=method).as_json()
    sources = [level["source"] for level in record["scenes"][0]["levels"]]
    assert sources == ["native:0", f"{method}:0", f"{method}:1"]
    assert method in record["scenes"][0]["refused_native"][0]["reason"]
    values = stored(store, "1")
    if method == "nearest":
        np.testing.assert_array_equal(values, array[0, :, 0, ::2, ::2])
    assert set(np.unique(values)) <= set(np.unique(array))


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("name", ["rgb-native-4-16", "uint16-5d"])
def test_same_slide_and_options_give_the_same_manifest(tmp_path: Path, name: str, version: str) -> None:
    hashes = set[str | None]()
    files = set[str]()
    for workers in (1, 4, 4):
        slide = SLIDES[name](tmp_path)
        store = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        hashes.add(converted(slide, store, ome_zarr=version, workers=workers).manifest)
        files.add((store / "OME" / "manifest.json").read_text())
    assert len(hashes) == 1
    assert len(files) == 1
    other = converted(SLIDES[name](tmp_path), tmp_path / "other.zarr", ome_zarr=version, codec="zstd-1")
    assert other.manifest not in hashes


def counted(array: Array, factor: int, tile: tuple[int, int], **level: Any) -> tuple[Level, Counter[Any]]:
    """A level that counts how often each stored tile is decoded."""
    reads: Counter[Any] = Counter()
    data = array if factor == 1 else averaged(array, factor)
    return memory_level(data, tile, float(factor), reads=reads, **level), reads


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_stored_tile_is_decoded_once(tmp_path: Path, version: str, workers: int) -> None:
    array = texture((1, 3, 1, 533, 389))
    made = [counted(array, f, (64, 64), interleaved=True, fill=255) for f in (1, 4, 16)]
    slide = slide_of(tmp_path, memory_scene([level for level, _ in made], rgb=True))
    options: dict[str, Any] = {"ome_zarr": version, "native_levels": "always", "verify": "none", "workers": workers}
    record = converted(slide, tmp_path / "out.zarr", **options).as_json()
    assert [e["source"] for e in record["scenes"][0]["levels"]] == ["native:0", "mean:0", "native:1", "mean:2", "native:2"]
    for (level, reads), tiles in zip(made, (9 * 7, 3 * 2, 1), strict=True):
        assert len(reads) == tiles == sum(1 for _ in level.index.tiles(Box.of(level.shape)))
        assert set(reads.values()) == {1}


def test_trusting_costs_only_its_samples(tmp_path: Path) -> None:
    from converter.options import Options

    array = texture((1, 3, 1, 533, 389))
    once = [counted(array, f, (64, 64), interleaved=True, fill=255) for f in (1, 4)]
    trust = assess(memory_scene([level for level, _ in once], rgb=True), Options())
    assert trust == {1: None}
    made = [counted(array, f, (64, 64), interleaved=True, fill=255) for f in (1, 4)]
    slide = slide_of(tmp_path, memory_scene([level for level, _ in made], rgb=True))
    converted(slide, tmp_path / "out.zarr", verify="none")
    for (level, reads), (_, sampled) in zip(made, once, strict=True):
        tiles = sum(1 for _ in level.index.tiles(Box.of(level.shape)))
        assert reads.total() <= tiles * 1.1 + sampled.total()


@pytest.mark.parametrize("tile", [(240, 240), (50, 70)])
def test_odd_tiles_are_decoded_about_once(tmp_path: Path, tile: tuple[int, int]) -> None:
    level, reads = counted(texture((1, 3, 1, 1500, 1400)), 1, tile, interleaved=True, fill=255)
    slide = slide_of(tmp_path, memory_scene([level], rgb=True))
    converted(slide, tmp_path / "out.zarr", chunk=256, shard=1024, verify="none", workers=2)
    assert reads.total() <= len(reads) * 1.35
    check_pixels(tmp_path / "out.zarr", slide, converted(slide, tmp_path / "again.zarr", chunk=256, shard=1024))


@pytest.mark.parametrize("tile", [(8, 1400), (1400, 16)], ids=["strips", "columns"])
def test_long_blocks_are_decoded_once(tmp_path: Path, tile: tuple[int, int]) -> None:
    level, reads = counted(texture((1, 1, 1, 1400, 1400), "uint16"), 1, tile)
    slide = slide_of(tmp_path, memory_scene([level]))
    converted(slide, tmp_path / "out.zarr", verify="none")
    assert reads.total() == len(reads)


class Endless:
    """`Level.read` that makes each tile when it is asked for, so that a large slide takes no memory of its own."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        random = np.random.default_rng(3)
        self.block = random.integers(0, 200, (1, 256, 256, 3, 1), np.uint8).transpose(0, 3, 4, 1, 2)

    def __call__(self, key: Any) -> Array:
        return np.roll(self.block, (key.y, key.x), (3, 4))


def large(folder: Path, side: int) -> Slide:
    shape, tile = Shape(1, 3, 1, side, side), Shape(1, 3, 1, 256, 256)
    grid = Grid(shape, tile)
    level = Level(shape, np.dtype("uint8"), grid, Endless(grid), tile, 255, 1.0, "jpeg", interleaved=True)
    channels = (Channel("Red", "FF0000"), Channel("Green", "00FF00"), Channel("Blue", "0000FF"))
    return slide_of(folder, Scene("large", [level], True, channels))


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    peaks: list[int] = []
    for side in (2048, 6144):
        tracemalloc.start()
        try:
            options: dict[str, Any] = {"chunk": 256, "shard": 512, "codec": "blosc-lz4-5", "verify": "none", "workers": 2}
            converted(large(tmp_path, side), tmp_path / f"{side}.zarr", **options)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5 + (8 << 20), peaks
    assert peaks[1] < 48 << 20, peaks
