"""The Aperio driver against tifffile, OpenSlide and slideio, and what it does with odd and damaged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import slideio
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged, OutsideKind
from drivers.formats.aperio import DRIVER
from drivers.geometry import Box, Shape
from drivers.metadata.aperio import parse_description
from drivers.model import Level, Pixels
from tests.made import svs as made_svs
from tests.made.svs import ICC, KINDS, MADE, Svs, make_svs

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}
NAMES = sorted(MAKERS)
# libtiff, and so OpenSlide, wants uncompressed tiles laid out without gaps; it takes z slices for levels.
OPENSLIDE_NAMES = sorted(set(NAMES) - {"raw.svs", "z-slices.svs", "gt450-tiled-label.svs"})


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(name, MAKERS[name])


def picture(level: Level, z: int = 0) -> Pixels:
    """All of one slice as (height, width, channels)."""
    start, stop = Shape(0, 0, z, 0, 0), Shape(1, level.shape.c, z + 1, level.shape.y, level.shape.x)
    return paint(level, Box(start, stop))[0, :, 0].transpose(1, 2, 0)


# -- pixels --


@pytest.mark.parametrize("name", [name for name, _, facts in MADE if facts["oracle"]])
def test_pixels_equal_tifffile(sample: Callable[[str], Path], name: str) -> None:
    with tifffile.TiffFile(sample(name)) as tiff, open_slide(sample(name)) as slide:
        pages: dict[tuple[int, ...], list[Pixels]] = {}
        for page in tiff.pages:
            pages.setdefault(page.shape, []).append(page.asarray())
        for level in slide.scenes[0].levels:
            for z in range(level.shape.z):
                np.testing.assert_array_equal(picture(level, z), pages[level.shape.y, level.shape.x, 3][z])


@pytest.mark.parametrize("name", OPENSLIDE_NAMES)
def test_pixels_equal_openslide(sample: Callable[[str], Path], name: str) -> None:
    with openslide.OpenSlide(sample(name)) as oracle, open_slide(sample(name)) as slide:
        scene = slide.scenes[0]
        assert oracle.level_count == len(scene.levels)
        for number, level in enumerate(scene.levels):
            expected = oracle.read_region((0, 0), number, oracle.level_dimensions[number])
            np.testing.assert_array_equal(picture(level), np.asarray(expected)[..., :3])
        assert set(oracle.associated_images) == set(slide.associated)
        for role, image in oracle.associated_images.items():
            np.testing.assert_array_equal(picture(slide.associated[role].levels[0]), np.asarray(image)[..., :3])


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_that_were_stored(sample: Callable[[str], Path], name: str) -> None:
    svs = KINDS[name.removesuffix(".svs")]
    exact = svs.codec in {"lzw", "deflate", "raw"}
    with open_slide(sample(name)) as slide:
        for level, source in zip(slide.scenes[0].levels, made_svs.level_images(svs), strict=True):
            off = np.abs(picture(level).astype(int) - source)
            assert off.mean() < (1e-9 if exact else 8)
            assert off.max() <= (0 if exact else 70)


def test_ycbcr_of_33003_becomes_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((256, 256, 3), (200, 60, 150), np.uint8)
    assert made_svs.ycbcr(flat)[0, 0].tolist() == [112, 149, 191]
    monkeypatch.setattr(made_svs, "tissue", lambda *_: flat)
    kind = Svs(size=(256, 256), codec="j2k-ycbcr", tile=(256, 256), steps=(), associated=())
    with open_slide(make_svs(tmp_path / "flat.svs", kind)) as slide:
        assert np.abs(picture(slide.scenes[0].levels[0]).astype(int) - (200, 60, 150)).max() <= 1


def test_z_slices_are_separate(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("z-slices.svs")) as slide:
        level = slide.scenes[0].levels[0]
        assert level.shape.z == 3
        first, second = picture(level, 0).astype(int), picture(level, 1).astype(int)
        assert np.abs(first - second).mean() > 5
        assert np.abs(second - made_svs.tissue(500, 611, 13)).mean() < 4


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "openslide-small.svs"])
def test_real_slide_equals_openslide_and_slideio(shared_samples: Path, name: str) -> None:
    path = shared_samples / "svs" / name
    with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
        scene = slide.scenes[0]
        ours = picture(scene.levels[0])
        expected = oracle.read_region((0, 0), 0, oracle.dimensions)
        np.testing.assert_array_equal(ours, np.asarray(expected)[..., :3])
        assert scene.pixel_size.x_um == float(oracle.properties["openslide.mpp-x"])
        assert scene.magnification == float(oracle.properties["openslide.objective-power"])
        assert set(oracle.associated_images) == set(slide.associated)
        for role, image in oracle.associated_images.items():
            np.testing.assert_array_equal(picture(slide.associated[role].levels[0]), np.asarray(image)[..., :3])
        theirs = slideio.open_slide(str(path), "SVS").get_scene(0)
        np.testing.assert_array_equal(ours, theirs.read_block())
        if scene.shape.x > 1000:
            region = (501, 333, 777, 555)
            np.testing.assert_array_equal(scene.read_block(region), theirs.read_block(region))
        assert scene.size == theirs.size
        assert scene.magnification == theirs.magnification
        assert scene.resolution == pytest.approx(theirs.resolution)


# -- facts --


def test_facts_of_the_description(tmp_path: Path) -> None:
    fields = ("AppMag = 40", "MPP = 0.2498", "Date = 12/29/09", "Time = 09:59:15", "ScanScope ID = SS7001")
    kind = Svs(size=(60, 60), steps=(), fields=(*fields, "Left = 25.691574", "Top = -1.5"), associated=())
    with open_slide(make_svs(tmp_path / "facts.svs", kind)) as slide:
        scene = slide.scenes[0]
    assert scene.name == "facts"
    assert scene.rgb
    assert [channel.name for channel in scene.channels] == ["Red", "Green", "Blue"]
    assert (scene.pixel_size.y_um, scene.pixel_size.x_um, scene.pixel_size.z_um) == (0.2498, 0.2498, None)
    assert scene.magnification == 40
    assert scene.position is not None
    assert (scene.position.y_um, scene.position.x_um) == pytest.approx((-1500.0, 25691.574))
    assert scene.facts.acquired == datetime(2009, 12, 29, 9, 59, 15)  # noqa: DTZ001 - the file states no zone
    assert scene.facts.microscope_serial == "SS7001"
    assert scene.facts.software == "Aperio Image Library v12.0.15"
    assert scene.icc == ICC
    assert slide.raw_metadata is not None
    assert slide.raw_metadata.startswith("Aperio")
    assert slide.associated == {}
    assert not slide.warnings


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("0.2520", 0.252),
        ("0,2520", 0.252),
        (".25", 0.25),
        ("2.5e-1", 0.25),
        (None, None),
        ("", None),
        ("nan", None),
        ("NaN", None),
        ("inf", None),
        ("-inf", None),
        ("0", None),
        ("0.0", None),
        ("-0.25", None),
        ("1e999", None),
        ("1.2.3", None),
        ("0.25 um", None),
        ("unknown", None),
    ],
)
def test_pixel_size_is_a_number_or_unknown(tmp_path: Path, written: str | None, size: float | None) -> None:
    with open_slide(made_svs.make_with_mpp(tmp_path / "mpp.svs", written)) as slide:
        found = slide.scenes[0].pixel_size
        assert (found.y_um, found.x_um) == (size, size)
        assert slide.scenes[0].resolution == ((None, None) if size is None else pytest.approx((size * 1e-6, size * 1e-6)))


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("03/28/24", "14:05:09", (2024, 3, 28, 14, 5, 9)),
        ("03/28/2024", "14:05:09", (2024, 3, 28, 14, 5, 9)),
        ("28/03/24", "14:05:09", None),
        ("02/30/24", "14:05:09", None),
        ("03/28/24", "25:05:09", None),
        ("03/28/24", None, None),
    ],
)
def test_date(tmp_path: Path, date: str, time: str | None, expected: tuple[int, ...] | None) -> None:
    fields = (f"Date = {date}", *((f"Time = {time}",) if time else ()))
    path = make_svs(tmp_path / "date.svs", Svs(size=(60, 60), steps=(), fields=fields, associated=()))
    with open_slide(path) as slide:
        assert slide.scenes[0].facts.acquired == (datetime(*expected) if expected else None)  # noqa: DTZ001 - as above


def test_description_fields() -> None:
    text = "Aperio Image Library v11\r\n46000x32914 |AppMag = 20|Filename = a=b|empty = |no value|MPP=0.5"
    assert parse_description(text) == {
        "": "Aperio Image Library v11",
        "AppMag": "20",
        "Filename": "a=b",
        "MPP": "0.5",
    }
    assert parse_description("") == {"": ""}


# -- levels and roles --


def test_levels_are_sorted_by_size_whatever_their_order(tmp_path: Path) -> None:
    path = make_svs(tmp_path / "x.svs", Svs(steps=(2, 2, 2), size=(800, 808)))
    with open_slide(path) as slide:
        assert [level.scale for level in slide.scenes[0].levels] == [1, 2, 4, 8]


def test_a_coarse_level_of_no_integer_factor_keeps_its_quotient(tmp_path: Path) -> None:
    with open_slide(made_svs.make_spoiled(tmp_path / "x.svs", "uneven")) as slide:
        scales = [level.scale for level in slide.scenes[0].levels]
        assert scales[:2] == [1, 4]
        assert scales[2] == pytest.approx(1600 / 86)


def test_a_tiled_label_is_no_level(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("gt450-tiled-label.svs")) as slide:
        assert slide.associated["label"].shape == (1, 3, 1, 180, 228)
        assert len(slide.scenes[0].levels) == 3


def test_associated_images_hold_their_own_pixels(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("gt450.svs")) as slide:
        np.testing.assert_array_equal(picture(slide.associated["label"].levels[0]), made_svs.tissue(90, 120, 7))
        np.testing.assert_array_equal(picture(slide.associated["macro"].levels[0]), made_svs.tissue(90, 300, 7))
        assert slide.associated["label"].levels[0].compression == "lzw"


def test_only_aperio_files_match(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    other = tmp_path / "other.svs"
    tifffile.imwrite(other, np.zeros((64, 64), np.uint8), description="NotAperio")
    for path, expected in ((other, False), (sample("lzw.svs"), True)):
        assert DRIVER.matches(path, path.read_bytes()[:4096]) is expected
    assert not DRIVER.matches(tmp_path / "absent", b"II*\0\0\0\0\0")
    assert not DRIVER.matches(tmp_path / "absent", b"")


def test_a_first_image_without_tiles_is_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "strips.svs"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), description="Aperio Image Library v1", metadata=None)
    with pytest.raises(OutsideKind, match=r"strips\.svs"):
        DRIVER.open(path)


# -- tiles that are missing or damaged --


def test_missing_tiles_are_white_and_listed(tmp_path: Path) -> None:
    with open_slide(made_svs.make_missing_tiles(tmp_path / "x.svs", tiles=(1, 4))) as slide:
        level = slide.scenes[0].levels[0]
        assert [(box.start.y, box.start.x) for box in level.index.gaps()] == [(0, 240), (240, 240)]
        shown = picture(level)
        assert (shown[:480, 240:480] == 255).all()
        assert (shown[:480, :240] != 255).any()
        assert not slide.scenes[0].levels[1].index.gaps()


@pytest.mark.parametrize(("page", "tile", "level"), [(0, 8, 0), (2, 0, 1)])
def test_a_tile_of_zero_length_is_damage(tmp_path: Path, page: int, tile: int, level: int) -> None:
    with open_slide(made_svs.make_empty_tiles(tmp_path / "x.svs", tiles=(tile,), page=page)) as slide:
        found = slide.scenes[0].levels[level]
        assert len(found.index.gaps()) == 1
        with pytest.raises(Damaged, match=r"x\.svs: tile \d,\d: has zero length"):
            picture(found)


def small_jpeg(height: int, width: int) -> bytes:
    """A whole JPEG of this size."""
    return imagecodecs.jpeg8_encode(np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda tile: tile[: len(tile) // 2], "cut short"),
        (lambda tile: tile[:1], "no start marker"),
        (lambda tile: b"\0" * len(tile), "no start marker"),
        (lambda tile: b"\xff\xd8\xff\xd9", "no frame header"),
        (lambda tile: small_jpeg(64, 64), "64x64, the tile 240x240"),
        (lambda tile: small_jpeg(64, 240), "64"),
        (lambda tile: small_jpeg(480, 480), "480x480, the tile 240x240"),
    ],
    ids=["half", "one-byte", "zeros", "empty-jpeg", "smaller", "lower", "larger"],
)
def test_a_damaged_jpeg_tile_is_damage(tmp_path: Path, spoil: Callable[[bytes], bytes], says: str) -> None:
    path = make_svs(tmp_path / "x.svs", Svs(size=(300, 300), steps=(), tables=False))
    made_svs.replace_tile(path, 0, 0, spoil(made_svs.stored_tile(path, 0, 0)))
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        with pytest.raises(Damaged, match=says) as caught:
            picture(level)
        assert "\n" not in str(caught.value)
        paint(level, Box(Shape(0, 0, 0, 240, 240), level.shape))  # the others are still read


@pytest.mark.parametrize("codec", ["j2k-rgb", "j2k-ycbcr", "lzw", "deflate", "raw"])
def test_a_tile_cut_in_half_is_damage(tmp_path: Path, codec: str) -> None:
    path = make_svs(tmp_path / "x.svs", Svs(size=(300, 300), steps=(), codec=codec))
    tile = made_svs.stored_tile(path, 0, 0)
    made_svs.replace_tile(path, 0, 0, tile[: len(tile) // 2])
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"x\.svs: tile 0,0"):
        picture(slide.scenes[0].levels[0])


def test_a_jpeg2000_tile_of_another_size_is_damage(tmp_path: Path) -> None:
    path = make_svs(tmp_path / "x.svs", Svs(size=(300, 300), steps=(), codec="j2k-rgb"))
    made_svs.replace_tile(path, 0, 0, imagecodecs.jpeg2k_encode(np.zeros((100, 90, 3), np.uint8), codecformat="j2k"))
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"x\.svs: tile 0,0"):
        picture(slide.scenes[0].levels[0])


def test_a_tile_table_past_the_end_is_damage(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    path = Path(shutil.copy(sample("lzw.svs"), tmp_path / "x.svs"))
    made_svs.patch_array(path, 0, 324, {2: path.stat().st_size - 5})
    with pytest.raises(Damaged, match=r"x\.svs.*truncated"):
        open_slide(path)


def test_a_label_past_the_end_is_left_out_and_a_level_refused(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    path = Path(shutil.copy(sample("lzw.svs"), tmp_path / "x.svs"))
    with tifffile.TiffFile(path) as tiff:
        label = next(page.index for page in tiff.pages if page.subfiletype == 1)
    made_svs.patch_array(path, label, 273, {0: path.stat().st_size + 10})
    with open_slide(path) as slide:
        assert "label" not in slide.associated
        assert any(w.startswith("the label image cannot be read and is left out: ") for w in slide.warnings)
    made_svs.patch_array(path, 0, 324, {0: path.stat().st_size + 10})
    with pytest.raises(Damaged, match=r"^x\.svs: .*truncated"):
        open_slide(path)
