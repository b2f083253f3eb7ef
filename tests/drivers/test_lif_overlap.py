"""Leica images whose samples would share bytes: against a count of every byte, and in files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers import open_slide
from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.lif.overlap import check_apart
from drivers.paint import paint
from tests.made.lif import Lif, make_lif, make_lof, make_xlef

pytestmark = pytest.mark.usefixtures("files_closed")


def share_bytes(axes: Sequence[tuple[int, int]], channels: Sequence[int], size: int) -> bool:
    """The truth: every byte of every sample, one by one."""
    starts = np.array(channels)
    for count, step in axes:
        starts = (starts[:, None] + np.arange(count) * step).ravel()
    every = (starts[:, None] + np.arange(size)).ravel()
    return len(np.unique(every)) < every.size


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_has_one_owner(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = {True: 0, False: 0}
    for _ in range(400):
        size = int(rng.choice([1, 2, 4]))
        counts = [int(n) for n in rng.integers(1, 5, 4)]
        channels = sorted({int(n) * size for n in rng.choice([0, 1, 2, 3, 8, 16, 40, 80], int(rng.integers(1, 4)))})
        steps = [int(rng.choice([1, 2, 3, 4, 8, 12, 16, 20, 32, 48, 64, 80, 128, 160])) * size for _ in counts]
        if rng.random() < 0.2:
            steps[-1] += 1  # within a sample
        steps[0] = max(steps[0], (counts[1] - 1) * steps[1] + size)  # a plane is a grid: nothing else is stored
        axes = list(zip(counts, steps, strict=True))
        if rng.random() < 0.5:
            axes[:2] = axes[1::-1]
        shared = share_bytes(axes, channels, size)
        found[shared] += 1
        try:
            check_apart(axes[:2], axes[2:], channels, size)
            told = False
        except Damaged:
            told = True
        assert told == shared, (axes, channels, size)
    assert min(found.values()) > 20


STACK = Lif("a", "TZCYX", np.arange(2 * 3 * 2 * 8 * 10, dtype="<u2").reshape(2, 3, 2, 8, 10), 16)
"""BytesInc: X 2, Y 20, C 160, Z 320, T 960."""


def said(path: Path, kind: str, old: int, new: int) -> Path:
    """The file with another BytesInc, padded to the length of the old one."""
    text, data = f"{old}".encode("utf-16-le"), path.read_bytes()
    what = ('DimID="' + kind) if kind.isdigit() else "<ChannelDescription"
    mark = re.compile(what.encode("utf-16-le") + b"(?:(?!>\0).)*?" + 'BytesInc="'.encode("utf-16-le") + text, re.DOTALL)
    found = [m for m in mark.finditer(data) if data[m.end() : m.end() + 2] == '"'.encode("utf-16-le")]
    assert len(found) == 1, len(found)
    changed = f"{new:0{len(str(old))}}".encode("utf-16-le")
    path.write_bytes(data[: found[0].end() - len(text)] + changed + data[found[0].end() :])
    return path


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [("3", 320, 160), ("3", 320, 318), ("4", 960, 320), ("4", 960, 640), ("2", 20, 18), ("1", 2, 1), ("channel", 160, 80)],
    ids=["z over c", "z by a sample", "t is z", "t over z", "y", "x", "channel over rows"],
)
@pytest.mark.parametrize("container", ["lif", "lof"])
def test_steps_that_overlap_are_refused(tmp_path: Path, *, container: str, kind: str, old: int, new: int) -> None:
    path = make_lif(tmp_path / "a.lif", [STACK]) if container == "lif" else make_lof(tmp_path / "a.lof", STACK)
    with pytest.raises(Damaged, match=r"planes share bytes|samples of a plane overlap"):
        open_slide(said(path, kind, old, new))


@pytest.mark.parametrize("axes", ["TZCYX", "CTZYX", "TZYXC", "TZYCX", "ZCTYX", "YCXZT"])
def test_orders_in_which_nothing_overlaps(tmp_path: Path, axes: str) -> None:
    lengths = {"T": 2, "Z": 3, "C": 2, "Y": 8, "X": 10}
    pixels = np.arange(960, dtype="<u2").reshape([lengths[axis] for axis in axes])
    with open_slide(make_lif(tmp_path / "a.lif", [Lif("a", axes, pixels, 16)])) as slide:
        level = slide.scenes[0].levels[0]
        true = pixels.transpose([axes.index(axis) for axis in "TCZYX"])
        np.testing.assert_array_equal(paint(level, Box.of(level.shape)), true)


def shared(path: Path, images: Sequence[Lif]) -> Path:
    """Both images name the first memory block."""
    data = make_lif(path, images).read_bytes()
    at = data.index("MemBlock_1".encode("utf-16-le"))
    path.write_bytes(data[:at] + "MemBlock_0".encode("utf-16-le") + data[at + 20 :])
    return path


def test_two_images_of_one_memory_block(tmp_path: Path) -> None:
    ten, twenty = (np.full((8, 10), value, np.uint8) for value in (10, 20))
    with open_slide(shared(tmp_path / "a.lif", [Lif("a", "YX", ten), Lif("b", "YX", twenty)])) as slide:
        said = "images 'a' and 'folder/b' name the same memory block of a.lif: they are copies"
        alone = "the memory block MemBlock_1 of 80 bytes belongs to no element, and is left out"
        assert slide.warnings == [alone, said]
    with pytest.raises(Damaged, match=r"images 'a' and 'folder/b' name .* and describe it differently"):
        open_slide(shared(tmp_path / "b.lif", [Lif("a", "YX", ten), Lif("b", "YX", twenty.reshape(10, 8))]))


@pytest.mark.parametrize("alike", [True, False])
def test_two_images_of_one_lof(tmp_path: Path, alike: bool) -> None:
    other = Lif("b", "YX", np.full((8, 10) if alike else (10, 8), 10, np.uint8))
    path = make_xlef(tmp_path / "a.xlef", [Lif("a", "YX", np.full((8, 10), 10, np.uint8)), other])
    file = tmp_path / "Metadata" / "im age1.xlif"
    file.write_text(file.read_text().replace("im%20age1.lof", "im%20age0.lof"))
    if not alike:
        with pytest.raises(Damaged, match=r"images 'a' and 'b' name the same memory block of im age0\.lof and describe it"):
            open_slide(path)
        return
    with open_slide(path) as slide:
        assert slide.warnings == ["images 'a' and 'b' name the same memory block of im age0.lof: they are copies"]
        assert len(slide.scenes) == 2


def test_a_memory_block_that_is_stored_twice(tmp_path: Path) -> None:
    images = [Lif(name, "YX", np.full((8, 10), 10, np.uint8)) for name in "ab"]
    path = make_lif(tmp_path / "a.lif", images)
    data = path.read_bytes()
    path.write_bytes(data.replace("MemBlock_1".encode("utf-16-le"), "MemBlock_0".encode("utf-16-le")))
    with open_slide(path) as slide:
        first, second = slide.warnings
        assert re.fullmatch(r"that at byte \d+ repeats the memory block MemBlock_0 at byte \d+ at .* left out", first)
        assert second.startswith("images 'a' and 'folder/b' name the same memory block")
