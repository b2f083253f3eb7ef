"""Colour is converted once: whether a decoder has done it already, the stream tells and not its container.

Streams of one colour with reduced chroma were made by opj_compress (OpenJPEG 2.5), others here by imagecodecs; the truth is
the colour they were made from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from drivers import open_slide
from drivers.errors import DriverError, Unsupported
from drivers.geometry import Box
from drivers.paint import paint
from drivers.pictures.jpeg2000 import decoded_as_rgb

SIDE = 32
COLOR = (200, 121, 160)
YCBCR = (149, 134, 164)
"""COLOR in full-range YCbCr (JFIF)."""
STREAMS = {
    "444rev": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070101070101ff5200"
        "0c00000001000104040001ff5c00074040484850ff640025000143726561746564206279204f70656e4a5045472076657273696f6e20"
        "322e352e30ff90000a0000000000500001ff93c3e72e14005caff49cb03c0000000061212fdac4400000c2425fc0f84614005cafdf47"
        "c7d43214005caff4c7b0370000000061212fdac4400000c2425fff7f808080ffd9"
    ),
    "444irr": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070101070101ff5200"
        "0c00000001000104040000ff5c000b42482457d357d35762ff640025000143726561746564206279204f70656e4a5045472076657273"
        "696f6e20322e352e30ff90000a0000000000560001ff93c3e93214005caff49cb03c0000000061212ff869d80000000309097fc0f8c3"
        "8014005caff49d7fc7d83614005caff4c8237f80000000018484bfe196c00000000c2425ff7f808080ffd9"
    ),
    "422rev": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070201070201ff5200"
        "0c00000001000104040001ff5c00074040484850ff640025000143726561746564206279204f70656e4a5045472076657273696f6e20"
        "322e352e30ff90000a00000000004b0001ff93c3e72e14005caff49cb03c0000000061212fdac4400000c2425fc0f84614005cadd67f"
        "c7d42814005caf2e472d000000018484bbaf580061212f808080ffd9"
    ),
    "422irr": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070201070201ff5200"
        "0c00000001000104040000ff5c000b42482457d357d35762ff640025000143726561746564206279204f70656e4a5045472076657273"
        "696f6e20322e352e30ff90000a0000000000500001ff93c3e93214005caff49cb03c0000000061212ff869d80000000309097fc0f8c3"
        "0014005caf290fc7d82c14005caf2e61d6e00000000c2425fb5888000018484b808080ffd9"
    ),
    "420rev": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070202070202ff5200"
        "0c00000001000104040001ff5c00074040484850ff640025000143726561746564206279204f70656e4a5045472076657273696f6e20"
        "322e352e30ff90000a0000000000470001ff93c3e72e14005caff49cb03c0000000061212fdac4400000c2425fc0f84614005cafff7f"
        "c7d42014005ca3655db000030908d50a18484b808080ffd9"
    ),
    "420irr": bytes.fromhex(
        "ff4fff51002f000000000020000000200000000000000000000000200000002000000000000000000003070101070202070202ff5200"
        "0c00000001000104040000ff5c000b42482457d357d35762ff640025000143726561746564206279204f70656e4a5045472076657273"
        "696f6e20322e352e30ff90000a00000000004c0001ff93c3e93214005caff49cb03c0000000061212ff869d80000000309097fc0f8c2"
        "8014005ca287c7d82614005ca36afd4800000030909775eb000c2423808080ffd9"
    ),
}
"""32 x 32, YCBCR in three components without a transform: chroma as it is, halved in x, halved in both."""


def flat(samples: tuple[int, ...]) -> np.ndarray:
    return np.full((SIDE, SIDE, len(samples)), samples, np.uint8)


def picture(seed: int = 1) -> np.ndarray:
    """Colours that vary slowly enough for lossy codecs."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (4, 4, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((SIDE // 4, SIDE // 4, 1))).astype(np.uint8)


def ycbcr(rgb: np.ndarray) -> np.ndarray:
    """JFIF, in floating point."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.clip(np.rint(np.stack([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402], axis=-1)), 0, 255).astype(np.uint8)


def j2k(samples: np.ndarray, *, mct: bool, lossless: bool = True, jp2: bool = False, space: str | None = None) -> bytes:
    quality = {} if lossless else {"level": 60, "reversible": False}
    return imagecodecs.jpeg2k_encode(samples, codecformat="jp2" if jp2 else "j2k", colorspace=space, mct=mct, **quality)


def tiff(
    path: Path, stream: bytes, compression: int, photometric: str, description: str | None = None, **more: object
) -> Path:
    about = {"shape": (SIDE, SIDE, 3), "dtype": "u1", "tile": (SIDE, SIDE), "metadata": None, **more}
    tifffile.imwrite(path, iter([stream]), compression=34712, photometric="rgb", description=description, **about)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = {tags[259].valueoffset: compression, tags[262].valueoffset: {"rgb": 2, "ycbcr": 6}[photometric]}
    for at, value in places.items():
        data[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    return path


APERIO = "Aperio Image Library v10.0.50\r\n32x32 [0,0 32x32] (32x32) J2K|AppMag = 20|MPP = 0.5"
JPEG2000_LOSSLESS, JPEG2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
JPEGLS, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
EXPLICIT = "1.2.840.10008.1.2.1"


def dicom(path: Path, stream: bytes, photometric: str, syntax: str, bits: int = 8) -> Path:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = UID(syntax), UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3.4.5", "OT"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    data.Rows = data.Columns = SIDE
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, photometric, 0
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    data.PixelData = stream if syntax == EXPLICIT else encapsulate([stream])
    if syntax != EXPLICIT:
        data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return path


def read(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert slide.scenes[0].rgb
        return paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)


def near(found: np.ndarray, true: np.ndarray, most: int = 2) -> None:
    assert int(np.abs(found.astype(int) - true).max()) <= most, (found[0, 0], true[0, 0])


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("compression", [33003, 33005])
@pytest.mark.parametrize("name", ["x.svs", "x.tif"])
def test_aperio_without_a_transform(tmp_path: Path, *, stream: str, compression: int, name: str) -> None:
    about = APERIO if name == "x.svs" else None
    found = read(tiff(tmp_path / name, STREAMS[stream], compression, "rgb", about))
    stored_as_rgb = compression == 33005 and stream.startswith("444")  # nothing says otherwise
    near(found, flat(YCBCR if stored_as_rgb else COLOR))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("compression", [33003, 33005, 34712, 33004])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("name", ["x.svs", "x.tif"])
def test_tiff_with_a_transform(tmp_path: Path, *, name: str, photometric: str, compression: int, lossless: bool) -> None:
    stream = j2k(picture(), mct=True, lossless=lossless)
    about = APERIO if name == "x.svs" else None
    found = read(tiff(tmp_path / name, stream, compression, photometric, about))
    true = picture() if lossless else imagecodecs.jpeg2k_decode(stream)
    near(found, true, 0)


@pytest.mark.parametrize("stream", STREAMS)
def test_tiff_that_says_ycbcr(tmp_path: Path, stream: str) -> None:
    near(read(tiff(tmp_path / "x.tif", STREAMS[stream], 34712, "ycbcr")), flat(COLOR))


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"])
@pytest.mark.parametrize("stream", STREAMS)
def test_dicom_without_a_transform(tmp_path: Path, stream: str, photometric: str) -> None:
    near(read(dicom(tmp_path / "x.dcm", STREAMS[stream], photometric, JPEG2000)), flat(COLOR))


@pytest.mark.parametrize("stream", STREAMS)
def test_dicom_that_says_rgb(tmp_path: Path, stream: str) -> None:
    found = read(dicom(tmp_path / "x.dcm", STREAMS[stream], "RGB", JPEG2000))
    near(found, flat(YCBCR if stream.startswith("444") else COLOR))


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "RGB"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("jp2", [True, False])
def test_dicom_with_a_transform(tmp_path: Path, *, photometric: str, lossless: bool, jp2: bool) -> None:
    stream = j2k(picture(), mct=True, lossless=lossless, jp2=jp2)
    true = picture() if lossless else imagecodecs.jpeg2k_decode(stream)
    near(read(dicom(tmp_path / "x.dcm", stream, photometric, JPEG2000)), true, 0)


def test_a_jp2_that_says_sycc(tmp_path: Path) -> None:
    stream = j2k(ycbcr(picture()), mct=False, jp2=True, space="sycc")
    near(read(dicom(tmp_path / "x.dcm", stream, "YBR_FULL", JPEG2000)), picture(), 3)
    near(read(tiff(tmp_path / "x.tif", stream, 34712, "ycbcr")), picture(), 3)


def segments(samples: np.ndarray) -> bytes:
    """DICOM's RLE with literal runs only."""
    planes = []
    for i in range(3):
        plane = samples[..., i].tobytes()
        rows = b"".join(bytes([127]) + plane[at : at + 128] for at in range(0, len(plane), 128))
        planes.append(rows + bytes(len(rows) % 2))
    offsets = np.cumsum([64, *(len(plane) for plane in planes)])[:3]
    return np.array([3, *offsets, *[0] * 12], "<u4").tobytes() + b"".join(planes)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize(
    ("encode", "syntax"),
    [(np.ndarray.tobytes, EXPLICIT), (segments, RLE), (imagecodecs.jpegls_encode, JPEGLS)],
    ids=["raw", "rle", "jpeg-ls"],
)
def test_dicom_of_codecs_that_know_no_colour(
    tmp_path: Path, *, encode: Callable[[np.ndarray], bytes], syntax: str, photometric: str
) -> None:
    stored = picture() if photometric == "RGB" else ycbcr(picture())
    found = read(dicom(tmp_path / "x.dcm", encode(stored), photometric, syntax))
    near(found, picture(), 0 if photometric == "RGB" else 3)


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420"])
def test_colours_of_dicom_that_would_be_shown_wrongly(tmp_path: Path, photometric: str) -> None:
    with pytest.raises(Unsupported, match=photometric):
        read(dicom(tmp_path / "x.dcm", picture().tobytes(), photometric, EXPLICIT))


def test_ycbcr_of_16_bits_is_refused(tmp_path: Path) -> None:
    wide = ycbcr(picture()).astype(np.uint16) << 8
    for stream, syntax in ((wide.tobytes(), EXPLICIT), (j2k(wide, mct=False), JPEG2000_LOSSLESS)):
        with pytest.raises(DriverError, match="YBR_FULL"):
            read(dicom(tmp_path / "x.dcm", stream, "YBR_FULL", syntax, bits=16))
    stream = j2k(picture().astype(np.uint16) << 8, mct=True)
    found = read(dicom(tmp_path / "y.dcm", stream, "YBR_RCT", JPEG2000_LOSSLESS, bits=16))
    np.testing.assert_array_equal(found, picture().astype(np.uint16) << 8)


@pytest.mark.parametrize("codec", ["jpegxr", "jpegxl", "webp", "png"])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_codecs_whose_streams_tell_their_colour(tmp_path: Path, codec: str, photometric: str) -> None:
    encoders = {
        "jpegxr": (34934, lambda p: imagecodecs.jpegxr_encode(p, level=1.0)),
        "jpegxl": (50002, lambda p: imagecodecs.jpegxl_encode(p, lossless=True)),
        "webp": (50001, lambda p: imagecodecs.webp_encode(p, lossless=True)),
        "png": (34933, imagecodecs.png_encode),
    }
    compression, encode = encoders[codec]
    stream = encode(picture())
    near(read(tiff(tmp_path / "x.tif", stream, compression, photometric)), picture(), 0)


def test_what_a_stream_tells() -> None:
    assert {name: decoded_as_rgb(data) for name, data in STREAMS.items()} == {
        name: not name.startswith("444") for name in STREAMS
    }
    assert decoded_as_rgb(j2k(picture(), mct=True))
    assert not decoded_as_rgb(j2k(picture(), mct=False))
    assert decoded_as_rgb(j2k(picture(), mct=False, jp2=True, space="sycc"))
    assert not decoded_as_rgb(j2k(picture(), mct=False, jp2=True, space="srgb"))
    for cut in range(0, 130, 7):
        decoded_as_rgb(STREAMS["444rev"][:cut])
    assert not decoded_as_rgb(b"")


@pytest.mark.parametrize(("space", "mct", "stored"), [("sycc", False, ycbcr), ("srgb", True, None), (None, True, None)])
def test_a_jp2_by_itself(
    tmp_path: Path, *, space: str | None, mct: bool, stored: Callable[[np.ndarray], np.ndarray] | None
) -> None:
    stream = j2k(picture() if stored is None else stored(picture()), mct=mct, jp2=True, space=space)
    (tmp_path / "x.jp2").write_bytes(stream)
    near(read(tmp_path / "x.jp2"), picture(), 0 if stored is None else 3)


@pytest.mark.parametrize("wide", [False, True], ids=["box", "box of 64-bit length"])
def test_what_a_stream_tells_behind_a_long_profile(tmp_path: Path, *, wide: bool) -> None:
    stream = j2k(picture(), mct=True, jp2=True)
    at = stream.index(b"jp2c") - 4
    long = b"\0\0\0\1xml " + (9016).to_bytes(8, "big") if wide else (9008).to_bytes(4, "big") + b"xml "
    behind = stream[:at] + long + bytes(9000) + stream[at:]
    near(read(dicom(tmp_path / "x.dcm", behind, "YBR_FULL", JPEG2000)), picture(), 0)
    near(read(tiff(tmp_path / "x.tif", behind, 34712, "ycbcr")), picture(), 0)
    near(read(tiff(tmp_path / "x.svs", behind, 33003, "rgb", APERIO)), picture(), 0)


@pytest.mark.parametrize("space", [1, 3, 14, 24])
def test_a_jp2_of_another_colour_space_is_not_shown_as_rgb(tmp_path: Path, space: int) -> None:
    stream = bytearray(j2k(picture(), mct=True, jp2=True, space="srgb"))
    at = stream.index(b"colr") + 7
    assert stream[at : at + 4] == (16).to_bytes(4, "big")
    stream[at : at + 4] = space.to_bytes(4, "big")
    (tmp_path / "x.jp2").write_bytes(stream)
    with pytest.raises(Unsupported, match=f"colour space {space}"):
        read(tmp_path / "x.jp2")
