"""iSyntax with a stand-in for the library: nothing here can make such a file."""

from __future__ import annotations

import builtins
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import imagecodecs
import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, Unsupported
from drivers.geometry import Box

pytestmark = pytest.mark.usefixtures("files_closed")
HEAD = b'<DataObject ObjectType="DPUfsImport"><Attribute/></DataObject>\x04'


JPEG = bytes(imagecodecs.jpeg8_encode(np.full((30, 40, 3), 90, np.uint8)))


class StandIn:
    """Serves tiles of 64 pixels and notices when two threads are in it."""

    tile_width = tile_height = 64
    level_dimensions = ((150, 100), (75, 50))
    mpp_x = mpp_y = 0.25
    closed = False

    def __init__(self, file: IO[bytes], size: int) -> None:
        assert size == len(HEAD)
        self.inside = threading.Lock()

    def read_tile(self, x: int, y: int, level: int) -> np.ndarray[Any, Any]:
        assert self.inside.acquire(blocking=False)
        time.sleep(0.001)
        self.inside.release()
        if (x, y) == (2, 1):
            raise RuntimeError("broken")
        return np.full((64, 64, 4), (10 * x, 10 * y, 5, 255), np.uint8)

    def read_label_image_jpeg(self) -> bytes:
        return JPEG

    def read_macro_image_jpeg(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the header of the format."""
    (tmp_path / "a.isyntax").write_bytes(HEAD)
    return tmp_path / "a.isyntax"


def test_tiles_are_read_in_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isyntax", SimpleNamespace(ISyntax=StandIn))
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert slide.driver == "isyntax"
        assert (scene.shape, scene.pixel_size.x_um) == ((1, 3, 1, 100, 150), 0.25)
        level = scene.levels[0]
        keys = [tile.key for tile in level.index.tiles(Box.of(level.shape))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(level.read, keys[:5] * 10))
        with pytest.raises(Damaged, match=r"a\.isyntax: tile 1,2: broken"):
            paint(level, Box.of(level.shape))


def test_label_and_macro(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isyntax", SimpleNamespace(ISyntax=StandIn))
    with open_slide(path) as slide:
        assert list(slide.associated) == ["label"]
        np.testing.assert_array_equal(slide.associated["label"].read_block(), imagecodecs.jpeg8_decode(JPEG))
        assert slide.warnings == ["the macro image cannot be read and is left out: libisyntax gives none"]


def test_what_the_library_refuses(path: Path) -> None:
    with pytest.raises(Damaged, match=r"a\.isyntax"):
        open_slide(path)


def test_without_the_library_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "isyntax":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unsupported, match=r"slidemill\[isyntax\]"):
        open_slide(path)
