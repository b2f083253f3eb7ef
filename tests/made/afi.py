"""AFI lists with their SVS files, made by the tests after the published layout; no real one was met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.ndpi import cells
from tests.made.svs import reduced

WORDS = ("DAPI", "FITC", "TRITC")


@dataclass(frozen=True, slots=True)
class Afi:
    """What to make: an SVS of one grey channel per word."""

    size: tuple[int, int] = (530, 611)
    words: Sequence[str] = WORDS
    steps: tuple[int, ...] = (4,)
    dtype: str = "u1"
    others: tuple[int, int] | None = None
    """Size of the second file, where it differs."""
    fields: str = ""
    """More fields of the descriptions."""
    seed: int = 1


def level(afi: Afi, number: int, step: int) -> NDArray[Any]:
    """The pixels of a level of a file."""
    size = afi.others if number == 1 and afi.others else afi.size
    image: Any = cells(*size, afi.seed + number)
    image = image if afi.dtype == "u1" else image.astype(afi.dtype) * 200
    for factor in afi.steps[:step]:
        image = reduced(image, factor)
    return np.ascontiguousarray(image)


def make_afi(path: Path, afi: Afi) -> Path:
    """Write the list, and `<name>_<word>.svs` beside it."""
    names = [f"{path.stem}_{word}.svs" for word in afi.words]
    for number, name in enumerate(names):
        _make_grey(path.parent / name, afi, number)
    images = "".join(f"<Image><Path>{name}</Path><ID>{number}</ID></Image>" for number, name in enumerate(names))
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<ImageList>{images}</ImageList>\n', "utf-8")
    return path


def _make_grey(path: Path, afi: Afi, number: int) -> None:
    with tifffile.TiffWriter(path) as writer:
        for step in range(len(afi.steps) + 1):
            image = level(afi, number, step)
            size = f"{image.shape[1]}x{image.shape[0]}"
            writer.write(
                image,
                photometric="minisblack",
                compression="lzw",
                tile=(256, 256),
                description=f"Aperio Image Library v11\r\n{size} ({size})|AppMag = 20|MPP = 0.5|User = Jane Doe{afi.fields}",
                software=False,
                metadata=None,
            )


KINDS: dict[str, Afi] = {
    "three-channels": Afi(),
    "sixteen-bit": Afi(size=(300, 401), words=("DAPI", "FITC"), dtype="u2", seed=5),
    "single": Afi(size=(300, 401), words=("DAPI",), seed=8),
}


def _facts(afi: Afi) -> dict[str, Any]:
    sizes, scales = [afi.size], [1.0]
    for step in afi.steps:
        sizes.append((sizes[-1][0] // step, sizes[-1][1] // step))
        scales.append(scales[-1] * step)
    return {
        "driver": "afi",
        "dtype": np.dtype(afi.dtype).name,
        "rgb": False,
        "levels": [(1, len(afi.words), 1, *size) for size in sizes],
        "scales": scales,
        "tile": (1, 1, 1, 256, 256),
        "fill": 0,
        "compression": "lzw",
        "associated": [],
        "pixel_size_um": 0.5,
        "magnification": 20.0,
        "oracle": False,  # the file itself is no TIFF
    }


def _maker(afi: Afi) -> Callable[[Path], Path]:
    return lambda path: make_afi(path, afi)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"{name}.afi", _maker(afi), _facts(afi)) for name, afi in KINDS.items()
]
