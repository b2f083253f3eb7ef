"""ZVI files that are not whole, or claim what cannot be; and values and tags that no one describes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import open_slide
from drivers.errors import Damaged, DriverError, LimitExceeded, Unsupported
from drivers.geometry import Shape
from drivers.zvi.values import ole_date, parse_tags
from tests.drivers.test_zvi import only, whole
from tests.made.zvi import (
    STACK,
    Odd,
    Plane,
    Zvi,
    compound,
    contents,
    make_zvi,
    numbers,
    streams,
    tag_list,
    value,
)

pytestmark = pytest.mark.usefixtures("files_closed")


# --- values and tags --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        struct.pack("<HI", 0x2011, 6) + b"\3\0\3\0\3\0",
        struct.pack("<HI", 0x7B28, 99),  # what slideio stops at (Booritas/slideio#74)
        struct.pack("<HI", 63, 5) + b"12345",
        struct.pack("<HI", 8, 1 << 30),  # text that would reach past the end
        struct.pack("<H", 20) + bytes(8),
        struct.pack("<H", 6) + bytes(8),
        struct.pack("<HI", 65, 0),
    ],
)
def test_values_that_are_not_known_are_passed_over(odd: bytes) -> None:
    tags = parse_tags(tag_list({515: 7, 9999: Odd(odd), 516: 8, 1284: "DAPI"}))
    assert (tags[515], tags[516], tags[1284]) == (7, 8, "DAPI")


@pytest.mark.parametrize("count", [-1, 0, 1 << 30])
def test_the_count_of_tags_is_not_believed(count: int) -> None:
    data = tag_list({515: 7, 516: 8})
    assert parse_tags(data[:8] + struct.pack("<i", count) + data[12:]) == {515: 7, 516: 8}


def test_dates() -> None:
    assert ole_date(2.5) is not None
    assert [ole_date(days) for days in (0.0, -5.0, 3e6, float("nan"), float("inf"))] == [None] * 5


# --- what is not whole ------------------------------------------------------------------------------------------------


def test_missing_items_show_nothing_and_are_told_of(tmp_path: Path) -> None:
    found = {name: data for name, data in streams(STACK).items() if not name.startswith("Image/Item(3)/C")}
    path = tmp_path / "a.zvi"
    path.write_bytes(compound(found))
    scene, read, warnings = only(path)
    missing = STACK.planes[3]
    assert scene.shape == Shape(2, 2, 3, 30, 41)
    assert not read[missing.t, 1, missing.z - 13].any()
    assert len(scene.levels[0].index.gaps()) == 1
    assert any("12 image items are counted, 11 are stored" in warning for warning in warnings)


def test_items_at_the_same_place_are_refused(tmp_path: Path) -> None:
    planes = [Plane(numbers(20, 30, seed=1)), Plane(numbers(20, 30, seed=2))]
    with pytest.raises(Damaged, match=r"image item 0 \(.*\) and image item 1 \(.*\) claim the same place"):
        open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes)))


def test_a_broken_thumbnail_costs_a_warning(tmp_path: Path) -> None:
    for content in (b"no bitmap at all", bytes(26) + b"BM" + bytes(100)):
        with open_slide(make_zvi(tmp_path / "a.zvi", replace(STACK, thumbnail=None, more={"Thumbnail": content}))) as slide:
            assert not slide.associated
            assert any("thumbnail" in warning for warning in slide.warnings)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 0.7, 0.9, 0.97, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    data = compound(streams(STACK))
    path = tmp_path / "a.zvi"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Damaged, match=r"a\.zvi"):
        open_slide(path)


@pytest.mark.parametrize("at", [*range(24, 80, 4)])
def test_nonsense_in_the_header(tmp_path: Path, at: int) -> None:
    data = bytearray(compound(streams(STACK)))
    for word in (0, 1, 0x7FFFFFF0, 0xFFFFFFFF):
        path = tmp_path / "a.zvi"
        path.write_bytes(bytes(data[:at]) + struct.pack("<I", word) + bytes(data[at + 4 :]))
        with suppress(DriverError):
            open_slide(path).close()


def entry_at(data: bytes, name: str) -> int:
    """Where the directory entry of a name begins."""
    return data.index((name + "\0").encode("utf-16-le").ljust(64, b"\0"))


def fat_at(data: bytes, sector: int) -> int:
    """Where the FAT states what follows a sector; the first 128 sectors of a file of version 3."""
    return (int.from_bytes(data[76:80], "little") + 1) * 512 + 4 * sector


@pytest.fixture
def parts() -> bytearray:
    """A file of one item, whose stream takes many sectors."""
    return bytearray(compound(streams(Zvi([Plane(numbers(60, 90))]))))


def contents_entry(data: bytes) -> int:
    """The directory entry of the item's Contents: the one with a stream of more than 10000 bytes."""
    name = ("Contents\0").encode("utf-16-le").ljust(64, b"\0")
    at = -1
    while True:
        at = data.index(name, at + 1)
        if int.from_bytes(data[at + 120 : at + 124], "little") > 10_000:
            return at


def test_a_chain_that_runs_in_a_circle(tmp_path: Path, parts: bytearray) -> None:
    start = int.from_bytes(parts[contents_entry(parts) + 116 :][:4], "little")
    struct.pack_into("<I", parts, fat_at(parts, start + 5), start + 2)
    path = tmp_path / "a.zvi"
    path.write_bytes(parts)
    with pytest.raises(Damaged, match="circle"):
        open_slide(path)


def test_a_directory_that_runs_in_a_circle(tmp_path: Path, parts: bytearray) -> None:
    first = int.from_bytes(parts[48:52], "little")
    struct.pack_into("<I", parts, fat_at(parts, first), first)
    path = tmp_path / "a.zvi"
    path.write_bytes(parts)
    with pytest.raises(Damaged, match="circle"):
        open_slide(path)


def test_a_tree_that_runs_in_a_circle(tmp_path: Path, parts: bytearray) -> None:
    at = entry_at(parts, "Item(0)")
    struct.pack_into("<3I", parts, at + 68, 0, 1, 2)
    path = tmp_path / "a.zvi"
    path.write_bytes(parts)
    with suppress(DriverError):
        open_slide(path).close()


@pytest.mark.parametrize("size", [1 << 20, 0xFFFFFFFF])
def test_a_stream_that_claims_too_much(tmp_path: Path, parts: bytearray, size: int) -> None:
    struct.pack_into("<Q", parts, contents_entry(parts) + 120, size)
    path = tmp_path / "a.zvi"
    path.write_bytes(parts)
    with pytest.raises(Damaged, match="claims"):
        open_slide(path)


def test_the_upper_half_of_a_size_is_undefined_in_version_3(tmp_path: Path, parts: bytearray) -> None:
    struct.pack_into("<I", parts, contents_entry(parts) + 124, 0xFFFFFFFF)
    path = tmp_path / "a.zvi"
    path.write_bytes(parts)
    _, read, _ = only(path)
    np.testing.assert_array_equal(read[0, 0, 0], numbers(60, 90))


def altered(plane: Plane, **words: int) -> Zvi:
    """A file whose only item has other numbers in its header."""
    at = {"width": 1, "height": 2, "bytes": 4, "format": 5, "bits": 6}
    content = bytearray(contents(plane))
    start = content.index(struct.pack("<I", 0x10002000))
    for name, word in words.items():
        struct.pack_into("<i", content, start + 4 * at[name], word)
    return Zvi([plane], more={"Image/Item(0)/Contents": bytes(content)})


PLANE = Plane(numbers(20, 30))


@pytest.mark.parametrize(
    ("zvi", "error", "words"),
    [
        (altered(PLANE, height=21), Damaged, "cut short"),
        (altered(PLANE, width=1 << 20, height=1 << 20), Damaged, "cut short"),
        (altered(PLANE, width=-5), Damaged, "no header"),
        (altered(PLANE, width=0), Damaged, "no header"),
        (altered(PLANE, format=11, bytes=7), Unsupported, "format 11"),
        (altered(PLANE, bits=0, height=40), Unsupported, "compressed"),
        (altered(Plane(numbers(20, 30), packed="zlib"), width=9000, height=9000), LimitExceeded, "limit"),
        (
            altered(Plane(numbers(20, 30), packed="jpeg", bits=0) if False else PLANE, bits=2, height=2000),
            Damaged,
            "cut short",
        ),
        (Zvi([PLANE], more={"Image/Item(0)/Contents": b"no values"}), Damaged, "no header"),
        (Zvi([PLANE], more={"Image/Item(0)/Contents": b""}), Damaged, "no header"),
    ],
)
def test_items_that_cannot_be(tmp_path: Path, zvi: Zvi, error: type[DriverError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        open_slide(make_zvi(tmp_path / "a.zvi", zvi))
    assert str(caught.value).startswith("a.zvi: ")


def test_a_file_without_items(tmp_path: Path) -> None:
    path = tmp_path / "a.zvi"
    path.write_bytes(compound({"Image/Contents": value(1), "Image/Tags/Contents": tag_list({})}))
    with pytest.raises(Damaged, match="no image item"):
        open_slide(path)


def test_far_apart_coordinates_are_refused(tmp_path: Path) -> None:
    planes = [Plane(numbers(4, 4), z=i, c=i, t=i) for i in range(101)]
    with pytest.raises(LimitExceeded, match="planes"):
        open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes)))


def damaged_payload(plane: Plane, change: Callable[[bytes], bytes]) -> Zvi:
    """A file whose only item has another stored image."""
    content = contents(plane)
    start = content.index(struct.pack("<I", 0x10002000)) + 28
    return Zvi([plane], more={"Image/Item(0)/Contents": content[:start] + change(content[start:])})


SMOOTH = np.full((64, 80, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("plane", "change", "words"),
    [
        (Plane(SMOOTH, packed="jpeg"), lambda data: data[:-20], "cut short"),
        (Plane(SMOOTH, packed="zlib"), lambda data: data[:-9], "zlib"),
        (Plane(SMOOTH, packed="zlib"), lambda data: data[:8] + b"zlib" + data[12:], "zlib"),
    ],
)
def test_damage_raises_when_it_is_read(tmp_path: Path, plane: Plane, change: Callable[[bytes], bytes], words: str) -> None:
    with open_slide(make_zvi(tmp_path / "a.zvi", damaged_payload(plane, change))) as slide:
        with pytest.raises(Damaged, match=words) as caught:
            whole(slide.scenes[0])
        assert str(caught.value).startswith("a.zvi: image item 0: ")


def test_a_jpeg_of_another_size(tmp_path: Path) -> None:
    small: Any = contents(Plane(SMOOTH[:32, :40].copy(), packed="jpeg"))
    jpeg = small[small.index(b"\xff\xd8\xff") :]
    with (
        open_slide(make_zvi(tmp_path / "a.zvi", damaged_payload(Plane(SMOOTH, packed="jpeg"), lambda _: jpeg))) as slide,
        pytest.raises(Damaged, match="40x32"),
    ):
        whole(slide.scenes[0])


def test_no_compound_file(tmp_path: Path) -> None:
    from drivers.zvi.slide import open_slide as opened

    path = tmp_path / "a.zvi"
    path.write_bytes(b"no compound file" * 100)
    with pytest.raises(Unsupported, match="OLE2"):
        opened(path)
