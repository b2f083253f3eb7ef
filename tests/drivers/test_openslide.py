"""What is read through OpenSlide: cropping, background, levels, companions, and who claims which file."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, UnsafePath, Unsupported
from drivers.formats.openslide import DRIVER
from drivers.geometry import Box
from drivers.model import Level, Pixels
from drivers.openslide.library import composed
from tests.made.openslide import (
    MADE,
    MRXS,
    TILE,
    Bif,
    Mrxs,
    bif,
    bif_picture,
    canvas,
    make_mrxs,
    sakura,
    trestle,
    vms,
    vmu,
)
from tests.made.svs import reduced, tissue

pytestmark = pytest.mark.usefixtures("files_closed")


def whole(level: Level) -> Pixels:
    """All of a level as (height, width, channels)."""
    return paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)


def library(path: Path, level: int, place: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """What the library reads."""
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region(place, level, size))


@pytest.mark.parametrize("name", [name for name, _, _ in MADE])
def test_level_0_is_what_the_library_reads(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    next(maker for other, maker, _ in MADE if other == name)(path)
    with open_slide(path) as slide:
        found = whole(slide.scenes[0].levels[0])
    corner = (2 * TILE, 2 * TILE) if name == "slide.mrxs" else (0, 0)
    read = library(path, 0, corner, (found.shape[1], found.shape[0]))
    assert (read[..., 3] == 255).all()
    np.testing.assert_array_equal(found, read[..., :3])


def test_mrxs_is_cut_to_what_was_scanned(tmp_path: Path) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert scene.shape == (1, 3, 1, 4 * TILE, 6 * TILE)
        assert scene.position is not None
        assert (scene.position.y_um, scene.position.x_um) == (2 * TILE * 0.25, 2 * TILE * 0.25)
        assert (scene.pixel_size.x_um, scene.magnification) == (0.25, 20)
        assert scene.facts.objective_model == "Plan-Apochromat"
        assert str(scene.facts.acquired) == "2019-12-24 11:12:13"
        assert scene.compression == "jpeg"
        expected = canvas(MRXS)[2 * TILE :, 2 * TILE :].astype(int)
        assert np.abs(whole(scene.levels[0]).astype(int) - expected).mean() < 3
        for number, level in enumerate(scene.levels):
            corner, size = (2 * TILE, 2 * TILE), (level.shape.x, level.shape.y)
            np.testing.assert_array_equal(whole(level), library(path, number, corner, size)[..., :3])
        assert [p.name for p in slide.files] == ["a.mrxs", "Slidedat.ini", "Data0000.dat", "Index.dat"] or len(
            slide.files
        ) == 4
        assert "Canary" in (slide.raw_metadata or "")
        assert "Canary" not in str(scene.facts)


def test_a_level_off_the_pixels_of_level_0_is_left_out(tmp_path: Path) -> None:
    absent = frozenset((x, y) for x in range(8) for y in range(6) if x < 1)
    with open_slide(make_mrxs(tmp_path / "a.mrxs", Mrxs(absent=absent, levels=4))) as slide:
        assert [level.scale for level in slide.scenes[0].levels] == [1, 2, 4, 8]  # 64 is a multiple of 8
    from drivers.openslide.slide import _Canvas, _level  # pyright: ignore[reportPrivateUsage]

    with openslide.OpenSlide(tmp_path / "a.mrxs") as slide:
        assert _level(None, slide, 3, (_Canvas(4, 0, 100, 100), (255,) * 3)) is None  # pyright: ignore[reportArgumentType]


def test_holes_show_the_background(tmp_path: Path) -> None:
    absent = MRXS.absent | {(4, 3)}
    with open_slide(make_mrxs(tmp_path / "a.mrxs", Mrxs(absent=absent))) as slide:
        hole = whole(slide.scenes[0].levels[0])[TILE : 2 * TILE, 2 * TILE : 3 * TILE]
        assert (hole == 255).all()


def test_colours_are_put_on_the_background() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 0, 200, 128]]], np.uint8)
    np.testing.assert_array_equal(composed(rgba, (255, 0, 255))[0], [[10, 20, 30], [255, 0, 255], [177, 0, 227]])
    assert composed(rgba[:, :1], (0, 0, 0)).tolist() == [[[10, 20, 30]]]


def test_levels_of_vms_are_made_anew_and_all_files_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.vms"
    vms(path)
    with open_slide(path) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert sorted(p.name for p in slide.files) == ["a.vms", "a_0.jpg", "a_1.jpg", "a_macro.jpg", "a_map.jpg"]
        assert slide.associated["macro"].shape[3:] == (64, 128)


def near(found: Pixels, expected: Pixels) -> bool:
    """Whether JPEG stands between them, and nothing else."""
    return found.shape == expected.shape and float(np.abs(found.astype(int) - expected).mean()) < 3


def test_tiles_of_bif_that_overlap_are_put_together(tmp_path: Path) -> None:
    slide = Bif(across=4, down=3, overlap=(10, 6))
    bif(tmp_path / "a.bif", slide)
    with open_slide(tmp_path / "a.bif") as opened:
        scene = opened.scenes[0]
        assert opened.driver == "openslide"
        assert scene.shape[3:] == (3 * 64 - 2 * 6, 4 * 64 - 3 * 10)
        assert near(whole(scene.levels[0]), bif_picture(slide))
        assert (scene.magnification, scene.pixel_size.x_um) == (20, 0.465)
        assert scene.facts.microscope_manufacturer == "Ventana"
        assert opened.associated["macro"].shape[3:] == (50, 120)
        assert "Canary" in (opened.raw_metadata or "")
        assert "Canary" not in str(scene.facts)


def test_sakura_is_read_out_of_its_database(tmp_path: Path) -> None:
    sakura(tmp_path / "a.svslide")
    with open_slide(tmp_path / "a.svslide") as opened:
        scene = opened.scenes[0]
        assert near(whole(scene.levels[0]), tissue(300, 406, 93))
        assert near(whole(scene.levels[1]), reduced(tissue(300, 406, 93), 2))
        assert scene.levels[0].tile[3:] == (300, 406)  # its tiles of 64, several together
        assert sorted(opened.associated) == ["label", "macro", "thumbnail"]
        assert "Canary" not in str(scene.facts)


def test_vmu_shows_8_of_its_12_bits(tmp_path: Path) -> None:
    vmu(tmp_path / "a.vmu")
    with open_slide(tmp_path / "a.vmu") as opened:
        np.testing.assert_array_equal(whole(opened.scenes[0].levels[0]), tissue(256, 384, 96))
        assert opened.warnings == ["OpenSlide shows the upper 8 of the 12 bits of this format"]
        assert sorted(p.name for p in opened.files) == ["a.ngr", "a.vmu", "a_macro.jpg", "a_map.ngr"]
    (tmp_path / "a.ngr").unlink()
    with pytest.raises(Incomplete, match=r"a\.vmu.*a\.ngr"):
        open_slide(tmp_path / "a.vmu")


def test_vmu_without_its_pixel_order_is_damaged(tmp_path: Path) -> None:
    vmu(tmp_path / "a.vmu")  # the library ends the process on such a file
    (tmp_path / "a.vmu").write_text((tmp_path / "a.vmu").read_text().partition("PixelOrder")[0])
    with pytest.raises(Damaged, match=r"a\.vmu: states no PixelOrder"):
        open_slide(tmp_path / "a.vmu")


def test_a_database_of_something_else(tmp_path: Path) -> None:
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(tmp_path / "a.svslide")) as base:
        base.execute("create table something (id text)")
        base.commit()
    with pytest.raises(Damaged, match=r"a\.svslide"):
        open_slide(tmp_path / "a.svslide")


@pytest.mark.parametrize(("name", "maker"), [("a.bif", bif), ("a.svslide", sakura), ("a.vmu", vmu)])
def test_files_that_are_cut_short(tmp_path: Path, name: str, maker: Callable[[Path], object]) -> None:
    maker(tmp_path / name)
    data = tmp_path / ("a.ngr" if name == "a.vmu" else name)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(DriverError, match=name.replace(".", r"\.")), open_slide(tmp_path / name) as slide:
        whole(slide.scenes[0].levels[0])


def test_only_its_own_are_claimed(tmp_path: Path) -> None:
    from tests.made.svs import Svs, make_svs

    assert DRIVER.specific
    svs = make_svs(tmp_path / "a.svs", Svs(size=(60, 60), steps=()))
    assert not DRIVER.matches(svs, svs.read_bytes()[:4096])
    lone = tmp_path / "lone.mrxs"  # without its folder it is a picture, which the general driver shows
    make_mrxs(tmp_path / "b.mrxs", MRXS)
    lone.write_bytes((tmp_path / "b.mrxs").read_bytes())
    assert not DRIVER.matches(lone, lone.read_bytes()[:4096])
    trestle(tmp_path / "t.tif")
    for name in ("b.mrxs", "t.tif"):
        with open_slide(tmp_path / name) as slide:
            assert slide.driver == "openslide"


@pytest.mark.parametrize("name", ["Data0000.dat", "Index.dat"])
def test_missing_companions_of_mrxs(tmp_path: Path, name: str) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    (tmp_path / "a" / name).unlink()
    with pytest.raises(Incomplete, match=rf"a\.mrxs.*{name}"):
        open_slide(path)


def test_missing_companions_of_vms(tmp_path: Path) -> None:
    vms(tmp_path / "a.vms")
    (tmp_path / "a_1.jpg").unlink()
    with pytest.raises(Incomplete, match=r"a\.vms.*a_1\.jpg"):
        open_slide(tmp_path / "a.vms")


@pytest.mark.parametrize("name", ["../outside.dat", "/etc/passwd", "..\\..\\x", "x\0y"])
def test_companions_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = make_mrxs(tmp_path / "in" / "a.mrxs", MRXS)
    (tmp_path / "outside.dat").write_bytes(b"x")
    ini = tmp_path / "in" / "a" / "Slidedat.ini"
    ini.write_text(ini.read_text("utf-8-sig").replace("Data0000.dat", "../" + name), "utf-8-sig")
    with pytest.raises((UnsafePath, Incomplete), match=r"a\.mrxs"):
        open_slide(path)


def test_damage_is_told_and_the_rest_is_still_read(tmp_path: Path) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", Mrxs(across=40, down=20, absent=frozenset(), levels=1))
    data = bytearray((tmp_path / "a" / "Data0000.dat").read_bytes())
    data[9:400] = bytes(391)
    (tmp_path / "a" / "Data0000.dat").write_bytes(data)
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        keys = [tile.key for tile in level.index.tiles(Box.of(level.shape))]
        for _ in range(2):
            with pytest.raises(Damaged, match=r"a\.mrxs: level 0, tile 0,0"):
                level.read(keys[0])
        assert level.read(keys[-1]).any()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    (tmp_path / "a" / "Index.dat").write_bytes(b"01.02")
    with pytest.raises(Damaged, match=r"a\.mrxs"):
        open_slide(path)


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "openslide":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr("drivers.formats.openslide.find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"a\.mrxs.*slidemill\[openslide\]"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a.vms", "a.vmu"])
@pytest.mark.parametrize(
    ("end", "told"), [(b"", False), (b"\0", False), (b"NoLayers=1", True), (b"\0\0\0", True), (b"NoLayers=1\0", True)]
)
def test_an_index_whose_last_line_is_not_ended_is_told(tmp_path: Path, *, name: str, end: bytes, told: bool) -> None:
    (vms if name == "a.vms" else vmu)(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + end)
    with open_slide(tmp_path / name) as slide:
        assert any("is not ended" in warning for warning in slide.warnings) == told


@pytest.mark.parametrize("suffix", [".MRXS", ".Mrxs"])
def test_a_suffix_in_capitals_says_what_to_do(tmp_path: Path, suffix: str) -> None:
    make_mrxs(tmp_path / "a.mrxs", Mrxs()).rename(tmp_path / f"a{suffix}")
    with pytest.raises(Unsupported, match=r"rename it to a\.mrxs"):
        open_slide(tmp_path / f"a{suffix}")
