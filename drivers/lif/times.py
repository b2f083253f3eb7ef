"""Time stamps of a Leica image: FILETIMEs (100 ns since 1601), one for each plane, in the order in which planes are stored.

liffile gives the same list; that it goes by storage, channels and tiles included, shows in real files, whose stamps repeat
for the channels of a plane (laser scanners) and follow each other in the order of BytesInc.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from drivers.lif.image import Layout
from drivers.metadata.times import interval_of, mean_interval_s
from drivers.model import PlaneFacts

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PER_SECOND = 10_000_000
_MOST_PLANES = 100_000
"""The times of more planes would make an OME-XML of tens of megabytes; the mean interval is still told."""


def stamps_of(image: Element) -> list[int]:
    """The stamps as stored; empty where one of them is no number."""
    listed = image.find("TimeStampList")
    if listed is None:
        return []
    try:
        old = [(int(e.get("HighInteger", "")) << 32) + int(e.get("LowInteger", "")) for e in listed.findall("TimeStamp")]
        return old or [int(word, 16) for word in (listed.text or "").split()]  # old: before LAS 3.1
    except ValueError:
        return []


def planes_of(image: Element, layouts: Sequence[Layout]) -> list[tuple[PlaneFacts, ...]]:
    """The times of the planes of each scene of an image, since its first stamp.

    Nothing where the number of stamps is neither that of the planes nor that of the frames (a plane of all channels), or
    where a plane that is shown is not one that was taken: a volume that was stored section by section.
    """
    nothing = [() for _ in layouts]
    stamps = stamps_of(image)
    if not stamps or not all(_as_taken(layout) for layout in layouts):
        return nothing
    planes = sum(layout.shape.t * layout.shape.c * layout.shape.z for layout in layouts)
    frames = planes // len(layouts[0].parts) * _waves(layouts[0])
    if planes > _MOST_PLANES or len(stamps) not in (planes, frames):
        return nothing
    return _placed(stamps, layouts, single=len(stamps) == planes)


def _waves(layout: Layout) -> int:
    """How many wavelengths were recorded one after the other: each repeats the channels."""
    return len(layout.parts) // len({id(part) for part in layout.parts})


def _as_taken(layout: Layout) -> bool:
    """Whether nothing but x is stored faster than y: the planes that are shown are then those of the recording."""
    if layout.y.source is None or layout.x.source is None:
        return False
    slower = [axis.offsets[1] for axis in (layout.t, layout.z) if len(axis.offsets) > 1]
    return layout.x.source.step <= layout.y.source.step and all(layout.y.source.step <= step for step in slower)


def _placed(stamps: Sequence[int], layouts: Sequence[Layout], *, single: bool) -> list[tuple[PlaneFacts, ...]]:
    """`single`: every channel has a stamp of its own, else all channels of a wavelength share one."""
    offsets: list[dict[tuple[int, int, int], int]] = []
    for layout in layouts:
        times, channels, slices = layout.t.offsets, layout.c.offsets, layout.z.offsets
        together = len(channels) // _waves(layout)
        origin = [channel if single else channels[c // together * together] for c, channel in enumerate(channels)]
        places = product(enumerate(times), enumerate(origin), enumerate(slices))
        offsets.append({(i, c, k): t + o + z for (i, t), (c, o), (k, z) in places})
    ranks = {offset: rank for rank, offset in enumerate(sorted({o for found in offsets for o in found.values()}))}
    if len(ranks) != len(stamps):
        return [() for _ in layouts]
    return [
        tuple(
            PlaneFacts(t, c, z, delta_t_s=seconds)
            for (t, c, z), offset in sorted(found.items())
            if (seconds := _since(stamps, ranks[offset])) is not None
        )
        for found in offsets
    ]


def _since(stamps: Sequence[int], rank: int) -> float | None:
    """Seconds since the first stamp; None where either was not recorded (0)."""
    ticks = stamps[rank] - stamps[0]
    return ticks / PER_SECOND if stamps[0] > 0 and stamps[rank] > 0 and ticks >= 0 else None


def measured_step_of(image: Element, layout: Layout, planes: Sequence[PlaneFacts] = ()) -> float | None:
    """The mean interval where t is time alone: of the planes, or of the stamps where each point has as many of them."""
    if layout.t.source is not None and layout.t.source.count != layout.shape.t:
        return None
    if planes:
        return None if layout.t.source is None else interval_of(planes)
    times = 0 if layout.t.source is None else layout.shape.t
    stamps = stamps_of(image)
    each, rest = divmod(len(stamps), times) if times > 1 else (0, 1)
    if each == 0 or rest:
        return None
    return mean_interval_s({t: (stamps[t * each] - stamps[0]) / PER_SECOND for t in range(times)})
