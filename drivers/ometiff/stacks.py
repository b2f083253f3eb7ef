"""Stacks of an Image: its channels in groups whose pages are stored alike, and the groups made one scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.errors import Damaged, Unsupported
from drivers.members.joined import joint_levels
from drivers.metadata.omexml import Pixels
from drivers.model import Channel, Level
from drivers.ometiff.claims import Planes
from drivers.ometiff.files import FileSet
from drivers.ometiff.reduced import Reduced, reduced_of
from drivers.tiff.level import build_level
from drivers.tiff.metadata import tag
from drivers.tiff.samples import Samples, samples_of
from drivers.tiff.stack import Stack, add_reduced, layer_of, scale_of
from drivers.tiff.storage import Storage, storage_of

if TYPE_CHECKING:
    from tifffile import TiffPage


@dataclass(frozen=True, slots=True)
class Group:
    """Channels beside each other whose pages are stored alike."""

    stack: Stack
    samples: Samples

    @property
    def page(self) -> TiffPage:
        """A page that has the tags of all."""
        return self.stack.layers[0].page

    @property
    def pages(self) -> int:
        """Pages along c."""
        return self.stack.layers[0].planes.shape[1]

    def levels(self, files: FileSet) -> list[Level]:
        """From fine to coarse."""
        return [
            build_level(files.main.source, layer.storage, layer.planes, samples_of(layer.page, indexed=True).facts(scale))
            for layer in self.stack.layers
            for scale in [scale_of(self.stack, layer)]
        ]

    @property
    def described(self) -> list[Channel]:
        """Its channels as the tags describe them."""
        return list(self.samples.channels_for(self.pages * self.samples.channels))


def groups_of(p: Pixels, planes: Planes, files: FileSet, chained: Reduced) -> list[Group]:
    """The groups of an Image in the order of its channels. Raises Unsupported where the pages of a channel differ.

    Raises Damaged where a channel among others of another kind has no page: what it holds is not known.
    """
    spans = list(_spans(p, planes))
    groups = [_group(p, planes.channels(first, stop), files, chained) for first, stop in spans]
    first = groups[0].stack.layers[0].storage
    for group, (at, _) in zip(groups, spans, strict=True):
        storage = group.stack.layers[0].storage
        if (storage.height, storage.width) != (first.height, first.width):
            raise Damaged(
                f"image {p.index}: pages of channel 0 have {first.width}x{first.height} pixels, "
                f"of channel {at} {storage.width}x{storage.height}"
            )
        if group.samples.dtype != groups[0].samples.dtype:
            raise Unsupported(
                f"image {p.index}: channel 0 is of type {groups[0].samples.dtype} and channel {at} of type "
                f"{group.samples.dtype}: one image holds one type"
            )
    return groups


def levels_of(groups: Sequence[Group], files: FileSet, index: int) -> list[Level]:
    """The levels of an Image, with the channels of all groups; those that not all have are left out with a warning."""
    parts = [group.levels(files) for group in groups]
    if len(parts) == 1:
        return parts[0]
    levels, left_out = joint_levels(parts)
    files.warnings += [
        f"image {index}: level {level.shape.x}x{level.shape.y} is not one of all channels and is left out"
        for level, _ in left_out
    ]
    return levels


def _spans(p: Pixels, planes: Planes) -> Iterator[tuple[int, int]]:
    """(first, stop) of channels beside each other that are stored alike; those without any page go with the others."""
    kinds = [_storage(p, planes, c) for c in range(planes.pages.shape[1])]
    known = [kind for kind in kinds if kind is not None]
    if any(kind != known[0] for kind in known) and None in kinds:
        raise Damaged(f"image {p.index}: no page of channel {kinds.index(None)} is stored, and the others differ in kind")
    first = 0
    for c in range(1, len(kinds) + 1):
        if c == len(kinds) or (known and kinds[c] != kinds[first] and None not in kinds):
            yield first, c
            first = c


def _storage(p: Pixels, planes: Planes, c: int) -> Storage | None:
    """How the pages of a channel are stored, None where it has none."""
    pages: list[TiffPage] = [page for page in planes.pages[:, c].flat if page is not None]
    for page in pages:
        if page.samplesperpixel != pages[0].samplesperpixel:
            raise Damaged(
                f"image {p.index}: page {pages[0].index} holds {pages[0].samplesperpixel} samples per pixel and page "
                f"{page.index} {page.samplesperpixel}, and the OME-XML makes them planes of one channel"
            )
    return storage_of(pages[0]) if pages else None


def _group(p: Pixels, planes: Planes, files: FileSet, chained: Reduced) -> Group:
    sources = planes.sources
    try:
        stack = Stack([layer_of(planes.pages, sources)])
    except Unsupported as error:
        raise Unsupported(f"image {p.index}: {error}") from error
    stored = [pair for pair in zip(planes.pages.flat, planes.files.flat, strict=True) if pair[0] is not None]
    add_reduced(stack, [reduced_of(page, file, chained) for page, file in stored], sources)
    stack.warnings += [f"a reduced image of {s.imagewidth}x{s.imagelength} is no level: left out" for s in stack.spare]
    samples = samples_of(stack.layers[0].page, indexed=True)
    stack.warnings += samples.warnings
    size = (p.size("Y"), p.size("X"))
    if stack.layers[0].size != size:
        stack.warnings.append(f"the OME-XML speaks of {size[1]}x{size[0]} pixels; the size of the pages is used")
    if tag(stack.layers[0].page, 274) not in (None, 1):
        stack.warnings.append("the orientation tag is ignored, as OME-TIFF readers do")
    files.warnings += [f"image {p.index}: {warning}" for warning in stack.warnings]
    return Group(stack, samples)
