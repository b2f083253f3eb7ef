"""Levels that are right in any usual way are reused; wrong in a channel, a plane or a sixteenth of the area they are not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest

from converter.options import Options
from converter.planning.places import lattice, places
from converter.planning.trust import assess
from tests.made.svs import tissue
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import Array

AUTO = Options()
SIZE = (700, 768)


def few(often: set[str], names: Any) -> list[Any]:
    """Parameters of which the others are for the long run."""
    return [name if name in often else pytest.param(name, marks=pytest.mark.slow) for name in names]


def smooth(seed: int, sigma: float = 6) -> Array:
    """A picture of blobs, 0 to 1."""
    noise = np.random.default_rng(seed).random(SIZE).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def spots(seed: int) -> Array:
    """Black with some bright spots, 0 to 1."""
    random = np.random.default_rng(seed)
    image = np.zeros(SIZE, np.float32)
    for y, x in zip(random.integers(0, SIZE[0], 230), random.integers(0, SIZE[1], 230), strict=True):
        cv2.circle(image, (int(x), int(y)), int(random.integers(5, 11)), float(random.uniform(0.3, 1)), -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


def grey(image: Array, dtype: str, high: float) -> Array:
    """Two planes in t, two channels, (2, 2, 1, y, x)."""
    planes = [np.roll(image, (31 * i, 17 * i), (0, 1)) * high for i in range(4)]
    return np.stack(planes).reshape(2, 2, 1, *SIZE).astype(dtype)


def hollow(image: Array) -> Array:
    """Floats of a small range with a background that is no number."""
    array = grey(image, "float32", 0.05)
    array[..., :, :200] = np.nan
    array[..., 400:420, 500:530] = np.nan
    return array


def stained() -> Array:
    image = cv2.resize(tissue(234, 256), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None, :, None]


PICTURES: dict[str, Array] = {
    "tissue": stained(),
    "sparse uint8": grey(spots(1), "uint8", 200),
    "dim uint16": grey(smooth(2), "uint16", 9) + np.uint16(100),
    "float32": grey(smooth(3), "float32", 0.05),
    "holes": hollow(smooth(4)),
    "uint16 with a hot pixel": grey(smooth(5), "uint16", 900),
    "noise": grey(np.random.default_rng(6).random(SIZE, np.float32), "uint16", 5000),
}
PICTURES["uint16 with a hot pixel"][..., 5, 5] = 65535


def each(array: Array, change: Callable[[Array], Array]) -> Array:
    """Every plane on its own, as float32 in, rounded as the dtype asks."""
    made = np.stack([change(plane.astype(np.float32)) for plane in array.reshape(-1, *array.shape[3:])])
    whole = made.reshape(*array.shape[:3], *made.shape[1:])
    if array.dtype.kind == "f":
        return whole.astype(array.dtype)
    info = np.iinfo(array.dtype)
    return np.clip(np.rint(whole), info.min, info.max).astype(array.dtype)


def resized(kind: int) -> Callable[[Array, int], Array]:
    return lambda p, k: cv2.resize(p, (p.shape[1] // k, p.shape[0] // k), interpolation=kind)


def gaussian(p: Array, k: int) -> Array:
    """Blurred, and every k-th pixel from the first: half a pixel of offset less than the mean's."""
    return cv2.GaussianBlur(p, (0, 0), k / 2)[: p.shape[0] // k * k : k, : p.shape[1] // k * k : k]


KERNELS: dict[str, Callable[[Array, int], Array]] = {
    "mean": resized(cv2.INTER_AREA),
    "first": lambda p, k: p[: p.shape[0] // k * k : k, : p.shape[1] // k * k : k],
    "middle": lambda p, k: p[k // 2 :: k, k // 2 :: k][: p.shape[0] // k, : p.shape[1] // k],
    "bilinear": resized(cv2.INTER_LINEAR),
    "bicubic": resized(cv2.INTER_CUBIC),
    "gaussian": gaussian,
}


def verdict(name: str, fine: Array, coarse: Array, factor: int) -> str | None:
    rgb = name == "tissue"
    levels = [memory_level(a, (256, 256), float(f), interleaved=rgb) for a, f in ((fine, 1), (coarse, factor))]
    return assess(memory_scene(levels, rgb=rgb), AUTO)[1]


@pytest.mark.parametrize("kernel", few({"first", "gaussian"}, KERNELS))
@pytest.mark.parametrize("name", few({"tissue", "holes"}, PICTURES))
@pytest.mark.parametrize("factor", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_right_levels_are_reused(name: str, kernel: str, factor: int) -> None:
    fine = PICTURES[name]
    assert verdict(name, fine, each(fine, lambda p: KERNELS[kernel](p, factor)), factor) is None


def jpeg(array: Array, quality: int) -> Array:
    image = np.ascontiguousarray(array[0, :, 0].transpose(1, 2, 0))
    back = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image, level=quality, subsampling="420"))
    return np.ascontiguousarray(back.transpose(2, 0, 1))[None, :, None]


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("kernel", few({"mean"}, ["mean", "first", "bilinear", "gaussian"]))
def test_jpeg_of_either_level_is_reused(quality: int, kernel: str) -> None:
    fine = PICTURES["tissue"]
    coarse = each(fine, lambda p: KERNELS[kernel](p, 4))
    assert verdict("tissue", jpeg(fine, quality), jpeg(coarse, quality), 4) is None


def garbage(part: Array) -> Array:
    random = np.random.default_rng(7).random(part.shape)
    low, high = np.nanmin(part), np.nanmax(part)
    return (low + random * (float(high) - float(low))).astype(part.dtype)


WRONG: dict[str, Callable[[Array], Array]] = {
    "garbage": garbage,
    "zeros": np.zeros_like,
    "inverted": lambda part: (float(np.nanmax(part)) + float(np.nanmin(part)) - part).astype(part.dtype),
    "mirrored": lambda part: part[..., ::-1],
    "elsewhere": lambda part: np.roll(part, (23, 41), (-2, -1)),
}
Place = tuple[slice, ...]


def where(shape: tuple[int, ...]) -> dict[str, Place]:
    h, w = shape[3:]
    full = slice(None)
    return {
        "all": (full,) * 5,
        "last channel": (full, slice(shape[1] - 1, None), full, full, full),
        "last time": (slice(shape[0] - 1, None), full, full, full, full),
        "a square": (full, full, full, slice(h * 3 // 8, h * 5 // 8), slice(w * 5 // 8, w * 7 // 8)),
        "rows": (full, full, full, slice(h * 9 // 16, h * 10 // 16), full),
        "columns of one channel": (full, slice(0, 1), full, full, slice(w * 11 // 16, w * 12 // 16)),
    }


@pytest.mark.parametrize("how", few({"garbage"}, WRONG))
@pytest.mark.parametrize("name", few({"dim uint16", "holes"}, PICTURES))
def test_wrong_levels_are_refused(name: str, how: str) -> None:
    fine = PICTURES[name]
    right = each(fine, lambda p: KERNELS["mean"](p, 2))
    for place, part in where(right.shape).items():
        coarse = right.copy()
        coarse[part] = WRONG[how](right[part])
        assert verdict(name, fine, coarse, 2) is not None, place


@pytest.mark.parametrize("stack", [(4, 3, 3), (1, 1, 40), (20, 2, 1)], ids=str)
def test_no_sixteenth_of_any_plane_of_a_small_stack_is_left_out(stack: tuple[int, int, int]) -> None:
    """A quarter of the height by a quarter of the width, wherever it lies, holds the middle of a place."""
    fine, coarse = (memory_level(np.zeros((*stack, n, n), np.uint8), (64, 64), f) for n, f in ((512, 1.0), (256, 2.0)))
    found = places(fine, coarse, 2, [])
    middles: dict[tuple[int, int, int], list[tuple[float, float]]] = {}
    for box in found:
        (t, c, z, top, left), bottom, right = box.start, box.stop.y, box.stop.x
        middles.setdefault((t, c, z), []).append(((top + bottom) / 2, (left + right) / 2))
    assert len(middles) == np.prod(stack)
    for plane, points in middles.items():
        for top, left in product(range(8, 192, 8), repeat=2):
            inside = [top <= y <= top + 64 and left <= x <= left + 64 for y, x in points]
            assert any(inside), (plane, top, left)


@pytest.mark.parametrize("value", [0, 7, np.nan])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_constant_levels(value: float, dtype: str) -> None:
    if dtype == "uint8" and np.isnan(value):
        return
    fine, coarse = (np.full((1, 1, 1, n, n), value, dtype) for n in (800, 400))
    assert verdict("constant", fine, coarse, 2) is None
    assert verdict("constant", fine, np.full_like(coarse, 9), 2) is not None


def test_no_rectangle_of_a_sixteenth_lies_between_the_places() -> None:
    points: list[Any] = sorted(lattice(55, 34))
    edges = sorted({0.0, 1.0, *(y for y, _ in points)})
    for top, bottom in product(edges, repeat=2):
        inside = sorted([0.0, 1.0, *(x for y, x in points if top < y < bottom)])
        widest = max(b - a for a, b in pairwise(inside))
        assert (bottom - top) * widest < 1 / 16
