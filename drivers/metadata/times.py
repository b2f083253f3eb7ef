"""The mean interval of a recording out of the times of its planes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drivers.model import PlaneFacts


def mean_interval_s(times_s: Mapping[int, float]) -> float | None:
    """Seconds from one time point to the next, the mean between the first and the last that are known.

    `times_s` is by time point. None where fewer than two are known, or time does not go on.
    """
    if len(times_s) < 2:
        return None
    first, last = min(times_s), max(times_s)
    step = (times_s[last] - times_s[first]) / (last - first)
    return float(f"{step:.9g}") if step > 0 else None


def interval_of(planes: Iterable[PlaneFacts]) -> float | None:
    """The mean interval of the earliest planes (first channel and slice that have a time)."""
    timed = [plane for plane in planes if plane.delta_t_s is not None]
    if not timed:
        return None
    first = min((plane.c, plane.z) for plane in timed)
    return mean_interval_s({p.t: p.delta_t_s for p in timed if (p.c, p.z) == first and p.delta_t_s is not None})
