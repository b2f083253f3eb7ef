"""Files that belong to a slide beside the one that was given: found safely, and only where the slide lies."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

from drivers.errors import Incomplete, UnsafePath
from drivers.files import open_source
from drivers.limits import check

LIST_BYTES = 1 << 20


def read_list(path: Path) -> str:
    """The text of a list of files; raises LimitExceeded where it is larger than any scanner writes."""
    source = open_source(path)
    try:
        check(f"{path.name}: the number of bytes of the list", source.size, LIST_BYTES)
        return source.read(0, source.size).decode("utf-8-sig", "replace")
    finally:
        source.close()


def companion(path: Path, name: str) -> Path:
    """A listed file beside the list; raises UnsafePath where its name leads elsewhere, Incomplete where it is absent.

    Names with a folder are not cut down to their last part: what they mean is not known.
    """
    plain = name.strip().removeprefix("./").removeprefix(".\\")
    if plain in {"", ".", ".."} or not plain.isprintable() or PureWindowsPath(plain).name != plain or "/" in plain:
        raise UnsafePath(f"{path.name}: lists {plain[:120]!r}, which is no file beside it")
    folder, found = path.parent.resolve(), path.parent / plain
    if found.resolve().parent != folder:
        raise UnsafePath(f"{path.name}: lists {plain[:120]!r}, which leads out of its folder")
    if found.resolve() == path.resolve():
        raise UnsafePath(f"{path.name}: lists itself")
    if not found.exists():
        raise Incomplete(f"{path.name}: {plain} is missing; put it beside it")
    return found


def confined(folder: Path, name: str) -> Path:
    """The file `name` in `folder`. Raises UnsafePath where links or dots lead out of it, Incomplete if it is absent."""
    path = folder / name
    root, real = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([root, real]) != root:
        raise UnsafePath(f"names the file {name!r}, which lies outside its folder: it is not opened")
    if not path.exists():
        raise Incomplete(f"belongs to a set, of which {name!r} is not there; put all files of the set into one folder")
    return path
