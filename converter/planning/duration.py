"""About how long a conversion takes on this machine: a codec is timed on one block, and the rest is set off against it.

A guess to plan a batch by, good to a factor of two or so. Disks, networks and other load are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from converter.codec import parse_codec
from converter.planning.jobs import worker_count
from converter.planning.slide import SlidePlan
from drivers.model import Slide

_BASE = "blosc-zstd-1"
_SIDE = 512
_FIXED_S = 0.1
"""Opening, planning, checking and publishing a slide, whatever its size."""
_REST = {"none": 2.0, "jpeg": 4.5, "jpeg2000": 30.0, "jpegxr": 10.0, "webp": 8.0, "jpegxl": 20.0}
"""Reading, halving and writing in units of encoding with the default codec, by how the slide is compressed; measured on
one core over slides of these kinds, of which the dense ones count."""
_OTHER = 3.5


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of one core a byte of pixels."""

    base: float
    codec: float


@cache
def pace(codec: str) -> Pace:
    """Of this machine as it is now, with the default codec and with `codec`."""
    return Pace(_timed(_BASE), _timed(codec))


def _timed(codec: str) -> float:
    block = _block()
    encode = parse_codec(codec).encoder(block.dtype)
    encode(block)
    best = min(_once(lambda: encode(block)) for _ in range(3))
    return best / block.nbytes


def _once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _block() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth shades with a scanner's noise: what tissue is to a codec. Shape (512, 512), always the same."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    noise = np.random.default_rng(1).normal(0, 3, (_SIDE, _SIDE))
    return (np.sin(x / 20) * 50 + np.cos(y / 31) * 50 + 128 + noise).clip(0, 255).astype(np.uint8)


def estimated_seconds(slide: Slide, plan: SlidePlan) -> float:
    """Seconds that converting would take here with the plan's options."""
    found = pace(plan.options.codec)
    core = _FIXED_S
    for image in plan.images:
        scene = slide.associated[image.name] if image.index is None else slide.scenes[image.index]
        rest = _REST.get(scene.compression, _OTHER)
        core += image.raw_bytes * (found.codec + rest * found.base)
    return core / worker_count(plan.options)
