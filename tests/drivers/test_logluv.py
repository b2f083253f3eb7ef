"""SGI's LogLuv is CIE XYZ in floats, LogL its Y. Truth: XYZ by numpy within its precision; libtiff exactly."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import rasterio

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


def in_runs(row: bytes) -> bytes:
    """Bytes in runs as SGILOG has them: 128 + n - 2 and a byte that is repeated n times, or n and n bytes."""
    coded, at = bytearray(), 0
    while at < len(row):
        same = next((n for n in range(1, min(129, len(row) - at)) if row[at + n] != row[at]), min(129, len(row) - at))
        if same >= 4:
            coded += bytes([126 + same, row[at]])
            at += same
        else:
            coded += bytes([1, row[at]])
            at += 1
    return bytes(coded)


@pytest.mark.parametrize(("bits", "kind"), [(16, 2), (16, 1), (32, 3)])  # as libtiff's writers say of the same codes
@pytest.mark.parametrize("rows", [11, 4])
@pytest.mark.parametrize("compression", [34676, 34677])
def test_luminance(tmp_path: Path, compression: int, rows: int, bits: int, kind: int) -> None:
    codes = np.random.default_rng(2).integers(0, 1 << 16, (11, 40)).astype("u2")
    codes[0, :20], codes[1, :6] = 0x4000, [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    strips = [
        b"".join(in_runs(half.astype("u1").tobytes()) for row in codes[top : top + rows] for half in (row >> 8, row & 255))
        for top in range(0, 11, rows)
    ]
    tags = grey_tags(11, 40, t258=(3, [bits]), t259=(3, [compression]), t262=(3, [32844]), t339=(3, [kind]), t278=(4, [rows]))
    sizes = [len(strip) for strip in strips]
    tags |= {273: (4, [8 + sum(sizes[:i]) for i in range(len(sizes))]), 279: (4, sizes)}
    with open_slide(write_raw(tmp_path / "a.tif", [(tags, b"".join(strips))])) as slide:
        (scene,) = slide.scenes
        assert ([channel.name for channel in scene.channels], scene.rgb, scene.dtype) == (["Y"], False, np.float32)
        assert any("luminance (CIE Y)" in warning for warning in slide.warnings)
        level = scene.levels[0]
        got = paint(level, Box.of(level.shape))[0, 0, 0]
    exponent = codes & 0x7FFF  # G. Ward, "LogLuv encoding for full-gamut, high-dynamic range images": 1/256 of a stop
    want = np.where(exponent == 0, 0, 2.0 ** ((exponent + 0.5) / 256 - 64)) * np.where(codes & 0x8000, -1, 1)
    np.testing.assert_allclose(got, want.astype("f4"), rtol=2e-7)
    if bits == 32:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it lies nowhere on earth
            with rasterio.open(tmp_path / "a.tif") as read:
                np.testing.assert_array_equal(got, read.read(1))


@pytest.mark.parametrize(
    ("compression", "photometric", "words"),
    [
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
