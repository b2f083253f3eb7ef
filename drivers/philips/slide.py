"""Philips TIFF: a pyramid of 512 pixel tiles padded to whole tiles, whose true sizes follow from the XML's spacings.

Tiles nobody scanned are not stored and shown white. Label and macro are pages or pictures inside the XML. Facts:
OpenSlide's description of the format and properties it prints of its test slides; only made files were met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.associated import associated_images, unknown_page, unknown_role
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.geometry import Shape
from drivers.limits import LIMITS
from drivers.model import Facts, Level, PixelSize, Scene, Slide
from drivers.philips.document import Import, decoded, import_of, quoted, without_pictures
from drivers.pictures.in_memory import jpeg_scene
from drivers.tiff.container import OpenTiff
from drivers.tiff.level import build_level
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import facts_of, icc_of, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import Samples, samples_of
from drivers.tiff.stack import layer_of_page
from drivers.tiff.subfile import is_mask
from drivers.tiles import Grid

if TYPE_CHECKING:
    from tifffile import TiffPage

_PICTURES = {"label": "LABELIMAGE", "macro": "MACROIMAGE"}


def open_slide(path: Path) -> Slide:
    """Open a Philips TIFF; one scene."""
    return open_with(path, _slide)


def _slide(path: Path, file: OpenTiff) -> Slide:
    from tifffile import TiffPage

    masks = [page for page in file.tiff.pages if isinstance(page, TiffPage) and is_mask(page)]
    pages, associated_of, warnings = _pages(file)
    first = pages[0]
    description = text(first, 270) or ""
    document = import_of(description)
    levels = _levels(file, pages, _factors(document, pages), warnings)
    makers = {role: partial(_associated, file, page, role) for role, page in associated_of.items()}
    associated = associated_images(makers, warnings)
    absent = [role for role, kind in _PICTURES.items() if role not in associated and document.holds(kind)]
    associated |= associated_images({role: partial(_picture, file.name, document, role) for role in absent}, warnings)
    found = masked(_scene(path, first, levels, document), held(masks, file.source))
    warnings += found.warnings
    return Slide(
        path=path,
        driver="philips",
        files=[path],
        scenes=[found.scene],
        associated={**associated, **found.associated},
        close=file.close,
        raw_metadata=without_pictures(description),
        warnings=warnings,
    )


def _levels(file: OpenTiff, pages: Sequence[TiffPage], factors: Sequence[int], warnings: list[str]) -> list[Level]:
    """The levels, cropped to their true sizes; those that do not fit are left out and added to the warnings."""
    first, samples = pages[0], samples_of(pages[0])
    warnings.extend(samples.warnings)
    levels = [_level(file, first, samples)]
    for page, factor in zip(pages[1:], factors, strict=True):
        what = f"level {page.imagewidth}x{page.imagelength}"
        size = (first.imagelength // factor, first.imagewidth // factor)
        if samples_of(page) != samples or min(size) < 1 or page.imagelength < size[0] or page.imagewidth < size[1]:
            warnings.append(f"{what} does not fit the slide and is left out")
        elif factor <= levels[-1].scale:
            warnings.append(f"{what} is not coarser than the one before and is left out")
        else:
            levels.append(_cropped(replace(_level(file, page, samples), scale=float(factor)), size))
    return levels


def _pages(file: OpenTiff) -> tuple[list[TiffPage], dict[str, TiffPage], list[str]]:
    """(levels, associated images by role, warnings); without transparency masks."""
    from tifffile import TiffPage

    levels: list[TiffPage] = []
    associated: dict[str, TiffPage] = {}
    warnings: list[str] = []
    for index, page in enumerate(file.tiff.pages):
        if not isinstance(page, TiffPage):
            raise Damaged("a page without tags of its own")
        if is_mask(page):
            continue
        start = (text(page, 270) or "")[:5].lower()
        if start in _PICTURES and index > 0 and start not in associated:
            associated[start] = page
        elif page.is_tiled and start not in _PICTURES:
            levels.append(page)
        else:
            associated[unknown_role(index)] = page
            warnings.append(unknown_page(unknown_role(index), (page.imagelength, page.imagewidth)))
    if not levels or levels[0] is not file.tiff.pages[0]:
        raise Unsupported(f"{file.name}: the first image is not tiled")
    return levels, associated, warnings


def _factors(document: Import, pages: Sequence[TiffPage]) -> list[int]:
    """Of the levels after the first: spacing over spacing, else the power of two next to the quotient of the sizes."""
    first, listed = pages[0], document.levels
    sizes = [(page.imagelength, page.imagewidth) for page in pages]
    if [level.size for level in listed] == sizes:
        spacings = [level.spacing for level in listed]
    else:  # levels were left out: those whose size tells them apart are known
        known = {size: [level.spacing for level in listed if level.size == size] for size in sizes}
        spacings = [known[size][0] if len(known[size]) == 1 else None for size in sizes]
    factors: list[int] = []
    for page, own in zip(pages[1:], spacings[1:], strict=True):
        base = spacings[0]
        if base is not None and own is not None:
            factors.append(max(1, round((own[0] / base[0] + own[1] / base[1]) / 2)))
        else:  # padding makes levels larger, the longer side least
            quotient = max(first.imagelength / page.imagelength, first.imagewidth / page.imagewidth)
            factors.append(1 << max(0, round(log2(quotient))))
    return factors


def _level(file: OpenTiff, page: TiffPage, samples: Samples) -> Level:
    layer = layer_of_page(page, file.source)
    return build_level(file.source, layer.storage, layer.planes, replace(samples.facts(1.0), fill=255))


def _cropped(level: Level, size: tuple[int, int]) -> Level:
    """The upper left part of a padded level."""
    shape = level.shape._replace(y=size[0], x=size[1])
    grid = level.index
    assert isinstance(grid, Grid)
    inside = (-(-size[0] // grid.tile.y), -(-size[1] // grid.tile.x))

    def kept(keys: frozenset[Shape]) -> frozenset[Shape]:
        return frozenset(key for key in keys if key.y < inside[0] and key.x < inside[1])

    return replace(level, shape=shape, index=Grid(shape, grid.tile, kept(grid.absent), kept(grid.empty)))


def _associated(file: OpenTiff, page: TiffPage, role: str) -> Scene:
    try:
        samples = samples_of(page)
        level = _level(file, page, samples)
    except DriverError as error:
        raise type(error)(f"{role} image: {str(error).removeprefix(f'{file.name}: ')}") from error
    return Scene(role, [level], samples.rgb, samples.described, alpha=samples.alpha)


def _picture(name: str, document: Import, role: str) -> Scene:
    return jpeg_scene(f"{name}: the {role} image in the XML", document.picture(_PICTURES[role]), role)


def _scene(path: Path, page: TiffPage, levels: list[Level], document: Import) -> Scene:
    spacing = document.spacing
    samples = samples_of(page)
    return Scene(
        name=path.stem,
        levels=levels,
        rgb=samples.rgb,
        channels=samples.described,
        pixel_size=PixelSize() if spacing is None else PixelSize(spacing[0] * 1000, spacing[1] * 1000),
        icc=_icc(page, document),
        facts=_facts(page, document),
        alpha=samples.alpha,
    )


def _icc(page: TiffPage, document: Import) -> bytes | None:
    profile = icc_of(page)[0]
    coded = document.first("DICOM_ICCPROFILE")
    if profile is None and coded is not None and len(coded) <= LIMITS.icc_bytes:
        try:
            profile = decoded(coded, "colour profile") or None
        except Damaged:
            return None  # a picture is worth showing without its profile
    return profile


def _facts(page: TiffPage, document: Import) -> Facts:
    tags = facts_of(page)
    return replace(
        tags,
        acquired=_date(document.first("DICOM_ACQUISITION_DATETIME")) or tags.acquired,
        microscope_manufacturer=document.first("DICOM_MANUFACTURER") or tags.microscope_manufacturer,
        microscope_model=document.first("DICOM_MANUFACTURERS_MODEL_NAME") or tags.microscope_model,
        microscope_serial=document.first("DICOM_DEVICE_SERIAL_NUMBER"),
        software=", ".join(quoted(document.text("DICOM_SOFTWARE_VERSIONS"))) or tags.software,
    )


def _date(value: str | None) -> datetime | None:
    """DICOM writes YYYYMMDDhhmmss.ffffff; the zone is mostly left out."""
    for pattern in ("%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"):
        try:
            return datetime.strptime(value or "", pattern)  # noqa: DTZ007
        except ValueError:
            continue
    return None
