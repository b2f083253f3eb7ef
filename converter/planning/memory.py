"""How much memory a conversion takes at most: jobs under way, what waits for its shard, uploads, or the check at the end.

The factors are measured (tests/converter/test_peak_memory.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.options import Options
from converter.planning.image import ImagePlan
from converter.planning.jobs import Segment, job_shape, segments, worker_count
from converter.straddlers import KEPT_BYTES
from drivers.geometry import Shape
from drivers.model import Slide

_BASE = 150 << 20
_JOB_COPIES = 3.0
_READER = 60 << 20
"""zarr-python, which a full check reads with."""
_CHECK_COPIES = 4.0
"""A box as it is stored, decoded, as the slide has it, and where they differ."""
_CHECK_SIDE, _CHECKS_AT_ONCE = 2048, 2
_UPLOADS = 64 << 20


def peak_memory(slide: Slide, images: Sequence[ImagePlan], options: Options) -> int:
    """Bytes at the most, for an output on a disk: while it is written, or while it is checked afterwards."""
    largest = waits = 0
    for image in images:
        scene = slide.associated[image.name] if image.index is None else slide.scenes[image.index]
        for part in segments(image):
            level = scene.levels[part.native]
            job = job_shape(level, part.levels[0])
            block = level.tile.y * level.tile.x * level.tile.c
            samples = job.c * job.y * job.x
            largest = max(largest, int(samples * _JOB_COPIES + block) * level.dtype.itemsize)
            waits = max(waits, _waiting(part, job) * level.dtype.itemsize)
    written = worker_count(options) * largest + waits
    checked = _READER + KEPT_BYTES + max(map(_checked, images), default=0) if options.verify == "full" else 0
    return _BASE + max(written, checked)


def uploaded(images: Sequence[ImagePlan]) -> int:
    """Bytes more for an output in an object store: objects on their way, of which there may be one larger than all others."""
    units = ((level.shard or level.chunk, image.dtype.itemsize) for image in images for level in image.levels)
    return max(_UPLOADS, max((unit.c * unit.y * unit.x * size for unit, size in units), default=0)) + (_UPLOADS >> 1)


def _checked(image: ImagePlan) -> int:
    """Bytes of the boxes of level 0 that a full check holds at a time: whole shards, all channels."""
    level = image.levels[0]
    unit, shape = level.shard or level.chunk, level.shape
    y, x = (min(-(-_CHECK_SIDE // n) * n, most) for n, most in ((unit.y, shape.y), (unit.x, shape.x)))
    boxes = shape.t * shape.z * -(-shape.y // y) * -(-shape.x // x)
    return int(min(_CHECKS_AT_ONCE, boxes) * shape.c * y * x * _CHECK_COPIES) * image.dtype.itemsize


def _waiting(part: Segment, job: Shape) -> int:
    """Samples of shards (or chunks) that are begun and wait for the jobs beside and below, at the most.

    Along the Z-order two of a level are open; where a job is a band of whole rows, all that lie side by side.
    """
    whole, waits = part.levels[0].shape, 0
    bands = job.x >= whole.x
    for level in part.levels:
        unit = level.shard or level.chunk
        height, width = job.y * level.shape.y / whole.y, job.x * level.shape.x / whole.x
        if height >= min(unit.y, level.shape.y) and width >= min(unit.x, level.shape.x):
            continue
        side = -(-level.shape.x // unit.x) if bands else 2
        most = level.shape.y * level.shape.x
        waits += min(side * unit.y * unit.x, most) * max(unit.c, job.c)
    return waits
