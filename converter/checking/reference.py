"""A store as ome-zarr-py, the reference implementation of OME-Zarr, reads it: the extra `reference` brings it.

What it sees of an image (levels, types, axes, scales, channels, coarsest pixels, labels) is held against what
our own reader finds in the same files. Local stores of the versions it knows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from converter.checking.rules import Group, attributes
from converter.checking.stored import open_directly
from drivers.zarrstore.files import Files, LocalFiles

_VERSIONS = ("0.4", "0.5")


def has_reference() -> bool:
    """Whether ome-zarr-py is installed."""
    return find_spec("ome_zarr") is not None


def reference_findings(files: Files, group: Group) -> Iterator[tuple[str, str | None]]:
    """(where, what is wrong or None) for each thing compared; nothing where ome-zarr-py is absent or cannot be asked.

    Raises what ome-zarr-py raises on a store that it cannot read.
    """
    if not has_reference() or not isinstance(files, LocalFiles) or group.version not in _VERSIONS:
        return
    where = group.path or "."
    nodes = _nodes(files, group)
    images = [node for node in nodes if _is(node, "Multiscales")]
    if not images:
        yield where, "ome-zarr-py finds no image there"
        return
    image = images[0]
    yield where, _different("levels", len(image.data), len(group.levels))
    for level, seen in zip(group.levels, image.data, strict=False):
        own = open_directly(files, group.at(level))
        yield group.at(level), _different("shape", tuple(seen.shape), tuple(own.shape))
        yield group.at(level), _different("dtype", np.dtype(seen.dtype), np.dtype(own.dtype))
    facts = group.multiscale
    names = [axis["name"] for axis in image.metadata.get("axes", [])]
    yield where, _different("axes", names, list(group.axes))
    transformations = [dataset["coordinateTransformations"] for dataset in facts["datasets"]]
    yield where, _different("scales", image.metadata.get("coordinateTransformations"), transformations)
    if group.omero is not None:
        labels = [channel.get("label") for channel in group.omero["channels"]]
        yield where, _different("channel names", image.metadata.get("channel_names"), labels)
    yield where, _different("labels", _labels_seen(nodes), _labels_stated(files, group))
    yield group.at(group.levels[-1]), _pixels(files, group, image.data[-1])


def _nodes(files: LocalFiles, group: Group) -> list[Any]:
    from ome_zarr.format import format_from_version
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    place = parse_url(files.root / group.path, mode="r", fmt=format_from_version(group.version))
    return [] if place is None else list(Reader(place)())


def _is(node: Any, spec: str) -> bool:
    return any(type(found).__name__ == spec for found in node.specs)


def _different(what: str, seen: object, own: object) -> str | None:
    return None if seen == own else f"ome-zarr-py reads other {what} than we do: {seen!s:.100} for {own!s:.100}"


def _labels_seen(nodes: list[Any]) -> list[str]:
    return sorted(str(node.zarr.basename()) for node in nodes if _is(node, "Label"))


def _labels_stated(files: Files, group: Group) -> list[str]:
    try:
        _, found = attributes(files, f"{group.path}/labels" if group.path else "labels")
    except (OSError, ValueError, LookupError):
        return []
    return sorted(str(name) for name in found.get("labels", []))


def _pixels(files: Files, group: Group, seen: Any) -> str | None:
    own = open_directly(files, group.at(group.levels[-1]))
    stored = own[tuple(slice(0, n) for n in own.shape)]
    equal = np.array_equal(np.asarray(seen), stored, equal_nan=stored.dtype.kind == "f")
    return None if equal else "ome-zarr-py reads other pixels than we do"
