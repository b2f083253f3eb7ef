"""Aperio SVS: JPEG or JPEG 2000 tiles, levels 1/4/16/(32|64), thumbnail, label and macro.

Levels are grouped from the pages here: tifffile's SVS series stops at the first page that is not tiled, and takes page
1 as the thumbnail whatever it is. Facts: Aperio "Digital slides and third-party data interchange", OpenSlide's
description of the format, and real files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.aperio.depth import in_depth, without_copies
from drivers.associated import associated_images, unknown_page, unknown_role
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.factors import nominal, snapped
from drivers.geometry import Shape
from drivers.metadata.aperio import date_of, parse_description, positive
from drivers.model import RGB_CHANNELS, Channel, Facts, Level, PixelSize, Position, Scene, Slide
from drivers.tiff.container import OpenTiff
from drivers.tiff.level import LevelFacts, build_level, plane_of, storage_of
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import icc_of, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import BLACK_IS_ZERO, RGB, YCBCR
from drivers.tiff.storage import GIVE_RGB, JPEG, JPEG2000
from drivers.tiff.subfile import is_mask

if TYPE_CHECKING:
    from tifffile import TiffPage

YCBCR_JPEG2000 = 33003
_PHOTOMETRIC = 262
_ASPECT_TOLERANCE = 0.02
_ROLES = {1: "label", 9: "macro"}  # NewSubfileType, as Aperio writes it


def open_slide(path: Path) -> Slide:
    """Open an SVS file; one scene."""
    return open_with(path, _slide)


def _slide(path: Path, file: OpenTiff) -> Slide:
    pages = [_key_page(page) for page in file.tiff.pages]
    first = pages[0]
    if not first.is_tiled:
        raise Unsupported(f"{file.name}: the first Aperio image is not tiled")
    fields = parse_description(text(first, 270) or "")
    base = (first.imagelength, first.imagewidth)
    groups: dict[tuple[int, int], list[TiffPage]] = {}
    makers: dict[str, Callable[[], Scene]] = {}
    warnings: list[str] = []
    masks = [page for page in pages[1:] if is_mask(page)]
    for index, page in enumerate(page for page in pages if page not in masks):
        role = _role(index, page, base)
        if role is None and page.is_tiled and _same_aspect(base, (page.imagelength, page.imagewidth)):
            groups.setdefault((page.imagelength, page.imagewidth), []).append(page)
        else:
            if role is None or role in makers:
                role = unknown_role(int(page.index))
                warnings.append(unknown_page(role, (page.imagelength, page.imagewidth)))
            makers[role] = partial(_associated, file, page, role)
    for size, members in groups.items():
        groups[size], repeats = without_copies(members, file.source)
        warnings += repeats
    depth = len(groups[base])
    stack = in_depth(groups[base])
    levels: list[Level] = []
    for size, members in sorted(groups.items(), key=lambda item: -item[0][0] * item[0][1]):
        if len(members) == depth:
            levels.append(_level(file, stack.sorted(members), nominal(base, size)))
        else:
            warnings.append(f"level {size[1]}x{size[0]} has {len(members)} of {depth} slices and is left out")
    icc, dropped = icc_of(first)
    warnings += [*stack.warnings, *([dropped] if dropped else [])]
    scene = _scene(path, levels, fields, icc)
    scene = replace(scene, pixel_size=replace(scene.pixel_size, z_um=stack.spacing_um))
    found = masked(scene, held(masks, file.source))
    warnings += found.warnings
    return Slide(
        path=path,
        driver="aperio",
        files=[path],
        scenes=[found.scene],
        associated={**associated_images(makers, warnings), **found.associated},
        close=file.close,
        raw_metadata=text(first, 270),
        warnings=warnings,
    )


def _key_page(page: object) -> TiffPage:
    from tifffile import TiffPage

    if not isinstance(page, TiffPage):
        raise Damaged("a page without tags of its own")
    return page


def _role(index: int, page: TiffPage, base: tuple[int, int]) -> str | None:
    """Role by the words of the description's second line, then by subfile type, then by place; None for a level."""
    lines = (text(page, 270) or "").splitlines()
    word = lines[1].split(" ")[0].lower() if len(lines) > 1 else ""
    if word in ("label", "macro"):
        return word
    reduced = page.is_tiled and snapped(base, (page.imagelength, page.imagewidth)) is not None
    if page.subfiletype in _ROLES and index > 0 and not (page.subfiletype == 1 and reduced):
        return _ROLES[page.subfiletype]  # 1 is TIFF's own "reduced image" too, which clones write on their levels
    if index == 1 and not page.is_tiled:
        return "thumbnail"
    return None


def _same_aspect(base: tuple[int, int], size: tuple[int, int]) -> bool:
    fy, fx = base[0] / size[0], base[1] / size[1]
    slack = _ASPECT_TOLERANCE + 1 / min(size)  # floor rounding weighs more on small levels
    return min(fy, fx) > 0.999 and abs(fy - fx) / max(fy, fx) < slack


def _level(file: OpenTiff, pages: list[TiffPage], scale: float) -> Level:
    storage = storage_of(pages[0])
    _check_colours(pages[0])
    planes = np.empty((1, 1, len(pages)), object)
    for z, page in enumerate(pages):
        if storage_of(page) != storage:
            raise Unsupported(f"{file.name}: slices of one level are stored in different ways")
        planes[0, 0, z] = plane_of(page, storage, file.source)
    said = storage.compression == YCBCR_JPEG2000 or (storage.compression in JPEG2000 and pages[0].photometric == YCBCR)
    ycbcr = said and storage.samples == 3
    white = storage.samples == 3 and storage.dtype.itemsize == 1
    return build_level(file.source, storage, planes, LevelFacts(scale, 255 if white else 0, ycbcr=ycbcr))


def _check_colours(page: TiffPage) -> None:
    """Raise Unsupported for colours that Aperio does not write: the general driver converts them."""
    if _PHOTOMETRIC not in page.tags or page.photometric in (BLACK_IS_ZERO, RGB):
        return
    if page.photometric != YCBCR or page.compression not in JPEG | JPEG2000 | GIVE_RGB:
        raise Unsupported(f"colours of kind {int(page.photometric)} with compression {int(page.compression)}")


def _associated(file: OpenTiff, page: TiffPage, role: str) -> Scene:
    try:
        level = _level(file, [page], 1.0)
    except DriverError as error:
        raise type(error)(f"{role} image: {str(error).removeprefix(f'{file.name}: ')}") from error
    return Scene(name=role, levels=[level], rgb=level.shape.c == 3, channels=_channels(level.shape), icc=icc_of(page)[0])


def _channels(shape: Shape) -> tuple[Channel, ...]:
    return RGB_CHANNELS if shape.c == 3 else tuple(Channel() for _ in range(shape.c))


def _scene(path: Path, levels: list[Level], fields: Mapping[str, str], icc: bytes | None) -> Scene:
    mpp = positive(fields.get("MPP"))
    left, top = positive(fields.get("Left"), signed=True), positive(fields.get("Top"), signed=True)
    shape = levels[0].shape
    return Scene(
        name=path.stem,
        levels=levels,
        rgb=shape.c == 3,
        channels=_channels(shape),
        pixel_size=PixelSize(mpp, mpp),
        magnification=positive(fields.get("AppMag")),
        position=None if left is None or top is None else Position(top * 1000, left * 1000),
        icc=icc,
        facts=Facts(
            acquired=date_of(fields.get("Date"), fields.get("Time")),
            microscope_manufacturer="Motic" if fields[""].startswith("Motic") else "Aperio",
            microscope_serial=fields.get("ScanScope ID"),
            software=fields.get(""),
        ),
    )
