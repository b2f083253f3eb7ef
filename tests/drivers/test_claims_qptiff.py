"""QPTIFF pages of one name: copies count once, others are channels; reduced pages belong to the channel of their name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.geometry import Box
from drivers.paint import paint

pytestmark = pytest.mark.usefixtures("files_closed")
Page = tuple[str | None, int]
"""(name of the dye, value of every pixel)."""


def make(path: Path, full: list[Page], half: list[Page]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for kind, side, pages in (("FullResolution", 64, full), ("ReducedResolution", 32, half)):
            for name, value in pages:
                named = "" if name is None else f"<Name>{name}</Name>"
                about = f"<ImageType>{kind}</ImageType>{named}"
                writer.write(
                    np.full((side, side), value, "u1"),
                    description=f"<PerkinElmer-QPI-ImageDescription>{about}</PerkinElmer-QPI-ImageDescription>",
                    software="PerkinElmer-QPI",
                    metadata=None,
                )
    return path


def read(path: Path) -> tuple[list[str | None], list[list[int]], list[str]]:
    """(names of the channels, values of the channels of each level, warnings)."""
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        values = [paint(level, Box.of(level.shape))[0, :, 0, 0, 0].tolist() for level in scene.levels]
        return [channel.name for channel in scene.channels], values, list(slide.warnings)


A, B, A2 = ("A", 10), ("B", 20), ("A", 30)
LEFT_OUT = "level 32x32 has channels of other names and is left out"


@pytest.mark.parametrize(
    ("full", "half", "levels", "warnings"),
    [
        ([A, B], [B, A], [[10, 20], [10, 20]], []),
        ([A, B, A2], [A, A2, B], [[10, 20, 30], [10, 20, 30]], []),
        ([A, B], [A, A2], [[10, 20]], [LEFT_OUT]),
        ([(None, 1), (None, 1)], [(None, 1), (None, 1)], [[1, 1], [1, 1]], []),
        ([A, B, A], [A, B], [[10, 20], [10, 20]], ["page 2 (A) repeats page 0 (A) at the same place and is left out"]),
    ],
)
def test_pages_by_their_names(
    tmp_path: Path, *, full: list[Page], half: list[Page], levels: list[list[int]], warnings: list[str]
) -> None:
    names, values, told = read(make(tmp_path / "a.qptiff", full, half))
    assert (values, told) == (levels, warnings)
    assert names == [name for name, _ in full][: len(levels[0])]
