"""The general TIFF driver against tifffile and Pillow, and what it does with odd and damaged files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, LimitExceeded, Unsupported
from drivers.formats.tiff import DRIVER
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, PixelSize
from tests.made.tiff import PLAIN, five, grey_tags, halves, noise, write_pages, write_raw

pytestmark = pytest.mark.usefixtures("files_closed")
RGB_PLAIN = PLAIN | {"photometric": "rgb"}


def whole(level: Level) -> Pixels:
    """All pixels of a level."""
    return paint(level, Box.of(level.shape))


def shown(path: Path) -> Pixels:
    """Level 0 of the only scene, as (height, width, channels)."""
    with open_slide(path) as slide:
        assert slide.driver == "tiff"
        (scene,) = slide.scenes
        return whole(scene.levels[0])[0, :, 0].transpose(1, 2, 0)


# -- pixels as stored --


@st.composite
def stored(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """An image and how it is written."""
    dtype = draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]))
    planar = draw(st.sampled_from([None, "contig", "separate"]))
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    layout = draw(st.sampled_from([{}, {"tile": (16, 32)}, {"rowsperstrip": 1}, {"rowsperstrip": 7}]))
    coding = draw(st.sampled_from([{}, {"compression": "deflate"}, {"compression": "lzw"}, {"compression": "zstd"}]))
    if coding and dtype not in ("u8", "i8"):
        coding = coding | {"predictor": draw(st.booleans())}
    shape = {None: (height, width), "contig": (height, width, 3), "separate": (3, height, width)}[planar]
    colour = {"photometric": "rgb", "planarconfig": planar} if planar else {"photometric": "minisblack"}
    return noise(shape, dtype), PLAIN | layout | coding | colour | {"byteorder": draw(st.sampled_from("<>"))}


@settings(max_examples=80)
@given(stored())
def test_every_storage_reads_as_written(tmp_path_factory: pytest.TempPathFactory, case: tuple[Any, Any]) -> None:
    pixels, options = case
    path = tmp_path_factory.mktemp("stored") / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    want = pixels.transpose(1, 2, 0) if options.get("planarconfig") == "separate" else pixels
    got = shown(path)
    assert got.dtype == pixels.dtype
    np.testing.assert_array_equal(got, want if want.ndim == 3 else want[..., None])


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_packed_samples(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (5, 21), dtype=np.uint16)
    rows = [np.unpackbits(row.astype(">u2").view("u1")).reshape(-1, 16)[:, 16 - bits :].ravel() for row in values]
    data = b"".join(np.packbits(row).tobytes() for row in rows)
    path = write_raw(tmp_path / "a.tif", [(grey_tags(5, 21, t258=(3, [bits]), t279=(4, [len(data)])), data)])
    np.testing.assert_array_equal(shown(path)[..., 0], values)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert scene.significant_bits == bits
        assert scene.dtype == (np.uint16 if bits == 12 else np.uint8)


def test_float24_is_float32(tmp_path: Path) -> None:
    data = b"\x00\x00\x3f\x00\x40\xc0\x00\x00\x00\x00\xfe\x4e"
    tags = grey_tags(1, 4, t258=(3, [24]), t339=(3, [3]), t279=(4, [12]))
    path = write_raw(tmp_path / "a.tif", [(tags, data)])
    np.testing.assert_array_equal(shown(path)[..., 0], tifffile.imread(path))
    assert shown(path).dtype == np.float32


def test_a_huge_strip_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, width, height = tmp_path / "a.tif", 20000, 20000
    write_raw(path, [(grey_tags(height, width, t273=(4, [4096]), t279=(4, [width * height])), b"")])
    row = noise((width,))
    with path.open("r+b") as file:
        file.truncate(4096 + width * height)  # a sparse file: 400 MB that take no room
        file.seek(4096 + width * 7000)
        file.write(row.tobytes())
    read, pread = [0], os.pread

    def counted(fd: int, count: int, offset: int) -> bytes:
        read[0] += count
        return pread(fd, count, offset)

    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert (level.compression, level.tile.y, level.tile.x) == ("none", 512, 2048)
        monkeypatch.setattr(os, "pread", counted)
        box = Box(Shape(0, 0, 0, 6999, 5000), Shape(1, 1, 1, 7002, 5600))
        np.testing.assert_array_equal(paint(level, box)[0, 0, 0], [np.zeros(600), row[5000:5600], np.zeros(600)])
        assert read[0] <= 2 * 512 * 2048


def test_any_box_from_any_thread(tmp_path: Path) -> None:
    pixels = noise((130, 150, 3))
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="deflate", tile=(32, 48), **RGB_PLAIN)
    with open_slide(tmp_path / "a.tif") as slide:
        level = slide.scenes[0].levels[0]

        def one(seed: int) -> bool:
            y, x, b, r = np.random.default_rng(seed).integers(0, 130, 4).tolist()
            top, bottom, left, right = min(y, b), max(y, b) + 1, min(x, r), max(x, r) + 1
            got = paint(level, Box(Shape(0, 0, 0, top, left), Shape(1, 3, 1, bottom, right)))
            return bool((got == five(pixels[top:bottom, left:right])).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(200)))


# -- orientation --


@settings(max_examples=60)
@given(
    st.integers(1, 8),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.sampled_from([{}, {"tile": (16, 16)}, {"rowsperstrip": 3, "compression": "deflate"}]),
    st.tuples(*[st.integers(0, 49)] * 4),
)
def test_orientation_as_pillow_shows_it(
    tmp_path_factory: pytest.TempPathFactory,
    orientation: int,
    size: tuple[int, int],
    layout: dict[str, Any],
    corners: tuple[int, int, int, int],
) -> None:
    path, tags = tmp_path_factory.mktemp("turned") / "a.tif", [(274, 3, 1, orientation, True)]
    tifffile.imwrite(path, noise((*size, 3)), extratags=tags, **(RGB_PLAIN | layout))
    with Image.open(path) as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(whole(level), five(want))
        y, x = sorted(corners[:2]), sorted(corners[2:])
        box = Box(Shape(0, 0, 0, y[0], x[0]), Shape(1, 3, 1, y[1], x[1])) & Box.of(level.shape)
        part = want[box.start.y : box.stop.y, box.start.x : box.stop.x]
        np.testing.assert_array_equal(paint(level, box), five(part))


def test_orientation_turns_levels_and_pixel_size(tmp_path: Path) -> None:
    turned = {"extratags": [(274, 3, 1, 6, True)], "tile": (16, 16), "photometric": "minisblack"}
    big, small = halves(noise((60, 90)), 1)
    pages = [
        (big, turned | {"resolution": (40000, 20000), "resolutionunit": "centimeter"}),
        (small, turned | {"subfiletype": 1}),
    ]
    with open_slide(write_pages(tmp_path / "a.tif", pages)) as slide:
        scene = slide.scenes[0]
        assert [tuple(level.shape)[3:] for level in scene.levels] == [(90, 60), (45, 30)]
        np.testing.assert_array_equal(whole(scene.levels[1]), five(np.rot90(small, -1)))
        assert scene.pixel_size == PixelSize(0.25, 0.5)


# -- colour --


def pillow(path: Path) -> Pixels:
    """The image in RGB, as Pillow converts it."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palette(tmp_path: Path, bits: int) -> None:
    count, width = 1 << bits, 32
    colormap = noise((3, count), "u2", bits)
    data = noise((4, width * bits // 8)).tobytes()
    tags = grey_tags(4, width, t258=(3, [bits]), t262=(3, [3]), t279=(4, [len(data)]))
    path = write_raw(tmp_path / "a.tif", [(tags | {320: (3, colormap.ravel().tolist())}, data)])
    np.testing.assert_array_equal(shown(path), pillow(path))
    with open_slide(path) as slide:
        assert slide.scenes[0].rgb
        assert slide.scenes[0].levels[0].fill == 0


@pytest.mark.parametrize("made", ["deep", "shifted", "times 257", "ones below", "bytes"])
def test_a_palette_of_16_bits_is_told_and_can_be_asked_for(tmp_path: Path, made: str) -> None:
    low = noise((3, 256), "u1").astype("u2")
    colormap = {
        "deep": noise((3, 256), "u2"), "shifted": low << 8, "times 257": low * 257, "ones below": low << 8 | 255,
        "bytes": low,
    }[made]  # fmt: skip
    indices = noise((20, 30), "u1", 5)
    tags = grey_tags(20, 30, t262=(3, [3]), t279=(4, [600])) | {320: (3, colormap.ravel().tolist())}
    with open_slide(write_raw(tmp_path / "a.tif", [(tags, indices.tobytes())])) as slide:
        deep = made == "deep"
        assert any("--associated palette-16" in word for word in slide.warnings) == deep
        assert list(slide.associated) == (["palette-16"] if deep else [])
        if deep:
            np.testing.assert_array_equal(slide.associated["palette-16"].read_block(), colormap.T[indices])


def test_a_palette_of_16_bits_beside_an_alpha(tmp_path: Path) -> None:
    """The image has the colours in 8 bits, and its alpha; the one beside it the colours alone, in 16."""
    colormap, pixels = noise((3, 256), "u2"), noise((20, 30, 2), "u1", 5)
    tags = grey_tags(20, 30, t258=(3, [8, 8]), t262=(3, [3]), t277=(3, [2]), t279=(4, [1200])) | {
        320: (3, colormap.ravel().tolist()),
        338: (3, [2]),
    }
    with open_slide(write_raw(tmp_path / "a.tif", [(tags, pixels.tobytes())])) as slide:
        shown = slide.scenes[0].read_block()
        np.testing.assert_array_equal(shown[..., :3], colormap.T[pixels[..., 0]] >> 8)
        np.testing.assert_array_equal(shown[..., 3], pixels[..., 1])
        assert any("--associated palette-16" in word for word in slide.warnings)
        np.testing.assert_array_equal(slide.associated["palette-16"].read_block(), colormap.T[pixels[..., 0]])


def test_palette_of_old_writers_holds_bytes(tmp_path: Path) -> None:
    colormap = noise((3, 256), "u1").astype("u2")
    tags = grey_tags(1, 256, t262=(3, [3])) | {320: (3, colormap.ravel().tolist())}
    path = write_raw(tmp_path / "a.tif", [(tags, bytes(range(256)))])
    np.testing.assert_array_equal(shown(path)[0], colormap.T)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_as_pillow_converts_it(tmp_path: Path, planar: str) -> None:
    ink, black = np.meshgrid(np.arange(256, dtype="u1"), np.arange(256, dtype="u1"))
    pixels = np.stack([ink, ink[::-1], noise((256, 256)), black], axis=-1)
    tifffile.imwrite(tmp_path / "pillow.tif", pixels, photometric="separated", **PLAIN)
    stored = pixels.transpose(2, 0, 1) if planar == "separate" else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", planarconfig=planar, tile=(64, 64), **PLAIN)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), pillow(tmp_path / "pillow.tif"))


def test_white_is_zero_bilevel(tmp_path: Path) -> None:
    pixels = noise((9, 20)) > 0
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", **PLAIN)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[..., 0], ~pixels)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[..., 0] * 255, pillow(tmp_path / "a.tif")[..., 0])


def test_ycbcr_without_jpeg(tmp_path: Path) -> None:
    pixels = noise((16, 16, 3))
    tags = grey_tags(16, 16, t262=(3, [6]), t277=(3, [3]), t258=(3, [8] * 3), t279=(4, [768]), t530=(3, [1, 1]))
    path = write_raw(tmp_path / "a.tif", [(tags, pixels.tobytes())])
    want = Image.frombytes("YCbCr", (16, 16), pixels.tobytes()).convert("RGB")
    np.testing.assert_allclose(shown(path).astype(int), np.asarray(want), atol=2)


@pytest.mark.parametrize(("kind", "word"), [(1, "associated"), (2, "unassociated")])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_alpha_is_a_channel(tmp_path: Path, kind: int, word: str, planar: str) -> None:
    pixels = noise((4, 20, 30))
    stored = pixels if planar == "separate" else pixels.transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=planar, extrasamples=(kind,), **RGB_PLAIN)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), pixels.transpose(1, 2, 0))
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.scenes[0].rgb
        assert slide.scenes[0].alpha == 3
        assert [f"({word} alpha)" in warning for warning in slide.warnings] == [True] * (kind == 1)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_unspecified_samples_are_channels(tmp_path: Path, planar: str) -> None:
    pixels = noise((5, 20, 30), "u2")
    stored = pixels if planar == "separate" else pixels.transpose(1, 2, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, extrasamples=(0,) * 4, **PLAIN
    )
    with open_slide(tmp_path / "a.tif") as slide:
        scene = slide.scenes[0]
        assert not scene.rgb
        np.testing.assert_array_equal(whole(scene.levels[0]), pixels[None, :, None])


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"t262": (3, [8])}, "CIELAB"),
        ({"t262": (3, [32803])}, "CFA"),
        ({"t259": (3, [6]), "t277": (3, [2]), "t258": (3, [8] * 2)}, "old-style JPEG"),
        ({"t259": (3, [60000])}, "60000"),
        ({"t258": (3, [64]), "t339": (3, [6]), "t256": (4, [1])}, "complex"),
        ({"t258": (3, [65535])}, "65535 bits"),
        (
            {"t259": (3, [5]), "t262": (3, [6]), "t277": (3, [3]), "t258": (3, [8] * 3), "t530": (3, [3, 1])},
            "reduced chroma",
        ),
    ],
)
def test_what_is_not_understood_is_refused_at_once(tmp_path: Path, tags: dict[str, Any], reason: str) -> None:
    path = write_raw(tmp_path / "a.tif", [(grey_tags(8, 8, **tags), bytes(64))])
    with pytest.raises(Unsupported, match=reason) as error:
        open_slide(path)
    assert str(error.value).startswith("a.tif: ")


# -- pyramids and pages --


def sizes(slide: Any, scene: int = 0) -> list[tuple[int, int, float]]:
    """Height, width, scale of each level."""
    return [(level.shape.y, level.shape.x, level.scale) for level in slide.scenes[scene].levels]


PYRAMID = [(101, 143, 1.0), (50, 71, 2.0), (25, 35, 4.0)]


@pytest.mark.parametrize("kind", ["reduced", "sub", "unlabelled", "shaped"])
def test_pyramids(tmp_path: Path, kind: str) -> None:
    images = halves(noise((101, 143, 3)), 2)
    options: dict[str, Any] = {"tile": (32, 32), "photometric": "rgb", "compression": "deflate"}
    if kind == "reduced":
        pages = [(image, options | {"subfiletype": int(i > 0)}) for i, image in enumerate(images)]
    elif kind == "unlabelled":
        pages = [(image, options) for image in images]
    else:
        options |= {} if kind == "sub" else {"metadata": {"made": True}}
        pages = [(image, options | ({"subifds": 2} if i == 0 else {"subfiletype": 1})) for i, image in enumerate(images)]
    with open_slide(write_pages(tmp_path / "a.tif", pages)) as slide:
        assert (len(slide.scenes), dict(slide.associated), list(slide.warnings)) == (1, {}, [])
        assert sizes(slide) == PYRAMID
        for level, image in zip(slide.scenes[0].levels, images, strict=True):
            np.testing.assert_array_equal(whole(level), five(image))


def test_a_stack_with_pyramids(tmp_path: Path) -> None:
    stack = [halves(noise((64, 80), "u2", seed), 1) for seed in range(3)]
    pages = [(image, {"photometric": "minisblack", "subfiletype": i}) for images in stack for i, image in enumerate(images)]
    with open_slide(write_pages(tmp_path / "a.tif", pages)) as slide:
        assert [tuple(level.shape) for level in slide.scenes[0].levels] == [(3, 1, 1, 64, 80), (3, 1, 1, 32, 40)]
        for i, level in enumerate(slide.scenes[0].levels):
            np.testing.assert_array_equal(whole(level)[:, 0, 0], [images[i] for images in stack])


def test_a_level_that_some_planes_lack_is_left_out(tmp_path: Path) -> None:
    grey = {"photometric": "minisblack"}
    big, small = halves(noise((64, 80)), 1)
    pages = [(big, grey), (small, grey | {"subfiletype": 1}), (big, grey)]
    with open_slide(write_pages(tmp_path / "a.tif", pages)) as slide:
        assert sizes(slide) == [(64, 80, 1.0)]
        assert slide.warnings == ["level 40x32 has 1 of 2 planes and is left out"]


def test_a_reduced_page_of_other_aspect_is_the_thumbnail(tmp_path: Path) -> None:
    thumbnails = [noise((30, 30, 3)), noise((20, 31, 3))]
    pages = [(noise((100, 200, 3)), {"photometric": "rgb"})]
    pages += [(image, {"photometric": "rgb", "subfiletype": 1}) for image in thumbnails]
    with open_slide(write_pages(tmp_path / "a.tif", pages)) as slide:
        assert sizes(slide) == [(100, 200, 1.0)]
        np.testing.assert_array_equal(whole(slide.associated["thumbnail"].levels[0]), five(thumbnails[0]))
        assert len(slide.warnings) == 1
        assert "31x20" in slide.warnings[0]


def test_images_that_do_not_halve_are_scenes(tmp_path: Path) -> None:
    images = [noise((64, 64)), noise((40, 40)), noise((64, 64), seed=2)]
    path = write_pages(tmp_path / "some.tif", [(image, {"photometric": "minisblack"}) for image in images])
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["some 0", "some 1"]
        assert [tuple(scene.shape) for scene in slide.scenes] == [(2, 1, 1, 64, 64), (1, 1, 1, 40, 40)]


def test_unlabelled_pages_keep_one_factor(tmp_path: Path) -> None:
    images = [noise((64, 64)), noise((32, 32)), noise((8, 8))]
    path = write_pages(tmp_path / "a.tif", [(image, {"photometric": "minisblack"}) for image in images])
    with open_slide(path) as slide:
        assert [len(scene.levels) for scene in slide.scenes] == [2, 1]


def test_a_mask_is_the_alpha_and_unreadable_pages_are_left_out_with_a_warning(tmp_path: Path) -> None:
    good, mask = grey_tags(8, 8), grey_tags(8, 8, t254=(4, [4]))
    other = grey_tags(4, 8, t262=(3, [9]))
    path = write_raw(tmp_path / "a.tif", [(good, bytes(64)), (mask, bytes(64)), (other, bytes(32))])
    with open_slide(path) as slide:
        assert [scene.alpha for scene in slide.scenes] == [1]
        assert ["ICCLAB" in text for text in slide.warnings] == [True]


@pytest.mark.parametrize(("size", "pages"), [(4, 1), (8, 2)], ids=["of another size", "of one of two planes"])
def test_a_mask_that_has_no_place_is_left_out_with_a_warning(tmp_path: Path, size: int, pages: int) -> None:
    good, mask = grey_tags(8, 8), grey_tags(size, size, t254=(4, [4]))
    path = write_raw(tmp_path / "a.tif", [(good, bytes(64)), (mask, bytes(size * size))] + [(good, bytes(64))] * (pages - 1))
    with open_slide(path) as slide:
        assert slide.scenes[0].alpha is None
        assert ["transparency masks" in text for text in slide.warnings] == [True]


# -- ImageJ, LSM, metadata --


@pytest.mark.parametrize("truncate", [False, True], ids=["pages", "one directory"])
def test_imagej_hyperstack(tmp_path: Path, truncate: bool) -> None:
    pixels = noise((2, 3, 4, 17, 23), "u2")  # t z c y x
    lut = np.zeros((3, 256), "u1")
    lut[1] = np.arange(256)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        imagej=True,
        truncate=truncate,
        resolution=(4, 2),
        metadata={
            "axes": "TZCYX",
            "unit": "um",
            "spacing": 1.5,
            "finterval": 0.25,
            "LUTs": [lut] * 4,
            "Ranges": tuple(float(i) for i in range(8)),
        },
    )
    with open_slide(tmp_path / "a.tif") as slide:
        scene = slide.scenes[0]
        np.testing.assert_array_equal(whole(scene.levels[0]), pixels.transpose(0, 2, 1, 3, 4))
        assert scene.pixel_size == PixelSize(0.5, 0.25, 1.5)
        assert scene.time_step_s == 0.25
        assert [(c.color, c.window) for c in scene.channels] == [
            ("00FF00", (float(2 * i), float(2 * i + 1))) for i in range(4)
        ]


def test_imagej_truncated_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((10, 64, 64), "u2"), imagej=True, truncate=True, metadata={"axes": "ZYX"})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(Damaged):
        open_slide(path)


@pytest.mark.parametrize("unit", ["pixel", "", "furlong"])
def test_imagej_units_without_a_length_are_unknown(tmp_path: Path, unit: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((9, 9)), imagej=True, resolution=(4, 4), metadata={"unit": unit})
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.scenes[0].pixel_size == PixelSize()


def lsm_info(**fields: Any) -> bytes:
    """CZ_LSMINFO, by the structure that tifffile knows."""
    info = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    for name, value in ({"MagicNumber": 67127628, "StructureSize": info.dtype.itemsize} | fields).items():
        info[name] = value
    return info.tobytes()


@pytest.mark.parametrize("channels", [2, 3])
def test_lsm(tmp_path: Path, channels: int) -> None:
    pixels, thumbnail = noise((channels, 8, 9)), noise((3, 4, 4))
    info = lsm_info(
        DimensionX=9, DimensionY=8, DimensionZ=1, DimensionChannels=channels, DimensionTime=1,
        VoxelSizeX=2e-7, VoxelSizeY=3e-7, VoxelSizeZ=1e-6, TimeIntervall=0.5,
    )  # fmt: skip
    planes = {258: (3, [8, 8, 8]), 262: (3, [2]), 277: (3, [channels]), 284: (3, [2])}
    offsets, counts = [8 + 72 * i for i in range(channels)], [72] * channels
    first = grey_tags(8, 9) | planes | {273: (4, offsets), 279: (4, counts), 34412: (1, info)}
    second = grey_tags(4, 4, t254=(4, [1]), t277=(3, [3]), t258=(3, [8] * 3), t262=(3, [2]), t279=(4, [48]))
    pages = [(first, pixels.tobytes()), (second, thumbnail.tobytes())]
    with open_slide(write_raw(tmp_path / "a.lsm", pages)) as slide:
        (scene,) = slide.scenes
        assert (scene.rgb, scene.levels[0].fill) == (False, 0)
        np.testing.assert_array_equal(whole(scene.levels[0])[0, :, 0], pixels)
        assert scene.pixel_size == PixelSize(*[pytest.approx(size) for size in (0.3, 0.2, 1.0)])
        assert scene.time_step_s == 0.5


def test_shaped_axes(tmp_path: Path) -> None:
    pixels = noise((2, 3, 5, 8, 9))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "ZCTYX"})
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels.transpose(2, 1, 0, 3, 4))


def test_unknown_axes_become_t_then_c(tmp_path: Path) -> None:
    pixels = noise((2, 3, 8, 9))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels[:, :, None])


def test_samples_in_planes_are_channels_of_a_series(tmp_path: Path) -> None:
    pixels = noise((4, 3, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate", metadata={"axes": "TCYX"})
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.scenes[0].rgb
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), pixels[:, :, None])


@pytest.mark.parametrize(
    ("per_unit", "unit", "want"),
    [(40000, 3, 0.25), (72, 2, None), (300, 2, None), (0, 3, None), (40000, 1, None), (50800, 2, 0.5)],
)
def test_resolution_tags_only_where_they_mean_something(tmp_path: Path, per_unit: int, unit: int, want: float | None) -> None:
    tags = grey_tags(8, 8, t282=(5, [per_unit, 1]), t283=(5, [per_unit, 1]), t296=(3, [unit]))
    with open_slide(write_raw(tmp_path / "a.tif", [(tags, bytes(64))])) as slide:
        assert slide.scenes[0].pixel_size == PixelSize(want, want)
    geo = tags | {34735: (3, [1, 1, 0, 0])}
    with open_slide(write_raw(tmp_path / "geo.tif", [(geo, bytes(64))])) as slide:
        assert slide.scenes[0].pixel_size == PixelSize()


def test_facts(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((8, 8, 3)),
        photometric="rgb",
        metadata=None,
        software="Made 1.0",
        datetime="2024:02:29 13:14:15",
        iccprofile=b"profile",
        extratags=[(271, 2, 0, "Maker", True), (272, 2, 0, "Model M", True)],
    )
    with open_slide(tmp_path / "a.tif") as slide:
        scene = slide.scenes[0]
        assert scene.facts.acquired == datetime(2024, 2, 29, 13, 14, 15)  # noqa: DTZ001 - TIFF knows no zone
        assert (scene.facts.software, scene.icc) == ("Made 1.0", b"profile")
        assert (scene.facts.microscope_manufacturer, scene.facts.microscope_model) == ("Maker", "Model M")
        assert (scene.name, scene.levels[0].fill, slide.files) == ("a", 255, [tmp_path / "a.tif"])


# -- damage --


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ({"t256": (4, [2**32 - 1]), "t257": (4, [2**32 - 1])}, LimitExceeded),
        ({"t256": (4, [0])}, Damaged),
        ({"t277": (3, [65535])}, LimitExceeded),
        ({"t273": (4, [2**31])}, Damaged),
        ({"t279": (4, [2**32 - 1])}, Damaged),
        ({"t279": (4, [63])}, Damaged),
        ({"t278": (4, [4])}, Damaged),
        ({"t322": (4, [0]), "t323": (4, [0]), "t324": (4, [8]), "t325": (4, [64])}, DriverError),
        ({"t256": (4, [32768]), "t257": (4, [32768]), "t278": (4, [32768]), "t259": (3, [8])}, LimitExceeded),
    ],
)
def test_claims_are_checked_before_anything_is_allocated(tmp_path: Path, tags: dict[str, Any], error: Any) -> None:
    path = write_raw(tmp_path / "a.tif", [(grey_tags(8, 8, **tags), bytes(64))])
    with pytest.raises(error) as raised:
        open_slide(path)
    assert "a.tif" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("compression", ["none", "deflate"])
@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.95])
def test_a_truncated_file_is_damaged(tmp_path: Path, compression: str, part: float) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((200, 100)), compression=None if compression == "none" else compression, **PLAIN)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part))
    with pytest.raises(Damaged), open_slide(path):
        pass


def test_a_tile_that_does_not_decode_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((64, 64)), compression="deflate", tile=(32, 32), photometric="minisblack", **PLAIN)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[3], tiff.pages.first.databytecounts[3]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box(Shape(0, 0, 0, 0, 0), Shape(1, 1, 1, 32, 32))).any()
        with pytest.raises(Damaged, match=r"^a\.tif: tile 1,1: "):
            whole(level)


@pytest.mark.parametrize("compression", ["jpeg2000", "png", "webp", "webp lossy"])
def test_a_picture_larger_than_its_tile_is_not_decoded(tmp_path: Path, compression: str) -> None:
    import imagecodecs

    encode = {
        "jpeg2000": (34712, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k")),
        "png": (34933, imagecodecs.png_encode),
        "webp": (50001, lambda pixels: imagecodecs.webp_encode(pixels, lossless=True)),
        "webp lossy": (50001, lambda pixels: imagecodecs.webp_encode(pixels, level=80, lossless=False)),
    }
    code, encoder = encode[compression]
    for side, fits in ((16, True), (17, False)):
        stream = encoder(np.full((side, 16, 3), 90, np.uint8))
        tags = grey_tags(16, 16, t259=(3, [code]), t262=(3, [2]), t277=(3, [3]), t258=(3, [8] * 3), t279=(4, [len(stream)]))
        with open_slide(write_raw(tmp_path / "a.tif", [(tags, stream)])) as slide:
            level = slide.scenes[0].levels[0]
            if fits:
                assert abs(whole(level).astype(int) - 90).max() < 4
            else:
                with pytest.raises(Damaged, match="16x17, the tile 16x16"):
                    whole(level)


def test_missing_tiles_show_the_fill_and_empty_ones_raise(tmp_path: Path) -> None:
    pixels = noise((64, 64, 3))
    for name, lost in (("absent.tif", (0, 0)), ("empty.tif", (8, 0))):
        path = tmp_path / name
        tifffile.imwrite(path, pixels, tile=(32, 32), **RGB_PLAIN)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            for code, value in zip((324, 325), lost, strict=True):
                tag = tiff.pages.first.tags[code]
                tag.overwrite((value, *tag.value[1:]))
    with open_slide(tmp_path / "absent.tif") as slide:
        level = slide.scenes[0].levels[0]
        want = pixels.copy()
        want[:32, :32] = 255
        np.testing.assert_array_equal(whole(level), five(want))
        assert len(level.index.gaps()) == 1
    with open_slide(tmp_path / "empty.tif") as slide, pytest.raises(Damaged, match="zero length"):
        whole(slide.scenes[0].levels[0])


# -- files of others --


def test_shared_samples_equal_tifffile_or_pillow(shared_samples: Path) -> None:
    for path in sorted((shared_samples / "tiff").glob("*.tif*")):
        if path.name == "libvips-subsampled.tif":  # neither reads it as libtiff does: test_chroma.py
            continue
        with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
            scene, page = slide.scenes[0], tiff.pages.first
            if page.tags.valueof(274, 1) != 1 or page.photometric == 5:
                with Image.open(path) as image:
                    want = np.asarray(ImageOps.exif_transpose(image.convert("RGB" if scene.rgb else image.mode)))
                np.testing.assert_array_equal(whole(scene.levels[0]), five(want), path.name)
                continue
            for level, series in zip(scene.levels, tiff.series[0].levels, strict=True):
                want = series.asarray()
                want = want.transpose(1, 2, 0) if series.axes == "SYX" else want
                got = whole(level)
                np.testing.assert_array_equal(got, want[None, None] if series.axes == "ZYX" else five(want), path.name)


def test_broken_files_are_errors_or_images(shared_samples: Path) -> None:
    for path in sorted((shared_samples / "broken").glob("*.tif")):
        try:
            with open_slide(path) as slide:
                for scene in slide.scenes:
                    assert whole(scene.levels[0]).size
        except DriverError as error:
            assert path.name in str(error), path.name  # noqa: PT017 - either outcome is right


def test_the_driver_is_the_last_resort() -> None:
    assert not DRIVER.specific
    assert DRIVER.matches(Path("x"), b"II*\0")
    assert DRIVER.matches(Path("x"), b"MM\0+")
    assert not DRIVER.matches(Path("x"), b"\x89PNG")
