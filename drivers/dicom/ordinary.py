"""DICOM images that are no whole slides: each a scene, its frames along z or t.

Frames are times where the file states a rate, or states nothing; they are slices where it states their distance or their
places (PS3.3 C.7.6.5, C.7.6.16.2.3, C.8.6.2).
"""

from __future__ import annotations

import math

from drivers.dicom.level import stacked_level
from drivers.dicom.microscope import facts_of, icc_of
from drivers.dicom.parts import PER_FRAME, Part
from drivers.geometry import Shape
from drivers.model import ALPHA, RGB_CHANNELS, Channel, PixelSize, Scene

_FRAME_TIME, _FRAME_TIMES, _CINE_RATE = 0x00181063, 0x00181065, 0x00180040
_BETWEEN_SLICES, _GRID_OFFSETS = 0x00180088, 0x3004000C
_PLANE_POSITION, _PATIENT_POSITION = 0x00209113, 0x00200032


def ordinary_scene(part: Part, name: str, warnings: list[str]) -> Scene:
    """The scene of an image."""
    facts, count = part.facts, len(part.frames)
    slices = _z_step_um(part) if count > 1 and not _timed(part) else None
    shape = Shape(count, facts.samples, 1, facts.rows, facts.columns)
    if slices is not None:
        shape = shape._replace(t=1, z=count)
    icc, dropped = icc_of(part)
    warnings += [*([dropped] if dropped else []), *facts.notes]
    y_um, x_um = part.spacing_um or (None, None)
    milliseconds = part.data.positive(_FRAME_TIME)
    timed = shape.t > 1 and milliseconds is not None
    return Scene(
        name=name,
        levels=[stacked_level(part, shape)],
        rgb=facts.rgb,
        alpha=facts.alpha,
        channels=(*RGB_CHANNELS, ALPHA)[: facts.samples] if facts.rgb else (Channel(inverted=facts.shown_inverted),),
        pixel_size=PixelSize(y_um, x_um, slices or None),
        time_step_s=milliseconds / 1000 if timed and milliseconds is not None else None,
        significant_bits=facts.significant_bits,
        icc=icc,
        facts=facts_of(part.data),
    )


def _timed(part: Part) -> bool:
    return any(part.data.positive(tag) for tag in (_FRAME_TIME, _FRAME_TIMES, _CINE_RATE))


def _z_step_um(part: Part) -> float | None:
    """Distance of slices; 0 where the frames are slices of unknown distance, None where they are none."""
    stated = part.measures.positive(_BETWEEN_SLICES) or part.data.positive(_BETWEEN_SLICES)
    if stated is not None:
        return stated * 1000
    offsets = part.data.numbers(_GRID_OFFSETS, "s")
    if len(offsets) > 1 and offsets[0] != offsets[1]:
        return abs(offsets[1] - offsets[0]) * 1000
    places: list[tuple[float, ...]] = []
    for item in part.data.items(PER_FRAME):
        places.append(item.item(_PLANE_POSITION).numbers(_PATIENT_POSITION, "s"))
        if len(places) == 2:
            break
    if len(places) == 2 and len(places[0]) == len(places[1]) == 3 and places[0] != places[1]:
        return math.dist(*places) * 1000
    return None
