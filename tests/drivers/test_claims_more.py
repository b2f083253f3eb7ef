"""Two stored blocks of CZI, LIF, SCN and NDPIS that claim one place: never "the last one wins"."""

from pathlib import Path

import numpy as np
import pytest

from drivers import open_slide
from drivers.errors import Damaged
from drivers.formats.ndpis import image_names
from drivers.geometry import Box
from drivers.paint import paint
from tests.made.czi import Block, Czi
from tests.made.czi import make as make_czi
from tests.made.lif import Lif, make_lif
from tests.made.scn import Region, Scn, make_scn


def block(value: int, mosaic: int | None, x: int = 0) -> Block:
    at = {"X": x, "Y": 0, "C": 0} | ({} if mosaic is None else {"M": mosaic})
    return Block(np.full((8, 10, 1), value, np.uint16), at=at)


def shown(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        return paint(level, Box.of(level.shape))[0, 0, 0]


@pytest.mark.parametrize("mosaic", [None, 0, 3])
def test_sub_blocks_that_nothing_orders(tmp_path: Path, mosaic: int | None) -> None:
    path = make_czi(tmp_path / "a.czi", Czi([block(10, mosaic), block(20, mosaic)]))
    with pytest.raises(Damaged, match=r"the sub-blocks at bytes \d+ and \d+ claim the same place"):
        open_slide(path)


@pytest.mark.parametrize("mosaic", [None, 3])
def test_copies_of_a_sub_block_count_once(tmp_path: Path, mosaic: int | None) -> None:
    path = make_czi(tmp_path / "a.czi", Czi([block(10, mosaic), block(10, mosaic)]))
    assert (shown(path) == 10).all()
    with open_slide(path) as slide:
        assert any("1 sub-blocks are stored twice" in warning for warning in slide.warnings)


def test_the_mosaic_index_orders(tmp_path: Path) -> None:
    path = make_czi(tmp_path / "a.czi", Czi([block(20, 2), block(10, 1)]))
    assert (shown(path) == 20).all()


def test_memory_blocks_of_one_name(tmp_path: Path) -> None:
    images = [Lif(name, "YX", np.full((8, 10), value, np.uint8)) for name, value in (("a", 10), ("b", 20))]
    path = make_lif(tmp_path / "a.lif", images)
    data = path.read_bytes()
    one, other = ("MemBlock_0".encode("utf-16-le"), "MemBlock_1".encode("utf-16-le"))
    assert data.count(other) == 2  # in the XML and at the block
    path.write_bytes(data.replace(other, one))
    with pytest.raises(Damaged, match="two memory blocks are called MemBlock_0"):
        open_slide(path)


def test_channels_of_one_place(tmp_path: Path) -> None:
    path = make_lif(tmp_path / "a.lif", [Lif("a", "CYX", np.zeros((2, 8, 10), np.uint8))])
    data = path.read_bytes()
    second = 'BytesInc="80" BitInc="0"><'.encode("utf-16-le")
    assert data.count(second) == 1
    path.write_bytes(data.replace(second, 'BytesInc="00" BitInc="0"><'.encode("utf-16-le")))
    with pytest.raises(Damaged, match="two channels claim the same bytes"):
        open_slide(path)


@pytest.mark.parametrize("copy", [True, False])
def test_pages_of_scn_for_one_place(tmp_path: Path, copy: bool) -> None:
    path = make_scn(tmp_path / "a.scn", Scn(regions=(Region(channels=2, alike=copy),)))
    plain = make_scn(tmp_path / "b.scn", Scn(regions=(Region(channels=1),)))
    data = path.read_bytes()
    assert data.count(b'c="1"') > 0
    path.write_bytes(data.replace(b'c="1"', b'c="0"'))
    if copy:
        np.testing.assert_array_equal(shown(path), shown(plain))
        with open_slide(path) as slide:
            repeats = [warning for warning in slide.warnings if "repeats" in warning]
        assert repeats[0].startswith("page 3 (r 0, c 0, z 0 of region 0) repeats page 2 (r 0, c 0, z 0 of region 0)")
        assert len(repeats) == 3
        return
    with pytest.raises(Damaged, match=r"page 2 \(.*\) and page 3 \(.*\) claim the same place and differ"):
        open_slide(path)


def test_a_list_that_names_one_image_twice() -> None:
    head = "[NanoZoomer Digital Pathology Image Set]\nNoImages=2\nImage0=a.ndpi\nImage1=b.ndpi\n"
    assert image_names(Path("x.ndpis"), head + "Image1=b.ndpi\n") == ["a.ndpi", "b.ndpi"]
    with pytest.raises(Damaged, match=r"Image1 is both b\.ndpi and c\.ndpi"):
        image_names(Path("x.ndpis"), head + "Image1=c.ndpi\n")
