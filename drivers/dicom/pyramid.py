"""Whole-slide instances of a series as scenes: one level for each pixel spacing.

The factor of a level comes from PixelSpacing, not from sizes: Philips does not crop edge tiles, so that sizes say 1.945,
3.89, 7.02 (ImagingDataCommons/libdicom#79). Origins are no ground to part levels: those of Leica differ slightly
(imi-bigpicture/wsidicom#173).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.dicom.level import tiled_level
from drivers.dicom.microscope import channels_of, facts_of, icc_of, magnification_of
from drivers.dicom.parts import Part
from drivers.dicom.tiling import Places, places_of
from drivers.errors import Damaged, DriverError
from drivers.factors import nominal, snapped
from drivers.model import Level, PixelSize, Position, Scene

_PYRAMID, _EXTENDED_DEPTH, _REFERENCE = 0x00080019, 0x00480012, 0x00200052
_SAME_EXTENT = 0.02
_SAME_SPACING = 0.02
_WHOLE = 0.01
"""How far a ratio of spacings may be off an integer."""


def scene_groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Level instances of a series by scene: by PyramidUID, and where images of one spacing exclude each other, by place."""
    by_pyramid: dict[tuple[str, bool], list[Part]] = {}
    for part in parts:
        sharpened = part.data.text(_EXTENDED_DEPTH) == "YES"  # made of the focal planes, none of them
        by_pyramid.setdefault((part.data.text(_PYRAMID) or "", sharpened), []).append(part)
    apart = [group for members in by_pyramid.values() for group in _by_reference(members)]
    groups = [group for members in apart for group in _by_place(members)]
    return sorted(groups, key=lambda group: not any(part is parts[0] for part in group))


def _by_reference(parts: list[Part]) -> list[list[Part]]:
    """By frame of reference, which two slides do not share: unless each level has one of its own, as some writers do."""
    stated = [part.data.text(_REFERENCE) for part in parts]
    first = next((uid for uid in stated if uid is not None), None)
    groups: dict[str | None, list[Part]] = {}
    for part, uid in zip(parts, stated, strict=True):
        groups.setdefault(first if uid is None else uid, []).append(part)
    if len(groups) == 1:
        return [parts]
    references = [{part.data.text(_REFERENCE) for part in level} for level in _levels(parts)]
    one_pyramid = all(len(uids) == 1 for uids in references) and all(_same_extent(parts[0], part) for part in parts[1:])
    return [parts] if one_pyramid else list(groups.values())


def _same_extent(one: Part, other: Part) -> bool:
    """Whether two levels show an area of the same size, but for padded tiles."""
    spacings = one.spacing_um or (1.0, 1.0), other.spacing_um or (1.0, 1.0)
    if one.spacing_um is None or other.spacing_um is None:
        return abs(one.matrix[0] * other.matrix[1] / (one.matrix[1] * other.matrix[0]) - 1) <= _SAME_EXTENT
    for axis, tiles in enumerate(((one.facts.rows, other.facts.rows), (one.facts.columns, other.facts.columns))):
        extents = one.matrix[axis] * spacings[0][axis], other.matrix[axis] * spacings[1][axis]
        padding = max(tile * spacing[axis] for tile, spacing in zip(tiles, spacings, strict=True))
        if abs(extents[0] - extents[1]) > max(padding, _SAME_EXTENT * max(extents)):
            return False
    return True


def _by_place(parts: list[Part]) -> list[list[Part]]:
    finest = _levels(parts)[0]
    seeds: dict[tuple[tuple[int, int], tuple[float, float] | None], list[Part]] = {}
    for part in finest:
        seeds.setdefault((part.matrix, part.origin_mm), []).append(part)
    if len(seeds) == 1:
        return [parts]
    scenes = list(seeds.values())
    for part in parts:
        if not any(part is other for other in finest):
            min(scenes, key=lambda scene: _distance(scene[0], part)).append(part)
    return scenes


def _distance(one: Part, other: Part) -> float:
    """How far two images are apart on the slide, in size and in place, in millimetres."""
    total = 0.0
    for axis in range(2):
        spacings = one.spacing_um, other.spacing_um
        if spacings[0] is not None and spacings[1] is not None:
            extents = one.matrix[axis] * spacings[0][axis], other.matrix[axis] * spacings[1][axis]
            total += abs(extents[0] - extents[1]) / 1000
        if one.origin_mm is not None and other.origin_mm is not None:
            total += abs(one.origin_mm[axis] - other.origin_mm[axis])
    return total


def _levels(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts of like spacing together, finest first; of those without spacing, parts of like size."""

    def key(part: Part) -> float:
        return part.spacing_um[1] if part.spacing_um is not None else 1e9 / part.matrix[1]

    found: list[list[Part]] = []
    for part in sorted(parts, key=key):
        if found and key(part) <= key(found[-1][0]) * (1 + _SAME_SPACING):
            found[-1].append(part)
        else:
            found.append([part])
    return found


def pyramid_scene(parts: Sequence[Part], name: str, warnings: list[str]) -> Scene:
    """A scene out of the level instances of one pyramid."""
    ordered = _levels(parts)
    base, spacing = _places(ordered[0]), ordered[0][0].spacing_um
    warnings += base.warnings
    first = base.parts[0]
    size = first.matrix
    levels = [tiled_level(base, size, 1.0, _fill(first))]
    for members in ordered[1:]:
        try:
            level = _coarse(members, first, base, warnings)
        except DriverError as error:
            warnings.append(f"a level is left out: {error}")
            continue
        if level is not None and level.scale > levels[-1].scale:
            levels.append(level)
    icc, dropped = icc_of(first)
    warnings += [*([dropped] if dropped else []), *first.facts.notes]
    origin = first.origin_mm
    step = first.measures.positive(0x00180088) if len(base.depths_um) > 1 else None
    z_um = step * 1000 if step is not None else base.z_step_um if base.sparse else None
    y_um, x_um = spacing if spacing is not None else (None, None)
    facts = first.facts
    return Scene(
        name=name,
        levels=levels,
        rgb=facts.rgb and len(base.paths) == 1,
        alpha=facts.alpha if len(base.paths) == 1 else None,
        channels=channels_of(base),
        pixel_size=PixelSize(y_um, x_um, z_um),
        magnification=magnification_of(first.data),
        position=None if origin is None else Position(round(origin[0] * 1000, 6), round(origin[1] * 1000, 6)),
        significant_bits=facts.significant_bits,
        icc=icc,
        facts=facts_of(first.data),
    )


def _places(members: Sequence[Part], described: bool | None = None) -> Places:
    """The frames of a level; its instances must be alike."""
    for part in members[1:]:
        if part.facts.kind != members[0].facts.kind or part.matrix != members[0].matrix:
            raise Damaged(
                f"{part.instance.path.name}: has other tiles or samples than {members[0].instance.path.name}, "
                "which has the same pixel spacing"
            )
    return places_of(members, described)


def _coarse(members: Sequence[Part], base: Part, places: Places, warnings: list[str]) -> Level | None:
    own = _places(members, places.described)
    warnings += own.warnings
    first = own.parts[0]
    what = f"level {first.matrix[1]}x{first.matrix[0]}"
    alike = first.facts.samples == base.facts.samples and first.facts.dtype == base.facts.dtype
    if not alike or sorted(own.paths) != sorted(places.paths) or len(own.depths_um) != len(places.depths_um):
        warnings.append(f"{what} has other channels, focal planes or samples than the finest and is left out")
        return None
    order = [places.paths.index(name) for name in own.paths]
    own.at[:, 0] = [order[int(path)] for path in own.at[:, 0]]
    own.paths = list(places.paths)
    scale = factor(base, first)
    return tiled_level(own, _cropped(base.matrix, first, scale), scale, _fill(base))


def factor(base: Part, part: Part) -> float:
    """Down-sampling of `part` against `base`: by spacing, snapped to the integer it means."""
    if base.spacing_um is None or part.spacing_um is None:
        return nominal(base.matrix, part.matrix)
    ratio = math.sqrt(math.prod(b / a for a, b in zip(base.spacing_um, part.spacing_um, strict=True)))
    by_size = snapped(base.matrix, part.matrix)
    if by_size is not None and abs(by_size - ratio) <= _SAME_SPACING * ratio:
        return float(by_size)  # spacings that were computed from rounded sizes
    whole = round(ratio)
    return float(whole) if whole and abs(whole - ratio) <= _WHOLE * whole else ratio


def _cropped(base: tuple[int, int], part: Part, scale: float) -> tuple[int, int]:
    """Size of a level without padding: where it is by less than a tile larger than level 0 fills."""
    if scale != int(scale):
        return part.matrix
    whole = tuple(-(-size // int(scale)) for size in base)
    tile = part.facts.rows, part.facts.columns
    height, width = (
        fits if fits < stored < fits + edge else stored for stored, fits, edge in zip(part.matrix, whole, tile, strict=True)
    )
    return height, width


def _fill(part: Part) -> float:
    return 255.0 if part.facts.rgb and part.facts.dtype.itemsize == 1 else 0.0
