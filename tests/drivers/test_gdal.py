"""Pictures through GDAL: colours, turning, levels, bands of rows, resolutions, and what is refused."""

from __future__ import annotations

import builtins
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from drivers import open_slide, paint
from drivers.errors import Damaged, LimitExceeded, Unsupported
from drivers.formats.gdal import DRIVER
from drivers.gdal import level as level_module
from drivers.gdal.dataset import Handles, Source
from drivers.gdal.embedded import pixel_size_um
from drivers.gdal.exif import exif_of
from drivers.gdal.kinds import kind_of
from drivers.geometry import Box
from drivers.limits import Limits
from drivers.model import Pixels, Slide
from tests.made import gdal as made_gdal
from tests.made.gdal import (
    SIZE,
    chunk,
    deep_png,
    exif,
    geotiff,
    jpeg2000,
    measured_jp2,
    palette_png,
    picture,
    png_with,
    turned_jpeg,
)
from tests.support.oracles import by_pillow

pytestmark = pytest.mark.usefixtures("files_closed")


def level0(slide: Slide) -> Pixels:
    """Level 0 as (height, width, channels)."""
    level = slide.scenes[0].levels[0]
    return paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)


def shown(path: Path) -> Pixels:
    """What Pillow shows."""
    return by_pillow(path)[0, :, 0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", [name for name, _, facts in made_gdal.MADE if facts.get("dtype") == "uint8"])
def test_made_pictures_look_as_pillow_shows_them(made: Callable[..., Path], name: str) -> None:
    maker = next(maker for other, maker, _ in made_gdal.MADE if other == name)
    path = made(name, maker)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(level0(slide), shown(path))


@pytest.mark.parametrize("folder", ["raster", "jp2"])
def test_shared_pictures_look_as_pillow_shows_them(shared_samples: Path, folder: str) -> None:
    for path in sorted((shared_samples / folder).iterdir()):
        if "RGBA_16" in path.name or (path.stat().st_size < 8000 and "yb10kx5k" in path.name):
            continue
        with open_slide(path) as slide:
            difference = np.abs(level0(slide).astype(int) - shown(path))
            # CMYK to RGB is rounded differently.
            assert int(difference.max()) <= (1 if "cmyk" in path.name else 0), path.name


def test_16_bits_are_kept(tmp_path: Path) -> None:
    for samples in (1, 2, 3, 4):
        path = tmp_path / f"{samples}.png"
        deep_png(path, samples)
        stored = imagecodecs.png_decode(path.read_bytes()).reshape(*SIZE, samples)
        with open_slide(path) as slide:
            np.testing.assert_array_equal(level0(slide), stored)
            assert slide.scenes[0].alpha == (samples - 1 if samples in (2, 4) else None)
            assert slide.scenes[0].rgb == (samples > 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "turned.jpg"
    turned_jpeg(path, orientation)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(level0(slide), shown(path))
        assert slide.scenes[0].facts.microscope_manufacturer == "Maker"
        assert slide.scenes[0].facts.microscope_model == "Mod�le"
        assert str(slide.scenes[0].facts.acquired) == "2024-05-06 07:08:09"


def test_orientation_of_png_and_webp(tmp_path: Path) -> None:
    png_with(tmp_path / "a.png", b"eXIf", exif(6))
    Image.fromarray(picture()).save(tmp_path / "b.webp", lossless=True, exif=b"Exif\0\0" + exif(5))
    for path in sorted(tmp_path.iterdir()):
        with open_slide(path) as slide:
            assert slide.scenes[0].shape[3:] == SIZE[::-1]
            np.testing.assert_array_equal(level0(slide), shown(path))


def test_transparent_palette_has_an_alpha(tmp_path: Path) -> None:
    palette_png(tmp_path / "a.png", clear=True)
    with open_slide(tmp_path / "a.png") as slide, Image.open(tmp_path / "a.png") as image:
        assert slide.scenes[0].alpha == 3
        np.testing.assert_array_equal(level0(slide), image.convert("RGBA"))


def test_bilevel_png_is_0_and_1(tmp_path: Path) -> None:
    bits = picture()[..., 0] > 128
    Image.fromarray(bits).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.scenes[0].significant_bits == 1
        np.testing.assert_array_equal(level0(slide)[..., 0], bits)


@pytest.mark.parametrize("tile", [0, 128])
def test_levels_of_jpeg_2000_are_its_resolutions(tmp_path: Path, tile: int) -> None:
    path = tmp_path / "a.jp2"
    jpeg2000(path, tile=tile)
    with open_slide(path) as slide:
        levels = slide.scenes[0].levels
        assert len(levels) > 1
        for number, level in enumerate(levels):
            expected = imagecodecs.jpeg2k_decode(path.read_bytes(), skipres=number)
            np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0), expected)


def test_jpeg_shows_no_levels_that_are_not_stored(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((900, 800, 3), np.uint8)).save(tmp_path / "a.jpg")
    with open_slide(tmp_path / "a.jpg") as slide:
        assert len(slide.scenes[0].levels) == 1


PHYS = struct.Struct(">IIB")


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (PHYS.pack(2835, 2835, 1), (None, None)),  # 72 dpi
        (PHYS.pack(3780, 3780, 1), (None, None)),  # 96 dpi
        (PHYS.pack(11811, 11811, 1), (None, None)),  # 300 dpi
        (PHYS.pack(47244, 47244, 1), (None, None)),  # 1200 dpi
        (PHYS.pack(4_000_000, 2_000_000, 1), (0.5, 0.25)),
        (PHYS.pack(4_000_000, 2_000_000, 0), (None, None)),  # no unit: an aspect ratio
        (PHYS.pack(0, 0, 1), (None, None)),
    ],
)
def test_resolution_of_png_only_where_it_was_measured(tmp_path: Path, body: bytes, size: tuple[float | None, ...]) -> None:
    png_with(tmp_path / "a.png", b"pHYs", body)
    with open_slide(tmp_path / "a.png") as slide:
        found = slide.scenes[0].pixel_size
        assert (found.y_um, found.x_um) == size


def test_dots_per_inch_of_jpeg_are_no_pixel_size(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", dpi=(300, 300))
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.scenes[0].pixel_size.x_um is None
    assert pixel_size_um((float("inf"), float("inf"))) == (None, None)


def test_capture_resolution_of_jp2(tmp_path: Path) -> None:
    measured_jp2(tmp_path / "a.jp2", 6)
    with open_slide(tmp_path / "a.jp2") as slide:
        assert slide.scenes[0].pixel_size.y_um == pytest.approx(0.2)
        assert slide.scenes[0].pixel_size.x_um == pytest.approx(0.25)
    measured_jp2(tmp_path / "b.jp2", 3)
    with open_slide(tmp_path / "b.jp2") as slide:
        assert slide.scenes[0].pixel_size.x_um is None


def test_profiles_are_kept_where_they_fit_the_colours(tmp_path: Path) -> None:
    rgb = bytes(16) + b"RGB " + bytes(108)
    image = Image.fromarray(picture())
    for name, options in (("a.jpg", {}), ("b.png", {}), ("c.webp", {"lossless": True})):
        image.save(tmp_path / name, icc_profile=rgb, **options)
        with open_slide(tmp_path / name) as slide:
            assert slide.scenes[0].icc == rgb, name
    image.convert("CMYK").save(tmp_path / "d.jpg", icc_profile=bytes(16) + b"CMYK" + bytes(108))
    with open_slide(tmp_path / "d.jpg") as slide:
        assert slide.scenes[0].icc is None
        assert "ICC" in slide.warnings[0]


@pytest.mark.parametrize(("unit", "size"), [(9001, (0.25e6, 0.5e6)), (9002, (76200.0, 152400.0)), (None, (None, None))])
def test_geotiff(tmp_path: Path, unit: int | None, size: tuple[float | None, ...]) -> None:
    path = tmp_path / "a.tif"
    geotiff(path, unit=unit)
    with open_slide(path) as slide:
        assert slide.driver == "geotiff"
        scene = slide.scenes[0]
        assert [level.scale for level in scene.levels] == [1, 2, 4]
        found = (scene.pixel_size.y_um, scene.pixel_size.x_um)
        assert found == (pytest.approx(size) if unit else size)
        for number, level in enumerate(scene.levels):
            stored = np.moveaxis(tifffile.imread(path, key=number), 2, 0)
            np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, :, 0], stored)


def test_a_plain_tiff_is_not_ours(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.driver == "tiff"


# Rows come in order


class Counting:
    """A dataset that counts the rows it has to decode to give those asked for, as GDAL's PNG and JPEG do."""

    decoded = 0
    opened = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        self.row = 0
        with Counting.lock:
            Counting.opened += 1

    def read(self, bands: list[int], *, window: Any, out: Any) -> None:
        first = 0 if window.row_off < self.row else self.row
        self.row = int(window.row_off + window.height)
        with Counting.lock:
            Counting.decoded += self.row - first

    def close(self) -> None:
        with Counting.lock:
            Counting.opened -= 1


def test_rows_are_decoded_once_when_they_are_read_downwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "decoded", 0)
    monkeypatch.setattr("drivers.gdal.dataset.open_dataset", lambda _: Counting())
    kind = kind_of(b"\xff\xd8\xff")
    assert kind is not None
    handles = Handles(Source(Path("x.jpg"), kind))
    for top in range(0, 1000, 10):
        handles.read([1], (top, 0, 10, 5), None)
    assert Counting.decoded == 1000

    def every_fourth(number: int) -> None:
        for top in range(number * 10, 1000, 40):
            handles.read([1], (top, 0, 10, 5), None)

    threads = [threading.Thread(target=every_fourth, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counting.decoded <= 15_000  # not 50 times as much
    handles.close()
    assert Counting.opened == 0


def test_a_large_picture_is_read_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_module, "BAND_SAMPLES", 20_000)
    for name in ("a.jpg", "a.png", "a.bmp", "a.ppm"):
        path = tmp_path / name
        Image.fromarray(picture()).save(path)
        with open_slide(path) as slide:
            level = slide.scenes[0].levels[0]
            assert level.tile.x == SIZE[1]
            assert 20_000 <= level.tile.y * SIZE[1] * 3 < 40_000
            np.testing.assert_array_equal(level0(slide), shown(path))


def test_a_band_is_large_enough_to_be_kept_by_the_converter() -> None:
    from converter.straddlers import KEPT_BYTES

    assert level_module.BAND_SAMPLES > KEPT_BYTES // 2


# What is refused


def test_png_whose_data_end_early(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = zlib.compress(bytes(301 * (1 + 3 * 203)))
    header = struct.pack(">IIBBBBB", 203, 301, 8, 2, 0, 0, 0)
    for cut in (rows, rows[: len(rows) // 2], zlib.compress(bytes(1000))):
        parts = chunk(b"IHDR", header) + chunk(b"IDAT", cut) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
        with open_slide(path) as slide:
            if cut is rows:
                assert not level0(slide).any()
            else:
                with pytest.raises(Damaged, match=r"a\.png"):
                    level0(slide)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.jp2", "a.gif", "a.webp"])
def test_cut_short(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    image = Image.fromarray(picture())
    (image.quantize(16) if name == "a.gif" else image).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(Damaged, match=name), open_slide(path) as slide:
        level0(slide)


def test_damage_is_told_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(Damaged, match=r"a\.jpg: rows 0 to 301"):
                level0(slide)


def test_claimed_sizes_are_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", 0x7FFFFFFF, 0x7FFFFFFF, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(20)) + chunk(b"IEND", b""))
    with pytest.raises((LimitExceeded, Damaged), match=r"a\.png"):
        open_slide(path)
    monkeypatch.setattr(level_module, "LIMITS", Limits(tile_bytes=1000))
    Image.fromarray(picture()).save(tmp_path / "b.webp")
    with pytest.raises(LimitExceeded, match=r"b\.webp"):
        open_slide(tmp_path / "b.webp")


def test_progressive_jpeg_is_limited_by_what_its_decoder_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", progressive=True)
    with open_slide(tmp_path / "a.jpg") as slide:
        np.testing.assert_array_equal(level0(slide), shown(tmp_path / "a.jpg"))
    monkeypatch.setattr(level_module, "_COEFFICIENT_BYTES", 300_000)
    with pytest.raises(LimitExceeded, match=r"a\.jpg.*progressive"):
        open_slide(tmp_path / "a.jpg")


def test_without_rasterio_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "rasterio":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unsupported, match=r"a\.png.*slidemill\[gdal\]"):
        open_slide(tmp_path / "a.png")


def test_only_the_allowed_drivers_are_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.fromarray(picture()).save(secret)
    band = f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{band}</VRTRasterBand>'
    vrt = f'<VRTDataset rasterXSize="203" rasterYSize="301">{band}</VRTDataset>'
    (tmp_path / "a.png").write_text(vrt)
    with pytest.raises(Unsupported, match="no driver"):
        open_slide(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + vrt.encode())
    with pytest.raises(Damaged):
        open_slide(tmp_path / "b.png")


def test_side_cars_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    aux = '<PAMDataset><PAMRasterBand band="1"><ColorInterp>Undefined</ColorInterp></PAMRasterBand></PAMDataset>'
    (tmp_path / "a.png.aux.xml").write_text(aux)
    with open_slide(path) as slide:
        assert slide.scenes[0].rgb
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.png.aux.xml"]


def test_names_that_gdal_would_take_for_something_else(tmp_path: Path) -> None:
    for name in ("http:a.png", "vsizip.png", "a!b.png", "übung 1.png", "GTIFF_DIR:1:a.png"):
        Image.fromarray(picture()).save(tmp_path / "x.png")
        shutil.move(tmp_path / "x.png", tmp_path / name)
        with open_slide(tmp_path / name) as slide:
            np.testing.assert_array_equal(level0(slide), picture())


def test_animations_show_their_first_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(seed)).quantize(32) for seed in (60, 61, 62)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with open_slide(tmp_path / "a.gif") as slide:
        assert slide.warnings == [
            "the first picture is shown, and the file holds 2 further pictures: --associated picture-2,picture-3 writes them"
        ]
        np.testing.assert_array_equal(level0(slide), shown(tmp_path / "a.gif"))


def test_exif_that_is_none() -> None:
    for data in (None, b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\x08"):
        assert exif_of(data).orientation == 1
    assert exif_of(exif(99)).orientation == 1
    assert exif_of(exif(8)[:40]).orientation in (1, 8)


def test_what_is_recognised() -> None:
    match = partial(DRIVER.matches, Path("x"))
    assert not DRIVER.specific
    for foreign in (
        b"",
        b"BM",
        b"BMxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        b"P5",
        b"P56",
        b"RIFFxxxxAVI ",
        b"II*\0",
        b"GIF",
        b"<VRT",
    ):
        assert not match(foreign)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.jp2", "a.j2k"])
@pytest.mark.parametrize("zeros", [0, 4, 100, 70_000])
def test_a_picture_that_ends_in_zeros_is_told(tmp_path: Path, name: str, zeros: int) -> None:
    """Decoders take them for compressed samples: without a word the lower part of the picture would be another."""
    path = tmp_path / name
    pixels = np.random.default_rng(1).integers(0, 255, (300, 300, 3), "u1")
    Image.fromarray(pixels).save(path, **({"no_jp2": True} if name == "a.j2k" else {}))  # type: ignore[arg-type]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - zeros] + bytes(zeros))
    try:
        with open_slide(path) as slide:
            assert any(" zeros where samples are expected" in warning for warning in slide.warnings) == (zeros > 0)
    except Damaged:
        assert zeros


def test_zeros_behind_the_end_of_a_jpeg_are_no_matter(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40), "u1")).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + bytes(1000))
    with open_slide(tmp_path / "a.jpg") as slide:
        assert not slide.warnings
