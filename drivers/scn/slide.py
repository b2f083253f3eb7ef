"""Leica SCN: a BigTIFF whose first description is an XML of images; each is a scene, the slide's overview the macro.

The XML names the page of every resolution, channel and focal plane, in lengths of nanometres. Facts: OpenSlide's and
Bio-Formats' descriptions of the format; only made files were met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.associated import associated_images, free_role, unknown_page, unknown_role
from drivers.claims import Claims, settled
from drivers.errors import Damaged, Unsupported
from drivers.factors import nominal
from drivers.limits import LIMITS, check
from drivers.model import Channel, Facts, Level, PixelSize, Position, Scene, Slide
from drivers.scn.document import Dimension, Image, collection_of
from drivers.tiff.container import OpenTiff
from drivers.tiff.copies import same_pages
from drivers.tiff.level import build_level
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import facts_of, icc_of, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import Samples, samples_of
from drivers.tiff.stack import PLANES, Layer, fits, layer_of, layer_of_page, sources_of
from drivers.tiff.subfile import is_mask

if TYPE_CHECKING:
    from tifffile import TiffPage

_SUPPLEMENTS = {"label", "macro", "thumbnail"}


def open_slide(path: Path) -> Slide:
    """Open an SCN file; a scene per image."""
    return open_with(path, _slide)


@dataclass(slots=True)
class _File:
    """The open file, its pages, and what was left out of it."""

    tiff: OpenTiff
    pages: list[TiffPage]
    used: set[int] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def page(self, ifd: int) -> TiffPage:
        """A page by its number; raises Damaged where there is none."""
        if not 0 <= ifd < len(self.pages):
            raise Damaged(f"the XML names page {ifd}, the file has {len(self.pages)}")
        self.used.add(ifd)
        return self.pages[ifd]


def _slide(path: Path, file: OpenTiff) -> Slide:
    own = _File(file, [_key_page(page) for page in file.tiff.pages])
    description = text(own.pages[0], 270) or ""
    collection = collection_of(description)
    overviews = [image for image in collection.images if collection.covered_by(image)]
    if len(overviews) == len(collection.images):  # nothing but overviews: they are what the file shows
        overviews = []
    makers: dict[str, Callable[[], Scene]] = {}
    if overviews:
        own.used.update(d.ifd for d in overviews[0].dimensions)
        makers["macro"] = partial(_overview, own, overviews[0], "macro")
    for image in overviews[1:]:
        own.used.update(d.ifd for d in image.dimensions)
        role = free_role("macro", makers)
        makers[role] = partial(_overview, own, image, role)
        own.warnings.append(f"{image.name or 'an image'} is a further overview: --associated {role} writes it")
    for role, ifd in collection.supplements:
        if role in makers and ifd not in own.used:
            further = free_role(role, makers)
            makers[further] = partial(_supplement, own, own.page(ifd), further)
            own.warnings.append(f"page {ifd} is a further {role} image: --associated {further} writes it")
        elif role in _SUPPLEMENTS and role not in makers:
            makers[role] = partial(_supplement, own, own.page(ifd), role)
    scenes = [_scene(own, image, f"{path.stem} {i}") for i, image in enumerate(collection.images) if image not in overviews]
    scenes, masks = _with_masks(own, scenes)
    for ifd in sorted(set(range(len(own.pages))) - own.used):
        page, role = own.pages[ifd], unknown_role(ifd)
        makers[role] = partial(_supplement, own, page, role)
        own.warnings.append(unknown_page(role, (page.imagelength, page.imagewidth)))
    associated = associated_images(makers, own.warnings)
    return Slide(
        path=path,
        driver="scn",
        files=[path],
        scenes=scenes,
        associated={**associated, **masks},
        close=file.close,
        raw_metadata=description,
        warnings=own.warnings,
    )


def _with_masks(own: _File, scenes: list[Scene]) -> tuple[list[Scene], dict[str, Scene]]:
    """(scenes with the transparency masks of their sizes, images of the others), out of pages that the XML does not name."""
    masks = [page for ifd, page in enumerate(own.pages) if ifd not in own.used and is_mask(page)]
    own.used.update(ifd for ifd, page in enumerate(own.pages) if page in masks)
    shown: list[Scene] = []
    beside: dict[str, Scene] = {}
    for scene in scenes:
        sizes = {level.shape[3:] for level in scene.levels}
        last = len(shown) + 1 == len(scenes)
        mine = [page for page in masks if last or (page.imagelength, page.imagewidth) in sizes]
        masks = [page for page in masks if page not in mine]
        found = masked(scene, held(mine, own.tiff.source), 1, beside)
        shown.append(found.scene)
        beside |= found.associated
        own.warnings += found.warnings
    return shown, beside


def _key_page(page: object) -> TiffPage:
    from tifffile import TiffPage

    if not isinstance(page, TiffPage):
        raise Damaged("a page without tags of its own")
    return page


def _overview(own: _File, image: Image, role: str) -> Scene:
    return replace(_scene(own, image, role), name=role)


def _supplement(own: _File, page: TiffPage, role: str) -> Scene:
    samples = samples_of(page)
    level = _level(own, layer_of_page(page, own.tiff.source), samples, 1.0)
    return Scene(role, [level], samples.rgb, samples.described, alpha=samples.alpha)


def _scene(own: _File, image: Image, name: str) -> Scene:
    layers = _layers(own, image)
    base = layers[0]
    samples = samples_of(base.page)
    levels: list[Level] = []
    for layer in layers:
        if samples_of(layer.page) == samples:
            levels.append(_level(own, layer, samples, 1.0 if layer is base else nominal(base.size, layer.size)))
        else:
            own.warnings.append(f"{image.name}: level {layer.size[1]}x{layer.size[0]} holds other samples and is left out")
    own.warnings.extend([*samples.warnings, *(f"{image.name}: {warning}" for warning in image.warnings)])
    count = levels[0].shape.c
    rgb = samples.rgb and count == samples.channels
    icc, dropped = icc_of(base.page)
    if dropped:
        own.warnings.append(dropped)
    height, width = base.size
    return Scene(
        name=image.name or name,
        levels=levels,
        rgb=rgb,
        channels=samples.described if rgb else _channels(image, count, samples.channels),
        pixel_size=PixelSize(_um(image.view_y, height), _um(image.view_x, width), _um(image.spacing_z, 1)),
        magnification=image.magnification,
        position=_position(image),
        significant_bits=samples.significant_bits,
        icc=icc,
        facts=_facts(base.page, image),
        alpha=samples.alpha_of(count),
    )


def _layers(own: _File, image: Image) -> list[Layer]:
    """The resolutions of an image, finest first; those that lack planes or do not fit are left out with a warning."""
    if not image.dimensions:
        raise Damaged(f"image {image.name or '(no name)'} lists no pages")
    finest = min(d.r for d in image.dimensions)
    base = [d for d in image.dimensions if d.r == finest]
    channels, slices = max(d.c for d in base) + 1, max(d.z for d in base) + 1
    check("the number of channels", channels, LIMITS.channels)
    check("the number of planes", channels * slices, PLANES)
    if len({(d.c, d.z) for d in base}) < channels * slices:
        own.warnings.append(f"{image.name}: planes are missing and shown empty")
    layers: list[Layer] = []
    for r in sorted({d.r for d in image.dimensions}):
        members = _alone(own, image, [d for d in image.dimensions if d.r == r])
        pages = np.empty((1, channels, slices), object)
        for d in members:
            page = own.page(d.ifd)
            if (page.imagelength, page.imagewidth) != (d.height, d.width):
                raise Damaged(f"page {d.ifd} is {page.imagewidth}x{page.imagelength}, the XML says {d.width}x{d.height}")
            if d.c < channels and d.z < slices:
                pages[0, d.c, d.z] = page
        what = f"{image.name}: level {members[0].width}x{members[0].height}"
        if layers and {(d.c, d.z) for d in members} != {(d.c, d.z) for d in base}:
            own.warnings.append(f"{what} has {len(members)} of {len(base)} planes and is left out")
            continue
        _add(own, layers, pages, what)
    return layers


def _alone(own: _File, image: Image, members: list[Dimension]) -> list[Dimension]:
    """The planes of a resolution; raises Damaged where two pages of one channel and focal plane differ."""

    def name(d: Dimension) -> str:
        return f"page {d.ifd} (r {d.r}, c {d.c}, z {d.z} of {image.name})"

    def same(one: Dimension, other: Dimension) -> bool:
        return same_pages(own.page(one.ifd), own.page(other.ifd), (own.tiff.source, own.tiff.source))

    kept, repeats = settled(dict.fromkeys(members), Claims(lambda d: (d.c, d.z), name, same))
    own.warnings.extend(repeats)
    return kept


def _add(own: _File, layers: list[Layer], pages: np.ndarray, what: str) -> None:
    try:
        layer = layer_of(pages, sources_of(pages, own.tiff.source))
    except Unsupported as error:
        if not layers:
            raise
        own.warnings.append(f"{what} is left out: {error}")
        return
    if layers and not fits(layers[0].size, layer.size):
        own.warnings.append(f"{what} is no reduced image of the first and is left out")
        return
    layers.append(layer)


def _level(own: _File, layer: Layer, samples: Samples, scale: float) -> Level:
    return build_level(own.tiff.source, layer.storage, layer.planes, samples.facts(scale))


def _channels(image: Image, count: int, per_page: int) -> Sequence[Channel]:
    """Channels by their index in the XML; further samples of a page have no description."""
    named = {index * per_page: channel for index, channel in image.channels.items()}
    return [named.get(i, Channel()) for i in range(count)]


def _um(nanometres: float | None, pixels: int) -> float | None:
    return nanometres / 1000 / pixels if nanometres is not None and nanometres > 0 else None


def _position(image: Image) -> Position | None:
    if image.offset_x is None or image.offset_y is None:
        return None
    return Position(image.offset_y / 1000, image.offset_x / 1000)


def _facts(page: TiffPage, image: Image) -> Facts:
    """The device's model and version list the scanner first, then its software, between semicolons."""
    tags = facts_of(page)
    model = image.device_model
    return replace(
        tags,
        acquired=_date(image.created) or tags.acquired,
        microscope_manufacturer="Leica" if model and model.startswith("Leica") else tags.microscope_manufacturer,
        microscope_model=model or tags.microscope_model,
        objective_na=image.aperture,
    )


def _date(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
