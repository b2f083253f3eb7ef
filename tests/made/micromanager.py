"""Micro-Manager image stacks made by the tests after the published layout (Micro-Manager File Formats), as tifffile reads it.

Behind the TIFF header lie the places of an index map and others, then the summary; each directory of 13 entries is followed
at once by its pixels.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SIDE = 16
_ENTRIES = 13


@dataclass(frozen=True, slots=True)
class Stored:
    """A page of one value, and its coordinates in the index map; None: it is in no index."""

    value: int
    at: tuple[int, int, int, int] | None
    """Channel, slice, frame, position."""


@dataclass(frozen=True, slots=True)
class MicroManager:
    """A file of pages."""

    pages: Sequence[Stored]
    summary: Mapping[str, object] = field(default_factory=dict[str, object])


def make_micromanager(path: Path, made: MicroManager) -> Path:
    """Write the file: header, summary, pages, index map."""
    counts = {"Channels": 1, "Slices": 1, "Frames": 1, "Positions": 1}
    summary = {"MicroManagerVersion": "1.4.22", "TimeFirst": False, "SlicesFirst": True, **counts, **made.summary}
    text = json.dumps(summary).encode().ljust(1024)
    pages, index, at = b"", b"", 40 + len(text)
    for number, page in enumerate(made.pages):
        last = number + 1 == len(made.pages)
        size = 2 + 12 * _ENTRIES + 4 + SIDE * SIDE
        pages += _directory(at, 0 if last else at + size) + bytes([page.value]) * SIDE * SIDE
        if page.at is not None:
            index += struct.pack("<5I", *page.at, at)
        at += size
    places = struct.pack("<8I", 54773648, at, 0, 0, 0, 0, 2355492, len(text))
    indexed = struct.pack("<II", 3453623, len(index) // 20) + index
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 40 + len(text)) + places + text + pages + indexed)
    return path


def _directory(at: int, following: int) -> bytes:
    data = at + 2 + 12 * _ENTRIES + 4
    tags = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1, 273: data, 277: 1, 278: SIDE, 279: SIDE * SIDE, 282: 1, 283: 1}
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags.items())
    entries += struct.pack("<HHII", 296, 4, 1, 1) + struct.pack("<HHII", 51123, 2, 1024, 40)
    return struct.pack("<H", _ENTRIES) + entries + struct.pack("<I", following)
