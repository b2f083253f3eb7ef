"""The further files of MRXS and VMS/VMU slides, named in their index files: all must be there, and in the slide's folder."""

from __future__ import annotations

import re
from pathlib import Path

from drivers.errors import Damaged, DriverError, Incomplete, UnsafePath
from drivers.files import open_source
from drivers.limits import LIMITS, check
from drivers.openslide.mirax import roles_alone_in

_MIRAX_KEY = re.compile(r"(FILE_\d+|INDEXFILE)\s*=\s*(.+?)\s*$", re.IGNORECASE)
_VMS_KEY = re.compile(r"(ImageFile(?:\([\d,]+\))?|MapFile|MacroImage|OptimisationFile)\s*=\s*(.+?)\s*$", re.IGNORECASE)


def companions(path: Path, vendor: str) -> tuple[list[Path], dict[str, DriverError]]:
    """(files beside `path` that the slide has, what is wrong with associated images whose file is not there, by role).

    Raises Incomplete, naming a file that is not there and holds more than these, and UnsafePath.
    """
    if vendor == "mirax":
        return _of_mirax(path)
    if vendor != "hamamatsu":
        return [], {}
    _check_order(path)
    found: list[Path] = []
    absent: dict[str, DriverError] = {}
    for key, name in _entries(path, _VMS_KEY):
        other = path.parent / name
        if other.suffix.lower() == ".opt" and not other.exists():  # OpenSlide does without the optimisation file
            continue
        try:
            found.append(_inside(path, other))
        except Incomplete as error:
            if key.lower() != "macroimage":
                raise
            absent["macro"] = error
    return list(dict.fromkeys(found)), absent


def _of_mirax(path: Path) -> tuple[list[Path], dict[str, DriverError]]:
    folder = path.with_suffix("")
    index = _inside(path, folder / "Slidedat.ini")
    lines = _lines(index)
    found: list[Path] = [index]
    missing: dict[str, Incomplete] = {}
    for key, name in _entries(index, _MIRAX_KEY):
        try:
            found.append(_inside(path, folder / name))
        except Incomplete as error:
            missing[key.lower()] = error
    absent: dict[str, DriverError] = {}
    for key, error in missing.items():
        roles = roles_alone_in(key, lines, folder)
        if not roles:
            raise error
        absent |= dict.fromkeys(roles, error)
    return list(dict.fromkeys(found)), absent


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


def _entries(index: Path, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """(key, name of a file), in the order of the index."""
    return [(match[1], match[2]) for line in _lines(index) if (match := pattern.match(line.strip()))]


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
        end = source.read(max(0, source.size - 2), min(2, source.size))
    finally:
        source.close()
    whole = end.removesuffix(b"\0")[-1:] in (b"\n", b"\r")
    return [] if whole else ["the last line of the index is not ended: where its end is missing, copy it again"]
