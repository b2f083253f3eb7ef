"""The NDPI and NDPIS drivers against tifffile, OpenSlide and slideio, and what they do with odd and damaged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openslide
import pytest
import slideio
import tifffile

from drivers import open_slide, paint
from drivers.discovery import driver_for, find_drivers
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath
from drivers.formats.ndpi import DRIVER
from drivers.formats.ndpis import image_names
from drivers.geometry import Box
from drivers.model import Level, Pixels
from drivers.tiff import stripes
from tests.made import ndpi as made_ndpi
from tests.made.ndpi import KINDS, MADE, Ndpi, make_ndpi, make_set

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]
MAKERS = {name: maker for name, maker, _ in MADE}
COLOUR = [name for name, kind in KINDS.items() if kind.filter is None and len(kind.depths_nm) == 1]
REAL = "ndpi/test3-DAPI-2-(387).ndpi"


@pytest.fixture
def sample(made: Made) -> Callable[[str], Path]:
    """Path of a made sample by name; not to be changed."""
    return lambda name: made(f"{name}.ndpi", MAKERS[f"{name}.ndpi"])


def picture(level: Level, z: int = 0) -> Pixels:
    """All of one slice as (height, width, channels)."""
    return paint(level, Box.of(level.shape))[0, :, z].transpose(1, 2, 0)


def small(**changes: object) -> Ndpi:
    """A quick colour file of two levels."""
    return replace(Ndpi(size=(136, 128), stripe=64, steps=(2,), macro=False), **changes)  # type: ignore[arg-type]


# -- pixels --


@pytest.mark.parametrize("name", COLOUR)
def test_every_level_equals_the_whole_picture(sample: Callable[[str], Path], name: str) -> None:
    with tifffile.TiffFile(sample(name)) as tiff, open_slide(sample(name)) as slide:
        lenses = [page.tags[65421].value for page in tiff.pages]
        pages = [page for page, lens in zip(tiff.pages, lenses, strict=True) if lens > 0]
        assert len(pages) == len(slide.scenes[0].levels)
        for page, level in zip(pages, slide.scenes[0].levels, strict=True):
            start, count = page.tags[273].value[0], page.tags[279].value[0]
            jpeg = sample(name).read_bytes()[start : start + count]
            whole = tifffile.TIFF.DECOMPRESSORS[7](jpeg)
            np.testing.assert_array_equal(picture(level), whole[: level.shape.y])


@pytest.mark.parametrize("name", COLOUR)
def test_level_0_and_macro_equal_openslide(sample: Callable[[str], Path], name: str) -> None:
    with openslide.OpenSlide(sample(name)) as oracle, open_slide(sample(name)) as slide:
        scene = slide.scenes[0]
        expected = oracle.read_region((0, 0), 0, oracle.dimensions)
        np.testing.assert_array_equal(picture(scene.levels[0]), np.asarray(expected)[..., :3])
        assert {(level.shape.x, level.shape.y) for level in scene.levels} <= set(oracle.level_dimensions)
        for role, image in oracle.associated_images.items():
            np.testing.assert_array_equal(picture(slide.associated[role].levels[0]), np.asarray(image)[..., :3])


def test_real_slide_equals_tifffile_openslide_and_slideio(shared_samples: Path) -> None:
    path = shared_samples / REAL
    with tifffile.TiffFile(path) as tiff, open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        scene = slide.scenes[0]
        assert slide.driver == "ndpi"
        assert [(level.shape.y, level.scale) for level in scene.levels] == [(4864, 1), (2432, 2), (1216, 4), (608, 8)]
        for number, level in enumerate(scene.levels):  # one channel, stored as blue
            np.testing.assert_array_equal(picture(level)[..., 0], tiff.pages[number].asarray()[..., 2])
        ours = picture(scene.levels[0])[..., 0]
        np.testing.assert_array_equal(ours, np.asarray(oracle.read_region((0, 0), 0, oracle.dimensions))[..., 2])
        np.testing.assert_array_equal(ours, slideio.open_slide(str(path), "NDPI").get_scene(0).read_block()[..., 2])
        np.testing.assert_array_equal(picture(slide.associated["macro"].levels[0]), tiff.pages[4].asarray())
        np.testing.assert_array_equal(picture(slide.associated["map"].levels[0])[..., 0], tiff.pages[5].asarray())
        assert scene.pixel_size.x_um == float(oracle.properties["openslide.mpp-x"])
        assert scene.magnification == float(oracle.properties["openslide.objective-power"])
        channel = scene.channels[0]
        assert (channel.name, channel.color, channel.excitation_nm, channel.emission_nm) == (
            "DAPI 2 (387)",
            "0000FF",
            387,
            455,
        )
        facts = scene.facts
        assert (facts.microscope_model, facts.microscope_serial, facts.software) == ("C9600-12", "950291", "NDP.scan 2.5.89")
        assert facts.acquired == datetime(2017, 2, 7, 13, 6, 43)  # noqa: DTZ001
        assert scene.position is not None
        assert scene.position.x_um == pytest.approx(12538.72 - 3968 / 2 * scene.pixel_size.x_um)


def test_stripes_are_joined_to_bands(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("columns")) as slide:
        level = slide.scenes[0].levels[0]
        assert (level.tile.y, level.tile.x) == (512, 512)
        assert len(list(level.index.tiles(Box.of(level.shape)))) == 6
        keys = [tile.key for tile in level.index.tiles(Box.of(level.shape))] * 4
        with ThreadPoolExecutor(8) as pool:
            blocks = list(pool.map(level.read, reversed(keys)))
        for key, block in zip(reversed(keys), blocks, strict=True):
            np.testing.assert_array_equal(block, level.read(key))


@pytest.mark.parametrize("name", ["blue", "orange", "grey-jpeg", "jpegxr-16"])
def test_fluorescence_is_one_channel(sample: Callable[[str], Path], name: str) -> None:
    kind = KINDS[name]
    with open_slide(sample(name)) as slide:
        scene = slide.scenes[0]
        assert not scene.rgb
        assert scene.channels[0].name == kind.filter
        assert scene.channels[0].color == ("0000FF" if name == "blue" else None)
        stored = made_ndpi.picture(kind, kind.seed)
        grey = stored.max(axis=2) if stored.ndim == 3 else stored
        off = np.abs(picture(scene.levels[0])[..., 0].astype(int) - grey)
        assert off.mean() < 4
        assert off.max() <= (0 if name == "jpegxr-16" else 60)


def test_z_planes_are_sorted_by_depth(sample: Callable[[str], Path]) -> None:
    kind = KINDS["z-planes"]
    with open_slide(sample("z-planes")) as slide:
        scene = slide.scenes[0]
        assert scene.shape.z == 3
        assert scene.pixel_size.z_um == 1.5
        for z, seed in enumerate((kind.seed + 1, kind.seed + 2, kind.seed)):
            for level, made in zip(scene.levels, made_ndpi.levels(kind, seed), strict=True):
                assert np.abs(picture(level, z).astype(int) - made).mean() < 6


def test_unequal_depths_have_no_spacing(tmp_path: Path) -> None:
    path = make_ndpi(tmp_path / "z.ndpi", small(depths_nm=(0, 1000, 5000)))
    with open_slide(path) as slide:
        assert slide.scenes[0].pixel_size.z_um is None


@pytest.mark.parametrize("name", ["one-row-off", "one-row-under"])
def test_the_jpeg_has_the_last_word_on_the_size(sample: Callable[[str], Path], name: str) -> None:
    with open_slide(sample(name)) as slide:
        assert [(level.shape.y, level.scale) for level in slide.scenes[0].levels] == [(1032, 1), (258, 4), (129, 8)]


# -- over 4 GiB --


@pytest.mark.parametrize("name", ["large.ndpi", "large.tif"])
def test_files_over_4_gib(tmp_path: Path, name: str) -> None:
    kind = small(gap=(1 << 32) + 4321)
    plain = make_ndpi(tmp_path / "plain.ndpi", replace(kind, gap=0))
    path = make_ndpi(tmp_path / name, kind)
    with open_slide(path) as slide, open_slide(plain) as expected:
        assert slide.driver == "ndpi"
        for ours, theirs in zip(slide.scenes[0].levels, expected.scenes[0].levels, strict=True):
            np.testing.assert_array_equal(picture(ours), picture(theirs))


def test_restart_table_over_4_gib(tmp_path: Path) -> None:
    """With a table of high words, and without one, where the low words start again from small numbers."""
    path = make_ndpi(tmp_path / "a.ndpi", small())
    with tifffile.TiffFile(path) as tiff:
        low = tiff.pages[0].tags[65426].value
    low_words, high_words = SimpleNamespace(value=low.astype("u4")), SimpleNamespace(value=np.arange(low.size))
    page: Any = SimpleNamespace(tags={65426: low_words, 65432: high_words})
    np.testing.assert_array_equal(stripes._starts(page), low + (np.arange(low.size, dtype="i8") << 32))
    del page.tags[65432]
    wrapped = np.array([700, 4_000_000_000, 100, 50, 60], "u4")
    low_words.value = wrapped
    expected = [700, 4_000_000_000, 100 + (1 << 32), 50 + (2 << 32), 60 + (2 << 32)]
    found = stripes._starts(page)
    assert found is not None
    assert found.tolist() == expected


# -- recognising --


def test_ndpi_wins_over_tiff_by_content(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    renamed = tmp_path / "slide.tif"
    shutil.copy(sample("one-level"), renamed)
    drivers = [found.driver for found in find_drivers() if found.driver is not None]
    assert driver_for(renamed, drivers) is DRIVER
    plain = tmp_path / "plain.ndpi"
    tifffile.imwrite(plain, np.zeros((64, 64), np.uint8))
    assert driver_for(plain, drivers).name == "tiff"
    with open_slide(plain) as slide:
        assert slide.scenes[0].size == (64, 64)


def test_personal_data_stays_out_of_the_facts(sample: Callable[[str], Path]) -> None:
    with open_slide(sample("columns")) as slide:
        assert "Doe" not in repr(slide.scenes) + repr(slide.warnings)


# -- damage --


def patched(tmp_path: Path, kind: Ndpi, change: Callable[[bytearray], None]) -> Path:
    """A made file with bytes changed."""
    path = make_ndpi(tmp_path / "odd.ndpi", kind)
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def test_truncated_file(tmp_path: Path) -> None:
    path = make_ndpi(tmp_path / "cut.ndpi", small())
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(Damaged, match=r"^cut.ndpi"):
        open_slide(path)


def test_overwritten_stripe_is_damage(tmp_path: Path) -> None:
    def zeros(data: bytearray) -> None:
        at = data.index(b"\xff\xd2")
        data[at - 40 : at + 2] = bytes(42)

    path = patched(tmp_path, small(), zeros)
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"odd.ndpi: tile 0,0: restart interval 2 does not end"):
        picture(slide.scenes[0].levels[0])


def test_picture_without_its_end_is_damage(tmp_path: Path) -> None:
    def no_end(data: bytearray) -> None:
        at = data.index(b"\xff\xd9")
        data[at : at + 2] = b"\0\0"

    path = patched(tmp_path, small(steps=(), unmarked=1), no_end)
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"odd.ndpi: tile 0,0"):
        picture(slide.scenes[0].levels[0])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({65426: (4, [700, 800])}, "2 restart intervals where its size needs"),
        ({65426: (4, [700 + (i * 37) % 400 for i in range(34)])}, "not in order|reaches to byte"),
        ({257: (4, [3000])}, "restart intervals where|a frame of"),
        ({258: (3, [16, 16, 16])}, "uint16 is not read"),
    ],
)
def test_contradicting_tags(tmp_path: Path, tags: dict[int, tuple[int, list[int]]], message: str) -> None:
    path = make_ndpi(tmp_path / "odd.ndpi", small(extra=tags))
    with pytest.raises(DriverError, match=message) as caught:
        open_slide(path)
    assert str(caught.value).startswith("odd.ndpi")


def test_huge_unmarked_level_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def claim(data: bytearray) -> None:
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = (60000).to_bytes(2, "big") * 2

    tags = {256: (4, [60000]), 257: (4, [60000])}
    path = patched(tmp_path, small(steps=(), unmarked=1, extra=tags), claim)
    with pytest.raises(LimitExceeded, match="without restart markers"):
        open_slide(path)


def test_circle_of_directories(tmp_path: Path) -> None:
    def circle(data: bytearray) -> None:
        first = int.from_bytes(data[4:12], "little")
        count = int.from_bytes(data[first : first + 2], "little")
        at = first + 2 + 12 * count
        data[at : at + 8] = data[4:12]

    with pytest.raises(Damaged, match="circle"):
        open_slide(patched(tmp_path, small(), circle))


# -- sets --


def test_set_is_one_scene_with_a_channel_per_file(made: Made) -> None:
    path = made("set.ndpis", make_set)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert (slide.driver, len(slide.scenes), scene.rgb) == ("ndpis", 1, False)
        assert [level.shape[:3] for level in scene.levels] == [(1, 3, 1)] * 2
        assert [channel.name for channel in scene.channels] == ["DAPI 2 (387)", "FITC", "TRITC"]
        assert [channel.color for channel in scene.channels] == ["0000FF", "00FF00", None]
        assert [file.name for file in slide.files] == ["set.ndpis", "set-DAPI.ndpi", "set-FITC.ndpi", "set-TRITC.ndpi"]
        assert sorted(slide.associated) == ["macro", "map"]
        assert scene.pixel_size.x_um == 0.5
        for number, file in enumerate(slide.files[1:]):
            with open_slide(file) as single:
                for ours, theirs in zip(scene.levels, single.scenes[0].levels, strict=True):
                    np.testing.assert_array_equal(picture(ours)[..., number], picture(theirs)[..., 0])


def test_sizes_that_differ_stay_scenes(tmp_path: Path) -> None:
    with open_slide(make_set(tmp_path / "s.ndpis", FITC=(616, 256))) as slide:
        assert [scene.shape.x for scene in slide.scenes] == [512, 256, 512]
        assert any("differ" in warning for warning in slide.warnings)


def test_missing_member_is_named(tmp_path: Path) -> None:
    path = make_set(tmp_path / "s.ndpis")
    (tmp_path / "s-FITC.ndpi").unlink()
    with pytest.raises(Incomplete, match=r"s-FITC.ndpi is missing"):
        open_slide(path)


def test_broken_member_is_named(tmp_path: Path) -> None:
    path = make_set(tmp_path / "s.ndpis")
    (tmp_path / "s-FITC.ndpi").write_bytes(b"II*\0")
    with pytest.raises(Damaged, match=r"s.ndpis: s-FITC.ndpi"):
        open_slide(path)


@pytest.mark.parametrize("name", ["../a.ndpi", "/etc/passwd", r"C:\a.ndpi", r"\\host\a.ndpi", "b/a.ndpi", "a\x01.ndpi", ".."])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.ndpis"
    path.write_text(f"[NanoZoomer Digital Pathology Image Set]\nNoImages=1\nImage0={name}\n")
    with pytest.raises(UnsafePath, match=r"^s.ndpis"):
        open_slide(path)


def test_link_that_leaves_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = make_set(inside / "s.ndpis")
    (inside / "s-FITC.ndpi").rename(tmp_path / "outside.ndpi")
    (inside / "s-FITC.ndpi").symlink_to(tmp_path / "outside.ndpi")
    with pytest.raises(UnsafePath, match="out of its folder"):
        open_slide(path)


def test_lists_that_contradict_themselves(tmp_path: Path) -> None:
    path = tmp_path / "s.ndpis"
    with pytest.raises(Damaged, match="lists 1 of 3"):
        image_names(path, "NoImages=3\nImage0=a.ndpi")
    with pytest.raises(Damaged, match="lists no image"):
        image_names(path, "NoImages=0\n")
    assert image_names(path, "NoImages=2\nImage10=b.ndpi\nimage2 = a.ndpi") == ["a.ndpi", "b.ndpi"]
    twice = make_set(tmp_path / "t.ndpis", listed=("DAPI", "DAPI"))
    with pytest.raises(Damaged, match="twice"):
        open_slide(twice)
