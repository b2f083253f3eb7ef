"""Streams with reduced chroma, and HTJ2K, in every container that may hold them: the colour is converted once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.errors import Unsupported
from drivers.geometry import Box
from drivers.paint import paint
from drivers.pictures.jpeg2000 import decode
from tests.drivers.test_colour_once import APERIO, JPEG2000, SIDE, dicom, j2k, near, picture, read, tiff, ycbcr
from tests.made import vsi
from tests.made.j2k import STREAMS, quarters

HTJ2K_LOSSLESS, HTJ2K = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.203"
SIDES = f"{SIDE}x{SIDE}"
READ = [name for name in STREAMS if name.endswith(SIDES) and name.split()[1] in ("444", "422", "420")]
NOT_READ = [name for name in STREAMS if name.split()[1] in ("440", "411")]
OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
    'DimensionOrder="XYCZT" SizeX="32" SizeY="32" SizeZ="1" SizeC="3" SizeT="1"><Channel ID="Channel:0:0" '
    'SamplesPerPixel="3"/><TiffData/></Pixels></Image></OME>'
)


def syntax(name: str) -> str:
    return HTJ2K if name.startswith("ht") else JPEG2000


def ets(path: Path, stream: bytes, patch: pytest.MonkeyPatch) -> Path:
    """A VSI of one tile that is the stream."""
    patch.setattr(vsi, "encoded", lambda _pixels, _stack: stream)
    pixels = quarters().transpose(2, 0, 1)[None, :, None]
    stack = vsi.Stack([pixels], compression=vsi.JPEG2000, samples=3, tile=SIDE, order=(None,), pyramid=True)
    return vsi.make_vsi(path, vsi.Vsi((stack,)))


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"])
@pytest.mark.parametrize("name", READ)
def test_dicom(tmp_path: Path, name: str, photometric: str) -> None:
    near(read(dicom(tmp_path / "x.dcm", STREAMS[name], photometric, syntax(name))), quarters())


@pytest.mark.parametrize("name", READ)
def test_dicom_that_says_rgb(tmp_path: Path, name: str) -> None:
    found = read(dicom(tmp_path / "x.dcm", STREAMS[name], "RGB", syntax(name)))
    near(found, ycbcr(quarters()) if "444" in name else quarters())  # without a transform nothing says otherwise


@pytest.mark.parametrize(("file", "about"), [("x.svs", APERIO), ("x.tif", None), ("x.ome.tif", OME)])
@pytest.mark.parametrize(
    ("compression", "photometric"), [(33003, "rgb"), (33003, "ycbcr"), (33005, "rgb"), (34712, "ycbcr"), (34712, "rgb")]
)
@pytest.mark.parametrize("name", READ)
def test_tiff(tmp_path: Path, *, name: str, compression: int, photometric: str, file: str, about: str | None) -> None:
    found = read(tiff(tmp_path / file, STREAMS[name], compression, photometric, about))
    aperio = compression == 33003 and about != OME  # the number says YCbCr, but in OME-TIFF, where Bio-Formats writes RGB
    stored = "444" in name and photometric == "rgb" and not aperio
    near(found, ycbcr(quarters()) if stored else quarters())


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("compression", [33003, 33004, 33005, 34712])
@pytest.mark.parametrize("file", ["x.ome.tif", "x.tif"])
def test_rgb_without_a_transform_as_bioformats_writes_it(tmp_path: Path, *, file: str, compression: int, boxes: bool) -> None:
    stream = j2k(picture(), mct=False, jp2=boxes)
    path = tiff(tmp_path / file, stream, compression, "rgb", OME if "ome" in file else None, software="OME Bio-Formats 7.3.0")
    near(read(path), picture(), 0)


def test_reduced_images_of_bioformats_are_as_its_first_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for number, side in enumerate((SIDE, SIDE // 2)):
            stream = j2k(picture()[:: number + 1, :: number + 1].copy(), mct=False)
            about = {"shape": (side, side, 3), "dtype": "u1", "tile": (side, side), "metadata": None}
            first = {"subifds": 1, "software": "OME Bio-Formats"} if not number else {"subfiletype": 1, "software": False}
            writer.write(iter([stream]), compression=34712, photometric="rgb", **about, **first)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        pages = [file.pages.first, file.series[0].levels[1].keyframe]
        for page in pages:
            data[page.tags[259].valueoffset : page.tags[259].valueoffset + 2] = (33003).to_bytes(2, "little")
    (tmp_path / "x.tif").write_bytes(data)
    with open_slide(tmp_path / "x.tif") as slide:
        for number, level in enumerate(slide.scenes[0].levels):
            found = paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0)
            near(found, picture()[:: number + 1, :: number + 1], 0)
        assert len(slide.scenes[0].levels) == 2


@pytest.mark.parametrize(
    ("about", "said", "photometric", "transform", "boxes", "stored", "told"),
    [
        (None, None, "rgb", False, None, "ycbcr", True),  # nothing but the number: as OpenSlide and libvips, with a word
        (None, None, "rgb", True, None, "rgb", False),  # the stream tells: its transform
        (None, None, "rgb", False, "srgb", "rgb", False),  # the stream tells: its colour box
        (None, None, "ycbcr", False, None, "ycbcr", False),  # the tag tells
        (APERIO, None, "rgb", False, None, "ycbcr", False),  # the writer tells
        (None, "OME Bio-Formats 8.0", "rgb", False, None, "rgb", False),
    ],
)
def test_33003_by_the_stream_the_tags_and_the_writer(
    tmp_path: Path,
    *,
    about: str | None,
    said: str | None,
    photometric: str,
    transform: bool,
    boxes: str | None,
    stored: str,
    told: bool,
) -> None:
    samples = ycbcr(picture()) if stored == "ycbcr" else picture()
    stream = j2k(samples, mct=transform, jp2=boxes is not None, space=boxes)
    path = tiff(tmp_path / "x.tif", stream, 33003, photometric, about, software=said)
    near(read(path), picture(), 3 if stored == "ycbcr" else 0)
    with open_slide(path) as slide:
        assert any("compression 33003 says YCbCr, the tags say RGB" in w for w in slide.warnings) == told


@pytest.mark.parametrize("name", [name for name in READ if "444" not in name])
def test_vsi(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    near(read(ets(tmp_path / "x.vsi", STREAMS[name], monkeypatch)), quarters())


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("transform", [True, False])
@pytest.mark.parametrize("kind", ["part 1", "high throughput"])
def test_with_a_transform_and_without(
    tmp_path: Path, *, kind: str, transform: bool, lossless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "part 1":
        quality = {} if lossless else {"level": 60, "reversible": False}
        stream = bytes(imagecodecs.jpeg2k_encode(picture(), codecformat="j2k", mct=transform, **quality))
    else:
        quality = {"reversible": True} if lossless else {"level": 0.001, "reversible": False}
        stream = bytes(imagecodecs.htj2k_encode(picture(), rgb=transform, **quality))
    most = 0 if lossless else 3
    near(read(tiff(tmp_path / "x.ome.tif", stream, 34712, "rgb", OME)), picture(), most)
    near(read(ets(tmp_path / "x.vsi", stream, monkeypatch)), picture(), most)
    near(read(dicom(tmp_path / "x.dcm", stream, "RGB", HTJ2K if kind != "part 1" else JPEG2000)), picture(), most)
    if transform:
        near(read(dicom(tmp_path / "y.dcm", stream, "YBR_RCT", HTJ2K if kind != "part 1" else JPEG2000)), picture(), most)


def test_frames_of_high_throughput_without_a_transform_are_not_planes(tmp_path: Path) -> None:
    stored = ycbcr(picture())
    stream = bytes(imagecodecs.htj2k_encode(stored, rgb=False, reversible=True))
    near(read(dicom(tmp_path / "x.dcm", stream, "YBR_FULL", HTJ2K_LOSSLESS)), picture(), 3)
    np.testing.assert_array_equal(decode(stream, high_throughput=True), stored)


def test_odd_sizes() -> None:
    near(decode(STREAMS["ht 420 29x31"], high_throughput=True), quarters(29, 31))


@pytest.mark.parametrize("name", NOT_READ)
def test_chroma_that_no_decoder_places_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        dicom(tmp_path / "x.dcm", STREAMS[name], "YBR_FULL", syntax(name)),
        tiff(tmp_path / "x.ome.tif", STREAMS[name], 34712, "ycbcr", OME),
        ets(tmp_path / "x.vsi", STREAMS[name], monkeypatch),
    ):
        with pytest.raises(Unsupported, match="subsampling not supported"):
            read(path)


@pytest.mark.parametrize(("file", "about"), [("x.svs", APERIO), ("x.tif", None)])
def test_ycbcr_of_16_bits_is_refused(tmp_path: Path, file: str, about: str | None) -> None:
    wide = picture().astype(np.uint16) * 200
    for transform in (True, False):
        stream = imagecodecs.jpeg2k_encode(wide, codecformat="j2k", mct=transform)
        path = tiff(tmp_path / file, stream, 33003, "rgb", about, dtype="u2")
        if transform:
            near(read(path), wide, 0)
            continue
        with pytest.raises(Unsupported, match="YCbCr of type uint16"):
            read(path)


@pytest.mark.parametrize("codec", ["deflate", "lzw", None])
@pytest.mark.parametrize(("photometric", "stored"), [("ycbcr", ycbcr), ("separated", None), ("palette", None)])
def test_colours_that_aperio_does_not_write(
    tmp_path: Path, *, photometric: str, stored: Callable[[np.ndarray], np.ndarray] | None, codec: str | None
) -> None:
    true, about = picture(), {"compression": codec, "tile": (SIDE, SIDE), "description": APERIO, "metadata": None}
    if stored is not None:
        tifffile.imwrite(tmp_path / "x.svs", stored(true), photometric=photometric, subsampling=(1, 1), **about)
    elif photometric == "separated":
        inks = np.concatenate([255 - true, np.zeros_like(true[..., :1])], axis=2)
        tifffile.imwrite(tmp_path / "x.svs", inks, photometric=photometric, **about)
    else:
        colours, index = np.unique(true.reshape(-1, 3), axis=0, return_inverse=True)
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = colours.T.astype(np.uint16) * 257
        tifffile.imwrite(
            tmp_path / "x.svs", index.reshape(SIDE, SIDE).astype("u1"), photometric=photometric, colormap=table, **about
        )
    near(read(tmp_path / "x.svs"), true)


@pytest.mark.parametrize(("space", "refused"), [(0, False), (1, False), (3, False), (2, True), (5, True)])
def test_colour_spaces_of_vsi(tmp_path: Path, space: int, refused: bool) -> None:
    pixels = quarters().transpose(2, 0, 1)[None, :, None]
    path = vsi.make_vsi(
        tmp_path / "x.vsi", vsi.Vsi((vsi.Stack([pixels], samples=3, tile=SIDE, order=(None,), pyramid=True),))
    )
    data = next(tmp_path.rglob("*.ets"))
    head = bytearray(data.read_bytes())
    assert head[64 + 16] == 3
    head[64 + 16] = space
    data.write_bytes(head)
    if not refused:
        near(read(path), quarters(), 0)
        return
    with pytest.raises(Unsupported, match=f"colours of kind {space}"):
        read(path)


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("name", [name for name in STREAMS if name.split()[1] in ("422", "420")])
def test_pictures_of_their_own(tmp_path: Path, name: str, boxes: bool) -> None:
    stream = STREAMS[name]
    if boxes:  # those of a picture of three components, around the stream
        height, width = (int(n) for n in name.split()[2].split("x"))
        whole = j2k(np.zeros((height, width, 3), np.uint8), mct=False, jp2=True, space="sycc")
        at = whole.index(b"jp2c")
        stream = whole[: at - 4] + (8 + len(stream)).to_bytes(4, "big") + b"jp2c" + stream
    (tmp_path / "x.jp2").write_bytes(stream)
    found = read(tmp_path / "x.jp2")
    near(found, quarters(*found.shape[:2]))
    assert found.shape[:2] == tuple(int(n) for n in name.split()[2].split("x"))


@pytest.mark.parametrize("name", NOT_READ)
def test_pictures_of_their_own_that_no_decoder_places(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.j2k").write_bytes(STREAMS[name])
    with pytest.raises(Unsupported, match="4:4:4, 4:2:2 and 4:2:0 are"):
        read(tmp_path / "x.j2k")
