"""Two stored blocks of CZI, LIF, SCN and NDPIS that claim one place: never "the last one wins"."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers import open_slide
from drivers.czi import claims
from drivers.errors import Damaged, Unsupported
from drivers.formats.ndpis import image_names
from drivers.geometry import Box
from drivers.paint import paint
from tests.made.afi import Afi, make_afi
from tests.made.czi import Block, Czi
from tests.made.czi import make as make_czi
from tests.made.lif import Lif, make_lif
from tests.made.ndpi import make_set
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
    with pytest.raises(Damaged, match=r"the sub-block at byte \d+ \(.*\) and the sub-block at byte \d+ \(.*\) claim"):
        open_slide(path)


@pytest.mark.parametrize("mosaic", [None, 3])
def test_copies_of_a_sub_block_count_once(tmp_path: Path, mosaic: int | None) -> None:
    path = make_czi(tmp_path / "a.czi", Czi([block(10, mosaic), block(10, mosaic)]))
    assert (shown(path) == 10).all()
    with open_slide(path) as slide:
        assert any(" repeats the sub-block at byte " in warning for warning in slide.warnings)


@pytest.mark.parametrize("mosaic", [None, 0])
@pytest.mark.parametrize("codec", ["none", "zstd1"])
@pytest.mark.parametrize("value", [10, 20])
def test_sub_blocks_that_overlap_in_part(tmp_path: Path, *, codec: str, mosaic: int | None, value: int) -> None:
    pair = [replace(block(10, mosaic), codec=codec), replace(block(value, mosaic, x=7), codec=codec)]
    beside = [replace(block(30, mosaic, x=17), codec=codec)]
    path = make_czi(tmp_path / "a.czi", Czi([*pair, *beside]))
    if value == 10:
        assert shown(path)[0].tolist() == [10] * 17 + [30] * 10
        return
    with pytest.raises(Damaged, match=r"the sub-block at byte \d+ \(.*\) and the sub-block at .* overlap and differ there"):
        open_slide(path)


def test_the_mosaic_index_orders(tmp_path: Path) -> None:
    path = make_czi(tmp_path / "a.czi", Czi([block(20, 2), block(10, 1)]))
    assert (shown(path) == 20).all()


@pytest.mark.parametrize("one", ["none", "zstd0", "lzw", "jpegxr"])
@pytest.mark.parametrize("other", ["zstd1", "zstd1-hilo"])
@pytest.mark.parametrize("same", [True, False])
def test_the_same_pixels_in_two_codings(tmp_path: Path, *, one: str, other: str, same: bool) -> None:
    pixels = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30, 1)
    pair = [Block(pixels, codec=one), Block(pixels + (not same), codec=other)]
    path = make_czi(tmp_path / "a.czi", Czi([replace(b, at={"X": 0, "Y": 0, "C": 0}) for b in pair]))
    if not same:
        with pytest.raises(Damaged, match="claim the same place and differ"):
            open_slide(path)
        return
    np.testing.assert_array_equal(shown(path), pixels[..., 0])
    with open_slide(path) as slide:
        assert " repeats the sub-block at byte " in slide.warnings[0]


def test_a_block_without_a_mosaic_index_is_not_ordered_by_those_of_others(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="overlap and differ there"):
        open_slide(make_czi(tmp_path / "a.czi", Czi([block(20, None), block(10, 1, x=7)])))


@pytest.mark.parametrize("last", [10, 20])
def test_many_overlaps_are_all_compared(tmp_path: Path, last: int) -> None:
    row = [block(10, None, x=7 * i) for i in range(150)]
    path = make_czi(tmp_path / "a.czi", Czi([*row, block(last, None, x=7 * 150)]))
    if last != 10:
        with pytest.raises(Damaged, match=r"x 1043, m -1.* and .* x 1050, m -1.* overlap and differ there"):
            open_slide(path)
        return
    assert (shown(path) == 10).all()


def test_more_overlaps_than_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "COMPARED_PIXELS", 1000)
    with pytest.raises(Unsupported, match=r"sub-block at byte .* and the sub-block at byte .* more than are compared"):
        open_slide(make_czi(tmp_path / "a.czi", Czi([block(10, None, x=7 * i) for i in range(150)])))


def reduced(value: int, mosaic: int | None, x: int, width: int = 40) -> Block:
    at = {"X": x, "Y": 0, "C": 0} | ({} if mosaic is None else {"M": mosaic})
    return Block(np.full((16, -(-width // 2), 1), value, np.uint16), at=at, size=(32, width))


@pytest.mark.parametrize(
    ("pair", "levels"),
    [
        ([reduced(1, None, 0), reduced(1, None, 24)], 2),  # they show the same where they overlap
        ([reduced(1, None, 0), reduced(2, None, 24)], 1),
        ([reduced(1, 4, 0), reduced(2, 4, 24)], 1),
        ([reduced(1, 4, 0), reduced(2, 5, 24)], 2),  # ordered
        ([reduced(1, None, 0, 64), reduced(2, None, 0, 64)], 1),  # one place
        ([reduced(1, None, 0, 64), reduced(1, None, 0, 64)], 2),
        ([reduced(1, None, 0, 35), reduced(2, None, 34, 30)], 2),  # rounding: less than a pixel of this level
    ],
)
def test_reduced_blocks_that_nothing_orders(tmp_path: Path, pair: list[Block], levels: int) -> None:
    full = Block(np.full((32, 64, 1), 7, np.uint16), at={"X": 0, "Y": 0, "C": 0})
    with open_slide(make_czi(tmp_path / "a.czi", Czi([full, *pair]))) as slide:
        assert len(slide.scenes[0].levels) == levels
        words = [w for w in slide.warnings if "the level reduced by 2 is left out: the sub-block at byte" in w]
        assert len(words) == 2 - levels


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


@pytest.mark.parametrize("kind", ["afi", "ndpis"])
@pytest.mark.parametrize("same", [True, False])
def test_a_copy_under_another_name_is_told(tmp_path: Path, kind: str, same: bool) -> None:
    path = tmp_path / f"set.{kind}"
    make_afi(path, Afi(size=(300, 401))) if kind == "afi" else make_set(path)
    one, other = (next(tmp_path.glob(f"set?{word}.*")) for word in ("DAPI", "FITC"))
    data = bytearray(one.read_bytes())
    if not same:
        data[-1] ^= 1  # of the same size, as raw files are
    if same or kind == "afi":
        other.write_bytes(data)
    with open_slide(path) as slide:
        told = [warning for warning in slide.warnings if "copy" in warning]
        said = f"{other.name} is a copy of {one.name}: the same pixels are shown under both names"
        assert told == ([said] if same else [])
        assert slide.scenes[0].shape.c == 3


@pytest.mark.parametrize("kind", ["afi", "ndpis"])
def test_one_file_listed_under_two_names_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"set.{kind}"
    make_afi(path, Afi(size=(300, 401))) if kind == "afi" else make_set(path)
    one, other = (next(tmp_path.glob(f"set?{word}.*")) for word in ("DAPI", "FITC"))
    other.unlink()
    other.symlink_to(one.name)
    with pytest.raises(Damaged, match=f"lists one file twice, as {one.name} and {other.name}"):
        open_slide(path)


@pytest.mark.parametrize(
    ("second", "names", "warned"),
    [('index="0" name="Ch 0" rgb="#0000ff"', ["Ch 0", None], False), ('index="0" name="Ch 1"', [None, None], True)],
)
def test_a_channel_of_scn_that_is_described_twice(
    tmp_path: Path, *, second: str, names: list[str | None], warned: bool
) -> None:
    scn = Scn(regions=(Region(channels=2, depth=1),), replaced={'index="1" name="Ch 1" rgb="#00ff00"': second})
    with open_slide(make_scn(tmp_path / "a.scn", scn)) as slide:
        assert [channel.name for channel in slide.scenes[0].channels] == names
        told = ["region 0: channel 0 is described twice (Ch 0 and Ch 1): neither is used"]
        assert [warning for warning in slide.warnings if "twice" in warning] == (told if warned else [])


def test_a_second_label_of_scn_is_told(tmp_path: Path) -> None:
    label = '<supplementalImage type="label" ifd="2"/>'
    again = label + '<supplementalImage type="label" ifd="4"/>'
    with open_slide(make_scn(tmp_path / "a.scn", Scn(label=True, replaced={label: again}))) as slide:
        assert "page 4 is a further label image: --associated label-2 writes it" in slide.warnings
