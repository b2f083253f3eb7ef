"""Pages and files of a slide that nothing describes, or that a role has twice: told, and written when asked for.

Truth: the arrays that tifffile and pydicom wrote.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from converter.convert import Conversion, convert
from converter.errors import OptionError
from converter.options import Options
from drivers import open_slide
from tests.drivers.test_tiff_masks import SLIDES
from tests.made import ndpi
from tests.made.dicom import Wsi, make_wsi
from tests.made.tiff import PLAIN, noise
from tests.support.stores import SMALL

pytestmark = pytest.mark.usefixtures("files_closed")
SHOWN = noise((33, 47), "u1", 8)


def with_page(path: Path) -> int:
    """Put a page without a description at the end; its number."""
    with tifffile.TiffFile(path) as file:
        big, number = file.is_bigtiff, len(file.pages)
    with tifffile.TiffWriter(path, append=True, bigtiff=big) as file:
        file.write(SHOWN, photometric="minisblack", **PLAIN)
    return number


@pytest.mark.parametrize("kind", SLIDES)
def test_a_page_that_nothing_describes(tmp_path: Path, kind: str) -> None:
    path = SLIDES[kind](tmp_path)
    role = f"page-{with_page(path)}"
    with open_slide(path) as slide:
        assert [
            word for word in slide.warnings if f"(47x33) is neither a level nor a known image: --associated {role}" in word
        ]
        np.testing.assert_array_equal(slide.associated[role].read_block(), SHOWN)
    convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL, associated=(role,))))
    with open_slide(tmp_path / "a.zarr") as slide:
        np.testing.assert_array_equal(slide.associated[role].read_block(), SHOWN)
    with pytest.raises(OptionError, match="strict"):  # it may show the label
        convert(path, tmp_path / "b.zarr", Conversion(Options(**SMALL, associated=(role,), privacy="strict")))


def test_a_page_of_an_ndpi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, tags = ndpi.write_ndpi, ndpi._tags(SHOWN, 1, 1) | {65421: (11, [-3.0])}
    monkeypatch.setattr(ndpi, "write_ndpi", lambda path, pages, gap: write(path, [*pages, (SHOWN.tobytes(), tags)], gap))
    path = ndpi.make_ndpi(tmp_path / "a.ndpi", ndpi.Ndpi(size=(300, 400), stripe=200))
    with open_slide(path) as slide:
        role = next(role for role in slide.associated if role.startswith("page-"))
        assert [word for word in slide.warnings if f"--associated {role} " in word]
        np.testing.assert_array_equal(slide.associated[role].read_block(), SHOWN)


def test_a_second_label_of_a_dicom_slide(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "a.dcm", Wsi(size=(150, 130), steps=()))
    data = pydicom.dcmread(tmp_path / "a.dcm.label")
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    first = data.pixel_array
    data.PixelData = (255 - first).tobytes()
    data.save_as(tmp_path / "a.dcm.label2")
    with open_slide(path) as slide:
        assert [word for word in slide.warnings if "a.dcm.label2 is a further label image: --associated label-2" in word]
        np.testing.assert_array_equal(slide.associated["label"].read_block(), first)
        np.testing.assert_array_equal(slide.associated["label-2"].read_block(), 255 - first)


def reduced(path: Path) -> None:
    """An image with two reduced ones that are none of its levels."""
    with tifffile.TiffWriter(path) as file:
        file.write(noise((64, 96), "u1"), photometric="minisblack", **PLAIN)
        for shape in ((33, 47), (20, 47)):
            file.write(noise(shape, "u1", shape[0]), photometric="minisblack", subfiletype=1, **PLAIN)


def test_reduced_images_that_are_no_levels(tmp_path: Path) -> None:
    reduced(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert sorted(slide.associated) == ["thumbnail", "thumbnail-2"]
        assert [word for word in slide.warnings if "--associated thumbnail-2 writes it" in word]
        found = sorted((scene.read_block() for scene in slide.associated.values()), key=len)
        for one, shape in zip(found, ((20, 47), (33, 47)), strict=True):
            np.testing.assert_array_equal(one, noise(shape, "u1", shape[0]))
