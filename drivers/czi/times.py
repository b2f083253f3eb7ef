"""The attachment TimeStamps: a time for each time point (ZEISS, "ZISRAW (CZI) File Format", CZTIMS)."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from itertools import pairwise

from drivers.czi.attachments import attachments_of, content_of
from drivers.czi.segments import Region
from drivers.errors import DriverError
from drivers.limits import LIMITS
from drivers.metadata.times import interval_of
from drivers.model import PlaneFacts, Scene

_HEAD = struct.Struct("<ii")


def time_stamps_s(region: Region, offset: int) -> tuple[float, ...]:
    """Seconds since the first time point; empty where the file states none that make sense."""
    try:
        found = [a for a in attachments_of(region, offset) if a.kind == "CZTIMS" and not a.part]
        if not found:
            return ()
        content = content_of(region, found[0])
        _, count = _HEAD.unpack(content.read(0, _HEAD.size))
        if not 0 < count <= LIMITS.metadata_bytes // 8:
            return ()
        stamps = struct.unpack(f"<{count}d", content.read(_HEAD.size, 8 * count))
    except (DriverError, struct.error):  # times are not worth the slide
        return ()
    since = [stamp - stamps[0] for stamp in stamps]
    sound = all(math.isfinite(second) for second in since) and all(a <= b for a, b in pairwise(since))
    return tuple(since) if sound else ()


def with_times(scene: Scene, stamps: tuple[float, ...]) -> Scene:
    """The scene with the times of its time points, where the file states one for each."""
    if scene.shape.t < 2 or len(stamps) != scene.shape.t:
        return scene
    planes = tuple(PlaneFacts(t, 0, 0, delta_t_s=stamp) for t, stamp in enumerate(stamps))
    if all(plane.delta_t_s is None for plane in scene.planes):  # else each sub-block states its own
        places = {(p.t, p.c, p.z): p.position for p in scene.planes}
        first = [replace(plane, position=places.pop((plane.t, 0, 0), None)) for plane in planes]
        others = [PlaneFacts(t, c, z, position=place) for (t, c, z), place in places.items()]
        return replace(scene, planes=(*first, *others), time_step_s=scene.time_step_s or interval_of(planes))
    return replace(scene, time_step_s=scene.time_step_s or interval_of(planes))
