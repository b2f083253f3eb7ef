"""Binary layers of an ND2: masks that were drawn or computed in NIS-Elements, one for each frame, as images of labels.

Layout: nd2 (BSD-3), `_binary.py`: a zlib stream of runs. A pixel holds the number of its object, 0 outside of all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.associated import free_role, role_of
from drivers.errors import Damaged
from drivers.files import ByteSource
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import Channel, Level, Pixels, Scene
from drivers.nikon.chunks import chunk
from drivers.tiles import Grid

if TYPE_CHECKING:
    from nd2 import ND2File

Layers = Mapping[str, Mapping[int, int]]
"""Tag of a layer to the chunks of its masks, by number of the frame."""
_MOST = 100
_PREFIX = 4
"""Bytes before the zlib stream; a chunk of no more holds no mask."""
_HEAD = struct.Struct("<7I")
_OBJECT = struct.Struct("<9I")
_ROW = struct.Struct("<2I")
_UINT32 = np.dtype("u4")
_TOLD = (
    "the binary layer {!r} (masks of NIS-Elements) is not written: --associated {} writes it; with --downsample nearest its "
    "levels hold labels too"
)


def layer_names(file: ND2File) -> dict[str, str]:
    """Names of the layers by their tag, as far as the file states them."""
    try:
        items: Any = file.custom_data["BinaryMetadata_v1"]["BinaryMetadata_v1"]
        return {str(item["FileTag"]): str(item["Name"]) for item in items.values()}
    except Exception:  # noqa: BLE001 - nd2 raises whatever its parsing meets; a layer goes by its tag then
        return {}


def layer_scenes(
    source: ByteSource, layers: Layers, names: Mapping[str, str], scenes: Mapping[str, tuple[Scene, Mapping[Shape, int]]]
) -> tuple[dict[str, Scene], list[str]]:
    """(images by role, warnings): one for each layer and scene; `scenes` has the numbers of their frames at (t, 0, z, 0, 0).

    Those of a scene without a mask in the layer are left out. Nothing is decoded.
    """
    found: dict[str, Scene] = {}
    warnings: list[str] = []
    more = 0
    for tag, chunks in layers.items():
        name = names.get(tag, tag)
        if not any(number in chunks for _, numbers in scenes.values() for number in numbers.values()):
            warnings.append(f"the binary layer {name!r} has masks of frames that are not shown, and is left out")
        for place, (scene, numbers) in scenes.items():
            if not any(number in chunks for number in numbers.values()):
                continue
            if len(found) == _MOST:
                more += 1
                continue
            words = ["binary", *([place] if len(scenes) > 1 else []), name]
            role = free_role(role_of(*words), found)
            found[role] = _scene(role, scene, _Reader(source, tag, chunks, numbers, (scene.shape.y, scene.shape.x)))
            warnings.append(_TOLD.format(name, role))
    return found, [*warnings, *([f"{more} more binary layers (masks of NIS-Elements) are left out"] if more else [])]


def _scene(role: str, scene: Scene, reader: _Reader) -> Scene:
    shape = scene.shape._replace(c=1)
    tile = Shape(1, 1, 1, shape.y, shape.x)
    level = Level(shape, _UINT32, Grid(shape, tile), reader, tile, 0, 1.0, "deflate", interleaved=False)
    return Scene(role, [level], False, (Channel(),), scene.pixel_size, time_step_s=scene.time_step_s)


@dataclass(frozen=True, slots=True)
class _Reader:
    """`Level.read` of a layer: the mask of a frame, zeros where there is none."""

    source: ByteSource
    tag: str
    chunks: Mapping[int, int]
    numbers: Mapping[Shape, int]
    size: tuple[int, int]

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        number = self.numbers[Shape(key.t, 0, key.z, 0, 0)]
        out = np.zeros(self.size, _UINT32)
        if number in self.chunks:
            name = f"CustomDataSeq|{self.tag}|{number}!"
            start, length = chunk(self.source, self.chunks[number], name.encode())
            if length > _PREFIX:
                try:
                    _paint(out, _inflated(self.source.read(start + _PREFIX, length - _PREFIX)))
                except (struct.error, zlib.error, ValueError) as error:
                    raise Damaged(f"the chunk {name!r} does not decode: {error}") from error
        return out[None, None, None]


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    found = inflater.decompress(data, LIMITS.tile_bytes)
    if inflater.unconsumed_tail:
        check("the number of bytes of a mask", LIMITS.tile_bytes + 1, LIMITS.tile_bytes)
    return found


def _paint(out: Pixels, data: bytes) -> None:
    """Paint the objects in their order. Raises struct.error where the data end before, ValueError for runs outside."""
    _, width, height, objects, *_ = _HEAD.unpack_from(data)
    if (height, width) != out.shape:
        raise ValueError(f"a mask of {width}x{height} pixels for a frame of {out.shape[1]}x{out.shape[0]}")
    at = _HEAD.size
    for _ in range(objects):
        label, _, _, _, _, _, rows, _, _ = _OBJECT.unpack_from(data, at)
        at += _OBJECT.size
        for _ in range(rows):
            row, count = _ROW.unpack_from(data, at)
            at += _ROW.size
            if row >= height or at + 8 * count > len(data):
                raise ValueError("a row of a mask lies outside")
            for left, length in np.frombuffer(data, "<u4", 2 * count, at).reshape(-1, 2).tolist():
                if left + length > width:
                    raise ValueError("a run of a mask lies outside")
                out[row, left : left + length] = label
            at += 8 * count
