"""Stacks: images of equal size in a t, c, z order, with their reduced images as further layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Unsupported
from drivers.factors import nominal, snapped
from drivers.files import ByteSource
from drivers.tiff.storage import Storage, plane_of, storage_of
from drivers.tiff.subfile import is_mask

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

ASPECT_TOLERANCE = 0.02
PLANES = 1_000_000
"""Planes of a stack at most: each costs an entry in memory, stored or not."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One resolution of a stack: planes indexed [t, c of page, z], and a page that has their tags."""

    page: TiffPage
    storage: Storage
    planes: NDArray[Any]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.storage.height, self.storage.width


@dataclass(slots=True)
class Stack:
    """Layers from fine to coarse. `spare` holds reduced pages that are no layer, `warnings` what was left out."""

    layers: list[Layer]
    name: str | None = None
    channel_names: tuple[str, ...] = ()
    """Names of the pages that are channels; none where the pages are something else."""
    spare: list[TiffPage] = field(default_factory=list)
    masks: list[TiffPage] = field(default_factory=list)
    """Transparency masks, of any level."""
    warnings: list[str] = field(default_factory=list)


def sources_of(pages: NDArray[Any], source: ByteSource) -> NDArray[Any]:
    """The same source for every page."""
    sources = np.empty(pages.shape, object)
    sources[...] = source
    return sources


def layer_of(pages: NDArray[Any], sources: NDArray[Any]) -> Layer:
    """A layer of pages [t, c, z], each page or None, and the file each lies in.

    Raises Unsupported when the pages are stored in different ways, and what `storage_of` and `plane_of` raise.
    """
    from tifffile import TiffPage

    key = next(page for page in pages.flat if isinstance(page, TiffPage))
    storage, planes = storage_of(key), np.empty(pages.shape, object)
    for index in np.ndindex(pages.shape):
        page: TiffPage | TiffFrame | None = pages.item(index)
        if page is None:
            continue
        if isinstance(page, TiffPage) and page is not key and storage_of(page) != storage:
            raise Unsupported("images of one stack are stored in different ways")
        planes[index] = plane_of(page, storage, sources.item(index))
    return Layer(key, storage, planes)


def subpages(page: TiffPage | TiffFrame, chain: frozenset[int]) -> Iterator[TiffPage]:
    """The page's SubIFDs; `chain` holds the offsets of the main pages. Raises Damaged where one points back at them."""
    from tifffile import TiffPage, TiffPages

    if not page.subifds:
        return
    for offset in page.subifds:
        if int(offset) in chain:
            raise Damaged(f"the SubIFD at offset {int(offset)} is a page of its own: the directories run in a circle")
    assert isinstance(page, TiffPage)
    for sub in TiffPages(page, index=page.index):
        if isinstance(sub, TiffPage):
            yield sub


def fits(base: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether an image of `size` can be a reduced one of `base`: smaller, by the same factor both ways."""
    factor = snapped(base, size)
    if factor is not None:
        return factor > 1
    fy, fx = base[0] / size[0], base[1] / size[1]
    slack = ASPECT_TOLERANCE + 1 / min(size)  # rounding weighs more on small images
    return min(fy, fx) > 1 and abs(fy - fx) / max(fy, fx) < slack


def scale_of(stack: Stack, layer: Layer) -> float:
    """Nominal factor of a layer."""
    return 1.0 if layer is stack.layers[0] else nominal(stack.layers[0].size, layer.size)


def alike(a: TiffPage, b: TiffPage) -> bool:
    """Whether two pages hold the same kind of samples."""
    return (a.dtype, a.samplesperpixel, a.photometric, a.bitspersample, tuple(a.extrasamples)) == (
        b.dtype,
        b.samplesperpixel,
        b.photometric,
        b.bitspersample,
        tuple(b.extrasamples),
    )


def add_reduced(stack: Stack, reduced: Sequence[Sequence[TiffPage]], sources: NDArray[Any]) -> None:
    """Add reduced images as layers.

    `reduced` lists them per plane that is stored, in the order of the planes, and `sources` the file of each plane. A
    size becomes a layer when each plane has one such image; sizes that do not fit go to `spare`, transparency masks to
    `masks`.
    """
    base = stack.layers[0]
    sizes: dict[tuple[int, int], list[TiffPage]] = {}
    owners: dict[tuple[int, int], list[int]] = {}
    for number, pages in enumerate(reduced):
        for page in pages:
            if is_mask(page):
                stack.masks.append(page)
                continue
            size = page.imagelength, page.imagewidth
            sizes.setdefault(size, []).append(page)
            owners.setdefault(size, []).append(number)
    stored = [index for index in np.ndindex(base.planes.shape) if base.planes.item(index) is not None]
    for size, pages in sorted(sizes.items(), key=lambda item: -item[0][0] * item[0][1]):
        sound = min(size) > 0 and fits(base.size, size) and all(alike(base.page, page) for page in pages)
        if not sound:
            stack.spare += pages
        elif len(set(owners[size])) < len(pages):
            stack.warnings.append(f"level {size[1]}x{size[0]} is stored twice for one plane and is left out")
        elif len(pages) != len(stored):
            stack.warnings.append(f"level {size[1]}x{size[0]} has {len(pages)} of {len(stored)} planes and is left out")
        else:
            grid = np.empty(base.planes.shape, object)
            for index, page in zip(stored, pages, strict=True):
                grid[index] = page
            try:
                stack.layers.append(layer_of(grid, sources))
            except Unsupported as error:
                stack.warnings.append(f"level {size[1]}x{size[0]} is left out: {error}")


def layer_of_page(page: TiffPage, source: ByteSource) -> Layer:
    """A layer of a single page."""
    pages = np.empty((1, 1, 1), object)
    pages[0, 0, 0] = page
    return layer_of(pages, sources_of(pages, source))
