"""The further files of MRXS and VMS/VMU slides, named in their index files: all must be there, and in the slide's folder."""

from __future__ import annotations

import re
from pathlib import Path

from drivers.errors import Damaged, Incomplete, UnsafePath
from drivers.files import open_source
from drivers.limits import LIMITS, check

_MIRAX_KEY = re.compile(r"(?:FILE_\d+|INDEXFILE)\s*=\s*(.+?)\s*$", re.IGNORECASE)
_VMS_KEY = re.compile(r"(?:ImageFile(?:\([\d,]+\))?|MapFile|MacroImage|OptimisationFile)\s*=\s*(.+?)\s*$", re.IGNORECASE)


def companions(path: Path, vendor: str) -> list[Path]:
    """Files beside `path` that the slide needs. Raises Incomplete, naming the one that is not there, and UnsafePath."""
    if vendor == "mirax":
        folder = path.with_suffix("")
        index = folder / "Slidedat.ini"
        return [_inside(path, index), *(_inside(path, folder / name) for name in _names(index, _MIRAX_KEY))]
    if vendor == "hamamatsu":
        _check_order(path)
        named = [path.parent / name for name in _names(path, _VMS_KEY)]
        # OpenSlide does without the optimisation file.
        return [_inside(path, other) for other in named if other.suffix.lower() != ".opt" or other.exists()]
    return []


def _check_order(index: Path) -> None:
    """Raises Damaged for a VMU index without PixelOrder: OpenSlide 4.0.1 ends the process on one."""
    lines = _lines(index)
    if any(line.lstrip("\ufeff").startswith("[Uncompressed") for line in lines) and not any(
        re.match(r"\s*PixelOrder\s*=\s*\S", line) for line in lines
    ):
        raise Damaged(f"{index.name}: states no PixelOrder: it is cut short; copy it again")


def _lines(index: Path) -> list[str]:
    source = open_source(index)
    try:
        check(f"{index.name}: its size", source.size, LIMITS.metadata_bytes)
        return source.read(0, source.size).decode("utf-8", "replace").splitlines()
    finally:
        source.close()


def _names(index: Path, pattern: re.Pattern[str]) -> list[str]:
    found = [match[1] for line in _lines(index) if (match := pattern.match(line.strip()))]
    return list(dict.fromkeys(found))


def _inside(path: Path, other: Path) -> Path:
    try:
        resolved = other.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UnsafePath(f"{path.name}: names a file that is no path") from error
    if not resolved.is_relative_to(path.parent.resolve()):
        raise UnsafePath(f"{path.name}: names the file {other.name}, which lies outside the slide's folder")
    if not resolved.exists():
        raise Incomplete(f"{path.name}: the file {other.name} that belongs to it is missing; copy the whole slide")
    open_source(other).close()  # a regular file that may be read
    return other


def check_whole(path: Path, vendor: str) -> None:
    """Raises Damaged for a Sakura file that is shorter than its SQLite header says: SQLite reads what is left of one.

    Page size and number of pages: SQLite, "Database File Format", 1.3.
    """
    if vendor != "sakura":
        return
    source = open_source(path)
    try:
        head = source.read(0, 100)
    finally:
        source.close()
    page = int.from_bytes(head[16:18], "big")
    stated = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
    if head[24:28] == head[92:96] and source.size < stated:
        raise Damaged(f"{path.name}: has {source.size} of {stated} bytes: it is truncated; copy it again")


def end_missing(path: Path, vendor: str) -> list[str]:
    """A warning for an index of VMS or VMU whose last line is not ended: a number there may have lost digits."""
    if vendor != "hamamatsu":
        return []
    source = open_source(path)
    try:
        whole = source.size > 0 and source.read(source.size - 1, 1) in (b"\n", b"\r", b"\0")
    finally:
        source.close()
    return [] if whole else ["the last line of the index is not ended: where its end is missing, copy it again"]
