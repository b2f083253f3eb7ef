"""What a file holds and the slide does not show, where no option keeps it: it is told."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from drivers import open_slide
from tests.made.gdal import chunk
from tests.made.lif import Lif, element, memory_block, stored, text_block
from tests.made.openslide import MRXS, bif, make_mrxs, sakura
from tests.made.svs import tissue

pytestmark = pytest.mark.usefixtures("files_closed")
SHOWN = np.ascontiguousarray(tissue(40, 60, 4))


def warnings_of(path: Path) -> list[str]:
    with open_slide(path) as slide:
        return list(slide.warnings)


def test_memory_blocks_of_a_lif_that_hold_no_image(tmp_path: Path) -> None:
    image = Lif("a", "YX", np.arange(80, dtype="u1").reshape(8, 10))
    trace = '<Element Name="trace"><Data><SingleMolecule/></Data><Memory Size="5" MemoryBlockID="MemBlock_1"/></Element>'
    inner = element(image, "MemBlock_0") + trace
    xml = (
        f'<LMSDataContainerHeader Version="2"><Element Name="project"><Children>{inner}</Children>'
        "</Element></LMSDataContainerHeader>"
    )
    blocks = {"MemBlock_0": stored(image), "MemBlock_1": b"12345", "MemBlock_2": b"123", "MemBlock_3": b""}
    path = tmp_path / "a.lif"
    path.write_bytes(text_block(xml) + b"".join(memory_block(name, data, 2) for name, data in blocks.items()))
    assert warnings_of(path) == [
        "the memory block MemBlock_1 of 5 bytes belongs to 'trace', which is no image, and is left out",
        "the memory block MemBlock_2 of 3 bytes belongs to no element, and is left out",
    ]


def told(numbers: list[int]) -> str:
    roles = ",".join(f"picture-{number}" for number in numbers)
    many, them = (f"{len(numbers)} further pictures", "them") if len(numbers) > 1 else ("a further picture", "it")
    return f"the first picture is shown, and the file holds {many}: --associated {roles} writes {them}"


@pytest.mark.parametrize("count", [2, 3])
def test_animations_of_png(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.png"
    frames = [Image.fromarray(np.roll(SHOWN, 7 * i, 0)) for i in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert warnings_of(path) == [told(list(range(2, count + 1)))]
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.scenes[0].read_block(), SHOWN)


def test_a_png_of_one_picture(tmp_path: Path) -> None:
    data = imagecodecs.png_encode(SHOWN)
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + data[33:])
    assert warnings_of(tmp_path / "a.png") == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_jpegs_of_several_pictures(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.jpg"
    frames = [Image.fromarray(np.roll(SHOWN, 7 * i, 0)) for i in range(count)]
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:])
    expected = [] if count == 1 else [told(list(range(2, count + 1)))]
    assert warnings_of(path) == expected
    if count == 3:  # the second as a smaller copy for viewers
        data = bytearray(path.read_bytes())
        at = data.index(b"MPF\0")
        order = "<" if data[at + 4 : at + 6] == b"II" else ">"
        entries = data.index(struct.pack(f"{order}HH", 0xB002, 7), at)
        (place,) = struct.unpack_from(f"{order}I", data, entries + 8)
        struct.pack_into(f"{order}I", data, at + 4 + place + 16, 0x010001)
        path.write_bytes(data)
        assert warnings_of(path) == [told([3])]


def test_focal_planes_of_bif(tmp_path: Path) -> None:
    path = tmp_path / "a.bif"
    bif(path)
    assert not any("focal" in word for word in warnings_of(path))
    path.write_bytes(path.read_bytes().replace(b'Z-layers="1"', b'Z-layers="3"'))
    assert "OpenSlide shows one of 3 focal planes" in warnings_of(path)


def test_focal_planes_of_mrxs(tmp_path: Path) -> None:
    path = make_mrxs(tmp_path / "a.mrxs", MRXS)
    before = warnings_of(path)
    index = tmp_path / "a" / "Slidedat.ini"
    more = b"HIER_COUNT = 2\r\nHIER_1_NAME = Microscope focus level\r\nHIER_1_COUNT = 5"
    index.write_bytes(index.read_bytes().replace(b"HIER_COUNT = 1", more, 1))
    told = [word for word in warnings_of(path) if word not in before]
    assert told == ["OpenSlide shows one of the 5 of 'Microscope focus level' of this slide"]


SAKURA = {
    "garbage": ("UPDATE SVScannedImageDataXPO SET Image = 'abc' WHERE OID = 1", ["label"]),
    "empty": ("UPDATE SVScannedImageDataXPO SET Image = NULL WHERE OID = 2", ["macro"]),
    "absent": ("DELETE FROM SVScannedImageDataXPO", ["label", "macro"]),
    "small": ("UPDATE SVHRScanDataXPO SET ThumbnailImage = 'abc'", ["thumbnail"]),
    "none": ("UPDATE SVSlideDataXPO SET m_labelScan = NULL, m_overviewScan = 0", []),
    "whole": ("", []),
}


@pytest.mark.parametrize("case", SAKURA)
def test_images_of_sakura_that_openslide_does_not_open(tmp_path: Path, case: str) -> None:
    path, (change, lost) = tmp_path / "a #1.svslide", SAKURA[case]
    sakura(path)
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.executescript(change)
    assert warnings_of(path) == [
        f"the {role} image cannot be read and is left out: OpenSlide cannot open it" for role in lost
    ]


@pytest.mark.parametrize("planes", [1, 3])
def test_focal_planes_of_sakura(tmp_path: Path, planes: int) -> None:
    path = tmp_path / "a.svslide"
    sakura(path)
    with contextlib.closing(sqlite3.connect(path)) as base:
        (header,) = base.execute("SELECT data FROM pool WHERE id = 'Header'").fetchone()
        base.execute("UPDATE pool SET data = ? WHERE id = 'Header'", (header[:16] + struct.pack("<I", planes),))
        base.commit()
    assert warnings_of(path) == ([f"OpenSlide shows one of {planes} focal planes"] if planes > 1 else [])
