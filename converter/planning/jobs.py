"""Jobs: the boxes of a native level that are read, encoded and averaged at one go, and the order to walk them in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.options import Options
from converter.planning.image import ImagePlan, LevelPlan
from drivers.geometry import Box, Shape
from drivers.model import Level

JOB_BYTES = 48 << 20
"""Upper bound of the pixels of one job where stored blocks are wide strips."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A native level and the output levels made from it: `levels[0]` is read, each further one is half the one before."""

    native: int
    levels: tuple[LevelPlan, ...]


def segments(image: ImagePlan) -> list[Segment]:
    """The output levels, split at every native level."""
    groups: list[list[LevelPlan]] = []
    for level in image.levels:
        if level.source.method == "native":
            groups.append([level])
        else:
            groups[-1].append(level)
    return [Segment(group[0].source.origin, tuple(group)) for group in groups]


def job_shape(level: Level, plan: LevelPlan, limit: int = JOB_BYTES) -> Shape:
    """Extent of a job: the shard, or bands of whole rows of chunks where the stored blocks are wider than a shard.

    Channels that are stored together travel together. A job that is narrower than the stored blocks would decode each of
    them several times: it is taken only where a band one chunk high would be twice over `limit` bytes.
    """
    unit, chunk = plan.shard or plan.chunk, plan.chunk
    together = max(unit.c, level.tile.c)
    y, x = (unit.y, unit.x) if plan.shard else (max(2048, chunk.y), max(2048, chunk.x))
    if level.tile.x > x:
        x = -(-level.shape.x // chunk.x) * chunk.x
    if level.tile.y > y:
        y = -(-level.shape.y // chunk.y) * chunk.y
    size = together * level.dtype.itemsize
    while size * y * x > limit and y > chunk.y:
        y = -(-y // 2 // chunk.y) * chunk.y
    while size * y * x > (limit if level.tile.x <= x // 2 else 2 * limit) and x > chunk.x:
        x = -(-x // 2 // chunk.x) * chunk.x
    return Shape(1, together, 1, y, x)


def jobs(shape: Shape, job: Shape) -> Iterator[Box]:
    """All boxes of extent `job` in `shape`; within a plane along a Z-order curve, so that few coarse shards are begun."""
    counts = Shape(*(-(-n // k) for n, k in zip(shape, job, strict=True)))
    order = z_order(counts.y, counts.x)
    for t, c, z in np.ndindex(counts[:3]):
        for y, x in order:
            start = Shape(t, c * job.c, z, int(y) * job.y, int(x) * job.x)
            yield Box(start, Shape(*(min(a + n, s) for a, n, s in zip(start, job, shape, strict=True))))


def z_order(rows: int, columns: int) -> np.ndarray[Any, Any]:
    """(row, column) of every cell of a grid, shape (rows * columns, 2), along a Z-order (Morton) curve."""
    y, x = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    code = np.zeros_like(y)
    for bit in range(max(rows, columns).bit_length()):
        code |= (y >> bit & 1) << (2 * bit + 1) | (x >> bit & 1) << (2 * bit)
    order = np.argsort(code, kind="stable")
    return np.stack([y[order], x[order]], axis=1)


def worker_count(options: Options) -> int:
    """Threads to use: as told, else one per processor this process may use."""
    if options.workers is not None:
        return options.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
