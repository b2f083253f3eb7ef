"""OME-Zarr metadata: the one place that knows how 0.4 and 0.5 are spelled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.codec import Codec
from converter.planning.image import ImagePlan, LevelPlan
from converter.writing.colors import usual_color
from drivers.fill import fill_json
from drivers.model import Channel, Scene

Json = dict[str, Any]
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_COLORS = ("00FF00", "FF0000", "0000FF", "FF00FF", "00FFFF", "FFFF00")


@dataclass(frozen=True, slots=True)
class Window:
    """Per channel, seen on the coarsest level: lowest and highest sample, and what is worth showing of that."""

    low: Sequence[float]
    high: Sequence[float]
    start: Sequence[float]
    end: Sequence[float]


def encoded(value: Any) -> bytes:
    """JSON as it is stored: stable order, no NaN; names that are no UTF-8 lose the bytes in question."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def array_json(level: LevelPlan, image: ImagePlan, codec: Codec) -> Json:
    """Zarr v3 metadata of one level."""
    keep = [i for i, axis in enumerate("tczyx") if axis in image.axes]

    def cut(shape: Sequence[int]) -> list[int]:
        return [int(shape[i]) for i in keep]

    codecs = codec.v3(image.dtype, level.shard is not None)
    if level.shard is not None:
        sharding = {
            "chunk_shape": cut(level.chunk),
            "codecs": codecs,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": cut(level.shape),
        "data_type": image.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": cut(level.shard or level.chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill_json(image.fill, image.dtype, 3),
        "codecs": codecs,
        "dimension_names": list(image.axes),
        "attributes": {},
    }


def zarray(level: LevelPlan, image: ImagePlan, codec: Codec) -> Json:
    """Zarr v2 metadata of one level."""
    keep = [i for i, axis in enumerate("tczyx") if axis in image.axes]
    return {
        "zarr_format": 2,
        "shape": [int(level.shape[i]) for i in keep],
        "chunks": [int(level.chunk[i]) for i in keep],
        "dtype": image.dtype.newbyteorder("<").str,
        "compressor": codec.v2(),
        "fill_value": fill_json(image.fill, image.dtype, 2),
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }


@dataclass(frozen=True, slots=True)
class Making:
    """How a store is made: OME-Zarr version, down-sampling method, and the product's version."""

    ome_zarr: str
    method: str
    product: str


def image_attributes(scene: Scene, image: ImagePlan, window: Window, making: Making) -> Json:
    """`multiscales` and `omero` of one image."""
    native = [i for i, level in enumerate(image.levels) if level.source.method == "native"]
    multiscale: Json = {
        "name": image.name,
        "axes": [_axis(scene, axis) for axis in image.axes],
        "datasets": [
            {"path": level.path, "coordinateTransformations": _transformations(scene, image, i)}
            for i, level in enumerate(image.levels)
        ],
        "type": making.method,
        "metadata": {
            "description": "levels listed in native_levels are the slide's own; the others are made from the one above",
            "method": f"slidemill {making.method} of 2x2 pixels",
            "version": making.product,
            "native_levels": native,
        },
    }
    if making.ome_zarr == "0.4":
        multiscale = {"version": "0.4", **multiscale}
    return {"multiscales": [multiscale], "omero": _omero(scene, image, window)}


def _size(scene: Scene, axis: str) -> float | None:
    size = scene.pixel_size
    return {"x": size.x_um, "y": size.y_um, "z": size.z_um, "t": scene.time_step_s}.get(axis)


def _axis(scene: Scene, axis: str) -> Json:
    found: Json = {"name": axis, "type": _KINDS[axis]}
    if _size(scene, axis) is not None:
        found["unit"] = "second" if axis == "t" else "micrometer"
    return found


def _transformations(scene: Scene, image: ImagePlan, i: int) -> list[Json]:
    level = image.levels[i]
    factors = {"y": level.factor[0], "x": level.factor[1]}
    scale = [(_size(scene, a) or 1.0) * factors.get(a, 1.0) for a in image.axes]
    found: list[Json] = [{"type": "scale", "scale": scale}]
    if i > 0:
        first = [_size(scene, a) or 1.0 for a in image.axes]
        moved = _moved(image, i)
        shift = [f * moved.get(a, 0.0) for f, a in zip(first, image.axes, strict=True)]
        found.append({"type": "translation", "translation": shift})
    return found


def _moved(image: ImagePlan, i: int) -> dict[str, float]:
    """How far the centre of a level's first pixel lies from that of level 0, in pixels of level 0.

    Half of what its pixel is larger, where it covers all that it stands for; `nearest` takes the first of the pixels above it
    and so lies where that does, below a level of the slide too.
    """
    level = image.levels[i]
    if level.source.method == "nearest":
        return _moved(image, level.source.origin)
    return {axis: (factor - 1) / 2 for axis, factor in zip("yx", level.factor, strict=True)}


def _omero(scene: Scene, image: ImagePlan, window: Window) -> Json:
    channels = [_omero_channel(scene, image, c, window) for c in range(scene.shape.c)]
    color = scene.rgb or _shown(scene) > 1 or channels[0]["color"] != "FFFFFF"
    rdefs = {"defaultT": 0, "defaultZ": scene.shape.z // 2, "model": "color" if color else "greyscale"}
    return {"id": 1, "name": image.name, "channels": channels, "rdefs": rdefs}


def _shown(scene: Scene) -> int:
    """Channels to look at: alpha is none."""
    return scene.shape.c - (scene.alpha is not None)


def _omero_channel(scene: Scene, image: ImagePlan, c: int, window: Window) -> Json:
    channel = scene.channels[c] if c < len(scene.channels) else Channel()
    low, high = _limits(scene, image.dtype, (window.low[c], window.high[c]))
    if channel.window is not None:
        start, end = channel.window
    elif image.dtype.itemsize == 1:
        start, end = low, high
    elif scene.rgb and c < 3:
        start, end = min(0, *window.low[:3]), max(window.end[:3])  # one window for all three: the hue stays
    else:
        start, end = window.start[c], window.end[c]
    if image.dtype.kind == "f" and np.isfinite([start, end]).all():
        low, high = min(low, start), max(high, end)
    start, end = max(low, start), min(high, end)
    if not start < end:
        start, end = low, high
    return {
        "label": channel.name or f"Channel {c}",
        "color": channel.color or usual_color(channel) or ("FFFFFF" if _shown(scene) == 1 else _COLORS[c % len(_COLORS)]),
        "active": c < 6 and c != scene.alpha,
        "coefficient": 1,
        "family": "linear",
        "inverted": channel.inverted,
        "window": {"min": low, "max": high, "start": _plain(start), "end": _plain(end)},
    }


def _limits(scene: Scene, dtype: np.dtype[Any], seen: tuple[float, float]) -> tuple[float, float]:
    if dtype.kind == "f":
        low, high = seen
        if low < high:
            return low, high
        wider = low + max(1.0, abs(low) / 1024)  # to 1e20, adding one changes nothing
        return (low, wider) if np.isfinite(wider) else (low - abs(low) / 1024, low)
    if scene.significant_bits is not None and dtype.kind == "u":
        return 0, 2**scene.significant_bits - 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def group_files(version: str, attributes: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, bytes]:
    """Metadata files of a group: `attributes` are OME's, `extra` our own keys beside them."""
    if version == "0.4":
        return {".zgroup": encoded({"zarr_format": 2}), ".zattrs": encoded({**attributes, **extra})}
    ome = {"ome": {"version": version, **attributes}} if attributes else {}
    return {"zarr.json": encoded({"zarr_format": 3, "node_type": "group", "attributes": {**ome, **extra}})}


def array_files(version: str, level: LevelPlan, image: ImagePlan, codec: Codec) -> dict[str, bytes]:
    """Metadata files of an array."""
    if version == "0.4":
        # What xarray needs to open a Zarr v2 array (xarray's "Zarr Encoding Specification"); v3 has dimension_names.
        return {".zarray": encoded(zarray(level, image, codec)), ".zattrs": encoded({"_ARRAY_DIMENSIONS": list(image.axes)})}
    return {"zarr.json": encoded(array_json(level, image, codec))}
