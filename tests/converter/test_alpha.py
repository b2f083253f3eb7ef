"""`--alpha`: what may hold information is written, or said to be left out; the same rule for every format.

Truth: the arrays that tifffile, Pillow and imagecodecs were given, read back with zarr-python.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from converter.checking.verify import verify_store
from converter.convert import Conversion, convert
from converter.options import Options
from converter.receipt import Receipt
from drivers import open_slide
from drivers.block import BlockRequest, read_block
from tests.made import czi, zvi
from tests.made.gdal import deep_png, geo_tags, geotiff, palette_png
from tests.made.tiff import PLAIN, grey_tags, noise, write_raw
from tests.support.stores import SMALL, Array, ome, own, stored

pytestmark = pytest.mark.usefixtures("files_closed")
SIZE = (70, 90)
INKS = ["Cyan", "Magenta", "Yellow", "Black"]
NAMES = ["Red", "Green", "Blue", "Alpha"]


def pixels(samples: int, dtype: str = "u1") -> Array:
    """Noise (height, width, samples)."""
    return noise((*SIZE, samples), dtype)


def tif(samples: int, dtype: str = "u1", **tags: Any) -> Callable[[Path], Array]:
    """A TIFF of noise; planes where `planarconfig` says so."""

    def write(path: Path) -> Array:
        array = pixels(samples, dtype)
        planes = tags.get("planarconfig") == "separate"
        tifffile.imwrite(path, array.transpose(2, 0, 1) if planes else array, **(PLAIN | {"tile": (32, 48)} | tags))
        return array

    return write


def pillow(mode: str, **options: Any) -> Callable[[Path], Array]:
    """A picture by Pillow."""

    def write(path: Path) -> Array:
        array = pixels(len(mode))
        Image.fromarray(array).save(path, **options)
        return array

    return write


def bare_jp2(samples: int, dtype: str = "u1", form: str = "jp2") -> Callable[[Path], Array]:
    """JPEG 2000 that does not say which component is alpha."""

    def write(path: Path) -> Array:
        array = pixels(samples, dtype)
        path.write_bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat=form, reversible=True))
        return array

    return write


def clear_palette(path: Path) -> Array:
    """A palette with a transparent entry."""
    palette_png(path, clear=True)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


def clear_color(mode: str) -> Callable[[Path], Array]:
    """A PNG with one transparent colour (tRNS), as Pillow shows it."""

    def write(path: Path) -> Array:
        array = pixels(len(mode))
        array[5:9, 7:30] = array[0, 0]
        key = tuple(int(v) for v in array[0, 0])
        Image.fromarray(array.squeeze()).save(path, transparency=key if len(key) > 1 else key[0])
        with Image.open(path) as image:
            return np.asarray(image.convert(mode + "A"))

    return write


def clear_deep(path: Path) -> Array:
    """16-bit PNG with a transparent colour (W3C PNG 11.3.1.1: tRNS holds its samples)."""
    array = pixels(3, "u2")
    data, key = imagecodecs.png_encode(array), struct.pack(">3H", *(int(v) for v in array[3, 4]))
    chunk = struct.pack(">I", 6) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    path.write_bytes(data[:33] + chunk + data[33:])
    alpha = np.where((array == array[3, 4]).all(axis=-1, keepdims=True), 0, 65535).astype("u2")
    return np.concatenate([array, alpha], axis=-1)


def masked_tiff(samples: int, dtype: str = "u1", **tags: Any) -> Callable[[Path], Array]:
    """A TIFF whose second page is a transparency mask (TIFF 6.0: NewSubfileType 4, PhotometricInterpretation 4)."""

    def write(path: Path) -> Array:
        array, mask = pixels(samples, dtype), pixels(1)[..., 0] > 90
        with tifffile.TiffWriter(path) as file:
            colour = "rgb" if samples == 3 else "minisblack"
            file.write(array.squeeze(), photometric=colour, tile=(32, 48), **(PLAIN | tags))
            file.write(mask, photometric="mask", subfiletype=4, tile=(32, 48), **PLAIN)
        most = np.iinfo(array.dtype).max
        return np.concatenate([array, np.where(mask, most, 0).astype(dtype)[..., None]], axis=-1)

    return write


def deep(samples: int) -> Callable[[Path], Array]:
    """A PNG of 16 bits."""

    def write(path: Path) -> Array:
        deep_png(path, samples)
        return imagecodecs.png_decode(path.read_bytes())

    return write


def ome_tiff(samples: int, dtype: str = "u1", names: list[str] | None = None) -> Callable[[Path], Array]:
    """An OME-TIFF by tifffile, one Channel of many samples, or `names` for each."""

    def write(path: Path) -> Array:
        array = pixels(samples, dtype)
        tifffile.imwrite(path, array, photometric="rgb", metadata={"axes": "YXS"}, ome=True)
        if names:
            xml = str(tifffile.tiffcomment(path))
            start, stop = xml.index("<Channel"), xml.index("</Channel>") + 10
            each = "".join(f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1" Name="{n}"/>' for i, n in enumerate(names))
            tifffile.tiffcomment(path, (xml[:start] + each + xml[stop:]).encode())
        return array

    return write


def bgra_czi(codec: str) -> Callable[[Path], Array]:
    """A CZI of pixel type Bgra32 (ZEISS, CZI file format): two sub-blocks side by side."""

    def write(path: Path) -> Array:
        array = pixels(4)
        blocks = [czi.Block(array[:, x : x + 45], "Bgra32", codec, {"C": 0, "M": x // 45, "X": x, "Y": 0}) for x in (0, 45)]
        czi.make(path, czi.Czi(blocks))
        return array

    return write


def bgra_zvi(path: Path) -> Array:
    """A ZVI of pixel format 2: blue, green, red and a fourth byte."""
    array = pixels(4)
    zvi.make_zvi(path, zvi.Zvi([zvi.Plane(array)]))
    return array


def palette_alpha(path: Path) -> Array:
    """Palette indices with an alpha beside each."""
    array, table = pixels(2), noise((3, 256), "u2")
    tags = grey_tags(*SIZE, t262=(3, [3]), t277=(3, [2]), t258=(3, [8, 8]), t338=(3, [2]), t279=(4, [array.size]))
    write_raw(path, [(tags | {320: (3, table.ravel().tolist())}, array.tobytes())])
    return np.concatenate([(table >> 8).astype("u1").T[array[..., 0]], array[..., 1:]], axis=-1)


def cmyk_alpha(path: Path) -> Array:
    """CMYK and an alpha, as Pillow mixes the inks."""
    array = pixels(5)
    tifffile.imwrite(path, array, photometric="separated", extrasamples=(2,), tile=(32, 48), **PLAIN)
    mixed = np.asarray(Image.frombytes("CMYK", SIZE[::-1], array[..., :4].tobytes()).convert("RGB"))
    return np.concatenate([mixed, array[..., 4:]], axis=-1)


def bitmap(path: Path) -> Array:
    """A BMP of 32 bits a pixel whose header (BITMAPV4HEADER) says where the alpha is."""
    array = pixels(4)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII4I", 108, 90, -70, 1, 32, 3, array.size, 0, 0, 0, 0, *masks).ljust(108, b"\0")
    head = struct.pack("<2sIHHI", b"BM", 122 + array.size, 0, 0, 122)
    path.write_bytes(head + header + array[..., [2, 1, 0, 3]].tobytes())
    return array


def masked_map(path: Path) -> Array:
    """A GeoTIFF with a transparency mask."""
    whole = masked_tiff(3, extratags=geo_tags(9001, (1.0, 1.0)))(path)
    with open_slide(path) as slide:
        assert slide.driver == "geotiff"
    return whole


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and how many of its channels are written by default. `rgb`: as colours."""

    name: str
    write: Callable[[Path], Array]
    channels: int
    rgb: bool = False
    names: list[str] | None = None


MANY = ("unassalpha",)
CASES = [
    Case("rgba.tif", tif(4, photometric="rgb", extrasamples=MANY), 3, rgb=True),
    Case("rgba-associated.tif", tif(4, photometric="rgb", extrasamples=("assocalpha",)), 3, rgb=True),
    Case("rgba-planes.tif", tif(4, photometric="rgb", extrasamples=MANY, planarconfig="separate"), 3, rgb=True),
    Case("rgba-rows.tif", tif(4, photometric="rgb", extrasamples=MANY, tile=None), 3, rgb=True),
    Case(
        "rgbx.tif", tif(4, photometric="rgb", extrasamples=("unspecified",)), 4, names=["Red", "Green", "Blue", "Channel 3"]
    ),
    Case("rgba16.tif", tif(4, "u2", photometric="rgb", extrasamples=MANY), 4, names=NAMES),
    Case("rgba-float.tif", tif(4, "f4", photometric="rgb", extrasamples=MANY), 4, names=NAMES),
    Case("la.tif", tif(2, photometric="minisblack", extrasamples=MANY), 2, names=["Channel 0", "Alpha"]),
    Case("two-alphas.tif", tif(5, photometric="rgb", extrasamples=MANY * 2), 5),
    Case("nir-alpha.tif", tif(5, photometric="rgb", extrasamples=("unspecified", *MANY)), 5),
    Case("forty.tif", tif(40, "u2", photometric="rgb", extrasamples=MANY * 37), 40),
    Case("forty8.tif", tif(40, photometric="rgb", extrasamples=MANY * 37), 40),
    Case("forty-planes.tif", tif(40, photometric="rgb", extrasamples=MANY * 37, planarconfig="separate"), 40),
    Case("grey-many.tif", tif(7, "u2", photometric="minisblack", extrasamples=MANY * 6), 7),
    Case("cmyk.tif", cmyk_alpha, 3, rgb=True),
    Case("inks.tif", tif(6, photometric="separated", extrasamples=MANY * 2), 6, names=[*INKS, "Channel 4", "Channel 5"]),
    Case("rgba.ome.tif", ome_tiff(4), 3, rgb=True),
    Case("rgba16.ome.tif", ome_tiff(4, "u2"), 4, names=NAMES),
    Case("dyes.ome.tif", ome_tiff(4, names=["DAPI", "FITC", "Cy3", "Cy5"]), 4, names=["DAPI", "FITC", "Cy3", "Cy5"]),
    Case("rgba.png", pillow("RGBA"), 3, rgb=True),
    Case("la.png", pillow("LA"), 2, names=["Channel 0", "Alpha"]),
    Case("rgba16.png", deep(4), 4, names=NAMES),
    Case("palette.tif", palette_alpha, 3, rgb=True),
    Case("palette.png", clear_palette, 3, rgb=True),
    Case("rgba.webp", pillow("RGBA", lossless=True, exact=True), 3, rgb=True),
    Case("rgba.jp2", pillow("RGBA"), 3, rgb=True),
    Case("la.jp2", pillow("LA"), 2, names=["Channel 0", "Alpha"]),
    Case("tiles.jp2", pillow("RGBA", tile_size=(64, 64)), 3, rgb=True),
    Case("unsaid.jp2", bare_jp2(4), 3, rgb=True),
    Case("unsaid.j2k", bare_jp2(4, form="j2k"), 3, rgb=True),
    Case("unsaid16.jp2", bare_jp2(4, "u2"), 4, names=["Red", "Green", "Blue", "Channel 3"]),
    Case("five.jp2", bare_jp2(5), 5),
    Case("mask.tif", masked_tiff(3), 3, rgb=True),
    Case("mask-of-16.tif", masked_tiff(3, "u2"), 4, names=NAMES),
    Case("mask-of-grey.tif", masked_tiff(1), 2, names=["Channel 0", "Alpha"]),
    Case("clear.png", clear_color("RGB"), 3, rgb=True),
    Case("clear-grey.png", clear_color("L"), 2, names=["Channel 0", "Alpha"]),
    Case("clear16.png", clear_deep, 4, names=NAMES),
    Case("bgra.czi", bgra_czi("none"), 3, rgb=True),
    Case("packed.czi", bgra_czi("zstd1"), 3, rgb=True),
    Case("bgra.zvi", bgra_zvi, 3, rgb=True),
    Case("bgra.bmp", bitmap, 3, rgb=True),
    Case("masked-map.tif", masked_map, 3, rgb=True),
]


def run(path: Path, target: Path, **options: Any) -> tuple[Receipt, Array]:
    """Convert; the receipt, and level 0 as (height, width, channels)."""
    receipt = convert(path, target, Conversion(Options(**{**SMALL, "verify": "full", **options})))
    found = stored(target, "0")
    return receipt, np.moveaxis(found.reshape(found.shape[-3:]), 0, -1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_written_and_said(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    whole = case.write(path)
    receipt, found = run(path, tmp_path / "a.zarr", layout="image")
    np.testing.assert_array_equal(found, whole[..., : case.channels])
    dropped = [w for w in receipt.warnings if "--alpha keep" in w]
    assert len(dropped) == (case.channels < whole.shape[-1])
    channels = ome(tmp_path / "a.zarr")["omero"]["channels"]
    labels = [channel["label"] for channel in channels]
    assert labels == (NAMES[:3] if case.rgb else case.names or [f"Channel {c}" for c in range(case.channels)])
    assert all(channel["active"] == (channel["label"] != "Alpha") for channel in channels[:6])


@pytest.mark.parametrize("case", [case for case in CASES if case.rgb], ids=lambda case: case.name)
def test_kept_where_it_is_asked_for(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    whole = case.write(path)
    receipt, found = run(path, tmp_path / "a.zarr", alpha="keep")
    np.testing.assert_array_equal(found, whole)
    assert not [w for w in receipt.warnings if "left out" in w]
    channels = ome(tmp_path / "a.zarr")["omero"]["channels"]
    assert [(c["label"], c["active"]) for c in channels] == list(zip(NAMES, [True, True, True, False], strict=True))


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_the_mask_of_gdal_and_those_of_its_overviews(tmp_path: Path) -> None:
    """Truth: what GDAL itself reads of the file that it wrote."""
    rasterio = pytest.importorskip("rasterio", reason="the extra gdal is not installed")
    path, array, mask = tmp_path / "a.tif", noise((3, 600, 700), "u1"), noise((600, 700), "u1") > 120
    shape = {"driver": "GTiff", "count": 3, "height": 600, "width": 700, "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", **shape, photometric="rgb", tiled=True, blockxsize=128, blockysize=128) as file:
            file.write(array)
            file.write_mask(mask)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2], rasterio.enums.Resampling.nearest)
    with rasterio.open(path) as full, rasterio.open(path, overview_level=0) as half, open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, scene.alpha, len(scene.levels)) == ("tiff", 3, 2)
        for level, truth in zip(scene.levels, (full, half), strict=True):
            block = read_block([replace(level, scale=1.0)], BlockRequest(None, None, None, (0, 1), (0, 1)))
            np.testing.assert_array_equal(block[..., :3], np.moveaxis(truth.read(), 0, -1))
            np.testing.assert_array_equal(block[..., 3], truth.read_masks(1))


def test_geotiff_of_many_bands(tmp_path: Path) -> None:
    """GDAL calls the fourth of four bands alpha where the tag does, and 37 of 40 as well."""
    for samples, written in ((4, 3), (40, 40)):
        path = tmp_path / f"{samples}.tif"
        geotiff(path)
        with tifffile.TiffFile(path) as file:
            keys = [(t.code, t.dtype, t.count, t.value, True) for t in file.pages.first.tags if 33000 < t.code < 35000]
        array = pixels(samples)
        tifffile.imwrite(path, array, photometric="rgb", extrasamples=MANY * (samples - 3), extratags=keys, **PLAIN)
        with open_slide(path) as slide:
            assert slide.driver == "geotiff"
        _, found = run(path, tmp_path / f"{samples}.zarr")
        np.testing.assert_array_equal(found, array[..., :written])


def test_verify_reads_the_option_from_the_receipt(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tif(4, photometric="rgb", extrasamples=MANY)(path)
    for alpha in ("drop", "keep"):
        store = tmp_path / f"{alpha}.zarr"
        run(path, store, alpha=alpha)
        assert own(store)["options"]["alpha"] == alpha
        with open_slide(path) as slide:
            report = verify_store(store, slide=slide, depth="full")
        assert report.ok
        assert report.compared


def test_inspect_shows_the_alpha(tmp_path: Path) -> None:
    from converter.inspection import inspection

    path = tmp_path / "a.png"
    pillow("RGBA")(path)
    with open_slide(path) as slide:
        scene = inspection(slide)["scenes"][0]
        assert (scene["alpha"], scene["rgb"], scene["shape"]["c"]) == (3, True, 4)
        assert [channel["name"] for channel in scene["channels"]] == NAMES
        assert slide.scenes[0].read_block((0, 0, 5, 4), channels=[0, 3]).shape == (4, 5, 2)
