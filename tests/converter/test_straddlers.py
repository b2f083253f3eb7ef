"""Blocks kept for neighbouring jobs: large ones lie in a temporary file that is closed with its last use."""

from __future__ import annotations

import errno
import gc
import io
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from converter.errors import OutputFailed
from converter.straddlers import Straddlers
from drivers.geometry import Box, Shape
from drivers.model import Pixels
from drivers.tiles import Tile


@pytest.mark.usefixtures("files_closed")
def test_a_large_block_is_decoded_once_and_its_file_closed(tmp_path: Path) -> None:
    block = np.arange(64, dtype=np.uint16).reshape(1, 1, 1, 8, 8)
    tile = Tile(Box.of(Shape(*block.shape)), "key")
    decoded: list[Tile] = []

    def decode(wanted: Tile) -> Pixels:
        decoded.append(wanted)
        return block

    kept = Straddlers(Shape(1, 1, 1, 4, 4), tmp_path, limit=16)
    for y in (0, 4):
        for x in (0, 4):
            box = Box(Shape(0, 0, 0, y, x), Shape(1, 1, 1, y + 4, x + 4))
            np.testing.assert_array_equal(kept.read(tile, box, decode), block)
    assert len(decoded) == 1
    gc.collect()


def boxes_of(side: int, step: int) -> list[Box]:
    """The jobs of a plane."""
    corners = [(y, x) for y in range(0, side, step) for x in range(0, side, step)]
    return [Box(Shape(0, 0, 0, y, x), Shape(1, 3, 1, y + step, x + step)) for y, x in corners]


@pytest.mark.usefixtures("files_closed")
def test_a_large_block_keeps_its_order_in_memory(tmp_path: Path) -> None:
    block = np.arange(192, dtype=np.uint16).reshape(1, 1, 8, 8, 3).transpose(0, 4, 1, 2, 3)
    tile, kept = Tile(Box.of(Shape(*block.shape)), "key"), Straddlers(Shape(1, 3, 1, 4, 4), tmp_path, limit=16)
    for box in boxes_of(8, 4):
        found = kept.read(tile, box, lambda _tile: block)
        np.testing.assert_array_equal(found, block)
        assert found.strides == block.strides
        del found
    gc.collect()


@pytest.mark.usefixtures("files_closed")
def test_large_blocks_are_decoded_at_the_same_time(tmp_path: Path) -> None:
    block, both = np.ones((1, 1, 1, 8, 8), np.uint8), threading.Barrier(2, timeout=100)
    kept = Straddlers(Shape(1, 1, 1, 8, 4), tmp_path, limit=16)
    tiles = [Tile(Box(Shape(0, 0, 0, y, 0), Shape(1, 1, 1, y + 8, 8)), y) for y in (0, 8)]

    def decode(_tile: Tile) -> Pixels:
        both.wait()  # gives up where the other has to wait for this one
        return block

    def work(tile: Tile) -> None:
        for x in (0, 4):
            start = tile.box.start._replace(x=x)
            kept.read(tile, Box(start, Shape(1, 1, 1, start.y + 8, x + 4)), decode)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, tiles))
    gc.collect()


@pytest.mark.usefixtures("files_closed")
def test_a_large_block_in_demand_from_many_threads_is_decoded_once(tmp_path: Path) -> None:
    block, decoded = np.arange(1024, dtype=np.uint8).reshape(1, 1, 1, 32, 32), list[Tile]()
    tile, kept = Tile(Box.of(Shape(*block.shape)), "key"), Straddlers(Shape(1, 1, 1, 4, 4), tmp_path, limit=16)

    def decode(wanted: Tile) -> Pixels:
        decoded.append(wanted)
        return block

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda box: kept.read(tile, box, decode)[0, 0, 0, 31, 31], boxes_of(32, 4)):
            assert found == block[0, 0, 0, 31, 31]
    assert len(decoded) == 1
    kept.read(tile, boxes_of(32, 4)[0], decode)  # one use more than was counted on
    assert len(decoded) == 2
    for box in boxes_of(32, 4)[1:]:
        kept.read(tile, box, decode)
    gc.collect()


@pytest.mark.usefixtures("files_closed")
def test_closing_ends_what_was_not_used_up(tmp_path: Path) -> None:
    block = np.zeros((1, 1, 1, 8, 8), np.uint8)
    kept = Straddlers(Shape(1, 1, 1, 4, 4), tmp_path, limit=16)
    kept.read(Tile(Box.of(Shape(*block.shape)), "key"), boxes_of(8, 4)[0], lambda _tile: block)
    kept.close()


class Full(io.BytesIO):
    """A file on a full disk."""

    def write(self, _data: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["made", "written"])
def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def temporary(dir: Path) -> io.BytesIO:  # noqa: A002 - the name that `tempfile` has
        assert dir == tmp_path
        if when == "made":
            raise OSError(errno.ENOSPC, "No space left on device")
        return Full()

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    block = np.ones((1, 1, 1, 8, 8), np.uint8)
    kept, tile = Straddlers(Shape(1, 1, 1, 8, 4), tmp_path, limit=16), Tile(Box.of(Shape(*block.shape)), "key")
    with pytest.raises(OutputFailed, match=r"temporary file of decoded pixels.*No space left") as raised:
        kept.read(tile, Box(Shape(0, 0, 0, 0, 0), Shape(1, 1, 1, 8, 4)), lambda _tile: block)
    assert raised.value.errno == errno.ENOSPC
