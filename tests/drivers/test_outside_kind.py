"""Variations outside a specific driver's kind: the general driver reads them, with a word, and damage stays an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from converter.options import Options
from converter.planning.slide import plan_slide
from drivers import open_slide, paint
from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.model import Level, Pixels, PixelSize

pytestmark = pytest.mark.usefixtures("files_closed")
REGION = "Aperio Image Library v12.4.6 \r\n2220x2967 [100,200 96x80] -> 96x80|AppMag = 20|MPP = 0.499"
MOTIC = "Motic V1.0.0 33152x25823 [0,0 33152x25823] [512x512] JPEG/RGB Q = 75|AppMag = 40|MPP = 0.257290"
RGB = np.random.default_rng(5).integers(0, 256, (80, 96, 3)).astype("u1")


def whole(level: Level) -> Pixels:
    """All pixels of a level."""
    return paint(level, Box.of(level.shape))


def tiff(path: Path, *pages: tuple[np.ndarray, dict[str, Any]]) -> Path:
    """A TIFF of pages as they are given."""
    with tifffile.TiffWriter(path, shaped=False, ome=False) as writer:
        for pixels, keywords in pages:
            writer.write(pixels, metadata=None, photometric="rgb" if pixels.shape[-1] == 3 else "minisblack", **keywords)
    return path


PHILIPS = '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"></DataObject>'


@pytest.mark.parametrize(
    ("name", "driver", "keywords"),
    [
        ("region.tif", "aperio", {"description": REGION}),
        ("region.svs", "aperio", {"description": REGION, "compression": "lzw", "rowsperstrip": 16}),
        ("motic.svs", "aperio", {"description": MOTIC}),
        ("philips.tiff", "philips", {"description": PHILIPS}),
    ],
)
def test_handed_on_with_the_reason(tmp_path: Path, name: str, driver: str, keywords: dict[str, Any]) -> None:
    with open_slide(tiff(tmp_path / name, (RGB, keywords))) as slide:
        assert slide.driver == "tiff"
        assert slide.warnings[0].startswith("read by the general driver tiff: "), driver
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, :, 0], RGB.transpose(2, 0, 1))


@pytest.mark.parametrize(("text", "size", "lens"), [(REGION, 0.499, 20), (MOTIC, 0.25729, 40)])
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_size_and_lens_of_the_description(tmp_path: Path, text: str, size: float, lens: float, tile: Any) -> None:
    with open_slide(tiff(tmp_path / "x.svs", (RGB, {"description": text, "tile": tile}))) as slide:
        scene = slide.scenes[0]
        assert (slide.driver, scene.pixel_size) == ("tiff" if tile is None else "aperio", PixelSize(size, size))
        assert scene.magnification == lens
        if tile and text is MOTIC:
            assert scene.facts.microscope_manufacturer == "Motic"


def test_damage_is_not_handed_on(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.svs", (RGB, {"description": REGION}))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Damaged):
        open_slide(path)


@pytest.mark.parametrize(
    ("offsets", "order", "spacing"),
    [
        ([2.0, -1.0, 0.5], [1, 2, 0], 1.5),
        ([0, 1, 2], [0, 1, 2], 1),
        ([0, 1, 5], [0, 1, 2], None),
        ([1, 1, 1], [0, 1, 2], None),
    ],
)
def test_focal_planes_by_their_offset(tmp_path: Path, offsets: list[float], order: list[int], spacing: float | None) -> None:
    pages = [
        (RGB // (i + 1), {"description": f"{REGION}|OffsetZ = {z:.6f}", "tile": (32, 32)}) for i, z in enumerate(offsets)
    ]
    thumbnail = (RGB[:20, :24], {"description": "Aperio Image Library v12.4.6 \r\n96x80 -> 24x20 - |AppMag = 20"})
    with open_slide(tiff(tmp_path / "x.svs", pages[0], thumbnail, *pages[1:])) as slide:
        scene = slide.scenes[0]
        assert (scene.shape.z, scene.pixel_size.z_um) == (3, spacing)
        for z, page in enumerate(order):
            np.testing.assert_array_equal(whole(scene.levels[0])[0, :, z], (RGB // (page + 1)).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        (["DNA1(Ir191Di)", "CD3(Er170Di)", "80ArAr(ArAr80Di)"], True),
        (["141Pr", "142Nd", "143Nd"], True),
        (["Page 1", "Page 2", "Page 3"], False),
        (["0", "1", "2"], False),
        (["a", "a", "b"], False),
        (["a", "b", ""], False),
    ],
)
def test_page_names_are_channels(tmp_path: Path, names: list[str], channels: bool) -> None:
    values = np.random.default_rng(2).random((3, 20, 30)).astype("f4")
    tags = [{"extratags": [(285, "s", 0, name, True)] if name else []} for name in names]
    with open_slide(tiff(tmp_path / "imc.tiff", *zip(values, tags, strict=True))) as slide:
        scene = slide.scenes[0]
        assert (scene.shape.c, scene.shape.t) == ((3, 1) if channels else (1, 3))
        if channels:
            assert [channel.name for channel in scene.channels] == names
        np.testing.assert_array_equal(whole(scene.levels[0]).reshape(3, 20, 30), values)


def test_a_compressed_strip_of_81_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    pixels = np.zeros((9000, 9000), "u1")
    pixels[8000, 7000] = 9
    tifffile.imwrite(path, pixels, compression="deflate", rowsperstrip=9000, metadata=None)
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        box = Box(level.shape._replace(t=0, c=0, z=0, y=7999, x=6999), level.shape._replace(t=1, c=1, z=1, y=8002, x=7002))
        assert paint(level, box)[0, 0, 0].tolist() == [[0, 0, 0], [0, 9, 0], [0, 0, 0]]


def test_an_associated_image_that_cannot_be_decoded_is_a_warning(tmp_path: Path) -> None:
    label = (RGB[:20, :24], {"compression": "deflate", "description": "Aperio Image Library\r\nlabel 24x20"})
    path = tiff(tmp_path / "x.svs", (RGB, {"description": REGION, "tile": (32, 32)}), label)
    with tifffile.TiffFile(path) as found:
        start, count = found.pages[1].dataoffsets[0], found.pages[1].databytecounts[0]
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(count) + data[start + count :])
    with open_slide(path) as slide:
        plan = plan_slide(slide, Options(associated=("label",)))
    assert [image.name for image in plan.images if image.index is None] == []
    assert any(w.startswith("the label image cannot be read and is left out: ") for w in plan.warnings)
