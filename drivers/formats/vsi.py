"""Olympus and Evident cellSens: .vsi with the .ets files in `_<name>_/stack<number>/`.

Each image whose pixels were acquired is a scene; overviews, macros and labels are associated images, and what the
software made itself (masks, focus maps) is left out with a word. The .vsi file is a TIFF too, with small pictures for the
shell; so the driver is specific.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide
from drivers.vsi.tags import HEADER_AT, SIGNATURE


def matches(path: Path, head: bytes) -> bool:
    """A TIFF header followed by the header of a tag volume."""
    _ = path
    return head.startswith(b"II*\0") and head[HEADER_AT : HEADER_AT + len(SIGNATURE)] == SIGNATURE


def open_slide(path: Path) -> Slide:
    """Open a .vsi file and the .ets files it needs. Raises Incomplete, naming the first of them that is missing."""
    from drivers.vsi.slide import open_vsi

    return open_vsi(path, DRIVER.name)


_CLAIMS = {".vsi": "its tags whole and the folder _{stem}_ with its .ets files"}
DRIVER = Driver("vsi", (".vsi",), matches, open_slide, library="imagecodecs", claims=_CLAIMS, parts={".ets": "a .vsi slide"})
