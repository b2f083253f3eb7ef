"""Every other TIFF: plain images, pyramids, multi-page files, ImageJ hyperstacks, LSM and what else tifffile orders.

Scenes are stacks of equal images; equal pages without metadata of their own are a time series.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.associated import free_role
from drivers.errors import Damaged, DriverError
from drivers.metadata.aperio import parse_description, positive
from drivers.model import Channel, Level, PixelSize, Scene, Slide
from drivers.pictures.orient import oriented, swaps_axes
from drivers.tiff.container import OpenTiff
from drivers.tiff.level import build_level
from drivers.tiff.mask import held, masked
from drivers.tiff.metadata import facts_of, icc_of, tag, text
from drivers.tiff.micromanager import check_index
from drivers.tiff.microscope import Notes, notes_of
from drivers.tiff.opening import open_with
from drivers.tiff.promise import check_promise
from drivers.tiff.pyramid import page_stacks
from drivers.tiff.samples import Samples, deep_palette, samples_of
from drivers.tiff.series import kind_of, series_stacks
from drivers.tiff.stack import Layer, Stack, layer_of_page, scale_of

if TYPE_CHECKING:
    from tifffile import TiffPage

_ORIENTATION = 274
_MOST_THUMBNAILS = 20
"""Of a stack; they cost memory, asked for or not."""
_INDEXED = {"imagej", "lsm", "fluoview", "stk", "nih"}
"""Kinds whose palettes are look-up tables for the display of measured values."""
_MEASURED = {"lsm", "fluoview", "stk"}
"""Kinds whose samples are channels also where the tag says RGB, as Zeiss LSM files of two or three channels do."""


def open_slide(path: Path) -> Slide:
    """Open any TIFF; raises Unsupported, Damaged or LimitExceeded with the reason."""
    return open_with(path, _slide, general=True, open_end=True)


def _slide(path: Path, file: OpenTiff) -> Slide:
    kind = kind_of(file)
    warnings = [*check_promise(file.name, file.tiff.pages.first, kind), *check_index(file.source)]
    if file.is_open:
        warnings.append("the file ends where it would tell of further images: if its copy was cut short, some are missing")
    stacks = series_stacks(file, kind) if kind else []
    if not stacks:
        stacks, found = page_stacks(file)
        warnings += found
    if not stacks:
        raise Damaged("the TIFF holds no image that can be shown")
    notes = notes_of(file, kind)
    scenes: list[Scene] = []
    associated: dict[str, Scene] = {}
    for number, stack in enumerate(stacks):
        name = path.stem if len(stacks) == 1 else stack.name or f"{path.stem} {number}"
        turn, masks = _orientation(stack.layers[0].page), held(stack.masks, file.source)
        found = masked(_scene(file, stack, notes, name), masks, turn, associated)
        scenes.append(found.scene)
        associated |= found.associated
        warnings += found.warnings
        warnings += _deep(file, stack, found.scene, associated) if kind not in _INDEXED else []
        warnings += _thumbnails(file, stack, associated)
        warnings += stack.warnings
    return Slide(
        path=path,
        driver="tiff",
        files=[path],
        scenes=scenes,
        associated=associated,
        close=file.close,
        raw_metadata=text(stacks[0].layers[0].page, 270),
        warnings=list(dict.fromkeys(warnings)),
    )


def _samples(page: TiffPage, kind: str | None) -> Samples:
    samples = samples_of(page, indexed=kind in _INDEXED)
    if kind not in _MEASURED:
        return samples
    blank = tuple(Channel(inverted=channel.inverted) for channel in samples.described)
    return replace(samples, rgb=False, white=False, alpha=None, described=blank)


def _scene(file: OpenTiff, stack: Stack, notes: Notes, name: str) -> Scene:
    page = stack.layers[0].page
    samples = _samples(page, notes.kind)
    stack.warnings += samples.warnings
    turn = _orientation(page)  # of all levels: overviews often lack the tag
    levels = [oriented(_level(file, stack.layers[0], samples, 1.0), turn)]
    for layer in stack.layers[1:]:
        own = _samples(layer.page, notes.kind)
        if (own.channels, own.dtype, own.rgb) == (samples.channels, samples.dtype, samples.rgb):
            levels.append(oriented(_level(file, layer, own, scale_of(stack, layer)), turn))
        else:
            stack.warnings.append(f"level {layer.size[1]}x{layer.size[0]} holds other samples and is left out")
    icc, dropped = icc_of(page)
    if dropped:
        stack.warnings.append(dropped)
    barred = parse_description(text(page, 270) or "") if notes.kind is None else {}
    mpp = positive(barred.get("MPP"))
    size = notes.pixel_size(page) if mpp is None else PixelSize(mpp, mpp)
    if swaps_axes(turn):
        size = PixelSize(size.x_um, size.y_um, size.z_um)
    count = levels[0].shape.c
    rgb = samples.rgb and count == samples.channels
    described = samples.channels_for(count)
    return Scene(
        name=name,
        levels=levels,
        rgb=rgb,
        channels=described if rgb else _channels(stack, notes, described),
        pixel_size=size,
        magnification=positive(barred.get("AppMag")),
        time_step_s=notes.time_step_s,
        significant_bits=samples.significant_bits,
        icc=icc,
        facts=facts_of(page),
        alpha=samples.alpha_of(count),
    )


def _channels(stack: Stack, notes: Notes, described: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """The described channels; named after the pages where those are channels."""
    if len(stack.channel_names) == len(described):
        return tuple(replace(c, name=name) for c, name in zip(described, stack.channel_names, strict=True))
    return notes.channels_for(described)


def _level(file: OpenTiff, layer: Layer, samples: Samples, scale: float) -> Level:
    return build_level(file.source, layer.storage, layer.planes, samples.facts(scale))


def _orientation(page: TiffPage) -> int:
    value = tag(page, _ORIENTATION)
    return value if isinstance(value, int) else 1


def _deep(file: OpenTiff, stack: Stack, scene: Scene, associated: dict[str, Scene]) -> list[str]:
    """Show a stack of palette colours with the 16 bits of its palette beside it, where 8 bits lose some; and say so."""
    base = stack.layers[0]
    samples = deep_palette(base.page)
    if samples is None:
        return []
    role = free_role("palette-16", associated)
    level = oriented(_level(file, base, samples, 1.0), _orientation(base.page))
    associated[role] = Scene(role, [level], samples.rgb, samples.channels_for(level.shape.c), scene.pixel_size)
    return [f"the colours of the palette have 16 bits and are written with 8: --associated {role} writes the image with all"]


def _thumbnails(file: OpenTiff, stack: Stack, associated: dict[str, Scene]) -> list[str]:
    """Show the first reduced image that is no level as the thumbnail, the next ones as further ones; words on all but it."""
    warnings: list[str] = []
    more = len(stack.spare) - _MOST_THUMBNAILS
    if more > 0:
        warnings.append(f"{more} more reduced images that are no levels are left out")
    for page in stack.spare[:_MOST_THUMBNAILS]:
        what = f"a reduced image of {page.imagewidth}x{page.imagelength} that is no level"
        try:
            samples = samples_of(page)
            level = oriented(_level(file, layer_of_page(page, file.source), samples, 1.0), _orientation(page))
        except DriverError as error:
            warnings.append(f"{what} is left out: {error}")
            continue
        role = free_role("thumbnail", associated)
        if role != "thumbnail":
            warnings.append(f"{what} is not written: --associated {role} writes it")
        associated[role] = Scene(
            name=role,
            levels=[level],
            rgb=samples.rgb,
            channels=samples.described,
            alpha=samples.alpha,
        )
    return warnings
