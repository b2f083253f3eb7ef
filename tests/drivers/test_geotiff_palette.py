"""Palettes of GeoTIFF, of which GDAL gives 8 bits, or the indices alone: held against what tifffile reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from tests.made.gdal import geo_tags
from tests.made.tiff import noise

pytest.importorskip("rasterio", reason="the extra gdal is not installed")
pytestmark = pytest.mark.usefixtures("files_closed")
LOW = noise((3, 256), "u1").astype("u2")
DEEP = noise((3, 256), "u2")
MAPS = {"deep": DEEP, "shifted": LOW << 8, "times 257": LOW * 257, "ones below": LOW << 8 | 255}


@pytest.fixture(scope="module", autouse=True)
def projections(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PROJ opens its database once, and leaves it open."""
    with open_slide(made(tmp_path_factory.mktemp("map") / "a.tif", DEEP)):
        pass


def made(path: Path, colormap: Any, dtype: str = "u1", **options: Any) -> Path:
    """A map of 40 x 50 pixels in palette colours."""
    tags = geo_tags(9001, (0.5, 0.25))
    image = noise((40, 50), dtype, 5)
    tifffile.imwrite(path, image, photometric="palette", colormap=colormap, extratags=tags, metadata=None, **options)
    return path


def truth(path: Path) -> Any:
    """The image in 16-bit colours, as tifffile reads the indices and the map."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        return np.asarray(page.colormap).T[page.asarray()]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32), "compression": "deflate"}], ids=["strips", "tiles"])
def test_palette_of_16_bits(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path, deep = made(tmp_path / "a.tif", MAPS[name], **options), name == "deep"
    with open_slide(path) as slide:
        assert slide.driver == "geotiff"
        shown = slide.scenes[0].read_block()[..., :3].astype(int)
        assert np.abs(shown - (truth(path) >> 8)).max() <= (1 if deep else 0)  # GDAL divides by 257
        told = [word for word in slide.warnings if "palette" in word]
        words = "the colours of the palette have 16 bits and are written with 8"
        assert told == ([f"{words}: --associated palette-16 writes the image with all"] if deep else [])
        assert list(slide.associated) == (["palette-16"] if deep else [])
        if deep:
            np.testing.assert_array_equal(slide.associated["palette-16"].read_block(), truth(path))


@pytest.mark.parametrize("deep", [True, False])
def test_indices_of_16_bits(tmp_path: Path, deep: bool) -> None:
    colormap = noise((3, 65536), "u2")
    path = made(tmp_path / "a.tif", colormap if deep else colormap >> 8 << 8, "u2")
    role = "palette-16" if deep else "palette"
    with open_slide(path) as slide:
        told = f"the indices of a palette are written: --associated {role} writes the image in its colours"
        assert [word for word in slide.warnings if "palette" in word] == [told]
        np.testing.assert_array_equal(slide.scenes[0].read_block(), tifffile.imread(path))
        found = slide.associated[role].read_block()
        np.testing.assert_array_equal(found, truth(path) if deep else truth(path) >> 8)
