"""Zarr groups and arrays as stored: their metadata, format 2 and 3 (zarr-specs, v2 and v3.0 core)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from drivers.errors import Damaged, UnsafePath
from drivers.limits import LIMITS
from drivers.zarrstore.files import Files, joined, last

V3, V2_GROUP, V2_ARRAY, V2_ATTRIBUTES = "zarr.json", ".zgroup", ".zarray", ".zattrs"
OME_XML = "OME/METADATA.ome.xml"
METADATA = frozenset((V3, V2_GROUP, V2_ARRAY, V2_ATTRIBUTES, last(OME_XML)))
"""Names of the files that hold no pixels."""
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """A group: where it lies, its format, and its OME metadata (in "ome" from 0.5 on, before at the top)."""

    files: Files
    key: str
    """Its place in the store; "" is the root."""
    zarr_format: int
    attributes: Json

    @property
    def ome(self) -> Json:
        """The OME part of the attributes."""
        own = self.attributes.get("ome")
        return cast(Json, own) if isinstance(own, dict) else self.attributes

    def child(self, name: str) -> str:
        """Key of a node below; raises UnsafePath where the name leads out of the group."""
        path = posixpath.normpath(posixpath.join(self.key, name))
        inside = (
            not path.startswith(("/", "../")) and path != ".." and (not self.key or f"{path}/".startswith(f"{self.key}/"))
        )
        if not inside or "\0" in name:
            raise UnsafePath(f"names {name!r}, which lies outside its group: it is not opened")
        return "" if path == "." else path


def is_store(files: Files) -> bool:
    """Whether there is a Zarr group or array."""
    return any(files.size(name) is not None for name in (V3, V2_GROUP, V2_ARRAY, V2_ATTRIBUTES))


def read_json(files: Files, key: str) -> dict[str, Any] | None:
    """A JSON object of bounded size, None where the file is not there; raises Damaged where it is no object."""
    data = files.whole(key, LIMITS.metadata_bytes)
    if data is None:
        return None
    shown = "/".join([files.name, *key.split("/")][-2:])
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{shown}: is no JSON: {str(error)[:100]}") from error
    return as_dict(value, shown)


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


def read_group(files: Files, key: str) -> Group | None:
    """The group at a key, None where there is none."""
    document = read_json(files, joined(key, V3))
    if document is not None:
        if document.get("node_type") != "group":
            return None
        attributes = as_dict(document.get("attributes") or {}, f"{last(key) or files.name}: attributes")
        return Group(files, key, 3, attributes)
    older = read_json(files, joined(key, V2_ATTRIBUTES))
    if older is None and files.size(joined(key, V2_GROUP)) is None:
        return None
    if files.size(joined(key, V2_ARRAY)) is not None:
        return None
    return Group(files, key, 2, older or {})


def sizes(value: object, what: str) -> tuple[int, ...]:
    """A list of sizes: positive integers."""
    items: Sequence[Any] = as_list(value, what)
    if not items or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in items):
        raise Damaged(f"{what} is {str(value)[:60]}, not a list of sizes")
    return tuple(items)
