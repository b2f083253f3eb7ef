"""Zarr groups and arrays on disk: their metadata, format 2 and 3 (zarr-specs, v2 and v3.0 core)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from drivers.errors import Damaged, UnsafePath
from drivers.files import open_source
from drivers.limits import LIMITS, check

V3, V2_GROUP, V2_ARRAY, V2_ATTRIBUTES = "zarr.json", ".zgroup", ".zarray", ".zattrs"
MOST_FILES = 4 << 20
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """A group: where it lies, its format, and its OME metadata (in "ome" from 0.5 on, before at the top)."""

    path: Path
    zarr_format: int
    attributes: Json
    root: Path
    """The folder of the store, for messages."""

    @property
    def ome(self) -> Json:
        """The OME part of the attributes."""
        own = self.attributes.get("ome")
        return cast(Json, own) if isinstance(own, dict) else self.attributes

    def child(self, name: str) -> Path:
        """Folder of a node below; raises UnsafePath where the name leads out of the group."""
        path = Path(os.path.normpath(self.path / name))
        if not path.is_relative_to(self.path) or "\0" in name:
            raise UnsafePath(f"names {name!r}, which lies outside its group: it is not opened")
        return path


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((path / name).is_file() for name in (V3, V2_GROUP, V2_ARRAY, V2_ATTRIBUTES))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size; raises Damaged where it is none."""
    source = open_source(path)
    try:
        check(f"the size of {path.name}", source.size, LIMITS.metadata_bytes)
        data = source.read(0, source.size)
    finally:
        source.close()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path.parent.name}/{path.name}: is no JSON: {str(error)[:100]}") from error
    return as_dict(value, f"{path.parent.name}/{path.name}")


def as_dict(value: object, what: str) -> dict[str, Any]:
    """`value`, which must be a JSON object."""
    if not isinstance(value, dict):
        raise Damaged(f"{what}: is {type(value).__name__}, not a JSON object")
    return cast(dict[str, Any], value)


def as_list(value: object, what: str) -> list[Any]:
    """`value`, which must be a JSON list."""
    if not isinstance(value, list):
        raise Damaged(f"{what}: is {type(value).__name__}, not a JSON list")
    return cast(list[Any], value)


def read_group(path: Path, root: Path) -> Group | None:
    """The group in a folder of the store `root`, None where there is none."""
    if (path / V3).is_file():
        document = read_json(path / V3)
        if document.get("node_type") != "group":
            return None
        return Group(path, 3, as_dict(document.get("attributes") or {}, f"{path.name}: attributes"), root)
    if not (path / V2_GROUP).is_file() and not (path / V2_ATTRIBUTES).is_file():
        return None
    if (path / V2_ARRAY).is_file():
        return None
    attributes = read_json(path / V2_ATTRIBUTES) if (path / V2_ATTRIBUTES).is_file() else {}
    return Group(path, 2, attributes, root)


def files_below(root: Path) -> list[Path]:
    """Every file of a store, sorted. Raises UnsafePath for links that lead out of it, LimitExceeded for too many files."""
    found: list[Path] = []
    real = os.path.realpath(root)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in [*folders, *names]:
            path = Path(folder, name)
            if path.is_symlink() and os.path.commonpath([real, os.path.realpath(path)]) != real:
                raise UnsafePath(f"{root.name}: {name!r} is a link that leads out of the store: it is not opened")
        found += [Path(folder, name) for name in sorted(names)]
        check("the number of files", len(found), MOST_FILES)
    return found


def sizes(value: object, what: str) -> tuple[int, ...]:
    """A list of sizes: positive integers."""
    items: Sequence[Any] = as_list(value, what)
    if not items or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in items):
        raise Damaged(f"{what} is {str(value)[:60]}, not a list of sizes")
    return tuple(items)
