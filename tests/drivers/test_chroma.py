"""Colours that libtiff reads: reduced chroma outside JPEG, old-style JPEG, Lab, deep CMYK; Aperio's raw YUYV.

Truth: libtiff over the whole file (imagecodecs, GDAL), Pillow, and colours that are known.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from drivers import open_slide, paint
from drivers.errors import Damaged, Unsupported
from drivers.geometry import Box
from drivers.model import Pixels
from tests.made.tiff import PLAIN, grey_tags, noise, write_raw
from tests.support.oracles import by_gdal
from tests.support.shared import SHARED_SAMPLES

pytestmark = pytest.mark.usefixtures("files_closed")
CODES = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773, "zstd": 50000}


def packed(data: bytes, codec: str) -> bytes:
    """A segment as it is stored."""
    encode = {
        "lzw": imagecodecs.lzw_encode,
        "deflate": imagecodecs.zlib_encode,
        "packbits": imagecodecs.packbits_encode,
        "zstd": imagecodecs.zstd_encode,
    }
    return data if codec == "none" else bytes(encode[codec](data))


def units(pixels: Pixels, chroma: tuple[int, int]) -> bytes:
    """TIFF 6.0, section 21: of each block its luma samples row by row, then one Cb and one Cr; edges repeat."""
    across, down = chroma
    height, width = pixels.shape[:2]
    full = np.pad(pixels, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    blocks = full.reshape(full.shape[0] // down, down, full.shape[1] // across, across, 3).transpose(0, 2, 1, 3, 4)
    luma = blocks[..., 0].reshape(*blocks.shape[:2], -1)
    return np.concatenate([luma, blocks[:, :, 0, 0, 1:]], axis=-1).tobytes()


@dataclass(frozen=True, slots=True)
class Case:
    """YCbCr with reduced chroma. `tile`: (height, width), else strips of `rows`."""

    chroma: tuple[int, int] = (2, 2)
    codec: str = "lzw"
    size: tuple[int, int] = (53, 71)
    tile: tuple[int, int] | None = None
    rows: int = 16
    order: str = "<"
    tags: dict[int, tuple[int, Sequence[int]]] = field(default_factory=dict[int, tuple[int, Sequence[int]]])


VIDEO = {532: (5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])}
HDTV = {529: (5, [2125, 10000, 7154, 10000, 721, 10000])}
CASES = [
    *[Case(chroma) for chroma in ((2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4))],
    *[Case(codec=codec) for codec in CODES],
    *[Case(chroma, codec="none", rows=53) for chroma in ((2, 1), (2, 2))],
    *[Case(chroma, tile=(16, 32), codec="deflate") for chroma in ((2, 1), (2, 2), (4, 4))],
    Case(tile=(32, 16), codec="none"),
    Case(order=">", codec="packbits", tags=VIDEO),
    Case(tags=VIDEO),
    Case(tags=HDTV),
    Case(tags=VIDEO | HDTV | {531: (3, [2])}),
    Case(size=(1, 1)),
    Case(size=(17, 5), rows=2),
]


def ycbcr(size: tuple[int, int]) -> Pixels:
    """Smooth luma, chroma of few colours."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([(y * 3 + x * 2) % 200 + 20, 90 + y // 8 * 7 % 80, 170 - x // 8 * 9 % 80], axis=-1).astype("u1")


def write(path: Path, case: Case) -> None:
    """A TIFF of the case."""
    height, width = case.size
    pixels = ycbcr(case.size)
    down, across = case.tile or (case.rows, width)
    whole = pixels
    if case.tile:
        whole = np.pad(pixels, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    rows, columns = range(0, height, down), range(0, width, across)
    parts = [packed(units(whole[r : r + down, c : c + across], case.chroma), case.codec) for r in rows for c in columns]
    counts = [len(part) for part in parts]
    places = [8 + sum(counts[:i]) for i in range(len(parts))]
    layout = {322: (4, [across]), 323: (4, [down]), 324: (4, places), 325: (4, counts)}
    strips = {273: (4, places), 278: (4, [down]), 279: (4, counts)}
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * 3), 259: (3, [CODES[case.codec]]), 262: (3, [6])}
    tags |= {277: (3, [3]), 530: (3, case.chroma), **case.tags, **(layout if case.tile else strips)}
    data, o = b"".join(parts), case.order
    data += b"\0" * (len(data) % 2)
    at, entries, heap = 8 + len(data), b"", b""
    for code, (kind, numbers) in sorted(tags.items()):
        value = struct.pack(f"{o}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        place = at + 2 + 12 * len(tags) + 4 + len(heap)
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{o}I", place)
        heap += value if len(value) > 4 else b""
        entries += struct.pack(f"{o}HHI", code, kind, len(numbers) // (2 if kind == 5 else 1)) + inline
    head = (b"II" if o == "<" else b"MM") + struct.pack(f"{o}HI", 42, at)
    path.write_bytes(head + data + struct.pack(f"{o}H", len(tags)) + entries + bytes(4) + heap)


def shown(path: Path) -> Pixels:
    """Level 0 as (height, width, channels)."""
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert scene.rgb
        return paint(scene.levels[0], Box.of(scene.shape))[0, :, 0].transpose(1, 2, 0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reduced_chroma(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "a.tif"
    write(path, case)
    found = shown(path)
    if case.codec != "zstd" and min(case.size) > 1:  # libtiff refuses a single pixel
        np.testing.assert_array_equal(found, imagecodecs.tiff_decode(path.read_bytes(), asrgb=True)[..., :3])
    if not case.tags and case.chroma[0] >= case.chroma[1]:
        stored = ycbcr(case.size)
        full = stored[
            np.arange(case.size[0])[:, None] // case.chroma[1] * case.chroma[1],
            np.arange(case.size[1])[None] // case.chroma[0] * case.chroma[0],
            1:,
        ]
        known = Image.fromarray(np.concatenate([stored[..., :1], full], axis=-1), "YCbCr").convert("RGB")
        assert np.abs(found.astype(int) - np.asarray(known)).max() <= 2


@pytest.mark.parametrize("codec", ["none", "lzw", "deflate", "packbits", "zstd"])
def test_a_damaged_stream_of_reduced_chroma_is_never_shown_black(tmp_path: Path, codec: str) -> None:
    case = next(case for case in CASES if case.codec == codec and not case.tile and not case.tags)
    path = tmp_path / "a.tif"
    write(path, case)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        at, start, count = page.tags[279].valueoffset, page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    if codec == "deflate":
        data[start : start + count] = b"\xa5" * count
    else:
        data[at : at + 4] = (count // 2).to_bytes(4, "big" if case.order == ">" else "little")
    path.write_bytes(data)
    with pytest.raises(Damaged):
        shown(path)


@pytest.mark.parametrize("name", ["tiff/libvips-subsampled.tif", "broken/pillow-old-style-jpeg-compression.tif"])
def test_shared_samples_as_others_show_them(name: str) -> None:
    path = SHARED_SAMPLES / name
    if not path.is_file():
        pytest.skip("no shared samples beside the project")
    found = shown(path)
    np.testing.assert_array_equal(found, by_gdal(path)[0, :, 0].transpose(1, 2, 0))
    with Image.open(path) as image:
        assert np.abs(found.astype(int) - np.asarray(image.convert("RGB"))).mean() < 2


def test_pages_of_old_jpeg_are_told_apart(tmp_path: Path) -> None:
    """Pages of one size, as scanners of documents write them: each is shown, none twice."""
    flat = [np.full((24, 32, 3), value, "u1") for value in ((200, 30, 40), (20, 60, 210))]
    pictures = [bytes(imagecodecs.jpeg8_encode(one, level=95)) for one in flat]
    pictures = [data + bytes(len(data) % 2) for data in pictures]
    pages: list[tuple[Any, bytes]] = []
    at = 8
    for data in pictures:
        tags = grey_tags(24, 32, t259=(3, [6]), t262=(3, [6]), t277=(3, [3]), t258=(3, [8] * 3), t279=(4, [len(data)]))
        pages.append((tags | {513: (4, [at]), 514: (4, [len(data)])}, data))
        at = len(write_raw(tmp_path / "first.tif", pages).read_bytes())
    with open_slide(write_raw(tmp_path / "a.tif", pages)) as slide:
        found = [paint(s.levels[0], Box.of(s.shape))[:, :, 0].transpose(0, 2, 3, 1) for s in slide.scenes]
    np.testing.assert_array_equal(np.concatenate(found), [imagecodecs.jpeg8_decode(data) for data in pictures])


@pytest.mark.parametrize("photometric", [2, 6])
@pytest.mark.parametrize("width", [32, 31])
def test_raw_yuyv_of_aperio(tmp_path: Path, photometric: int, width: int) -> None:
    """Y, Cb, Y, Cr: two pixels share their chroma."""
    luma = np.arange(16 * 32, dtype="u1").reshape(16, 32)[:, : width + width % 2]
    stored = np.stack(
        [luma[:, 0::2], np.full((16, luma.shape[1] // 2), 90), luma[:, 1::2], np.full((16, luma.shape[1] // 2), 160)], -1
    )
    data = stored.astype("u1").tobytes()
    tags = grey_tags(
        16, width, t259=(3, [33007]), t262=(3, [photometric]), t277=(3, [3]), t258=(3, [8] * 3), t279=(4, [len(data)])
    )
    path = write_raw(tmp_path / "a.tif", [(tags | {530: (3, [2, 1])}, data)])
    flat = np.stack([luma, np.full_like(luma, 90), np.full_like(luma, 160)], axis=-1)
    known = np.asarray(Image.fromarray(flat, "YCbCr").convert("RGB"))[:, :width]
    assert np.abs(shown(path).astype(int) - known).max() <= 1
    short = tags | {279: (4, [len(data) - 8]), 530: (3, [2, 1])}
    with pytest.raises(Damaged, match="holds"):
        shown(write_raw(tmp_path / "short.tif", [(short, data[:-8])]))


LAB = np.array([(53.24, 80.09, 67.2), (87.73, -86.18, 83.18), (32.3, 79.19, -107.86), (100, 0, 0), (50, 0, 0), (0, 0, 0)])


def lab_file(path: Path, bits: int, photometric: str, planar: str) -> None:
    """Six colours in columns; ICCLab has an offset of a and b, and 16-bit L of 100 at 0xFF00."""
    icc = photometric == "icclab"
    top = (0xFF00 if icc else 0xFFFF) if bits == 16 else 255
    ab = np.rint(LAB[:, 1:] * (256 if bits == 16 else 1)) + (1 << bits - 1 if icc else 0)
    stored = np.concatenate([np.rint(LAB[:, :1] * top / 100), ab], axis=1).astype(int) & ((1 << bits) - 1)
    pixels = stored.astype(f"u{bits // 8}")[None].repeat(20, axis=0).repeat(6, axis=1)
    planes = pixels.transpose(2, 0, 1) if planar == "separate" else pixels
    tifffile.imwrite(path, planes, photometric=photometric, planarconfig=planar, compression="lzw", tile=(16, 16), **PLAIN)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_as_libtiff_shows_it(tmp_path: Path, bits: int, photometric: str, planar: str) -> None:
    lab_file(tmp_path / "a.tif", bits, photometric, planar)
    lab_file(tmp_path / "plain.tif", bits, "cielab", "contig")
    found = shown(tmp_path / "a.tif")
    whole = imagecodecs.tiff_decode((tmp_path / "plain.tif").read_bytes(), asrgb=True)[..., :3]
    assert np.abs(found.astype(int) - whole).max() <= (0 if photometric == "cielab" else 1)
    assert found[0, [0, 6, -1]].tolist()[0::2] == [[255, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_of_16_bits(tmp_path: Path, planar: str) -> None:
    stored = noise((40, 50, 4), "u2")
    planes = stored.transpose(2, 0, 1) if planar == "separate" else stored
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="separated", planarconfig=planar, tile=(32, 32), **PLAIN)
    exact = (65535 - stored[..., :3].astype(float)) * (65535 - stored[..., 3:].astype(float)) / 65535
    found = shown(tmp_path / "a.tif")
    assert found.dtype == np.uint16
    assert np.abs(found - exact).max() <= 0.5


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    tags = grey_tags(16, 16, t262=(3, [6]), t277=(3, [3]), t258=(3, [16] * 3), t279=(4, [1536]), t530=(3, [2, 2]))
    with pytest.raises(Unsupported, match="reduced chroma in 3 samples of 16 bits"):
        open_slide(write_raw(tmp_path / "a.tif", [(tags, bytes(1536))]))
