"""What DICOM files keep beside the values: overlay planes and the opacities of palettes. Truth: pydicom, plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from converter.convert import Conversion, convert
from converter.errors import OptionError
from converter.options import Options
from drivers import open_slide
from tests.made.dicom import noise, ordinary, write
from tests.support.stores import SMALL

pytestmark = pytest.mark.usefixtures("files_closed")
COLORS = ("Red", "Green", "Blue", "Alpha")


def with_overlay(path: Path, *, frames: int = 1, beside: bool = True, codec: str = "none") -> Any:
    """A grey image of 21 x 30 with an overlay plane, in words of its own or in the high bits of the pixels."""
    grey = [noise((21, 30, 1), "u2") & np.uint16(0x0FFF) for _ in range(frames)]
    data = ordinary(grey, BitsStored=12)
    bits = np.random.default_rng(4).integers(0, 2, (frames, 21, 30), "u1")
    for tag, vr, value in ((0x10, "US", 21), (0x11, "US", 30), (0x15, "IS", frames), (0x40, "CS", "G"), (0x100, "US", 1)):
        data.add_new(0x60000000 | tag, vr, value)
    data.add_new(0x60000102, "US", 0 if beside else 12)
    if beside:
        packed = np.packbits(bits, bitorder="little").tobytes()
        data.add_new(0x60003000, "OW", packed + b"\0" * (len(packed) % 2))
    else:
        grey = [image | bits[i, ..., None].astype("u2") << 12 for i, image in enumerate(grey)]
    write(path, data, grey, codec)
    return grey


@pytest.mark.parametrize("frames", [1, 3])
def test_an_overlay_plane_is_an_image_that_can_be_asked_for(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "a.dcm"
    grey = with_overlay(path, frames=frames)
    truth = pydicom.dcmread(path).overlay_array(0x6000)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.scenes[0].read_block(), grey[0][..., 0])
        for t in range(frames):
            found = slide.associated["overlay-6000"].read_block(frames=(t, t + 1))
            np.testing.assert_array_equal(found, truth[t] if frames > 1 else truth)
    receipt = convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL)))
    assert any("--associated overlay-6000" in word for word in receipt.warnings)
    options: dict[str, Any] = {**SMALL, "associated": ("overlay-6000",)}
    convert(path, tmp_path / "b.zarr", Conversion(Options(**options)))
    assert (tmp_path / "b.zarr" / "associated" / "overlay-6000").is_dir()
    with pytest.raises(OptionError, match="strict"):  # text may name the patient
        convert(path, tmp_path / "c.zarr", Conversion(Options(**options, privacy="strict")))


@pytest.mark.parametrize(("codec", "frames"), [("none", 1), ("none", 3), ("rle", 2), ("big", 1), ("deflated", 1)])
def test_an_overlay_in_the_bits_of_the_pixels(tmp_path: Path, codec: str, frames: int) -> None:
    path = tmp_path / "a.dcm"
    grey = with_overlay(path, frames=frames, beside=False, codec=codec)
    with open_slide(path) as slide:
        assert any("overlay plane 6000 lies in bits" in word for word in slide.warnings)
        assert any("--associated overlay-6000" in word for word in slide.warnings)
        for t, image in enumerate(grey):
            np.testing.assert_array_equal(slide.scenes[0].read_block(frames=(t, t + 1)), image[..., 0] & 0x0FFF)
            overlay = slide.associated["overlay-6000"].read_block(frames=(t, t + 1))
            np.testing.assert_array_equal(overlay, image[..., 0] >> 12 & 1)


def test_an_overlay_in_bits_of_the_values_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    with_overlay(path, beside=False)
    data = pydicom.dcmread(path)
    data[0x60000102].value = 11
    data.save_as(path)
    with open_slide(path) as slide:
        assert not slide.associated
        assert any("in bit 11 of the pixels is not read and is left out" in word for word in slide.warnings)


@pytest.mark.parametrize("deep", [False, True])
def test_a_palette_with_opacities(tmp_path: Path, deep: bool) -> None:
    path, grey = tmp_path / "a.dcm", [noise((20, 30, 1), "u1")]
    table = noise((256, 4), "u2") if deep else noise((256, 4), "u1").astype("u2") << 8
    facts: dict[str, Any] = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in COLORS}
    facts |= {f"{c}PaletteColorLookupTableData": table[:, i].astype("<u2").tobytes() for i, c in enumerate(COLORS)}
    write(path, ordinary(grey, PhotometricInterpretation="PALETTE COLOR", **facts), grey)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (scene.alpha, scene.rgb, [c.name for c in scene.channels][-1]) == (3, True, "Alpha")
        np.testing.assert_array_equal(scene.read_block(), (table >> 8).astype("u1")[grey[0][..., 0]])
        assert any("16 bits" in word for word in slide.warnings) == deep
        assert any("--associated palette-16" in word for word in slide.warnings) == deep
        if deep:
            found = slide.associated["palette-16"]
            assert (found.alpha, found.dtype, found.significant_bits) == (3, np.uint16, None)
            np.testing.assert_array_equal(found.read_block(), table[grey[0][..., 0]])
    receipt = convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL)))
    assert any("--alpha keep" in word for word in receipt.warnings)
