"""Planning over all sizes, chains of native levels and options; no pixel is read."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.errors import OptionError
from converter.options import Options
from converter.planning.image import ImagePlan, Place, plan_image
from converter.planning.slide import plan_slide
from drivers.geometry import Shape
from drivers.model import Level, Pixels, Scene
from drivers.tiles import Grid
from tests.support.memory_driver import memory_scene
from tests.support.stores import slide_of

CHAINS: list[tuple[int, ...]] = [(), (4, 4), (2, 2), (3, 3), (4, 4, 2), (4, 4, 4), (2, 4), (8,), (6,), (5, 2), (2,) * 6]


def _never(key: Hashable) -> Pixels:
    raise AssertionError(f"planning read tile {key}")


def level_of(
    shape: Shape, dtype: str = "uint8", tile: tuple[int, int] = (256, 256), scale: float = 1.0, channels: int = 1
) -> Level:
    """A level that has a size and no pixels."""
    stored = Shape(1, channels, 1, *tile)
    return Level(shape, np.dtype(dtype), Grid(shape, stored), _never, stored, 0, scale, "jpeg", channels > 1)


def scene_of(size: tuple[int, int], steps: Sequence[int], ceil: bool = False, rgb: bool = True, **more: Any) -> Scene:
    """A scene whose levels shrink by `steps`, rounded at every step."""
    y, x, factor = *size, 1
    levels: list[Level] = []
    for step in (1, *steps):
        y, x = (max(1, -(-n // step) if ceil else n // step) for n in (y, x))
        factor *= step
        if levels and (y, x) == levels[-1].shape[3:]:
            break
        levels.append(level_of(Shape(1, 3 if rgb else 1, 1, y, x), scale=float(factor), channels=3 if rgb else 1))
    return memory_scene(levels, rgb=rgb, **more)


def plan(scene: Scene, **options: Any) -> ImagePlan:
    """The plan that trusts every native level."""
    return plan_image(scene, dict.fromkeys(range(1, len(scene.levels))), Options(**options), Place(0, ""))


SIZES = st.one_of(st.integers(1, 300), st.integers(1, 200_000))
OPTIONS = st.fixed_dictionaries(
    {
        "chunk": st.sampled_from([16, 256, 512, 1024]),
        "shard": st.sampled_from([None, 1024, 2048, 4096]),
        "levels": st.sampled_from(["dyadic", "native"]),
        "native_levels": st.sampled_from(["auto", "never", "always"]),
        "ome_zarr": st.sampled_from(["0.5", "0.4"]),
    }
)


@given(SIZES, SIZES, st.sampled_from(CHAINS), st.booleans(), st.booleans(), OPTIONS)
def test_any_plan(y: int, x: int, steps: tuple[int, ...], ceil: bool, rgb: bool, options: dict[str, Any]) -> None:  # noqa: PLR0917 - one argument a strategy
    scene = scene_of((y, x), steps, ceil, rgb)
    image = plan(scene, **options)
    levels = image.levels
    assert levels[0].shape == scene.shape
    assert str(levels[0].source) == "native:0"
    assert levels[0].factor == (1.0, 1.0)
    assert [level.path for level in levels] == [str(i) for i in range(len(levels))]
    for i, level in enumerate(levels):
        check_sizes(level.shape, level.factor, scene.shape)
        if i:
            assert level.shape.y * level.shape.x < levels[i - 1].shape.y * levels[i - 1].shape.x
            assert level.factor >= levels[i - 1].factor
        if level.source.method == "native":
            assert level.shape == scene.levels[level.source.origin].shape
        else:
            assert level.source.origin == i - 1
        check_chunks(level.chunk, level.shard, level.shape, options, rgb)
    natives = [level.source.origin for level in levels if level.source.method == "native"]
    assert natives == sorted(set(natives))
    assert set(natives) | {r.level for r in image.refused} == set(range(len(scene.levels)))
    assert all(r.reason for r in image.refused)
    if options["native_levels"] == "never":
        assert natives == [0]
    if options["levels"] == "native":
        assert len(natives) == len(levels)
    else:
        assert max(levels[-1].shape.y, levels[-1].shape.x) <= options["chunk"]


def check_sizes(shape: Shape, factor: tuple[float, float], whole: Shape) -> None:
    """A level fits its factor within a pixel."""
    assert shape[:3] == whole[:3]
    for size, full, f in ((shape.y, whole.y, factor[0]), (shape.x, whole.x, factor[1])):
        assert abs(full / f - size) <= 1 + 1e-9 or (size == 1 and full <= f)


def check_chunks(chunk: Shape, shard: Shape | None, shape: Shape, options: dict[str, Any], rgb: bool) -> None:
    """Chunks are powers of two and no larger than they must be, shards whole multiples, none where one chunk is enough."""
    for n, size in ((chunk.y, shape.y), (chunk.x, shape.x)):
        assert n & (n - 1) == 0
        assert n <= options["chunk"]
        assert n < 2 * size
        assert n == options["chunk"] or n >= size
    assert chunk[:3] == (1, 1, 1)
    one_chunk = chunk.y >= shape.y and chunk.x >= shape.x
    assert (shard is None) == (options["shard"] is None or options["ome_zarr"] == "0.4" or one_chunk)
    if shard is not None:
        assert shard.y % chunk.y == shard.x % chunk.x == 0
        assert max(shard.y, shard.x) <= options["shard"]
        assert shard[:3] == (1, 3 if rgb else 1, 1)


@given(
    st.integers(1, 100_000),
    st.integers(1, 100_000),
    st.sampled_from([(4, 4), (2, 2), (4, 4, 2), (8,), (2, 4), (16,)]),
    st.booleans(),
)
def test_dyadic_leaves_no_gap(y: int, x: int, steps: tuple[int, ...], ceil: bool) -> None:
    levels = plan(scene_of((y, x), steps, ceil)).levels
    for before, after in pairwise(levels):
        for a, b, size in zip(before.factor, after.factor, (before.shape.y, before.shape.x), strict=True):
            assert b / a <= 2 or size <= 2


def test_the_chains_of_scanners() -> None:
    def sources(steps: Sequence[int], **options: Any) -> list[str]:
        return [f"{level.source}/{level.factor[0]:g}" for level in plan(scene_of((20001, 30003), steps), **options).levels]

    assert sources((4, 4), levels="native") == ["native:0/1", "native:1/4", "native:2/16"]
    assert sources((4, 4))[:6] == ["native:0/1", "mean:0/2", "native:1/4", "mean:2/8", "native:2/16", "mean:4/32"]
    assert sources((2, 2))[:4] == ["native:0/1", "native:1/2", "native:2/4", "mean:2/8"]
    assert sources((4, 4, 2))[4:7] == ["native:2/16", "native:3/32", "mean:5/64"]
    assert sources((3, 3))[:4] == ["native:0/1", "native:1/3", "native:2/9", "mean:2/18"]
    assert sources((4,), native_levels="never")[:4] == ["native:0/1", "mean:0/2", "mean:1/4", "mean:2/8"]
    assert sources((4,), downsample="mode", native_levels="never")[1] == "mode:0/2"


def test_distrusted_levels_are_filled_in() -> None:
    scene = scene_of((20000, 30000), (4, 4))
    image = plan_image(scene, {1: "is a cat", 2: None}, Options(), Place(0, ""))
    assert [str(level.source) for level in image.levels][:6] == [
        "native:0",
        "mean:0",
        "mean:1",
        "mean:2",
        "native:2",
        "mean:4",
    ]
    assert [(r.level, r.reason) for r in image.refused] == [(1, "is a cat")]


@pytest.mark.parametrize("size", [(1, 1), (1, 10**6), (10**6, 1), (2, 3), (1, 2)])
@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_extreme_sizes(size: tuple[int, int], ome_zarr: str) -> None:
    image = plan(scene_of(size, ()), ome_zarr=ome_zarr)
    assert image.levels[0].shape[3:] == size
    assert max(image.levels[-1].shape) <= 512
    for level in image.levels:
        check_sizes(level.shape, level.factor, image.levels[0].shape)
        assert level.shape.y >= 1 <= level.shape.x


def test_levels_that_cannot_be_in_one_image() -> None:
    base = level_of(Shape(1, 3, 1, 4000, 4000), channels=3)
    odd = [
        level_of(Shape(1, 1, 1, 1000, 1000), scale=4),
        level_of(Shape(1, 3, 1, 1000, 1000), "uint16", scale=4, channels=3),
        level_of(Shape(1, 3, 1, 4000, 4000), scale=1, channels=3),
    ]
    for level in odd:
        scene = memory_scene([base, level], rgb=True)
        for trust in ("always", "auto"):
            image = plan_image(scene, {1: None}, Options(native_levels=trust), Place(0, ""))  # pyright: ignore[reportArgumentType]
            assert [r.level for r in image.refused] == [1]
            assert image.refused[0].reason


def test_planning_a_slide_reads_no_pixel_and_prints_as_json(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, [scene_of((5000, 4000), (4,), name="a"), scene_of((3000, 10), (), name="b")])
    found = json.loads(json.dumps(plan_slide(slide, Options(native_levels="always")).as_json()))
    assert found["layout"] == "bioformats2raw"
    assert [s["index"] for s in found["scenes"]] == [0, 1]
    assert found["scenes"][0]["levels"][2] == {
        "path": "2",
        "y": 1250,
        "x": 1000,
        "scale": 4.0,
        "source": "native:1",
        "chunk": [1, 512, 512],
        "shard": [3, 2048, 1024],
    }
    total = sum(3 * level["y"] * level["x"] for scene in found["scenes"] for level in scene["levels"])
    assert found["raw_bytes"] == total
    assert 0 < found["estimated_bytes"] <= total
    assert found["objects"] > 0
    assert found["peak_memory_bytes"] > 0


def test_scale_of_a_column(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, scene_of((4096, 1), ()))
    levels = plan_slide(slide, Options()).as_json()["scenes"][0]["levels"]
    assert [level["scale"] for level in levels] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("words", [("2",), ("c",), ("-1",), ("a", "nobody"), ("twin",)])
def test_scenes_that_are_not_there(tmp_path: Path, words: tuple[str, ...]) -> None:
    names = ("a", "b") if words != ("twin",) else ("twin", "twin")
    slide = slide_of(tmp_path, [scene_of((10, 10), (), name=name) for name in names])
    with pytest.raises(OptionError, match="scene"):
        plan_slide(slide, Options(scenes=words))


def test_one_image_holds_one_scene(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, [scene_of((10, 10), (), name=name) for name in "ab"])
    with pytest.raises(OptionError, match="--layout"):
        plan_slide(slide, Options(layout="image"))
    assert plan_slide(slide, Options(layout="image", scenes=("b",))).layout == "image"
