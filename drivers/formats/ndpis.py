"""Hamamatsu NDPIS: a list of NDPI files, one per filter set of a scan, shown as one scene with their channels.

Layout as public readers know it: an INI section with NoImages and Image0, Image1, ...; only made lists were met.
"""

from __future__ import annotations

import re
from pathlib import Path

from drivers.errors import Damaged
from drivers.formats import ndpi
from drivers.limits import LIMITS, check
from drivers.members.files import companion, read_list
from drivers.members.joined import joined
from drivers.model import Driver, Slide

_SECTION = b"[nanozoomer digital pathology image set]"


def matches(path: Path, head: bytes) -> bool:
    """A text that starts with the section's name."""
    _ = path
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_SECTION)


def open_slide(path: Path) -> Slide:
    """Open the set: one scene with the channels of all files where their sizes agree, else a scene per file."""
    text = read_list(path)
    files = [companion(path, name) for name in image_names(path, text)]
    return joined(path, DRIVER.name, files, ndpi.open_slide, text)


def image_names(path: Path, text: str) -> list[str]:
    """Values of Image0, Image1, ... in the order of their numbers; raises Damaged where one of NoImages is missing."""
    images: dict[int, str] = {}
    count: int | None = None
    for line in text.splitlines():
        key, _, value = line.partition("=")
        numbered = re.fullmatch(r"image(\d{1,6})", key.strip().lower(), re.ASCII)
        if numbered and value.strip():
            other = images.setdefault(int(numbered[1]), value.strip())
            if other != value.strip():
                raise Damaged(f"{path.name}: Image{int(numbered[1])} is both {other[:80]} and {value.strip()[:80]}")
        elif key.strip().lower() == "noimages" and re.fullmatch(r"\d{1,6}", value.strip(), re.ASCII):
            count = int(value)
    check(f"{path.name}: the number of images", max(count or 0, len(images)), LIMITS.channels)
    if not images:
        raise Damaged(f"{path.name}: the set lists no image")
    if count is not None and len(images) != count:
        raise Damaged(f"{path.name}: the set lists {len(images)} of {count} images; copy it again")
    return [images[number] for number in sorted(images)]


DRIVER = Driver(
    "ndpis", (".ndpis",), matches, open_slide, library="tifffile", claims={".ndpis": "its list of NDPI files whole"}
)
