"""Nikon ND2: every stage position a scene; frames are read where they lie, without nd2's lock.

nd2 gives the metadata when the file is opened. Loops that are neither time, z nor position (custom loops) are folded into
t. There is no pyramid. Files of the years before 2012, which are JPEG 2000, are not read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.errors import Damaged, Unsupported
from drivers.files import ByteSource, closed_on_error, open_source
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.metadata.times import interval_of
from drivers.model import RGB_CHANNELS, Scene, Slide
from drivers.nikon.binary import layer_names, layer_scenes
from drivers.nikon.chunks import MAGIC, frames_of
from drivers.nikon.frames import Frame, level_of
from drivers.nikon.metadata import (
    acquired_at,
    channels,
    channels_of,
    frame_of,
    objective_of,
    pixel_size_of,
    position_of,
    time_step_of,
)
from drivers.nikon.planes import planes_of

if TYPE_CHECKING:
    from nd2 import ND2File

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_FRAMES = 10_000_000


def open_slide(path: Path) -> Slide:
    """Open an ND2 file."""
    source = open_source(path)
    with closed_on_error(path, source.close):
        return _slide(path, source)


def _slide(path: Path, source: ByteSource) -> Slide:
    if source.read(0, 4) != MAGIC:
        raise Unsupported("is ND2 of the old kind (JPEG 2000): save it anew with NIS-Elements")
    chunks, layers, repeats = frames_of(source)
    try:
        from nd2 import ND2File
    except ImportError as error:
        raise Unsupported("ND2 needs nd2: pip install nd2") from error
    with ND2File(path) as file:
        frame = _frame(file)
        scenes = _scenes(path, source, file, (frame, chunks))
        numbered = {
            str(place): (scene, numbers) for scene, (place, numbers) in zip(scenes, _sorted(file, chunks), strict=True)
        }
        masks, told = layer_scenes(source, layers, layer_names(file), numbered)
        beyond = sum(number >= math.prod(loop.count for loop in file.experiment) for number in chunks)
        description, described = file.text_info.get("description"), bool(channels(file))
    lacking = sum(len(scene.levels[0].index.gaps()) > 0 for scene in scenes)
    warnings = [] if described else ["the metadata of channels, objective and pixel size cannot be read"]
    warnings += [f"{lacking} scenes lack frames that were never written"] if lacking else []
    warnings += [
        *repeats,
        *told,
        *([f"{beyond} frames lie beyond the loops of the metadata and are left out"] if beyond else []),
    ]
    return Slide(
        path=path,
        driver="nd2",
        files=[path],
        scenes=scenes,
        associated=masks,
        close=source.close,
        raw_metadata=description or None,
        warnings=warnings,
    )


def _frame(file: ND2File) -> Frame:
    attributes = file.attributes
    if attributes.compressionType == "lossy":
        raise Unsupported("frames with lossy compression are not read")
    bits, count = attributes.bitsPerComponentInMemory, attributes.componentCount
    kind = "f" if attributes.pixelDataType == "float" else "u"
    if (kind, bits) not in {("u", 8), ("u", 16), ("u", 32), ("f", 32), ("f", 64)}:
        raise Unsupported(f"{attributes.pixelDataType} samples of {bits} bits are not read")
    dtype, height, width = np.dtype(f"<{kind}{bits // 8}"), attributes.heightPx, attributes.widthPx or 0
    if height < 1 or width < 1 or count < 1:
        raise Damaged(f"frames of {width}x{height} pixels with {count} components")
    check("the number of pixels", height * width, LIMITS.level_pixels)
    check("the number of components", count, LIMITS.channels)
    row, least = attributes.widthBytes or 0, width * count * dtype.itemsize
    if 0 < row < least:
        raise Damaged(f"rows of {row} bytes for {width} pixels of {count} components")
    check("the number of bytes of a row", max(row, least), LIMITS.tile_bytes)
    rgb = file.components_per_channel == 3
    return Frame(height, width, count, dtype, row or least, attributes.compressionType == "lossless", rgb and count == 3)


def _scenes(path: Path, source: ByteSource, file: ND2File, stored: tuple[Frame, dict[int, int]]) -> list[Scene]:
    frame, chunks = stored
    rgb = file.components_per_channel == 3 and frame.components == 3
    described = RGB_CHANNELS if rgb else channels_of(file, frame.components)
    bits = file.attributes.bitsPerComponentSignificant
    magnification, facts = objective_of(file)
    places, names = _sorted(file, chunks), _names(file)
    scenes: list[Scene] = []
    for position, numbers in places:
        first = frame_of(file, numbers[Shape(0, 0, 0, 0, 0)])
        planes = planes_of(file, numbers, 1 if rgb else frame.components)
        scenes.append(
            Scene(
                name=names.get(position, f"Position {position}") if len(places) > 1 else path.stem,
                levels=[level_of(source, frame, chunks, numbers, rgb)],
                rgb=rgb,
                channels=described,
                pixel_size=pixel_size_of(file),
                magnification=magnification,
                position=position_of(first),
                time_step_s=time_step_of(file) or interval_of(planes),
                significant_bits=bits if 0 < bits < frame.dtype.itemsize * 8 and frame.dtype.kind == "u" else None,
                facts=replace(facts, acquired=acquired_at(first)),
                planes=planes,
            )
        )
    return scenes


def _sorted(file: ND2File, chunks: dict[int, int]) -> list[tuple[int, dict[Shape, int]]]:
    return sorted(_places(file, chunks).items())


def _places(file: ND2File, chunks: dict[int, int]) -> dict[int, dict[Shape, int]]:
    """Number of the frame at (t, 0, z, 0, 0) of every position. Loops nest, the last one is the fastest."""
    loops = [(loop.type, loop.count) for loop in file.experiment]
    total = math.prod(count for _, count in loops)
    check("the number of frames", total, _FRAMES)
    if not any(number in chunks for number in range(total)):
        raise Damaged("holds none of the frames that its metadata speak of")
    places: defaultdict[int, dict[Shape, int]] = defaultdict(dict)
    for number, indices in enumerate(product(*(range(count) for _, count in loops))):
        t = z = position = 0
        for (kind, count), index in zip(loops, indices, strict=True):
            if kind == "ZStackLoop":
                z = z * count + index
            elif kind == "XYPosLoop":
                position = position * count + index
            else:
                t = t * count + index
        places[position][Shape(t, 0, z, 0, 0)] = number
    return dict(places)


def _names(file: ND2File) -> dict[int, str]:
    """Names of the stage positions; a number behind those that occur twice."""
    found: dict[int, str] = {}
    for loop in file.experiment:
        if loop.type == "XYPosLoop":
            points = [point.name or f"Position {i}" for i, point in enumerate(loop.parameters.points)]
            found = {i: name if points.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(points)}
    return found
