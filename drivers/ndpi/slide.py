"""Hamamatsu NDPI: a classic TIFF with 64-bit pointers and one JPEG a level, x2 or x4 levels, z planes, macro and map.

Pages are told apart by tag 65421 (the lens; -1 macro, -2 map). A fluorescence file holds one channel in a false colour: it
is shown as one grey channel. Facts: tifffile's table of tags, OpenSlide's description of the format, and a real file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.associated import associated_images, unknown_page, unknown_role
from drivers.claims import Claims, settled
from drivers.errors import Damaged, DriverError
from drivers.factors import nominal
from drivers.geometry import Box, Shape
from drivers.metadata.units import number
from drivers.model import RGB_CHANNELS, Channel, Facts, Level, PixelSize, Position, Scene, Slide
from drivers.paint import paint
from drivers.pictures.color import Strongest
from drivers.tiff.container import OpenTiff
from drivers.tiff.copies import same_pages
from drivers.tiff.level import LevelFacts, build_level, plane_of, storage_of
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import facts_of, pixel_size_um, tag, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import samples_of
from drivers.tiff.stack import fits
from drivers.tiff.storage import JPEG
from drivers.tiff.stripes import build_striped, picture_of
from drivers.tiff.subfile import is_mask

if TYPE_CHECKING:
    from tifffile import TiffPage

FORMAT, LENS, X_OFFSET, Y_OFFSET, Z_OFFSET, FILTER, SERIAL, NOTES, WAVELENGTH, EXPOSURE = (
    65420, 65421, 65422, 65423, 65424, 65434, 65442, 65449, 65451, 65454,
)  # fmt: skip
_ROLES = {-1.0: "macro", -2.0: "map"}
_COLORS = ("FF0000", "00FF00", "0000FF")
_LOOK_PIXELS = 16 << 20
_DARK = 32
_CARRIES = 0.25


def open_slide(path: Path) -> Slide:
    """Open an NDPI file; one scene."""
    return open_with(path, _slide, ndpi=True)


@dataclass(frozen=True, slots=True)
class _Look:
    """How the samples of the levels are shown."""

    rgb: bool
    facts: LevelFacts
    channels: tuple[Channel, ...]


@dataclass(slots=True)
class _Pages:
    """The pages of a file: level images by their size (height, width), and the others by role."""

    levels: dict[tuple[int, int], list[TiffPage]] = field(default_factory=dict)
    associated: dict[str, TiffPage] = field(default_factory=dict)
    masks: list[TiffPage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _slide(path: Path, file: OpenTiff) -> Slide:
    pages = _pages(file)
    if not pages.levels:
        raise Damaged(f"{file.name}: the file holds no level of a slide")
    stacks = _stacks(pages, file)
    first = stacks[0][0]
    look = _look(file, stacks)
    levels = [_level(file, stack, look.facts) for stack in stacks]
    base = levels[0].shape
    scaled = [replace(level, scale=nominal((base.y, base.x), (level.shape.y, level.shape.x))) for level in levels]
    makers = {role: partial(_associated, file, page, role) for role, page in pages.associated.items()}
    associated = associated_images(makers, pages.warnings)
    found = masked(_scene(path, stacks[0], scaled, look), held(pages.masks, file.source))
    pages.warnings += found.warnings
    return Slide(
        path=path,
        driver="ndpi",
        files=[path],
        scenes=[found.scene],
        associated={**associated, **found.associated},
        close=file.close,
        raw_metadata=text(first, NOTES),
        warnings=pages.warnings,
    )


def _pages(file: OpenTiff) -> _Pages:
    found = _Pages()
    for index, page in enumerate(file.tiff.pages):
        page = _key_page(page)  # noqa: PLW2901
        lens = _lens(page)
        role = None if lens is None else _ROLES.get(lens)
        if is_mask(page):
            found.masks.append(page)
        elif role is not None and role not in found.associated:
            found.associated[role] = page
        elif lens is None or lens > 0:
            found.levels.setdefault((page.imagelength, page.imagewidth), []).append(page)
        else:
            found.associated[unknown_role(index)] = page
            found.warnings.append(unknown_page(unknown_role(index), (page.imagelength, page.imagewidth)))
    return found


def _stacks(pages: _Pages, file: OpenTiff) -> list[list[TiffPage]]:
    """The slices of each level, finest first; levels that do not fit the finest are left out with a warning."""
    alone = {size: _alone(slices, file, pages.warnings) for size, slices in pages.levels.items()}
    (base, finest), *coarser = sorted(alone.items(), key=lambda item: -item[0][0] * item[0][1])
    if len(finest) > 1 and any(_depth_um(page) is None for page in finest):
        pages.warnings.append("the slices do not all state their focal offset: they are in file order")
    stacks = [_in_depth(finest)]
    for size, slices in coarser:
        if len(slices) != len(finest):
            pages.warnings.append(f"level {size[1]}x{size[0]} has {len(slices)} of {len(finest)} slices and is left out")
        elif not fits(base, size):
            pages.warnings.append(f"the image of {size[1]}x{size[0]} is no reduced one of the slide and is left out")
        else:
            stacks.append(_in_depth(slices))
    return stacks


def _key_page(page: object) -> TiffPage:
    from tifffile import TiffPage

    if not isinstance(page, TiffPage):
        raise Damaged("a page without tags of its own")
    return page


def _lens(page: TiffPage) -> float | None:
    return number(tag(page, LENS))


def _depth_um(page: TiffPage) -> float | None:
    """Place of the focal plane; the tag is in nanometres."""
    nanometres = number(tag(page, Z_OFFSET))
    return None if nanometres is None else nanometres / 1000


def _alone(pages: list[TiffPage], file: OpenTiff, warnings: list[str]) -> list[TiffPage]:
    """The slices of a level; raises Damaged where two of one focal offset show different pixels."""

    def name(page: TiffPage) -> str:
        return f"page {page.index} ({page.imagewidth}x{page.imagelength}, z {_depth_um(page)} micrometres)"

    claims = Claims(_depth_um, name, lambda one, other: same_pages(one, other, (file.source, file.source)))
    kept, repeats = settled(pages, claims)
    warnings.extend(repeats)
    return kept


def _in_depth(pages: list[TiffPage]) -> list[TiffPage]:
    """Slices from low to high focus, in file order where the file does not say."""
    depths = {page.index: _depth_um(page) for page in pages}
    return pages if None in depths.values() else sorted(pages, key=lambda page: depths[page.index] or 0)


def _level(file: OpenTiff, pages: Sequence[TiffPage], facts: LevelFacts) -> Level:
    if all(page.compression in JPEG for page in pages):
        return build_striped(file.source, tuple(picture_of(page, file.source) for page in pages), facts)
    storage = storage_of(pages[0])  # 16-bit JPEG XR, or the uncompressed map
    planes = np.empty((1, 1, len(pages)), object)
    for z, page in enumerate(pages):
        if storage_of(page) != storage:
            raise Damaged(f"{file.name}: slices of one level are stored in different ways")
        planes[0, 0, z] = plane_of(page, storage, file.source)
    return build_level(file.source, storage, planes, facts)


def _look(file: OpenTiff, stacks: Sequence[Sequence[TiffPage]]) -> _Look:
    """What the levels show: colour, or one fluorescence channel, which the scanner stores in a false colour."""
    page = stacks[0][0]
    samples = samples_of(page)
    channel = _channel(page)
    if samples.channels != 3:
        channels = (channel, *(Channel() for _ in range(samples.channels - 1)))
        return _Look(False, samples.facts(1.0), channels)
    if text(page, FILTER) is None:
        return _Look(True, LevelFacts(1.0, 255), RGB_CHANNELS)
    carriers = _carriers(file, stacks[-1])
    color = _COLORS[carriers[0]] if len(carriers) == 1 else None
    facts = LevelFacts(1.0, 0, Strongest(carriers), 1, samples.dtype, whole=True)
    return _Look(False, facts, (replace(channel, color=color),))


def _carriers(file: OpenTiff, pages: Sequence[TiffPage]) -> tuple[int, ...]:
    """Samples that carry the false colour, as the coarsest level shows; all where it is dark or large."""
    everything = (0, 1, 2)
    level = _level(file, pages, LevelFacts(1.0))
    if level.shape.y * level.shape.x > _LOOK_PIXELS:
        return everything
    pixels = paint(level, Box.of(Shape(1, 3, 1, level.shape.y, level.shape.x)))
    peaks = [int(pixels[0, c].max()) for c in everything]
    return everything if max(peaks) < _DARK else tuple(c for c in everything if peaks[c] >= _CARRIES * max(peaks))


def _channel(page: TiffPage) -> Channel:
    """Filter set, exposure in microseconds, wavelengths in nanometres; the excitation stands in the scanner's notes only."""
    wavelength, microseconds = number(tag(page, WAVELENGTH)), number(tag(page, EXPOSURE))
    excitation = re.search(r"ExcitationWaveLength=(\d+(?:\.\d+)?)", text(page, NOTES) or "")
    return Channel(
        name=text(page, FILTER),
        excitation_nm=(float(excitation[1]) or None) if excitation else None,
        emission_nm=wavelength if wavelength and wavelength > 0 else None,
        exposure_s=microseconds / 1e6 if microseconds and microseconds > 0 else None,
    )


def _associated(file: OpenTiff, page: TiffPage, role: str) -> Scene:
    try:
        samples = samples_of(page)
        level = _level(file, [page], samples.facts(1.0))
    except DriverError as error:
        raise type(error)(f"{role} image: {str(error).removeprefix(f'{file.name}: ')}") from error
    return Scene(name=role, levels=[level], rgb=samples.rgb, channels=samples.described, alpha=samples.alpha)


def _scene(path: Path, pages: Sequence[TiffPage], levels: list[Level], look: _Look) -> Scene:
    page = pages[0]
    y_um, x_um = pixel_size_um(page)
    lens = _lens(page)
    return Scene(
        name=path.stem,
        levels=levels,
        rgb=look.rgb,
        channels=look.channels,
        pixel_size=PixelSize(y_um, x_um, _spacing([_depth_um(one) for one in pages])),
        magnification=lens if lens and lens > 0 else None,
        position=_position(page, y_um, x_um),
        facts=_facts(page),
    )


def _spacing(depths: list[float | None]) -> float | None:
    """The distance of slices, where all say their depth and are equally far apart."""
    known = [depth for depth in depths if depth is not None]
    steps = [b - a for a, b in pairwise(known)]
    if len(known) != len(depths) or not steps or min(steps) <= 0 or max(steps) - min(steps) > 0.01 * max(steps):
        return None
    return round(sum(steps) / len(steps), 6)


def _position(page: TiffPage, y_um: float | None, x_um: float | None) -> Position | None:
    """The tags give the image's centre against the slide's, in nanometres."""
    x, y = number(tag(page, X_OFFSET)), number(tag(page, Y_OFFSET))
    if x is None or y is None or y_um is None or x_um is None:
        return None
    top, left = y / 1000 - page.imagelength * y_um / 2, x / 1000 - page.imagewidth * x_um / 2
    return Position(top, left, _depth_um(page))


def _facts(page: TiffPage) -> Facts:
    return replace(facts_of(page), microscope_serial=text(page, SERIAL))
