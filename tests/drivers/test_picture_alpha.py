"""Alpha that GDAL does not give as a band: masks of maps, masks of bitmaps, the transparent colour of a PNG.

Truth: rasterio's own masks, Pillow, imagecodecs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide
from drivers.block import BlockRequest, read_block
from drivers.errors import Damaged, Unsupported
from drivers.model import Level
from tests.made.gdal import chunk
from tests.made.tiff import noise
from tests.support.stores import SMALL

rasterio = pytest.importorskip("rasterio", reason="the extra gdal is not installed")
pytestmark = pytest.mark.usefixtures("files_closed")
BGR, ALPHA = (0xFF0000, 0xFF00, 0xFF), 0xFF000000


@dataclass(frozen=True, slots=True)
class Map:
    """A map with a mask; `opaque` as it is shown."""

    name: str
    count: int
    dtype: str
    opaque: float
    more: dict[str, Any] = field(default_factory=dict[str, Any])


MAPS = [
    Map("rgb", 3, "uint8", 255, {"photometric": "rgb"}),
    Map("jpeg", 3, "uint8", 255, {"photometric": "ycbcr", "compress": "jpeg"}),
    Map("bands", 3, "uint8", 255, {"photometric": "rgb", "interleave": "band"}),
    Map("grey", 1, "uint8", 255),
    Map("heights", 1, "float32", 1),
    Map("depths", 1, "int16", 32767),
    Map("six", 6, "uint16", 65535),
    Map("twelve-bits", 1, "uint16", 4095, {"nbits": 12}),
]


@pytest.fixture(scope="module", autouse=True)
def projections(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PROJ opens its database once, and leaves it open."""
    map_with_mask(tmp_path_factory.mktemp("map") / "a.tif", MAPS[0])


def map_with_mask(path: Path, case: Map) -> None:
    """A GeoTIFF with a mask and an overview, as GDAL writes it."""
    array, mask = noise((case.count, 300, 350), "u1").astype(case.dtype), noise((300, 350), "u1") > 120
    shape = {"driver": "GTiff", "count": case.count, "height": 300, "width": 350, "dtype": case.dtype}
    place = {"transform": rasterio.Affine(1, 0, 5, 0, -1, 5), "tiled": True, "blockxsize": 128, "blockysize": 128}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", **shape, **place, **case.more) as file:
            file.update_tags(AREA_OR_POINT="Point")  # a key of GeoTIFF
            file.write(array)
            file.write_mask(mask)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2], rasterio.enums.Resampling.nearest)


def pixels_of(level: Level) -> Any:
    """(height, width, channels)."""
    return read_block([replace(level, scale=1.0)], BlockRequest(None, None, None, (0, 1), (0, 1)))


@pytest.mark.parametrize("case", MAPS, ids=lambda case: case.name)
def test_the_mask_of_a_map_is_its_alpha(tmp_path: Path, case: Map) -> None:
    path = tmp_path / "a.tif"
    map_with_mask(path, case)
    with rasterio.open(path) as full, rasterio.open(path, overview_level=0) as half, open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, scene.alpha, len(scene.levels), slide.warnings) == ("geotiff", case.count, 2, [])
        for level, truth in zip(scene.levels, (full, half), strict=True):
            block, mask = pixels_of(level), truth.read_masks(1)
            assert {0, 255} == set(np.unique(mask).tolist())
            np.testing.assert_array_equal(block[..., :-1], np.moveaxis(truth.read(), 0, -1))
            np.testing.assert_array_equal(block[..., -1], np.where(mask > 0, case.opaque, 0))


@pytest.mark.parametrize(
    "case",
    [
        Map("rgba", 4, "uint8", 255, {"photometric": "rgb", "alpha": "yes"}),
        Map("rgba-of-16", 4, "uint16", 65535, {"photometric": "rgb", "alpha": "yes"}),
        Map("grey-alpha", 2, "uint8", 255, {"alpha": "yes"}),
    ],
    ids=lambda case: case.name,
)
def test_the_mask_of_a_map_with_an_alpha_is_an_image_beside_it(tmp_path: Path, case: Map) -> None:
    path = tmp_path / "a.tif"
    map_with_mask(path, case)
    with rasterio.open(path) as truth, open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, scene.alpha) == ("geotiff", case.count - 1)
        np.testing.assert_array_equal(pixels_of(scene.levels[0]), np.moveaxis(truth.read(), 0, -1))
        assert [word for word in slide.warnings if "--associated mask" in word]
        mask = truth.read_masks(1)
        assert {0, 255} == set(np.unique(mask).tolist())
        np.testing.assert_array_equal(slide.associated["mask"].read_block(), mask)
    options = Options(**SMALL, associated=("mask",))
    convert(path, tmp_path / "a.zarr", Conversion(options))
    with open_slide(tmp_path / "a.zarr") as slide:
        np.testing.assert_array_equal(slide.associated["mask"].read_block(), mask)


def test_the_mask_of_a_map_of_palette_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    map_with_mask(path, Map("palette", 1, "uint8", 255, {"photometric": "palette"}))
    with rasterio.open(path) as file, open_slide(path) as slide:
        block = pixels_of(slide.scenes[0].levels[0])
        table = np.array([file.colormap(1)[i][:3] for i in range(256)], "u1")
        np.testing.assert_array_equal(block[..., :3], table[file.read(1)])
        np.testing.assert_array_equal(block[..., 3], file.dataset_mask())


def test_no_data_is_no_mask(tmp_path: Path) -> None:
    """The values tell it already, and are kept."""
    path = tmp_path / "a.tif"
    case = Map("no data", 1, "uint8", 255, {"nodata": 7})
    array = noise((1, 40, 50), "u1")
    shape = {"driver": "GTiff", "count": 1, "height": 40, "width": 50, "dtype": case.dtype}
    with rasterio.open(path, "w", **shape, **case.more, transform=rasterio.Affine(1, 0, 5, 0, -1, 5)) as file:
        file.update_tags(AREA_OR_POINT="Point")
        file.write(array)
    with open_slide(path) as slide:
        assert (slide.driver, slide.scenes[0].alpha) == ("geotiff", None)
        np.testing.assert_array_equal(slide.scenes[0].read_block(), array[0])


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A BMP: masks of red, green, blue, alpha; size of the header; bits of a pixel."""

    name: str
    masks: tuple[int, int, int, int]
    samples: int
    header: int = 108
    bits: int = 32
    packed: int = 3
    downwards: bool = False


BITMAPS = [
    Bitmap("v4", (*BGR, ALPHA), 4),
    Bitmap("v5", (*BGR, ALPHA), 4, header=124),
    Bitmap("v3", (*BGR, ALPHA), 4, header=56),
    Bitmap("no-alpha", (*BGR, 0), 3),
    Bitmap("v2", (*BGR, 0), 3, header=52),
    Bitmap("downwards", (*BGR, ALPHA), 4, downwards=True),
    Bitmap("red-first", (0xFF, 0xFF00, 0xFF0000, ALPHA), 4),
    Bitmap("alpha-first", (ALPHA, 0xFF0000, 0xFF00, 0xFF), 4),
    Bitmap("unused-first", (ALPHA, 0xFF0000, 0xFF00, 0), 3),
    Bitmap("info-header", (0xFF, 0xFF00, 0xFF0000, 0), 3, header=40),
    Bitmap("1555", (0x7C00, 0x3E0, 0x1F, 0x8000), 4, bits=16),
]


BEYOND_PILLOW = ("1555", "info-header")
"""imagecodecs gives the latter a fourth sample, which it takes from the first pixel."""


def bitmap(path: Path, case: Bitmap) -> None:
    """Noise of 70 x 91 pixels."""
    data = noise((70, (case.bits * 91 + 31) // 32 * 4), "u1").tobytes()
    height, behind = -70 if case.downwards else 70, 12 if case.header == 40 and case.packed == 3 else 0
    sizes = struct.pack("<IiiHHIIiiII", case.header, 91, height, 1, case.bits, case.packed, len(data), 0, 0, 0, 0)
    header = (sizes + struct.pack("<4I", *case.masks)).ljust(case.header + behind, b"\0")[: case.header + behind]
    path.write_bytes(struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data)


def as_pillow(path: Path) -> Any:
    """(height, width, samples)."""
    with Image.open(path) as image:
        return np.asarray(image)


def as_imagecodecs(path: Path) -> Any:
    """(height, width, samples)."""
    return imagecodecs.bmp_decode(path.read_bytes())


@pytest.mark.parametrize("case", BITMAPS, ids=lambda case: case.name)
def test_bitmaps_as_their_masks_say(tmp_path: Path, case: Bitmap) -> None:
    path = tmp_path / "a.bmp"
    bitmap(path, case)
    truth = as_imagecodecs(path) if case.name in BEYOND_PILLOW else as_pillow(path)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (scene.rgb, scene.alpha) == (True, 3 if case.samples == 4 else None)
        np.testing.assert_array_equal(scene.read_block(), truth[..., : case.samples])


def test_a_fourth_byte_of_which_the_header_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    bitmap(path, Bitmap("plain", (0, 0, 0, 0), 4, header=40, packed=0))
    with open_slide(path) as slide:
        assert any("fourth byte" in word for word in slide.warnings)
        block = slide.scenes[0].read_block()
    np.testing.assert_array_equal(block[..., :3], as_pillow(path))
    np.testing.assert_array_equal(block[..., 3], noise((70, 364), "u1")[::-1, 3::4])
    data = np.frombuffer(path.read_bytes(), "u1").copy()
    data[54 + 3 :: 4] = 255  # the same everywhere: nothing
    path.write_bytes(data.tobytes())
    with open_slide(path) as slide:
        assert (slide.scenes[0].alpha, slide.warnings) == (None, [])


def test_a_bitmap_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    bitmap(path, BITMAPS[0])
    path.write_bytes(path.read_bytes()[:-1])
    with open_slide(path) as slide, pytest.raises(Damaged, match="truncated"):
        slide.scenes[0].read_block()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_alpha_of_few_bits_is_on_the_scale_of_the_values(tmp_path: Path, bits: int) -> None:
    """libpng spreads greys of 1, 2 and 4 bits over 0 to 255, and so their alpha; here the values are as stored."""
    path, most = tmp_path / "a.png", (1 << bits) - 1
    grey = Image.fromarray(noise((30, 40), "u1") & np.uint8(most))
    grey.putpalette([value for i in range(256) for value in (i, i, i)])
    grey.save(path, bits=bits)
    data = path.read_bytes()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 30, bits, 0, 0, 0, 0))
    start = data.index(b"IDAT") - 4
    path.write_bytes(data[:8] + head + chunk(b"tRNS", struct.pack(">H", most // 2)) + data[start:])
    truth = imagecodecs.png_decode(path.read_bytes()).astype(int) * most // 255
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (scene.alpha, scene.significant_bits) == (1, None if bits == 8 else bits)
        np.testing.assert_array_equal(scene.read_block(), truth)
        assert {0, most} == set(np.unique(truth[..., 1]).tolist())


def box(name: bytes, body: bytes) -> bytes:
    """A box of a JP2 file (ITU-T T.800 annex I)."""
    return struct.pack(">I4s", 8 + len(body), name) + body


def cdef(*rows: tuple[int, int, int]) -> bytes:
    """What each channel is: (channel, 0 colour or 1 opacity or 2 premultiplied opacity, which colour)."""
    return box(b"cdef", struct.pack(">H", len(rows)) + b"".join(struct.pack(">HHH", *row) for row in rows))


def palette(table: Any, *mapped: tuple[int, int, int]) -> bytes:
    """pclr and cmap: (component, 1 by the palette, column) of each channel."""
    entries = box(b"pclr", struct.pack(">HB", *table.shape) + b"\7" * table.shape[1] + table.tobytes())
    return entries + box(b"cmap", b"".join(struct.pack(">HBB", *one) for one in mapped))


def jp2(path: Path, components: Any, more: bytes, space: int = 16) -> None:
    """A JP2 file around components (height, width, samples)."""
    stream = imagecodecs.jpeg2k_encode(components, level=0, codecformat="j2k", reversible=True)
    head = box(b"ihdr", struct.pack(">IIHBBBB", *components.shape, 7, 7, 0, 0))
    head += box(b"colr", struct.pack(">BbBI", 1, 0, 0, space)) + more
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    path.write_bytes(start + box(b"jp2h", head) + box(b"jp2c", stream))


FOUR, INDEX, TABLE = noise((40, 50, 4), "u1"), noise((40, 50, 2), "u1") & np.uint8(15), noise((16, 4), "u1")
BY_TABLE = [(0, 1, column) for column in range(4)]
RGB = ((0, 0, 1), (1, 0, 2), (2, 0, 3))
JP2 = {
    "palette": (INDEX[..., :1], palette(TABLE, *BY_TABLE) + cdef(*RGB, (3, 1, 0)), TABLE[INDEX[..., 0]], 3),
    "alpha-first": (FOUR, cdef((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)), FOUR[..., [1, 2, 3, 0]], 3),
    "blue-first": (FOUR, cdef((0, 0, 3), (1, 0, 2), (2, 0, 1), (3, 1, 0)), FOUR[..., [2, 1, 0, 3]], 3),
    "multiplied": (FOUR, cdef(*RGB, (3, 2, 0)), FOUR, 3),
    "five": (noise((40, 50, 5), "u1"), cdef(*RGB, (3, 1, 0), (4, 1, 1)), noise((40, 50, 5), "u1"), None),
}


@pytest.mark.parametrize("name", JP2)
def test_jpeg2000_by_its_boxes(tmp_path: Path, name: str) -> None:
    path, (components, more, truth, alpha) = tmp_path / "a.jp2", JP2[name]
    jp2(path, components, more)
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(path.read_bytes()), truth)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert scene.alpha == alpha
        np.testing.assert_array_equal(scene.read_block(), truth)
        assert slide.warnings == (
            ["the colours are stored multiplied by their alpha, and are left so"] if name == "multiplied" else []
        )


def test_a_palette_for_some_of_the_components_is_refused(tmp_path: Path) -> None:
    """GDAL gives the indices as grey."""
    path = tmp_path / "a.jp2"
    jp2(path, INDEX, palette(TABLE[:, :3], *BY_TABLE[:3], (1, 0, 0)) + cdef(*RGB, (3, 1, 0)))
    with pytest.raises(Unsupported, match="palette for some"):
        open_slide(path)
