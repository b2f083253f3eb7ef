"""Times and stage positions of the frames of an ND2, as nd2 reads them from each frame's own metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from drivers.geometry import Shape
from drivers.model import PlaneFacts
from drivers.nikon.metadata import frame_of, position_of

if TYPE_CHECKING:
    from nd2 import ND2File

_MOST_FRAMES = 4000
"""Reading one frame's metadata takes 0.1 to 0.2 ms: of longer recordings only what the mean interval needs is read."""


def planes_of(file: ND2File, numbers: Mapping[Shape, int], channels: int) -> tuple[PlaneFacts, ...]:
    """One for each frame at (t, 0, z, 0, 0) and channel; of very many frames only the first of each end."""
    asked = sorted(numbers)
    if len(asked) > _MOST_FRAMES:
        asked = [asked[0], max(key for key in asked if key.z == 0)]
    found: list[PlaneFacts] = []
    for key in asked:
        frame = frame_of(file, numbers[key])
        if frame is None:
            continue
        time_ms = frame.time.relativeTimeMs
        delta = time_ms / 1000 if time_ms > 0 else None
        position = position_of(frame)
        found += [PlaneFacts(key.t, c, key.z, delta_t_s=delta, position=position) for c in range(channels)]
    return tuple(found)
