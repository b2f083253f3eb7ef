"""cellSens files: tag tree, tiles of every codec, axes, names, missing and damaged companions."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, UnsafePath, Unsupported
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels
from drivers.vsi.tags import read_tags
from tests.made.vsi import (
    BMP,
    COLOUR,
    FIVE,
    JPEG,
    JPEG2000,
    LAMBDA,
    MADE,
    PHASE,
    PNG,
    RAW,
    C,
    Stack,
    T,
    Vsi,
    Z,
    colour,
    ets,
    make_vsi,
    noise,
)

pytestmark = pytest.mark.usefixtures("files_closed")


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def companion(path: Path, index: int = 1) -> Path:
    """The .ets file of an image."""
    return path.parent / f"_{path.stem}_" / f"stack{index}" / "frame_t.ets"


def test_real_file_equals_slideio(shared_samples: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slideio = pytest.importorskip("slideio", reason="slideio, the oracle, is not installed")
    path = shared_samples / "vsi" / "vsi-ets-test-jpg2k.vsi"
    expected = slideio.open_slide(str(path), "VSI").get_scene(0).read_block(slices=(3, 6))  # z y x c
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        t, c, z, y, x = scene.shape
        assert (t, c, z) == (1, 2, 11)
        found = paint(scene.levels[0], Box(Shape(0, 0, 3, 0, 0), Shape(t, c, 6, y, x)))
        np.testing.assert_array_equal(found[0].transpose(1, 2, 3, 0), expected)
        assert [p.name for p in slide.files] == [path.name, "frame_t_0.ets"]
        assert scene.name == "001 C405, C488"
        assert [c.name for c in scene.channels] == ["C405", "C488"]
        assert [(c.excitation_nm, c.emission_nm) for c in scene.channels] == [(345, 455), (494, 518)]
        assert scene.pixel_size.x_um == pytest.approx(0.108333, abs=1e-6)
        assert (scene.pixel_size.z_um, scene.magnification, scene.facts.objective_na) == (1.0, 60.0, 1.42)
        assert scene.facts.acquired == datetime(2021, 5, 31, 14, 58, 55, tzinfo=UTC)
        assert (scene.facts.microscope_manufacturer, scene.facts.microscope_model) == ("Olympus", "IX83 P2ZF")
        assert scene.facts.software == "OLYMPUS cellSens Dimension 3.1"


def test_real_file_without_companions_names_them(shared_samples: Path) -> None:
    path = shared_samples / "broken" / "vsi-without-ets" / "Image_Mouse13_PB_H7.vsi"
    with pytest.raises(Incomplete, match=r"_Image_Mouse13_PB_H7_/stack\d+/frame_t\.ets .* is missing") as caught:
        open_slide(path)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("compression", "samples", "dtype", "tolerance"),
    [
        *((RAW, 1, "u2", 0), (RAW, 3, "u1", 0), (RAW, 1, "f4", 0), (JPEG2000, 1, "u2", 0), (JPEG2000, 3, "u1", 0)),
        *((PNG, 1, "u2", 0), (PNG, 3, "u1", 0), (BMP, 3, "u1", 0), (JPEG, 3, "u1", 12), (JPEG, 1, "u1", 12)),
    ],
)
def test_every_codec(tmp_path: Path, compression: int, samples: int, dtype: str, tolerance: int) -> None:
    pixels = colour(150, 130, 1)[0][:, :samples].astype(dtype)
    stack = Stack([pixels], compression=compression, samples=samples, order=(None,), pyramid=True)
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        scene = slide.scenes[0]
        assert scene.dtype == np.dtype(dtype)
        assert scene.rgb == (samples == 3)
        difference = np.abs(whole(scene.levels[0]).astype(float) - pixels)
        assert difference.mean() <= tolerance / 4
        assert difference.max() <= tolerance * 4


def test_blue_green_red_is_turned_round(tmp_path: Path) -> None:
    stack = replace(COLOUR, compression=RAW, bgr=True)
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), stack.pixels[0])


def test_levels_are_halves_rounded_up_and_sized_by_the_tag(tmp_path: Path) -> None:
    stack = replace(COLOUR, compression=PNG)
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        levels = slide.scenes[0].levels
        assert [level.shape[3:] for level in levels] == [(300, 203), (150, 102), (75, 51)]
        for level, pixels in zip(levels, stack.pixels, strict=True):
            np.testing.assert_array_equal(whole(level), pixels)


def test_without_the_tag_the_tiles_give_the_size(tmp_path: Path) -> None:
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((replace(COLOUR, sized=False),)))) as slide:
        assert slide.scenes[0].shape[3:] == (320, 256)


@pytest.mark.parametrize(
    ("states", "count"), [((300, 203), 0), ((310, 250), 0), ((256, 203), 4), ((300, 100), 10), ((1, 1), 19)]
)
@pytest.mark.parametrize(("kind", "role"), [(0, "all-tiles"), (4, "focus-map-all-tiles")])
def test_tiles_outside_the_stated_size_are_told_and_kept(
    tmp_path: Path, states: tuple[int, int], count: int, kind: int, role: str
) -> None:
    """5 x 4 tiles of 64 x 64 for 300 x 203 pixels; the levels are built for the size that is stated."""
    plain = replace(COLOUR, compression=PNG, pixels=COLOUR.pixels[:1], name="first", index=3)
    stack = replace(plain, kind=kind, states=states, name="40x", index=1)
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack, plain)))) as slide:
        told = [word for word in slide.warnings if "outside" in word]
        words = (
            f"{count} tiles of '40x' lie outside the size that its tags state: --associated {role} writes the image with them"
        )
        assert told == ([words] if count else [])
        assert (role in slide.associated) == bool(count)
        scene = slide.associated["focus-map"] if kind else slide.scenes[0]
        shown = whole(scene.levels[0])
        np.testing.assert_array_equal(shown[..., :300, :203], stack.pixels[0][..., : states[0], : states[1]])
        if count:
            found = whole(slide.associated[role].levels[0])
            assert found.shape[3:] == (320, 256)
            np.testing.assert_array_equal(found[..., :300, :203], stack.pixels[0])


@pytest.mark.parametrize("order", [(T, Z, C, None), (C, Z, T, None), (Z, C, T, None), (C, T, Z, None)])
def test_the_tags_say_which_axis_is_which(tmp_path: Path, order: tuple[int | None, ...]) -> None:
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((replace(FIVE, order=order),)))) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), FIVE.pixels[0])


def test_axes_that_no_tag_describes(tmp_path: Path) -> None:
    stack = Stack([noise((1, 3, 1, 70, 60))], order=(C, None))
    path = make_vsi(tmp_path / "a.vsi", Vsi((stack,)))
    path.write_bytes(path.read_bytes().replace(struct.pack("<i", 2023), struct.pack("<i", 999)))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), stack.pixels[0])


@pytest.mark.parametrize("further", [LAMBDA, PHASE])
def test_wavelengths_and_phases_are_channels(tmp_path: Path, further: int) -> None:
    stack = Stack([noise((1, 6, 2, 70, 60))], order=(C, Z, further, None), split=3, names=("A", "B"))
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        scene = slide.scenes[0]
        np.testing.assert_array_equal(whole(scene.levels[0]), stack.pixels[0])
        word = "wavelength" if further == LAMBDA else "phase"
        assert [c.name for c in scene.channels] == [f"{name} {word} {i}" for name in "AB" for i in range(3)]


def test_facts(tmp_path: Path) -> None:
    stack = replace(FIVE, scale=(0.25, 0.5))
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        scene, channel = slide.scenes[0], slide.scenes[0].channels[1]
        size = scene.pixel_size
        assert (size.x_um, size.y_um, size.z_um, scene.time_step_s) == (0.25, 0.5, 1.5, 0.25)
        assert scene.position is not None
        assert (scene.position.x_um, scene.position.y_um) == pytest.approx((-1000.5, 2000.25))
        assert (channel.name, channel.color, channel.window) == ("FITC", "FF140A", (100, 3000))
        assert (channel.emission_nm, channel.excitation_nm, channel.exposure_s) == (455, 345, 0.05)
        assert (scene.magnification, scene.facts.objective_na, scene.facts.objective_model) == (40, 0.95, "UPLSAPO 40x")
        assert (scene.facts.microscope_model, scene.significant_bits) == ("VS120", 12)
        assert "Canary" in (slide.raw_metadata or "")
        assert "Canary" not in str(scene.facts)


def test_several_images(made: Callable[..., Path]) -> None:
    from tests.made.vsi import MADE

    path = made("slide.vsi", next(maker for name, maker, _ in MADE if name == "slide.vsi"))
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["40x 1", "40x 2"]
        assert list(slide.associated) == ["overview", "sample-mask"]
        assert slide.warnings == ["the sample mask Sample Mask: --associated sample-mask writes it"]
        assert len(slide.files) == 4
        np.testing.assert_array_equal(whole(slide.scenes[1].levels[0]), colour(150, 120, 2)[0])


def test_a_slide_of_an_overview_only(tmp_path: Path) -> None:
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((replace(COLOUR, kind=1),)))) as slide:
        assert [scene.name for scene in slide.scenes] == ["overview"]
        assert not slide.associated


def test_a_snapshot_lies_in_the_file_itself(tmp_path: Path) -> None:
    pages = (np.zeros((8, 8, 3), np.uint8), noise((1, 1, 1, 60, 50))[0, 0, 0])
    stack = Stack([noise((1, 1, 1, 60, 50))], page=1, name="snap")
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,), pages))) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, 0, 0], pages[1])
        assert slide.scenes[0].pixel_size.x_um == 0.25


def test_tiles_left_out_are_background(tmp_path: Path) -> None:
    stack = replace(COLOUR, left_out=((0, 0, 0), (1, 1, 1)))
    with open_slide(make_vsi(tmp_path / "a.vsi", Vsi((stack,)))) as slide:
        levels = slide.scenes[0].levels
        assert (whole(levels[0])[..., :64, :64] == 255).all()
        assert len(levels[1].index.gaps()) == 1
        assert not (whole(levels[0])[..., 64:, :] == 255).all()


# What is refused


def test_missing_companions(tmp_path: Path) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    companion(path).unlink()
    with pytest.raises(Incomplete, match=r"a\.vsi.*_a_/stack1/frame_t\.ets"):
        open_slide(path)


def test_companions_stay_in_the_folder(tmp_path: Path) -> None:
    path = make_vsi(tmp_path / "inside" / "a.vsi" if (tmp_path / "inside").mkdir() is None else tmp_path, Vsi((FIVE,)))
    inner, outer = companion(path), tmp_path / "outside.ets"
    inner.rename(outer)
    inner.symlink_to(outer)
    with pytest.raises(UnsafePath, match=r"a\.vsi"):
        open_slide(path)
    inner.unlink()
    os.mkfifo(inner)
    with pytest.raises(UnsafePath, match=r"a\.vsi"):
        open_slide(path)


Patch = Callable[[bytearray], Any]


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def put(at: int, pattern: str, *values: Any) -> Patch:
    """Overwrites a field."""
    return lambda data: struct.pack_into("<" + pattern, data, at, *values)


@pytest.mark.parametrize(
    ("patch", "kind"),
    [
        (cut, Damaged),
        (lambda data: data.clear(), Damaged),
        (put(0, "4s", b"XXXX"), Damaged),
        (put(12, "I", 1), Damaged),  # coordinates
        (put(12, "I", 1 << 30), Damaged),
        (put(16, "Q", 1 << 60), Damaged),  # second header
        (put(32, "Q", 1 << 62), Damaged),  # table
        (put(40, "I", 0), Damaged),  # no tiles
        (put(40, "I", 0xFFFFFFFF), DriverError),
        (put(64, "4s", b"XXXX"), Damaged),
        (put(72, "I", 77), Unsupported),  # sample type
        (put(76, "I", 0), Damaged),  # samples
        (put(76, "I", 0xFFFFFFFF), DriverError),
        (put(84, "I", 6), Unsupported),  # compression
        (put(92, "II", 0x7FFFFFFF, 0x7FFFFFFF), DriverError),  # tile size
        (put(92, "II", 0, 64), Damaged),
        (put(100, "I", 5), Unsupported),  # tile depth
    ],
)
def test_damaged_headers(tmp_path: Path, patch: Patch, kind: type[DriverError]) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    data = bytearray(companion(path).read_bytes())
    patch(data)
    companion(path).write_bytes(data)
    with pytest.raises(kind, match=r"a\.vsi"):
        open_slide(path)


def row(data: bytearray, number: int) -> int:
    """Where a row of the tile table starts."""
    return struct.unpack_from("<Q", data, 32)[0] + number * (4 + 4 * 6 + 16)


@pytest.mark.parametrize(
    ("at", "pattern", "value"),
    [(4, "i", -1), (4, "i", 0x7FFFFFFF), (28, "q", -5), (28, "q", 1 << 62), (36, "I", 0xFFFFFFFF)],
)
def test_damaged_tile_table(tmp_path: Path, at: int, pattern: str, value: int) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    data = bytearray(companion(path).read_bytes())
    struct.pack_into("<" + pattern, data, row(data, 3) + at, value)
    companion(path).write_bytes(data)
    with pytest.raises(DriverError, match=r"a\.vsi"):
        open_slide(path)


@pytest.mark.parametrize("compression", [RAW, JPEG, JPEG2000, PNG, BMP])
def test_damaged_tiles_are_named(tmp_path: Path, compression: int) -> None:
    stack = Stack(colour(150, 130, 1), compression=compression, samples=3, order=(T, Z, C, None))
    path = make_vsi(tmp_path / "a.vsi", Vsi((stack,)))
    data = bytearray(companion(path).read_bytes())
    for number, size in ((0, 0), (1, 30)):
        struct.pack_into("<I", data, row(data, number) + 36, size)
    offset, size = struct.unpack_from("<qI", data, row(data, 2) + 28)
    data[offset : offset + size] = bytes(size) if compression != RAW else data[offset : offset + size]
    companion(path).write_bytes(data)
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        keys = [tile.key for tile in level.index.tiles(Box.of(level.shape))]
        for key in keys[: 2 if compression == RAW else 3]:
            with pytest.raises(Damaged, match=r"stack1/frame_t\.ets: t 0, c 0, z 0, tile 0,"):
                level.read(key)
        assert level.read(keys[-1]).shape == (1, 3, 1, 64, 64)
        assert len(level.index.gaps()) == 1


def test_damaged_tag_trees(tmp_path: Path) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    good = path.read_bytes()
    dice = np.random.default_rng(7)
    end = good.index(b"C\0y\0" + b"3\0")
    for _ in range(60):
        data = bytearray(good)
        at = int(dice.integers(12, end))
        data[at : at + 4] = dice.integers(0, 256, 4, np.uint8).tobytes()
        path.write_bytes(data)
        with contextlib.suppress(DriverError), open_slide(path) as slide:
            assert slide.scenes
    for size in (12, 40, 200, 900):
        path.write_bytes(good[:size])
        with pytest.raises(DriverError, match=r"a\.vsi"):
            open_slide(path)


def test_a_loop_in_the_tags(tmp_path: Path) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 8 + 24 + 8, 24)  # the first field follows itself
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"a\.vsi"):
        open_slide(path)


# -- several files in the folder of an image --


def beside(path: Path, name: str, stack: Stack, index: int = 1) -> Path:
    """A further file beside the .ets file of an image."""
    other = companion(path, index).with_name(name)
    other.write_bytes(ets(stack))
    return other


def test_of_several_files_the_one_of_the_right_size_is_meant(tmp_path: Path) -> None:
    stack = replace(FIVE, pixels=[noise((1, 1, 1, 200, 150))])
    path = make_vsi(tmp_path / "a.vsi", Vsi((stack, replace(stack, index=2, name="second"))))
    beside(path, "frame_t_1.ets", replace(stack, pixels=[noise((1, 1, 1, 500, 150))]))
    beside(path, "frame_t_0.ets", replace(stack, pixels=[noise((1, 1, 1, 90, 90))]), 2)
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["five axes", "second"]
        assert sorted(p.parent.name + p.name for p in slide.files[1:]) == ["stack1frame_t.ets", "stack2frame_t.ets"]
        assert [warning.partition(" ")[0] for warning in slide.warnings] == ["frame_t_1.ets", "frame_t_0.ets"]
        for scene in slide.scenes:
            level = scene.levels[0]
            np.testing.assert_array_equal(paint(level, Box.of(level.shape)), stack.pixels[0])


def test_files_that_are_not_told_apart_are_scenes(tmp_path: Path) -> None:
    stack = replace(FIVE, pixels=[noise((1, 1, 1, 200, 150))])
    path = make_vsi(tmp_path / "a.vsi", Vsi((stack,)))
    others = [noise((1, 1, 1, 200, 150)) + 3, noise((1, 1, 1, 200, 150)) + 5]
    for number, pixels in enumerate(others):
        beside(path, f"frame_t_{number}.ets", replace(stack, pixels=[pixels]))
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["five axes 1", "five axes 2", "five axes 3"]
        assert [p.name for p in slide.files] == ["a.vsi", "frame_t.ets", "frame_t_0.ets", "frame_t_1.ets"]
        assert slide.warnings == ["the pixels of image five axes lie in 3 files that are not told apart; each is a scene"]
        for scene, pixels in zip(slide.scenes, [stack.pixels[0], *others], strict=True):
            level = scene.levels[0]
            np.testing.assert_array_equal(paint(level, Box.of(level.shape)), pixels)


def test_blobs_are_no_pixels(tmp_path: Path) -> None:
    path = make_vsi(tmp_path / "a.vsi", Vsi((FIVE,)))
    companion(path).with_name("blob_1.ets").write_bytes(b"SIS\0 something else")
    with open_slide(path) as slide:
        assert [p.name for p in slide.files] == ["a.vsi", "frame_t.ets"]
        assert slide.warnings == []


@pytest.mark.parametrize("name", ["colour.vsi", "slide.vsi", "five.vsi"])
def test_tags_that_are_blank_from_some_place_on(tmp_path: Path, name: str) -> None:
    """Of a copy for which only the room was made: whatever the rest would have said, it is an error or told."""
    make = next(maker for made, maker, _ in MADE if made == name)
    make(tmp_path / name)
    data = (tmp_path / name).read_bytes()

    def said() -> tuple[object, list[str]]:
        with open_slide(tmp_path / name) as slide:
            scenes = [(s.name, s.levels[0].shape, s.pixel_size, [c.name for c in s.channels]) for s in slide.scenes]
            return (scenes, sorted(slide.associated)), slide.warnings

    whole, known = said()
    for kept in range(40, len(data), 61):
        (tmp_path / name).write_bytes(data[:kept] + bytes(len(data) - kept))
        with contextlib.suppress(DriverError):
            found, warnings = said()
            assert found == whole or set(warnings) - set(known), kept


def test_folders_of_pixels_that_no_tag_names_are_told(tmp_path: Path) -> None:
    make = next(maker for made, maker, _ in MADE if made == "colour.vsi")
    make(tmp_path / "colour.vsi")
    shutil.copytree(tmp_path / "_colour_" / "stack1", tmp_path / "_colour_" / "stack10007")
    with open_slide(tmp_path / "colour.vsi") as slide:
        assert "stack10007 holds pixels that no tag names: it is left out" in slide.warnings


@pytest.mark.parametrize("entry", [0, 1, -1])
def test_a_table_of_tiles_that_is_blank_in_parts(tmp_path: Path, entry: int) -> None:
    make = next(maker for made, maker, _ in MADE if made == "five.vsi")
    make(tmp_path / "five.vsi")
    path = tmp_path / "_five_" / "stack1" / "frame_t.ets"
    data = bytearray(path.read_bytes())
    dimensions, count = struct.unpack_from("<I", data, 12)[0], struct.unpack_from("<I", data, 40)[0]
    table, row = struct.unpack_from("<Q", data, 32)[0], 4 + 4 * dimensions + 16
    at = table + (entry % count) * row
    data[at : at + row] = bytes(row)
    path.write_bytes(data)
    with pytest.raises(Damaged, match="table of tiles are blank"):
        open_slide(tmp_path / "five.vsi")


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_tree_that_is_blank_from_the_middle_on_is_damage(tmp_path: Path, share: float) -> None:
    make = next(maker for made, maker, _ in MADE if made == "slide.vsi")
    make(tmp_path / "slide.vsi")
    data = (tmp_path / "slide.vsi").read_bytes()
    end = struct.unpack_from("<I", data, 4)[0]  # the tree ends where the first picture begins, in files made here
    kept = int(end * share)
    with pytest.raises(Damaged, match=r"the tags (end|lead)"):
        read_tags(data[:kept] + bytes(len(data) - kept), "slide.vsi")
