"""The slides of others that may lie beside the project: their paths as a user would name them, and what is stated of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import SHARED_SAMPLES

DRIVERS = {
    "czi": "czi",
    "dicom": "dicom",
    "jp2": "gdal",
    "lif": "lif",
    "nd2": "nd2",
    "ndpi": "ndpi",
    "ometiff": "ometiff",
    "qptiff": "qptiff",
    "raster": "gdal",
    "svs": "aperio",
    "tiff": "tiff",
    "vsi": "vsi",
}
"""Who reads the files of a folder."""
REFUSED: dict[str, str] = {}
"""Shared samples that no driver reads, and a word of the reason (README.md, "Limits")."""
DERIVED: dict[str, dict[str, Any]] = {
    "tiff/libvips-subsampled.tif": {"oracle": False},  # tifffile does not read it
    # The facts of SAMPLES.tsv are of what is stored. What is shown differs here:
    "ndpi/test3-DAPI-2-(387).ndpi": {"channels": 1, "oracle": False},  # one filter set, stored as one of R, G, B
    "ometiff/4D-series.ome.tiff": {"channels": 1},
    "raster/large_image-test_RGBA_16.png": {"dtype": "uint16"},  # Pillow, which wrote the facts, halves the bits
}
_WORDS = {"1": ("uint8", 1), "L": ("uint8", 1), "P": ("uint8", 3), "I;16": ("uint16", 1)}
_WORDS |= dict.fromkeys(("RGB", "CMYK"), ("uint8", 3)) | {"RGBA": ("uint8", 4)}
"""Mode of Pillow: (dtype, channels) of what is shown. Palettes and CMYK become colours, alpha is a channel."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file and what is known of it."""

    name: str
    maker: Callable[[Path], object] | None
    path: Path | None
    facts: dict[str, Any]


def shared_samples() -> list[Sample]:
    """Those of all folders of formats that are read."""
    if not SHARED_SAMPLES.is_dir():
        return []
    rows = [line.split("\t") for line in (SHARED_SAMPLES / "SAMPLES.tsv").read_text("utf-8").splitlines()[1:]]
    stated = {row[0]: row[3] for row in rows}
    return [
        Sample(name, None, path, facts_of(name, stated.get(name, "")))
        for path in _paths()
        if (name := path.relative_to(SHARED_SAMPLES).as_posix()) not in REFUSED
    ]


def _paths() -> Iterator[Path]:
    """Files, and folders that are one slide; `_name_` is the companion folder of a cellSens file."""
    for folder in DRIVERS:
        for path in sorted((SHARED_SAMPLES / folder).glob("*")):
            if not path.name.startswith("_"):
                yield path


def facts_of(name: str, text: str) -> dict[str, Any]:
    """Facts of a sample out of its line in SAMPLES.tsv; of some formats nothing is stated but who reads them."""
    facts: dict[str, Any] = {"driver": DRIVERS[name.partition("/")[0]], "oracle": False}
    words, more = text.split(), DERIVED.get(name, {})
    if len(words) >= 5:
        facts |= _tiff(words, name, more.get("channels"))
    elif len(words) == 3:
        facts |= _picture(words, name)
    return facts | {key: value for key, value in more.items() if key != "channels"}


def _turned(name: str) -> bool:
    """Whether the file says that it is to be shown on its side."""
    return re.search(r"orient(ation_)?[568]\.", name) is not None


def _picture(words: list[str], name: str) -> dict[str, Any]:
    """A line like `PNG 64x64 I;16`."""
    width, height = (int(n) for n in words[1].split("x"))
    height, width = (width, height) if _turned(name) else (height, width)
    dtype, channels = _WORDS[words[2]]
    return {"dtype": dtype, "rgb": channels > 2, "level0": (1, channels, 1, height, width)}


def _tiff(words: list[str], name: str, channels: int | None) -> dict[str, Any]:
    """A line like `TZYX 7x5x167x439 int8 NONE MINISBLACK strips pages=35 L=1 BE bits=8`."""
    size = dict(zip(words[0], map(int, words[1].split("x")), strict=True))
    channels = channels or (3 if words[4] == "SEPARATED" else size.get("S", size.get("C", 1)))
    height, width = (size["X"], size["Y"]) if _turned(name) else (size["Y"], size["X"])
    return {
        "dtype": {"bool": "uint8"}.get(words[2], words[2]),
        # A driver may show another picture than is stored: colours of a palette or of CMYK, turned.
        "oracle": words[4] in {"RGB", "MINISBLACK", "YCBCR"} and not _turned(name),
        "level0": (size.get("T", 1), channels, size.get("Z", 1), height, width),
        "level_count": next(int(word[2:]) for word in words if word.startswith("L=")),
        "rgb": "S" in size and channels == 3,
    }
