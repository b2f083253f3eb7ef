"""Pictures whose rows come in order: one decode, whatever order they are wanted in, counted and not timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from drivers import open_slide, paint
from drivers.errors import Damaged, Unreadable
from drivers.gdal import level as level_module
from drivers.geometry import Box
from drivers.model import Pixels, Slide
from tests.drivers.test_gdal import level0, shown
from tests.made.gdal import SIZE, chunk, deep_png, exif, jpeg2000, palette_png, picture, turned_jpeg

pytestmark = pytest.mark.usefixtures("files_closed")


class Watched:
    """A dataset that counts the rows its decoder goes through, as Counting does, and gives the pixels of a real one."""

    def __init__(self, dataset: Any, seen: dict[str, int]) -> None:
        self.dataset, self.seen, self.row = dataset, seen, 0
        seen["open"] += 1
        seen["most"] = max(seen["most"], seen["open"])

    def read(self, bands: list[int], *, window: Any, out: Any) -> None:
        self.seen["rows"] += int(window.row_off + window.height) - (0 if window.row_off < self.row else self.row)
        self.row = int(window.row_off + window.height)
        self.dataset.read(bands, window=window, out=out)

    def close(self) -> None:
        self.seen["open"] -= 1
        self.dataset.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the decoders do; bands are small, so that small pictures are read in many of them."""
    from drivers.gdal import dataset, spool

    counts = {"open": 0, "most": 0, "rows": 0}
    real = dataset.open_dataset
    monkeypatch.setattr(dataset, "open_dataset", lambda source: Watched(real(source), counts))
    monkeypatch.setattr(level_module, "BAND_SAMPLES", 203 * 3 * 8)
    for module in (level_module, spool):
        monkeypatch.setattr(module, "SIDE", 64)
    return counts


def shuffled(slide: Slide, threads: int) -> Pixels:
    """Level 0 put together from blocks that several threads read in no order."""
    from concurrent.futures import ThreadPoolExecutor

    level = slide.scenes[0].levels[0]
    tiles = sorted(level.index.tiles(Box.of(level.shape)), key=lambda tile: hash((tile.box.start.y * 7919) % 61))
    with ThreadPoolExecutor(threads) as pool:
        blocks = dict(zip([tile.key for tile in tiles], pool.map(lambda tile: level.read(tile.key), tiles), strict=True))
    return paint(level, Box.of(level.shape), lambda tile: blocks[tile.key])[0, :, 0].transpose(1, 2, 0)


@pytest.mark.parametrize("orientation", [3, 4, 6, 7])
def test_a_picture_shown_from_the_last_row_is_decoded_once(tmp_path: Path, seen: dict[str, int], orientation: int) -> None:
    turned_jpeg(tmp_path / "a.jpg", orientation)
    with open_slide(tmp_path / "a.jpg") as slide:
        assert len(list(slide.scenes[0].levels[0].index.tiles(Box.of(slide.scenes[0].shape)))) == 20
        np.testing.assert_array_equal(shuffled(slide, 4), shown(tmp_path / "a.jpg"))
        assert seen == {"open": 0, "most": 1, "rows": SIZE[0]}  # the decoder is gone before the slide is closed


@pytest.mark.parametrize("orientation", [1, 2, 5, 8])
def test_a_picture_shown_from_the_first_row_needs_no_file(tmp_path: Path, seen: dict[str, int], orientation: int) -> None:
    turned_jpeg(tmp_path / "a.jpg", orientation)
    with open_slide(tmp_path / "a.jpg") as slide:
        np.testing.assert_array_equal(level0(slide), shown(tmp_path / "a.jpg"))
        assert seen == {"open": 1, "most": 1, "rows": SIZE[0]}


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_progressive_jpeg_has_one_decoder_and_not_for_long(tmp_path: Path, seen: dict[str, int], orientation: int) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path, progressive=True, exif=b"Exif\0\0" + exif(orientation))
    with open_slide(path) as slide:
        slide.scenes[0].levels[0].read(next(slide.scenes[0].levels[0].index.tiles(Box.of(slide.scenes[0].shape))).key)
        assert seen == {"open": 0, "most": 1, "rows": SIZE[0]}
        np.testing.assert_array_equal(shuffled(slide, 4), shown(path))
        assert seen["rows"] == SIZE[0]


def test_palettes_and_16_bits_through_the_file(tmp_path: Path, seen: dict[str, int]) -> None:
    palette_png(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"eXIf", exif(3)) + data[33:])
    deep_png(tmp_path / "b.png", 3)
    stored = imagecodecs.png_decode((tmp_path / "b.png").read_bytes())
    data = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[:33] + chunk(b"eXIf", exif(3)) + data[33:])
    with open_slide(tmp_path / "a.png") as slide:
        np.testing.assert_array_equal(shuffled(slide, 2), shown(tmp_path / "a.png"))
    with open_slide(tmp_path / "b.png") as slide:
        np.testing.assert_array_equal(shuffled(slide, 2), stored[::-1, ::-1])
    assert seen["rows"] == 2 * SIZE[0]


def test_without_room_for_the_file_blocks_are_large(
    tmp_path: Path, seen: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    turned_jpeg(tmp_path / "a.jpg", 3)
    monkeypatch.setattr(level_module, "has_room", lambda _: False)
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.scenes[0].levels[0].tile.y == SIZE[0]
        np.testing.assert_array_equal(level0(slide), shown(tmp_path / "a.jpg"))
        assert seen["rows"] == SIZE[0]


def test_damage_in_a_spooled_picture_is_told_again_and_again(tmp_path: Path, seen: dict[str, int]) -> None:
    path = tmp_path / "a.jpg"
    turned_jpeg(path, 3)
    path.write_bytes(path.read_bytes()[:-3000])
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(Damaged, match=r"a\.jpg: rows"):
                level0(slide)
    assert seen["open"] == 0


def test_a_full_disk_is_told(tmp_path: Path, seen: dict[str, int]) -> None:
    import resource
    import signal

    turned_jpeg(tmp_path / "a.jpg", 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with open_slide(tmp_path / "a.jpg") as slide, pytest.raises(Unreadable, match=r"a\.jpg: no place.*TMPDIR"):
            level0(slide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert seen["rows"] <= SIZE[0]


@pytest.mark.parametrize("codestream", [False, True])
def test_jpeg_2000_without_tiles_is_decoded_once_a_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, int], codestream: bool
) -> None:
    from drivers.gdal import jp2

    path, decoded = tmp_path / "a.jp2", list[int | None]()
    jpeg2000(path, codestream=codestream)
    real = jp2.decode
    monkeypatch.setattr(jp2, "decode", lambda source, *more: decoded.append(source.overview) or real(source, *more))
    with open_slide(path) as slide:
        levels = slide.scenes[0].levels
        assert len(levels) == 3
        for number, level in enumerate(levels):
            expected = imagecodecs.jpeg2k_decode(path.read_bytes(), skipres=number)
            for _ in range(2):
                np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, :, 0].transpose(1, 2, 0), expected)
    assert decoded == [None, 0, 1]
    assert seen["rows"] == 0


def test_jpeg_2000_that_stays_with_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, int]) -> None:
    from drivers.gdal import jp2

    _ = seen
    jpeg2000(tmp_path / "tiled.jp2", tile=128)
    jpeg2000(tmp_path / "sycc.jp2")
    data = (tmp_path / "sycc.jp2").read_bytes()
    at = data.index(b"colr") + 4 + 3
    (tmp_path / "sycc.jp2").write_bytes(data[:at] + (18).to_bytes(4, "big") + data[at + 4 :])
    jpeg2000(tmp_path / "large.jp2")
    for name, most in (("tiled.jp2", 1 << 30), ("sycc.jp2", 1 << 30), ("large.jp2", 1000)):
        monkeypatch.setattr(jp2, "MOST_BYTES", most)
        with open_slide(tmp_path / name) as slide:
            assert isinstance(slide.scenes[0].levels[0].read, level_module.Reader), name


def test_jpeg_2000_cut_short_is_told(tmp_path: Path, seen: dict[str, int]) -> None:
    _ = seen
    jpeg2000(tmp_path / "a.jp2")
    data = (tmp_path / "a.jp2").read_bytes()
    (tmp_path / "a.jp2").write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(Damaged, match=r"a\.jp2"), open_slide(tmp_path / "a.jp2") as slide:
        level0(slide)


@pytest.mark.parametrize("size", [(60, 80), (300, 400)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_png_of_8_bits_that_is_cut_short(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    """GDAL decodes such a picture at once where it is asked for all of it, and shows black for rows that are not there."""
    path = tmp_path / "a.png"
    shape = (*size, len(mode)) if len(mode) > 1 else size
    Image.fromarray(np.random.default_rng(7).integers(1, 255, shape, dtype=np.uint8), mode).save(path)
    data = path.read_bytes()
    for cut in (13, 16, 40, len(data) // 4, len(data) // 2):
        path.write_bytes(data[:-cut])
        with pytest.raises(Damaged), open_slide(path) as slide:
            level0(slide)
