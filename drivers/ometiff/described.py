"""What the channels of an OME-TIFF are called: Channel elements matched with the samples of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drivers.metadata.omexml import Pixels, channel_elements, channels_of
from drivers.metadata.xmltree import children
from drivers.model import Channel
from drivers.ometiff.channels import declared_samples
from drivers.ometiff.files import FileSet
from drivers.ometiff.stacks import Group


def named(p: Pixels) -> bool:
    """Whether the OME-XML names channels one by one: then each holds what its name says, whatever the tags call it."""
    channels = children(p.pixels, "Channel")
    return len(channels) > 1 and any(channel.get("Name") for channel in channels)


def channels_for(p: Pixels, groups: Sequence[Group], files: FileSet) -> tuple[Channel, ...]:
    """The channels of a scene that is not one colour image: those of the OME-XML, and what the tags say of them.

    Where pages of colour are one Channel of several, each of its samples has its colour, and its name behind the Channel's.
    """
    described = [channel for group in groups for channel in group.described]
    elements = len(children(p.pixels, "Channel"))
    if len(groups) > 1 or (groups[0].samples.rgb and 1 < elements < len(described)):
        return _of_pages(p, groups, files)
    samples = groups[0].samples
    found = channels_of(p, 1 if elements == len(described) else samples.channels)
    if len(found) != len(described):
        return tuple(described)
    alike = elements == 1
    pairs = enumerate(zip(found, described, strict=True))
    return tuple(d if alike and i == samples.alpha else replace(f, inverted=d.inverted) for i, (f, d) in pairs)


def _of_pages(p: Pixels, groups: Sequence[Group], files: FileSet) -> tuple[Channel, ...]:
    """Page by page along c. A Channel that speaks of other samples than its pages hold names none of them."""
    found, declared = channel_elements(p), declared_samples(p)
    pages = [group.samples for group in groups for _ in range(group.pages)]
    if len(found) == sum(samples.channels for samples in pages) != len(pages):
        described = [channel for samples in pages for channel in samples.described]
        return tuple(_joined(f, d, f.name or d.name) for f, d in zip(found, described, strict=True))
    channels: list[Channel] = []
    for number, samples in enumerate(pages):
        sound = len(found) == len(pages) and (declared[number] == samples.channels or set(declared) == {1})
        if len(found) == len(pages) and declared[number] != samples.channels:
            files.warnings.append(
                f"image {p.index}: Channel {number} speaks of {declared[number]} samples per pixel, its pages hold "
                f"{samples.channels}"
            )
        channels += [_behind(found[number], d, samples.channels) for d in samples.described] if sound else samples.described
    return tuple(channels)


def _behind(found: Channel, described: Channel, samples: int) -> Channel:
    """A sample of a Channel: named behind it where there are several that have names."""
    several = samples > 1 and described.name
    name = " ".join(part for part in (found.name, described.name) if part) if several else found.name
    return _joined(found, described, name or None)


def _joined(found: Channel, described: Channel, name: str | None) -> Channel:
    return replace(found, name=name, color=described.color or found.color, inverted=described.inverted)
