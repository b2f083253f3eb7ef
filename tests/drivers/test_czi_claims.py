"""CZI: metadata, attachments, sets of files, and what must be refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath, Unsupported
from drivers.geometry import Box, Shape
from tests.drivers.test_czi import Made, planes, whole
from tests.made.czi import (
    Block,
    Czi,
    cells,
    colours,
    czi_bytes,
    document,
    encode,
    make,
    make_mosaic,
    make_stack,
    picture,
)

pytestmark = pytest.mark.usefixtures("files_closed")


# -- metadata --


def test_metadata(made: Made) -> None:
    with open_slide(made("stack.czi", make_stack)) as slide:
        scene = slide.scenes[0]
    size, facts = scene.pixel_size, scene.facts
    assert (size.y_um, size.x_um, size.z_um, scene.magnification, scene.time_step_s) == (0.325, 0.325, 1.0, 10.0, 2.5)
    assert scene.significant_bits == 14
    first, second = scene.channels
    assert (first.name, first.color, first.fluor) == ("DAPI", "00A1FF", "DAPI")
    assert (first.excitation_nm, first.emission_nm, first.exposure_s) == (353, 465, 0.02)
    assert first.window == (655.35, 13107.0)
    assert (second.name, second.color, second.window, second.excitation_nm, second.exposure_s) == (
        "EGFP",
        "00FF5B",
        (0.0, 16383.75),
        None,
        None,
    )
    assert facts.acquired == datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
    assert (facts.objective_model, facts.objective_na) == ("Plan-Apochromat 20x/0.8 M27", 0.8)
    assert (facts.immersion, facts.microscope_model, facts.software) == ("Air", "Axioscan 7", "ZEN 3.9 3.9.1")
    assert slide.raw_metadata is not None
    assert "Doctor Who" in slide.raw_metadata
    assert "Doctor Who" not in repr(slide)


def test_display_settings_by_place_where_ids_differ(tmp_path: Path) -> None:
    display = '<Channel Id="51" Name="ChA"><Color>#FFFF0000</Color></Channel><Channel Id="52" Name="ChB"/>'
    blocks = [Block(cells(20, 20), "Gray16", "none", {"C": c}) for c in range(2)]
    channels = '<Channel Id="Channel:0"/><Channel Id="Channel:1"/>'
    with open_slide(make(tmp_path / "ids.czi", Czi(blocks, document("", channels, display)))) as slide:
        assert [c.name for c in slide.scenes[0].channels] == ["ChA", "ChB"]
        assert slide.scenes[0].channels[0].color == "FF0000"


def test_unknown_stays_unknown(tmp_path: Path) -> None:
    xml = '<ImageDocument><Metadata><Scaling><Items><Distance Id="X"><Value>0</Value></Distance></Items></Scaling>'
    xml += "<Information><Image><Dimensions><Channels><Channel Id='Channel:0' Name=''/></Channels></Dimensions></Image>"
    xml += "</Information></Metadata></ImageDocument>"
    for text in (xml, None):
        with open_slide(make(tmp_path / "bare.czi", Czi([picture("Gray16", "none")], text))) as slide:
            scene = slide.scenes[0]
            assert (scene.pixel_size.x_um, scene.magnification, scene.position, scene.time_step_s) == (None,) * 4
            assert (scene.channels[0].name, scene.facts.acquired, scene.significant_bits) == (None,) * 3


# -- attachments --


def test_attachments(made: Made) -> None:
    with open_slide(made("mosaic.czi", make_mosaic)) as slide:
        assert [tuple(s.shape[3:]) for s in slide.associated.values()] == [(60, 50), (45, 90), (40, 52)]
        np.testing.assert_array_equal(planes(slide.associated["label"])[0, 0, 0], colours(60, 50, 7))
        np.testing.assert_array_equal(planes(slide.associated["preview"])[0, 0, 0], colours(45, 90, 8))
        difference = planes(slide.associated["thumbnail"])[0, 0, 0].astype(int) - colours(40, 52)
        assert np.abs(difference).mean() < 6


@pytest.mark.parametrize(("kind", "content"), [("CZI", b"ZISRAWFILE no more"), ("JPG", b"\xff\xd8\xff"), ("CZI", b"")])
def test_a_damaged_attachment_costs_a_warning(tmp_path: Path, kind: str, content: bytes) -> None:
    path = make(tmp_path / "label.czi", Czi([picture("Gray16", "none")], attachments=[("Label", kind, content)]))
    with open_slide(path) as slide:
        assert not slide.associated
        assert "label image is left out" in slide.warnings[0]


# -- sets of files --


def make_set(folder: Path) -> Path:
    """Two blocks, the second in a further file."""
    blocks = [Block(cells(30, 30, i), "Gray16", "none", {"C": 0, "X": 30 * i}, part=i) for i in range(2)]
    make(folder / "set(1).czi", Czi(blocks, part=1))
    return make(folder / "set.czi", Czi(blocks))


def test_a_set_of_files(tmp_path: Path) -> None:
    path = make_set(tmp_path)
    with open_slide(path) as slide:
        assert [file.name for file in slide.files] == ["set.czi", "set(1).czi"]
        expected = np.concatenate([cells(30, 30, 0), cells(30, 30, 1)], axis=1)
        np.testing.assert_array_equal(planes(slide.scenes[0])[0, 0, 0], expected)


def test_a_set_of_files_that_is_not_whole(tmp_path: Path) -> None:
    path = make_set(tmp_path)
    with pytest.raises(Unsupported, match="part 1 of a set"):
        open_slide(tmp_path / "set(1).czi")
    (tmp_path / "set(1).czi").unlink()
    with pytest.raises(Incomplete, match=r"set\(1\)\.czi"):
        open_slide(path)


def test_a_part_outside_the_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = make_set(inner)
    (inner / "set(1).czi").rename(tmp_path / "set(1).czi")
    (inner / "set(1).czi").symlink_to(tmp_path / "set(1).czi")
    with pytest.raises(UnsafePath):
        open_slide(path)


# -- damage --


def patched(path: Path, changes: dict[int, bytes]) -> Path:
    """A one-block file with other bytes at some offsets."""
    data = bytearray(czi_bytes(Czi([picture("Gray16", "none")], document())))
    for at, value in changes.items():
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


HEAD = czi_bytes(Czi([picture("Gray16", "none")], document()))
DIRECTORY, METADATA = struct.unpack_from("<qq", HEAD, 32 + 52)
ENTRIES = DIRECTORY + 32 + 128


def q(value: int) -> bytes:
    """Eight bytes."""
    return value.to_bytes(8, "little", signed=True)


def i(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "little", signed=True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({32 + 52: q(1 << 60)}, Damaged),
        ({32 + 52: q(-5)}, Damaged),
        ({32 + 52: q(0)}, Incomplete),
        ({32 + 60: q(1 << 60)}, Damaged),
        ({32 + 60: q(-5)}, Damaged),
        ({DIRECTORY: b"DELETED\0\0\0\0\0\0\0\0"}, Damaged),
        ({DIRECTORY + 16: q(1 << 40), DIRECTORY + 24: q(1 << 40)}, Damaged),
        ({DIRECTORY + 32: i(0)}, Damaged),
        ({DIRECTORY + 32: i(-1)}, Damaged),
        ({DIRECTORY + 32: i(2**31 - 1)}, LimitExceeded),
        ({DIRECTORY + 32: i(1000)}, Damaged),
        ({ENTRIES: b"DE"}, Unsupported),
        ({ENTRIES + 2: i(10)}, Unsupported),
        ({ENTRIES + 2: i(77)}, Unsupported),
        ({ENTRIES + 18: i(999)}, Unsupported),
        ({ENTRIES + 14: i(-1)}, Damaged),
        ({ENTRIES + 28: i(2**31 - 1)}, LimitExceeded),
        ({ENTRIES + 28: i(-1)}, Damaged),
        ({ENTRIES + 28: i(30)}, Damaged),
        ({ENTRIES + 40: i(0)}, Damaged),
        ({ENTRIES + 40: i(-100)}, Damaged),
        ({ENTRIES + 40: i(2**31 - 1), ENTRIES + 60: i(2**31 - 1)}, DriverError),
        ({ENTRIES + 32: b"Q"}, Unsupported),
        ({ENTRIES + 32: b"Y"}, Damaged),
        ({METADATA + 32: i(2**31 - 1)}, LimitExceeded),
        ({METADATA + 32: i(-1)}, Damaged),
        ({METADATA + 32: i(60_000)}, Damaged),
        ({METADATA + 32 + 256: b"<!DOCTYPE a>"}, Damaged),
        ({METADATA + 32 + 256: b"<<"}, Damaged),
    ],
)
def test_claims_are_checked_when_the_file_is_opened(
    tmp_path: Path, changes: dict[int, bytes], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^bad\.czi: ") as caught:
        open_slide(patched(tmp_path / "bad.czi", changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {544: b"DELETED\0\0\0\0\0\0\0\0"},
        {544 + 32: i(-1)},
        {544 + 32: i(1 << 30)},
        {544 + 40: q(1 << 60)},
        {544 + 40: q(-1)},
        {544 + 40: q(100)},
        {544 + 48 + 2: i(0)},
        {544 + 48 + 18: i(5)},
        {ENTRIES + 6: q(1 << 60)},
        {ENTRIES + 6: q(-7)},
        {ENTRIES + 36 + 4: i(60_000), ENTRIES + 36 + 12: i(60_000)},
    ],
)
def test_claims_of_sub_blocks_are_checked_when_they_are_read(tmp_path: Path, changes: dict[int, bytes]) -> None:
    with open_slide(patched(tmp_path / "bad.czi", changes)) as slide:
        level = slide.scenes[0].levels[0]
        corner = Box(Shape(0, 0, 0, 0, 0), Shape(1, 1, 1, 8, 8))
        with pytest.raises(Damaged, match=r"^bad\.czi: "):
            paint(level, corner)


@pytest.mark.parametrize("codec", ["jpeg", "jpegxr", "lzw", "zstd0", "zstd1"])
@pytest.mark.parametrize("cut", [0.5, 0.97])
def test_cut_streams_raise(tmp_path: Path, codec: str, cut: float) -> None:
    block = picture("Bgr24", codec)
    data = encode(block)
    path = make(tmp_path / "cut.czi", Czi([replace(block, data=data[: int(cut * len(data))])]))
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"^cut\.czi: sub-block at byte 544"):
        whole(slide.scenes[0].levels[0])


@pytest.mark.parametrize("codec", ["jpeg", "jpegxr", "zstd0", "zstd1", "none"])
@pytest.mark.parametrize("claims", [(70, 93), (68, 95), (72, 95), (700, 95)])
def test_streams_of_another_size_raise(tmp_path: Path, codec: str, claims: tuple[int, int]) -> None:
    if codec == "none" and claims in ((70, 93), (68, 95)):
        pytest.skip("bytes behind the pixels are padding")
    block = replace(picture("Bgr24", codec), claims=claims, size=claims)
    with (
        open_slide(make(tmp_path / "size.czi", Czi([block]))) as slide,
        pytest.raises(Damaged, match=r"^size\.czi: "),
    ):
        whole(slide.scenes[0].levels[0])


@pytest.mark.parametrize("part", [0.2, 0.7, 0.99])
def test_truncated_files(tmp_path: Path, part: float) -> None:
    path = make_stack(tmp_path / "short.czi")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises((Damaged, Incomplete), match=r"^short\.czi: "):
        open_slide(path)


def test_a_pending_file_warns(tmp_path: Path) -> None:
    with open_slide(make(tmp_path / "pending.czi", Czi([picture("Gray16", "none")], pending=True))) as slide:
        assert "not finished" in slide.warnings[0]


def test_a_huge_canvas_of_few_pixels_is_refused(tmp_path: Path) -> None:
    blocks = [Block(cells(10, 10), "Gray16", "none", {"C": 0, "X": x, "Y": x}) for x in (-(2**30), 2**30)]
    with pytest.raises(LimitExceeded):
        open_slide(make(tmp_path / "canvas.czi", Czi(blocks)))
    blocks = [Block(cells(10, 10), "Gray16", "none", {"C": 0, "T": t}) for t in (0, 2**30)]
    with pytest.raises(LimitExceeded):
        open_slide(make(tmp_path / "times.czi", Czi(blocks)))
