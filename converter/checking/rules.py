"""Rules of OME-Zarr metadata, among them those that no public validator checks (scale against shape, half-pixel
translation, one version in the whole tree, colours and windows against the channel axis, OME-XML against the series)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.manifest import MANIFEST
from drivers.limits import LIMITS
from drivers.zarrstore.files import Files, joined

Finding = tuple[str, str | None]
"""Where, and what does not hold; None where it holds."""
_UNITS = {
    "micrometer",
    "nanometer",
    "millimeter",
    "centimeter",
    "meter",
    "second",
    "millisecond",
    "microsecond",
    "minute",
}
_WINDOW = ("min", "max", "start", "end")


@dataclass(frozen=True, slots=True)
class Group:
    """A multiscale image in a store."""

    path: str
    version: str
    multiscale: dict[str, Any]
    omero: dict[str, Any] | None
    own: bool = True
    """Written by slidemill: then what the specification only recommends must hold too."""

    @property
    def axes(self) -> str:
        """Axis names, joined."""
        return "".join(axis["name"] for axis in self.multiscale["axes"])

    @property
    def levels(self) -> list[str]:
        """Paths of the datasets."""
        return [dataset["path"] for dataset in self.multiscale["datasets"]]

    def at(self, level: str) -> str:
        """Name of a level, for messages."""
        return f"{self.path}/{level}" if self.path else level


def attributes(files: Files, key: str) -> tuple[str, dict[str, Any]]:
    """(version, OME attributes) of a group. Raises OSError, ValueError, KeyError."""
    newer = files.whole(joined(key, "zarr.json"), LIMITS.metadata_bytes)
    if newer is not None:
        found: dict[str, Any] = json.loads(newer)["attributes"].get("ome", {})
        version = found.get("version", "")
        if not isinstance(version, str):
            raise ValueError(f"version {version!r} is no text")
        return version, found
    group = files.whole(joined(key, ".zgroup"), LIMITS.metadata_bytes)
    if group is None:
        raise FileNotFoundError(f"neither {joined(key, 'zarr.json')} nor {joined(key, '.zgroup')} is there")
    if json.loads(group) != {"zarr_format": 2}:
        raise ValueError("its .zgroup is not that of Zarr v2")
    old = files.whole(joined(key, ".zattrs"), LIMITS.metadata_bytes)
    return "0.4", {} if old is None else json.loads(old)


def image_groups(files: Files) -> list[Group]:
    """The images of a store: the root or its series, then associated ones. Raises ValueError where there is none."""
    version, root = attributes(files, "")
    paths = [""]
    if "bioformats2raw.layout" in root:
        paths = attributes(files, "OME")[1].get("series", [])
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ValueError(f"series {paths!r} is no list of names")
    paths += [joined("associated", name) for name in files.folders("associated") or ()]
    groups: list[Group] = []
    own = files.size(MANIFEST) is not None
    for path in paths:
        found_version, found = attributes(files, path)
        if not found.get("multiscales"):
            raise ValueError(f"{path or 'root'} has no multiscales")
        groups.append(Group(path, found_version or version, found["multiscales"][0], found.get("omero"), own))
    if not groups:
        raise ValueError("no image")
    return groups


def tree_rules(files: Files, groups: Sequence[Group]) -> Iterator[Finding]:
    """Rules across the whole store."""
    others = [key for key in ("", "OME", "associated") if files.size(joined(key, "zarr.json")) is not None]
    versions = {group.version for group in groups} | ({attributes(files, key)[0] for key in others} - {""})
    yield ".", None if len(versions) == 1 else f"several versions in one tree: {sorted(versions)}"
    yield ".", None if versions <= {"0.4", "0.5"} else f"unknown version {sorted(versions)}"
    _, root = attributes(files, "")
    if "bioformats2raw.layout" in root:
        layout = root["bioformats2raw.layout"]
        yield ".", None if type(layout) is int and layout == 3 else "bioformats2raw.layout is not the integer 3"
        series = [group.path for group in groups if not group.path.startswith("associated/")]
        present = sorted((name for name in files.folders("") or () if name.isdigit()), key=int)
        yield "OME", None if sorted(series, key=str) == sorted(present) else f"series {series}, groups {present}"
    yield from _xml_rules(files, [g for g in groups if not g.path.startswith("associated/")])


def _xml_rules(files: Files, groups: Sequence[Group]) -> Iterator[Finding]:
    from defusedxml.ElementTree import fromstring

    where = "OME/METADATA.ome.xml"
    text = files.whole(where, LIMITS.metadata_bytes)
    if text is None:
        yield where, "is missing" if any(group.own for group in groups) else None
        return
    try:
        root = fromstring(text, forbid_dtd=True)
    except Exception as error:  # noqa: BLE001 - any parser error is the finding
        yield where, f"cannot be parsed: {error}"
        return
    elements = [(element.tag.rpartition("}")[2], element) for element in root.iter()]
    names = [name for name, _ in elements]
    yield where, None if names[0] == "OME" else f"is no OME-XML, but {names[0]}"
    yield where, None if not {"BinData", "TiffData"} & set(names) else "holds BinData or TiffData"
    count = names.count("Image")
    yield where, None if count == len(groups) else f"has {count} Images, the store {len(groups)} series"
    pixels = [element for name, element in elements if name == "Pixels"]
    yield where, None if names.count("MetadataOnly") == len(pixels) else "has Pixels without MetadataOnly"
    for i, (group, element) in enumerate(zip(groups, pixels, strict=False)):
        said = tuple(element.get(f"Size{axis}") for axis in "YX")
        shape = _plane(files, joined(group.path, group.levels[0]))
        yield where, None if said == shape else f"Image {i} has Y and X {said}, series {group.path or '.'} {shape}"


def _plane(files: Files, array: str) -> tuple[str, str]:
    """Sizes of y and x of an array."""
    found = array_document(files, array)["shape"]
    return str(found[-2]), str(found[-1])


def array_document(files: Files, key: str) -> dict[str, Any]:
    """The metadata of an array of either version. Raises FileNotFoundError, ValueError."""
    for name in ("zarr.json", ".zarray"):
        data = files.whole(joined(key, name), LIMITS.metadata_bytes)
        if data is not None:
            return json.loads(data)
    raise FileNotFoundError(f"the array {key} is not there")


def image_rules(group: Group, arrays: Sequence[Any]) -> Iterator[Finding]:
    """Rules of one image; `arrays` are its opened levels."""
    axes, where = group.axes, group.path or "."
    order = [a for a in "tczyx" if a in axes]
    yield where, None if list(axes) == order else f"axes {axes} are not in the order t, c, z, y, x"
    yield where, None if {"y", "x"} <= set(axes) else f"axes {axes} have no y and x"
    for axis in group.multiscale["axes"]:
        unit = axis.get("unit")
        yield where, None if unit is None or unit in _UNITS else f"unit {unit!r} of axis {axis['name']}"
    for key in ("name", "type", "metadata") if group.own else ():
        yield where, None if group.multiscale.get(key) else f"multiscales without {key!r}"
    for i, array in enumerate(arrays):
        yield from _array_rules(group, i, arrays)
        yield from _transformation_rules(group, i, arrays)
        _ = array
    yield from _omero_rules(group, arrays[0])


def _array_rules(group: Group, i: int, arrays: Sequence[Any]) -> Iterator[Finding]:
    where, array, first = group.at(group.levels[i]), arrays[i], arrays[0]
    yield where, None if array.ndim == len(group.axes) else f"has {array.ndim} dimensions, the axes are {group.axes}"
    yield where, None if array.dtype == first.dtype else f"has dtype {array.dtype}, level 0 {first.dtype}"
    if group.version == "0.5":
        names = list(getattr(array.metadata, "dimension_names", None) or [])
        yield where, None if names == list(group.axes) else f"dimension_names are {names}"
    elif array.metadata.zarr_format == 2:
        separator = array.metadata.dimension_separator
        yield where, None if separator == "/" else f"dimension separator is {separator!r}"
    if i and array.ndim == arrays[i - 1].ndim:
        smaller = _size(array.shape) < _size(arrays[i - 1].shape)
        yield where, None if smaller else "is not smaller than the level before"


def _size(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= int(n)
    return total


def _transformations(group: Group, i: int) -> tuple[list[float], list[float] | None] | None:
    found = group.multiscale["datasets"][i].get("coordinateTransformations", [])
    kinds = [t.get("type") for t in found]
    if kinds not in (["scale"], ["scale", "translation"]):
        return None
    return found[0]["scale"], found[1]["translation"] if len(found) > 1 else None


def _transformation_rules(group: Group, i: int, arrays: Sequence[Any]) -> Iterator[Finding]:
    where, this, base = group.at(group.levels[i]), _transformations(group, i), _transformations(group, 0)
    if this is None or base is None:
        yield where, "transformations are not one scale and at most one translation after it"
        return
    scale, moved = this
    good = len(scale) == len(group.axes) and min(scale) > 0
    yield where, None if good else f"scale {scale} does not fit the axes {group.axes}"
    if not good or arrays[i].ndim != len(scale) or arrays[0].ndim != len(scale):
        return
    for n, axis in enumerate(group.axes):
        factor = scale[n] / base[0][n]
        size, whole = arrays[i].shape[n], arrays[0].shape[n]
        fits = abs(whole / factor - size) <= 1 + 1e-6 if axis in "yx" else abs(factor - 1) < 1e-9 and size == whole
        yield where, None if fits else f"size {size} of {axis} does not fit factor {factor:g} of {whole}"
    if i:
        yield where, _translation_fault(group, _centres(group, i, (scale, base[0])), moved)


def _centres(group: Group, i: int, scales: tuple[Sequence[float], Sequence[float]]) -> list[float]:
    """Where the first pixel lies: at its centre; of `nearest` where that of the level above lies, which it takes."""
    native = group.multiscale.get("metadata", {}).get("native_levels", [0])
    if group.multiscale.get("type") == "nearest" and i not in native:
        above = _transformations(group, i - 1)
        return list(above[1]) if above is not None and above[1] is not None else [0.0] * len(scales[0])
    return [(s - b) / 2 for s, b in zip(*scales, strict=True)]


def _translation_fault(group: Group, wanted: list[float], moved: list[float] | None) -> str | None:
    if moved is None:
        return "has no half-pixel translation" if any(wanted) and group.own else None
    close = all(abs(a - b) <= 1e-6 * max(1.0, abs(b)) for a, b in zip(moved, wanted, strict=True))
    return None if close else f"translation {moved} should be {wanted}"


def _omero_rules(group: Group, array: Any) -> Iterator[Finding]:
    if group.omero is None:
        return
    where, channels = group.path or ".", group.omero.get("channels", [])
    expected = array.shape[group.axes.index("c")] if "c" in group.axes else 1
    yield where, None if len(channels) == expected else f"omero has {len(channels)} channels, the array {expected}"
    low, high = float("-inf"), float("inf")
    if array.dtype.kind in "ui":
        low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
    for channel in channels:
        color, window = str(channel.get("color")), channel.get("window", {})
        yield where, None if re.fullmatch(r"[0-9A-Fa-f]{6}", color) else f"omero colour {color!r}"
        whole = all(key in window for key in _WINDOW) and low <= window["min"] < window["max"] <= high
        yield where, None if whole else f"omero window {window}"
