"""Which native levels are reused: the good ones; of the bad ones it is said why, in plan, receipt and store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest

from converter.options import Options
from converter.planning.slide import plan_slide
from converter.planning.trust import assess
from drivers import open_slide
from drivers.errors import Damaged
from drivers.model import Level, Scene
from drivers.tiles import Grid
from tests.made.svs import Svs, make_spoiled, make_svs, reduced, tissue
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import Array, averaged, converted, own, slide_of, texture

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
AUTO = Options()


def five(image: Array) -> Array:
    """(height, width, channels) as five axes, interleaved in memory as files have it."""
    return image[None, None].transpose(0, 4, 1, 2, 3)


FINE = five(tissue(1600, 1701))
COARSE = five(reduced(tissue(1600, 1701), 4))


def level(array: Array, factor: float, **more: Any) -> Level:
    return memory_level(array, (256, 256), factor, 255, interleaved=True, **more)


def scene(coarse: Level, fine: Level | None = None) -> Scene:
    return memory_scene([fine or level(FINE, 1), coarse], rgb=True)


def jpeg(array: Array, quality: int) -> Array:
    """Through JPEG and back, tile by tile, as scanners store every level."""
    image = np.ascontiguousarray(array[0, :, 0].transpose(1, 2, 0))
    out = np.empty_like(image)
    for y in range(0, image.shape[0], 256):
        for x in range(0, image.shape[1], 256):
            tile = np.ascontiguousarray(image[y : y + 256, x : x + 256])
            data = imagecodecs.jpeg8_encode(tile, level=quality, subsampling="420")
            out[y : y + 256, x : x + 256] = imagecodecs.jpeg8_decode(data)
    return five(out)


# -- good ones --


@pytest.mark.parametrize("quality", [None, 90, 70, 50])
def test_averages_are_trusted_even_from_poor_jpeg(quality: int | None) -> None:
    # Nuclei of some twenty pixels, as at 20x: those of `tissue` are so fine that 4:2:0 wipes them out of a coarse level.
    image = cv2.resize(tissue(534, 567), (1701, 1600), interpolation=cv2.INTER_CUBIC)
    fine, coarse = five(image), five(reduced(image, 4))
    if quality is not None:
        fine, coarse = jpeg(fine, quality), jpeg(coarse, quality)
    assert assess(scene(level(coarse, 4), level(fine, 1)), AUTO) == {1: None}


@pytest.mark.parametrize("kind", [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_other_resamplings_are_trusted(kind: int) -> None:
    image = cv2.resize(tissue(1600, 1701), (425, 400), interpolation=kind)
    assert assess(scene(level(five(image), 4)), AUTO) == {1: None}


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_other_sample_types_are_trusted(dtype: str) -> None:
    array = texture((2, 3, 2, 400, 420), dtype)
    levels = [memory_level(array, (64, 64)), memory_level(averaged(array, 2), (64, 64), 2.0)]
    assert assess(memory_scene(levels), AUTO) == {1: None}


def test_blank_slides_are_trusted() -> None:
    fine, coarse = np.full_like(FINE, 255), np.full_like(COARSE, 255)
    assert assess(scene(level(coarse, 4), level(fine, 1)), AUTO) == {1: None}


def test_chains_are_trusted_level_by_level(made: Made) -> None:
    path = made("trust.svs", lambda p: make_svs(p, Svs(size=(2400, 2100), steps=(4, 4))))
    with open_slide(path) as slide:
        assert assess(slide.scenes[0], AUTO) == {1: None, 2: None}


def test_sparse_tiles_that_the_finer_level_lacks_too_are_no_fault() -> None:
    fine, coarse = FINE.copy(), COARSE.copy()
    fine[..., :1024, :1024] = 255
    coarse[..., :256, :256] = 255
    absent = [(0, 0, 0, y, x) for y in range(4) for x in range(4)]
    levels = scene(level(coarse, 4, absent=[(0, 0, 0, 0, 0)]), level(fine, 1, absent=absent))
    assert assess(levels, AUTO) == {1: None}


# -- bad ones --


def _cut(array: Array, rows: int, columns: int) -> Array:
    return array[..., :rows, :columns]


def _uneven() -> Scene:
    return scene(level(five(cv2.resize(tissue(1600, 1701), (600, 564), interpolation=cv2.INTER_AREA)), 2.8))


def _aspect() -> Scene:
    return scene(level(five(cv2.resize(tissue(1600, 1701), (425, 200), interpolation=cv2.INTER_AREA)), 4))


def _missing() -> Scene:
    return scene(level(COARSE, 4, absent=[(0, 0, 0, 1, 1)]))


def _empty() -> Scene:
    good = level(COARSE, 4)
    assert isinstance(good.index, Grid)
    edge = replace(good.index, empty=frozenset({good.index.place(good.index.shape).start._replace(t=0, c=0, z=0, y=1, x=1)}))

    def read(key: Any) -> Array:
        raise Damaged(f"tile {key} has no bytes")

    return scene(replace(good, index=edge, read=read))


def _unreadable() -> Scene:
    good = level(COARSE, 4)

    def read(key: Any) -> Array:
        if (key.y, key.x) == (0, 0):
            raise Damaged("tile (0, 0): torn JPEG")
        return good.read(key)

    return scene(replace(good, read=read))


def _picture() -> Scene:
    return scene(level(five(tissue(400, 425, seed=9)), 4))


def _blank(value: int) -> Scene:
    return scene(level(np.full_like(COARSE, value), 4))


def _shifted(y: int, x: int) -> Scene:
    return scene(level(np.ascontiguousarray(np.roll(COARSE, (y, x), (3, 4))), 4))


def _blank_edge() -> Scene:
    coarse = COARSE.copy()
    coarse[..., -60:] = 0
    return scene(level(coarse, 4))


def _flipped() -> Scene:
    return scene(level(np.ascontiguousarray(COARSE[..., ::-1]), 4))


def _swapped() -> Scene:
    return scene(level(np.ascontiguousarray(COARSE[:, ::-1]), 4))


def _brighter() -> Scene:
    return scene(level(np.clip(COARSE.astype(int) + 30, 0, 255).astype(np.uint8), 4))


BAD: dict[str, tuple[Callable[[], Scene], str]] = {
    "no integer factor": (_uneven, "integer factor"),
    "other aspect": (_aspect, "integer factor"),
    "missing tile": (_missing, "missing or empty"),
    "empty edge tile": (_empty, "missing or empty"),
    "unreadable tile": (_unreadable, "cannot be read"),
    "another picture": (_picture, "differs"),
    "white": (lambda: _blank(255), "differs"),
    "black": (lambda: _blank(0), "differs"),
    "shifted by a row": (lambda: _shifted(1, 0), "shifted|differs"),
    "shifted by a column": (lambda: _shifted(0, -1), "shifted|differs"),
    "shifted by both": (lambda: _shifted(1, 1), "shifted|differs"),
    "shifted by ten": (lambda: _shifted(0, 10), "differs|shifted"),
    "black edge": (_blank_edge, "differs"),
    "mirrored": (_flipped, "differs"),
    "red and blue swapped": (_swapped, "differs"),
    "brighter": (_brighter, "differs"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_a_reason(name: str) -> None:
    maker, reason = BAD[name]
    found = assess(maker(), AUTO)
    assert set(found) == {1}
    assert found[1] is not None
    assert any(word in found[1] for word in reason.split("|")), found[1]
    assert found[1].isprintable()


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (1, 1)])
def test_shift_of_a_smooth_picture_is_seen_where_values_hardly_differ(shift: tuple[int, int]) -> None:
    image = cv2.GaussianBlur(cv2.resize(tissue(400, 425), (1701, 1600), interpolation=cv2.INTER_CUBIC), (0, 0), 12)
    coarse = five(reduced(image, 4))
    assert assess(scene(level(coarse, 4), level(five(image), 1)), AUTO) == {1: None}
    moved = np.ascontiguousarray(np.roll(coarse, shift, (3, 4)))
    found = assess(scene(level(moved, 4), level(five(image), 1)), AUTO)
    assert found[1] is not None
    assert "shifted" in found[1]


@pytest.mark.parametrize("name", ["another picture", "shifted by a row", "no integer factor", "missing tile"])
def test_always_takes_what_the_store_can_hold(name: str) -> None:
    options = Options(native_levels="always")
    assert assess(BAD[name][0](), options) == {}


def test_never_compares_nothing() -> None:
    def read(key: Any) -> Array:
        raise AssertionError("read")

    untouched = scene(replace(level(COARSE, 4), read=read), replace(level(FINE, 1), read=read))
    assert assess(untouched, Options(native_levels="never")) == {}


def test_a_refused_level_does_not_stand_for_the_finer_one() -> None:
    levels = [level(FINE, 1), level(five(tissue(400, 425, seed=9)), 4), level(five(reduced(tissue(1600, 1701), 16)), 16)]
    found = assess(memory_scene(levels, rgb=True), AUTO)
    assert found[1] is not None
    assert found[2] is None


# -- where it is said --


@pytest.mark.parametrize("spoil", ["picture", "shifted", "uneven"])
def test_refusal_is_visible_everywhere(made: Made, tmp_path: Path, spoil: str) -> None:
    from converter.convert import Conversion, convert

    path = made(f"trust-{spoil}.svs", lambda p: make_spoiled(p, spoil, (1600, 1600), steps=(4,)))
    options = Options(chunk=256, shard=512, codec="blosc-lz4-5")
    with open_slide(path) as slide:
        planned = plan_slide(slide, options).as_json()
    store = tmp_path / "x.zarr"
    receipt = convert(path, store, Conversion(options)).as_json()
    for record in (planned, receipt, own(store)):
        (refused,) = record["scenes"][0]["refused_native"]
        assert refused["level"] == 1
        assert refused["reason"]
        assert "native:1" not in [e["source"] for e in record["scenes"][0]["levels"]]
        assert any(refused["reason"] in warning for warning in record["warnings"])


def test_always_and_never_in_the_store(tmp_path: Path) -> None:
    slide = slide_of(tmp_path, BAD["another picture"][0]())
    for word, source in (("always", "native:1"), ("never", "mean:1"), ("auto", "mean:1")):
        converted(slide, tmp_path / f"{word}.zarr", native_levels=word, chunk=256, shard=512)
        record = own(tmp_path / f"{word}.zarr")
        assert record["scenes"][0]["levels"][2]["source"] == source
        assert len(record["scenes"][0]["refused_native"]) == (word != "always")
