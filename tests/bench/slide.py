"""The slide that is converted: made by the shared maker out of real tissue where that is here, else drawn.

`python -m tests.bench.slide OUT.svs SIZE` draws one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHARED_TOOLS = Path(__file__).resolve().parents[3] / "shared" / "tools"
"""Yardsticks of others, beside the project where somebody put them; never part of it."""

_TILE = 256
_FACTORS = (1, 4, 16)
_PERIOD = 4800
"""Side of the drawn square that is repeated: longer than any chunk, so that no codec profits from the repeats."""
_HEAD = (
    "Aperio Image Library v12.0.0 \r\n{0}x{0} (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = 0.5|Date = 01/02/24|Time = 09:30:00"
)


def maker() -> str:
    """Which maker is used: tissue or drawn."""
    return "tissue" if (SHARED_TOOLS / "make_big_svs.py").is_file() else "drawn"


def making(path: Path, size: int) -> list[str]:
    """The command that makes a slide of so many pixels a side, with levels 1/4/16."""
    if maker() == "tissue":
        return [sys.executable, str(SHARED_TOOLS / "make_big_svs.py"), str(path), "--size", str(size)]
    return [sys.executable, "-m", "tests.bench.slide", str(path), str(size)]


def draw(path: Path, size: int) -> None:
    """Write an Aperio-like SVS tile by tile, so that a large one takes no more memory than a small one."""
    import cv2
    import tifffile

    field = _tissue()
    head = _HEAD.format(size)
    jpeg: dict[str, Any] = {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": 80, "outcolorspace": "rgb"},
        "metadata": None,
    }
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for factor in _FACTORS:
            side = size // factor
            writer.write(
                _tiles(field, side, factor),
                shape=(side, side, 3),
                dtype="uint8",
                tile=(_TILE, _TILE),
                description=head,
                **jpeg,
            )
            if factor == 1:
                small = cv2.resize(field, (768, 768), interpolation=cv2.INTER_AREA)
                writer.write(small, description=head, rowsperstrip=16, **jpeg)


def _tiles(field: Any, side: int, factor: int) -> Iterator[Any]:
    """Tiles of a level, row by row; each is the mean of what it covers."""
    import cv2
    import numpy as np

    span = _TILE * factor
    for y in range(0, side, _TILE):
        rows = np.arange(y * factor, y * factor + span) % _PERIOD
        for x in range(0, side, _TILE):
            columns = np.arange(x * factor, x * factor + span) % _PERIOD
            box = field[rows[:, None], columns]
            yield box if factor == 1 else cv2.resize(box, (_TILE, _TILE), interpolation=cv2.INTER_AREA)


def _tissue() -> Any:
    """Something that packs about as badly as stained tissue: smooth colour, nuclei, and the noise of a camera."""
    import cv2
    import numpy as np

    random = np.random.default_rng(11)
    shade = cv2.resize(random.random((40, 40), np.float32), (_PERIOD, _PERIOD), interpolation=cv2.INTER_CUBIC)
    weight = np.clip(shade, 0, 1)[..., None]
    image = (weight * np.array((228, 168, 204), np.float32) + (1 - weight) * (196, 112, 176)).astype(np.uint8)
    image[shade > 0.85] = (243, 241, 244)
    for y, x in random.integers(0, _PERIOD, (_PERIOD * 3, 2)):
        if shade[y, x] <= 0.8:
            cv2.circle(image, (int(x), int(y)), int(random.integers(4, 12)), (96, 60, 142), -1, cv2.LINE_AA)
    noise = cv2.GaussianBlur(random.normal(0, 14, image.shape).astype(np.float32), (0, 0), 0.8)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), int(sys.argv[2]))
