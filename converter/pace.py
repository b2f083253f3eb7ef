"""How fast a slide is read and its store is written: whoever keeps the pace is told of bytes, and lets the thread wait.

What a read took is asked of the system, since libraries read for themselves: proc_pid_io(5) counts for each thread the bytes
that it asked for, those too that the machine had in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from drivers import open_slide
from drivers.location import Location
from drivers.model import Level, Pixels, Scene, Slide

Spend = Callable[[int], None]
"""Told of bytes that were read or written; returns once so many are within the limit. From any thread. Raises Cancelled."""

_COUNTS = Path("/proc/thread-self/io")


def unlimited(_count: int) -> None:
    """Whatever was read or written, it is within the limit."""


def open_paced(path: Location, spend: Spend) -> Slide:
    """A slide whose opening is within the limit, as the reading of its blocks will be. Raises what `open_slide` raises."""
    if spend is unlimited:
        return open_slide(path)
    before = bytes_read()
    slide = open_slide(path)
    after = bytes_read()
    try:
        spend(0 if before is None or after is None else after - before)
    except BaseException:
        slide.close()
        raise
    return _paced_slide(slide, spend)


def bytes_read() -> int | None:
    """Bytes that this thread has asked files for since it began; None where the system does not count them."""
    try:
        with _COUNTS.open("rb", buffering=0) as file:
            return int((file.read(64) or b"").split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _paced_slide(slide: Slide, spend: Spend) -> Slide:
    scenes = [_paced(scene, spend) for scene in slide.scenes]
    associated = {role: _paced(scene, spend) for role, scene in slide.associated.items()}
    return replace(slide, scenes=scenes, associated=associated)


def _paced(scene: Scene, spend: Spend) -> Scene:
    return replace(scene, levels=[replace(level, read=_Metered(level, spend)) for level in scene.levels])


@dataclass(frozen=True, slots=True)
class _Metered:
    """`Level.read` within the limit. Where the system does not count, a block counts as large as it is decoded."""

    level: Level
    spend: Spend

    def __call__(self, key: Hashable) -> Pixels:
        before = bytes_read()
        pixels = self.level.read(key)
        after = bytes_read()
        self.spend(pixels.nbytes if before is None or after is None else after - before)
        return pixels
