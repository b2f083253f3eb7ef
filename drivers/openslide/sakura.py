"""What a Sakura slide (.svslide, an SQLite database) holds and OpenSlide leaves out without a word.

OpenSlide goes on without an associated image that it cannot open, and shows one focal plane, the middle one. Tables:
openslide.org/formats/sakura.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

from drivers.associated import left_out
from drivers.errors import Damaged

_NAMED = {
    "label": "SELECT count(*) FROM SVSlideDataXPO WHERE m_labelScan > 0",
    "macro": "SELECT count(*) FROM SVSlideDataXPO WHERE m_overviewScan > 0",
    "thumbnail": "SELECT count(*) FROM SVHRScanDataXPO WHERE length(ThumbnailImage) > 0",
}
"""By role, whether the slide says that it has the image."""
_TABLE = "SELECT TableName FROM DataManagerSQLiteConfigXPO"


def left_out_of(path: Path, vendor: str, given: Iterable[str]) -> list[str]:
    """Warnings on what a Sakura slide holds beside what OpenSlide gives; `given`: the associated images that it gives."""
    if vendor != "sakura":
        return []
    roles = set(given)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
            return [*_images(base, roles), *_planes(base)]
    except (sqlite3.Error, ValueError):
        return ["what this slide holds beside what OpenSlide shows is not known: its database cannot be asked"]


def _images(base: sqlite3.Connection, given: Collection[str]) -> list[str]:
    error = Damaged("OpenSlide cannot open it")
    return [
        left_out(role, error) for role, asked in _NAMED.items() if role not in given and base.execute(asked).fetchone()[0]
    ]


def _planes(base: sqlite3.Connection) -> list[str]:
    """A header of numbers of 32 bits: side of the tiles, width, height, one more, focal planes."""
    table = str(base.execute(_TABLE).fetchone()[0]).replace('"', '""')
    found = base.execute(f"SELECT data FROM \"{table}\" WHERE id = 'Header'").fetchone()
    data = found[0] if found is not None and isinstance(found[0], bytes) else b""
    planes = int.from_bytes(data[16:20], "little")
    return [f"OpenSlide shows one of {planes} focal planes"] if planes > 1 else []
