"""How many samples the pages of each channel hold: the one place that weighs SizeC, SamplesPerPixel and the pages.

SizeC counts samples (OME model: the sum of SamplesPerPixel over the Channels), a page holds those of one Channel, and
FirstC counts Channels; some writers count samples there, and some from one (Bio-Formats' reader knows these too).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from drivers.errors import Damaged
from drivers.metadata.omexml import Pixels
from drivers.metadata.xmltree import children
from drivers.ometiff.tiffdata import Run


def declared_samples(p: Pixels) -> list[int]:
    """SamplesPerPixel of each Channel element; 1 where it does not say."""
    found = [channel.get("SamplesPerPixel", "1") for channel in children(p.pixels, "Channel")]
    return [int(value) if value.isdecimal() and int(value) else 1 for value in found]


def page_samples(p: Pixels, runs: Sequence[Run]) -> list[int]:
    """Samples of the pages of each channel, in the order of channels. Raises Damaged where nothing tells them.

    The pages have the last word: three samples are three also where SizeC counts them as one, or a Channel speaks of one.
    """
    size, declared = p.size("C"), declared_samples(p)
    samples = [page.samplesperpixel for run in runs for page in run.pages]
    mixed = len(set(declared)) > 1 and sum(declared) == size
    if len(set(samples)) <= 1:
        each = samples[0] if samples else 1
        count, rest = (1, 0) if size == 1 else divmod(size, each)
        if not rest:
            return [each] * count
    if mixed:
        return declared
    found = _from_pages(p, runs, len(declared))
    if found is None:
        held = " or ".join(str(n) for n in sorted(set(samples)))
        raise Damaged(f"OME-XML speaks of {size} channels in image {p.index}, a page holds {held} samples")
    return found


def _from_pages(p: Pixels, runs: Sequence[Run], declared: int) -> list[int] | None:
    """Samples per channel as the pages have them, where FirstC or the number of pages tells which channel each is."""
    size = p.size("C")
    if p.size("T") == p.size("Z") == len(runs) == 1:
        samples = [page.samplesperpixel for page in runs[0].pages]
        return samples if sum(samples) == size or len(samples) == declared else None
    by_first: dict[int, int] = {}
    for run in runs:
        if run.pages:
            by_first.setdefault(run.first["C"], run.pages[0].samplesperpixel)
    samples = [by_first[first] for first in sorted(by_first)]
    by_sample = sorted(by_first) == _starts(samples) and sum(samples) == size
    by_channel = sorted(by_first) == list(range(len(samples))) and (sum(samples) == size or len(samples) == declared)
    return samples if by_sample or by_channel else None


def _starts(samples: Sequence[int]) -> list[int]:
    return list(accumulate(samples, initial=0))[:-1]


def channel_numbers(firsts: set[int], samples: Sequence[int]) -> tuple[dict[int, int], str | None]:
    """The channel that each FirstC means, and what to say of it; none for those outside the image."""
    count = len(samples)
    if max(firsts, default=0) < count:
        return {first: first for first in firsts}, None
    starts, total = _starts(samples), sum(samples)
    if firsts <= set(starts) or (total > count and 0 in firsts and max(firsts) < total):
        holder = [channel for channel, n in enumerate(samples) for _ in range(n)]
        return {first: holder[first] for first in firsts}, "FirstC of its TiffData counts samples, not channels"
    return from_one("C", firsts, count)


def from_one(axis: str, firsts: set[int], size: int) -> tuple[dict[int, int], str | None]:
    """Places along an axis, counted from one where they reach from one to its size."""
    if max(firsts, default=0) == size and min(firsts) >= 1:
        return {first: first - 1 for first in firsts}, f"First{axis} of its TiffData counts from one"
    return {first: first for first in firsts if first < size}, None
