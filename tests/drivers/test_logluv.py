"""SGI's LogLuv is CIE XYZ in floats, LogL refused. Truth: XYZ by numpy within its precision; libtiff exactly."""

from __future__ import annotations

from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Unsupported
from drivers.geometry import Box
from tests.made.tiff import grey_tags, write_raw

pytestmark = pytest.mark.usefixtures("files_closed")
TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""Of linear RGB with the primaries of ITU-R BT.709 and white D65."""


@pytest.mark.parametrize(("compression", "precision"), [(34676, 0.02), (34677, 0.06)])
def test_xyz(tmp_path: Path, compression: int, precision: float) -> None:
    rgb = np.random.default_rng(4).uniform(0.2, 9, (150, 70, 3)).astype("f4")
    path = tmp_path / "a.tif"
    assert cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert ([channel.name for channel in scene.channels], scene.rgb, scene.dtype) == (["X", "Y", "Z"], False, np.float32)
        assert any("CIE XYZ" in warning for warning in slide.warnings)
        level = scene.levels[0]
        got = paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)
    np.testing.assert_array_equal(got, imagecodecs.tiff_decode(path.read_bytes()))
    want = rgb @ TO_XYZ.T
    np.testing.assert_allclose(got[..., 1], want[..., 1], rtol=0.012 if compression == 34677 else 0.004)
    np.testing.assert_allclose(got, want, atol=precision * float(want.max()))


@pytest.mark.parametrize(
    ("compression", "photometric", "words"),
    [
        (34676, 32844, r"LogL \(luminance alone in SGILOG\) is decoded by no library here"),
        (1, 32844, "32844 in compression 1 is no LogLuv"),
        (1, 32845, "32845 in compression 1 is no LogLuv"),
        (34676, 2, "photometric interpretation 2 in compression 34676 is no LogLuv"),
        (34677, 32845, "LogLuv in 1 samples per pixel"),
    ],
)
def test_what_is_not_read_is_refused_truly(tmp_path: Path, compression: int, photometric: int, words: str) -> None:
    tags = grey_tags(4, 4, t258=(3, [16]), t259=(3, [compression]), t262=(3, [photometric]), t339=(3, [2]))
    with pytest.raises(Unsupported, match=words):
        open_slide(write_raw(tmp_path / "a.tif", [(tags, bytes(32))]))
