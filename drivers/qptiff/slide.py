"""PerkinElmer and Akoya QPTIFF: a page per channel and level, told apart by the XML of each page.

Pages are classified by ImageType, not by size: full-resolution bands, thumbnail, reduced bands (x2), overview, label.
Small levels are strips, large ones tiles. Field files of the unmixing software have one level of float samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.associated import associated_images, unknown_page, unknown_role
from drivers.claims import repeated
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.factors import nominal
from drivers.model import Channel, Facts, Level, PixelSize, Position, Scene, Slide
from drivers.qptiff.notes import Note, channel_of, note_of
from drivers.tiff.container import OpenTiff
from drivers.tiff.copies import same_pages
from drivers.tiff.level import build_level
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import facts_of, icc_of, pixel_size_um, position_um, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import Samples, samples_of
from drivers.tiff.stack import fits, layer_of, sources_of
from drivers.tiff.subfile import is_mask

if TYPE_CHECKING:
    from tifffile import TiffPage

_FULL, _REDUCED = "FullResolution", "ReducedResolution"
_ROLES = {"Thumbnail": "thumbnail", "Overview": "overview", "Label": "label"}


def open_slide(path: Path) -> Slide:
    """Open a QPTIFF file; one scene."""
    return open_with(path, _slide)


_Named = tuple["TiffPage", Note]


@dataclass(slots=True)
class _Pages:
    """The pages of a file by what they are."""

    full: list[tuple[TiffPage, Note]] = field(default_factory=list)
    reduced: dict[tuple[int, int], list[tuple[TiffPage, Note]]] = field(default_factory=dict)
    associated: dict[str, TiffPage] = field(default_factory=dict)
    masks: list[TiffPage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _slide(path: Path, file: OpenTiff) -> Slide:
    pages = _pages(file)
    if not pages.full:
        raise Damaged("no page says that it is of full resolution")
    pages.full = _alone(file, pages.full, pages.warnings)
    base = pages.full[0][0]
    samples = samples_of(base)
    levels = [_level(file, [page for page, _ in pages.full], samples, 1.0)]
    size = (base.imagelength, base.imagewidth)
    for reduced, members in sorted(pages.reduced.items(), key=lambda item: -item[0][0] * item[0][1]):
        what = f"level {reduced[1]}x{reduced[0]}"
        ordered = _like(pages.full, _alone(file, members, pages.warnings))
        if ordered is None:
            count = f"{len(members)} of {len(pages.full)} channels"
            few = len(members) < len(pages.full)
            pages.warnings.append(f"{what} has {count if few else 'channels of other names'} and is left out")
        elif not fits(size, reduced) or samples_of(ordered[0]) != samples:
            pages.warnings.append(f"{what} does not fit the slide and is left out")
        else:
            levels.append(_level(file, ordered, samples, nominal(size, reduced)))
    pages.warnings.extend(samples.warnings)
    makers = {role: partial(_associated, file, page, role) for role, page in pages.associated.items()}
    associated = associated_images(makers, pages.warnings)
    found = masked(_scene(path, levels, pages.full, samples), held(pages.masks, file.source))
    pages.warnings += found.warnings
    return Slide(
        path=path,
        driver="qptiff",
        files=[path],
        scenes=[found.scene],
        associated={**associated, **found.associated},
        close=file.close,
        raw_metadata=text(base, 270),
        warnings=pages.warnings,
    )


def _pages(file: OpenTiff) -> _Pages:
    from tifffile import TiffPage

    found = _Pages()
    for index, page in enumerate(file.tiff.pages):
        if not isinstance(page, TiffPage):
            raise Damaged("a page without tags of its own")
        note = note_of(page)
        kind = "" if note is None else note.kind
        role = _ROLES.get(kind)
        if note is not None and kind == _FULL:
            found.full.append((page, note))
        elif note is not None and kind == _REDUCED:
            found.reduced.setdefault((page.imagelength, page.imagewidth), []).append((page, note))
        elif role is not None and role not in found.associated:
            found.associated[role] = page
        elif is_mask(page):
            found.masks.append(page)
        else:
            found.associated[unknown_role(index)] = page
            found.warnings.append(unknown_page(unknown_role(index), (page.imagelength, page.imagewidth), kind))
    return found


def _alone(file: OpenTiff, pages: list[_Named], warnings: list[str]) -> list[_Named]:
    """Without pages that repeat an earlier one of the same name; other pages of one name are channels of their own."""
    kept: list[_Named] = []
    copies: list[tuple[str, str]] = []
    for page, note in pages:
        name = channel_of(note, note).name
        twins = (one for one, other in kept if name is not None and channel_of(other, other).name == name)
        twin = next((one for one in twins if same_pages(one, page, (file.source, file.source))), None)
        if twin is None:
            kept.append((page, note))
        else:
            copies.append((f"page {twin.index} ({name})", f"page {page.index} ({name})"))
    warnings.extend(repeated(copies))
    return kept


def _like(full: Sequence[_Named], members: Sequence[_Named]) -> list[TiffPage] | None:
    """The pages of a level in the order of the channels: by name, and as in the file where some have none.

    None where they are not those of the full pages.
    """
    if len(members) != len(full):
        return None
    names = [channel_of(note, note).name for _, note in full]
    own = [channel_of(note, note).name for _, note in members]
    if None in names or None in own:
        return [page for page, _ in members]
    if sorted(map(str, names)) != sorted(map(str, own)):
        return None
    found: dict[str | None, list[TiffPage]] = {}
    for name, (page, _) in zip(own, members, strict=True):
        found.setdefault(name, []).append(page)
    return [found[name].pop(0) for name in names]


def _level(file: OpenTiff, pages: Sequence[TiffPage], samples: Samples, scale: float) -> Level:
    if len({(page.imagelength, page.imagewidth, page.dtype) for page in pages}) > 1:
        raise Unsupported(f"{file.name}: channels of one level differ in size or type")
    grid = np.empty((1, len(pages), 1), object)
    grid[0, :, 0] = pages
    layer = layer_of(grid, sources_of(grid, file.source))
    return build_level(file.source, layer.storage, layer.planes, samples.facts(scale))


def _associated(file: OpenTiff, page: TiffPage, role: str) -> Scene:
    try:
        samples = samples_of(page)
        level = _level(file, [page], samples, 1.0)
    except DriverError as error:
        raise type(error)(f"{role} image: {str(error).removeprefix(f'{file.name}: ')}") from error
    return Scene(name=role, levels=[level], rgb=samples.rgb, channels=samples.described, alpha=samples.alpha)


def _scene(path: Path, levels: list[Level], full: Sequence[tuple[TiffPage, Note]], samples: Samples) -> Scene:
    page, first = full[0]
    rgb = samples.rgb and len(full) == 1
    channels: list[Channel] = []
    for _, note in full:
        channels += [channel_of(note, first)] + [Channel()] * (samples.channels - 1)
    position = position_um(page)
    return Scene(
        name=path.stem,
        levels=levels,
        rgb=rgb,
        channels=samples.described if rgb else channels,
        pixel_size=_pixel_size(page, first),
        magnification=first.magnification,
        position=None if position is None else Position(*position),
        significant_bits=samples.significant_bits,
        icc=icc_of(page)[0],
        facts=_facts(page, first),
        alpha=samples.alpha if len(full) == 1 else None,
    )


def _pixel_size(page: TiffPage, note: Note) -> PixelSize:
    """The resolution of the tags, which is measured; the profile's is a round number."""
    y_um, x_um = pixel_size_um(page)
    if x_um is None:
        y_um = x_um = note.pixel_size_um
    return PixelSize(y_um, x_um)


def _facts(page: TiffPage, note: Note) -> Facts:
    tags = facts_of(page)
    software = note.value("AcquisitionSoftware") or tags.software
    return replace(tags, detector_model=note.value("CameraName"), software=software)
