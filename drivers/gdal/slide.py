"""A slide out of a picture that GDAL reads: one scene."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drivers.errors import Damaged, DriverError
from drivers.factors import nominal
from drivers.files import ByteSource, open_source
from drivers.gdal.bitmap import bitmap_level
from drivers.gdal.blank import blank_end
from drivers.gdal.chroma import chroma_level
from drivers.gdal.dataset import Handles, Source, environment, open_dataset
from drivers.gdal.embedded import Embedded, embedded, pixel_size_um, profile
from drivers.gdal.exif import Exif, exif_of
from drivers.gdal.further import animation_of, first_picture, further_pictures
from drivers.gdal.ground import ground_size
from drivers.gdal.jp2 import require_shown
from drivers.gdal.kinds import Kind
from drivers.gdal.level import Bands, Spooled, bands_of, build_level, mask_only
from drivers.gdal.spool import Spool
from drivers.model import Channel, Facts, Level, PixelSize, Scene, Slide
from drivers.pictures.orient import oriented, swaps_axes

_MULTIPLIED = "the colours are stored multiplied by their alpha, and are left so"
_MIRRORED_ROWS = {3, 4, 6, 7}
"""Orientations that show the stored rows from the last to the first, down or across."""


@dataclass(slots=True)
class _Picture:
    """A picture while it is being opened, and what must be closed."""

    source: Source
    file: ByteSource
    kept: Embedded
    exif: Exif
    readers: list[Handles | Spool] = field(default_factory=list[Handles | Spool])
    warnings: list[str] = field(default_factory=list[str])

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        self.file.close()


def open_picture(path: Path, kind: Kind, driver: str) -> Slide:
    """Open `path` with GDAL's driver for `kind`. Raises Unsupported (also without rasterio), Damaged, LimitExceeded."""
    file = open_source(path)
    picture: _Picture | None = None
    try:
        kept = embedded(file, kind)
        kind = replace(kind, progressive=kept.progressive, at_once=kept.at_once, ycbcr=kept.ycbcr, clear=kept.clear)
        require_shown(path.name, kept.color_space, kept.half_palette)
        picture = _Picture(Source(path, kind), file, kept, exif_of(kept.exif))
        with environment(kind):
            return _slide(picture, driver)
    except DriverError as error:
        (file if picture is None else picture).close()
        raise error if path.name in str(error) else type(error)(f"{path.name}: {error}") from error
    except BaseException:
        (file if picture is None else picture).close()
        raise


def _slide(picture: _Picture, driver: str) -> Slide:
    kind, bitmap = picture.source.kind, picture.kept.bitmap
    if bitmap is not None:
        return _spooled(picture, driver, bitmap_level(picture.source, bitmap))
    animation = animation_of(picture.file, kind)
    further = further_pictures(picture.file, kind, animation)
    picture.warnings += further.warnings
    if kind.driver == "WEBP" and animation is not None:
        return replace(_spooled(picture, driver, first_picture(picture.source, animation)), associated=further.scenes)
    try:
        dataset = open_dataset(picture.source)
    except Damaged:
        if picture.kept.chroma is None:
            raise
        return _spooled(picture, driver, chroma_level(picture.source, picture.kept.chroma))
    try:
        bands = bands_of(dataset, picture.source)
        level = _level(picture, dataset, bands, 1.0)
        mask = _level(picture, dataset, mask_only(), 1.0) if bands.mask_beside else None
        base = (int(dataset.height), int(dataset.width))
        count = len(dataset.overviews(bands.indexes[0])) if kind.pyramid else 0
        raw = _raw(dataset)
        stored = _profile(dataset) if kind.driver == "GTiff" else picture.kept.icc
    finally:
        dataset.close()
    levels = [level, *_overviews(picture, bands, base, count)]
    slide = _made(picture, driver, _Shown(bands, levels, stored, raw))
    beside = {} if mask is None else {"mask": Scene("mask", [mask], False, (Channel(),))}
    return replace(slide, associated={**beside, **further.scenes})


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a slide of a picture shows, and what is kept of its texts."""

    bands: Bands
    levels: list[Level]
    icc: bytes | None
    raw: str | None = None


def _spooled(picture: _Picture, driver: str, found: Spooled) -> Slide:
    picture.readers.append(found.spool)
    level = oriented(found.level, picture.exif.orientation)
    return _made(picture, driver, _Shown(found.bands, [level], picture.kept.icc))


def _made(picture: _Picture, driver: str, shown: _Shown) -> Slide:
    path, bands, levels = picture.source.path, shown.bands, shown.levels
    icc, dropped = profile(shown.icc, bands.channels if bands.alpha is None else bands.alpha)
    told = (_MULTIPLIED,) if picture.kept.multiplied and bands.alpha is not None else bands.warnings
    warnings = [*told, *picture.warnings, *([dropped] if dropped else []), *blank_end(picture.file, picture.source.kind)]
    scene = Scene(
        name=path.stem,
        levels=levels,
        rgb=bands.rgb,
        channels=bands.described,
        pixel_size=_pixel_size(picture),
        significant_bits=bands.significant_bits,
        icc=icc,
        facts=_facts(picture.exif),
        alpha=bands.alpha,
    )
    return Slide(path, driver, [path], [scene], {}, picture.close, shown.raw, warnings)


def _overviews(picture: _Picture, bands: Bands, base: tuple[int, int], count: int) -> Iterator[Level]:
    """Those of `count` stored overviews that are smaller than the one before."""
    pixels = base[0] * base[1]
    for number in range(count):
        level = _overview(picture, bands, base, number)
        if level is not None and level.shape.y * level.shape.x < pixels:
            pixels = level.shape.y * level.shape.x
            yield level


def _level(picture: _Picture, dataset: Any, bands: Bands, scale: float, source: Source | None = None) -> Level:
    turn = picture.exif.orientation
    level, reader = build_level(dataset, source or picture.source, bands, scale, turned=turn in _MIRRORED_ROWS)
    picture.readers.append(reader)
    return oriented(level, turn)


def _overview(picture: _Picture, bands: Bands, base: tuple[int, int], number: int) -> Level | None:
    source = Source(picture.source.path, picture.source.kind, number)
    dataset = open_dataset(source)
    try:
        own = bands_of(dataset, source)
        if (own.channels, own.dtype, own.rgb) != (bands.channels, bands.dtype, bands.rgb):
            picture.warnings.append(f"overview {dataset.width}x{dataset.height} holds other samples and is left out")
            return None
        return _level(picture, dataset, own, nominal(base, (int(dataset.height), int(dataset.width))), source)
    finally:
        dataset.close()


def _raw(dataset: Any) -> str | None:
    return "\n".join(f"{key}={value}" for key, value in sorted(dataset.tags().items())) or None


def _profile(dataset: Any) -> bytes | None:
    text = dataset.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE", "")
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


def _pixel_size(picture: _Picture) -> PixelSize:
    if picture.source.kind.driver == "GTiff":
        return ground_size(picture.file)
    y, x = pixel_size_um(picture.kept.per_m)
    return PixelSize(x, y) if swaps_axes(picture.exif.orientation) else PixelSize(y, x)


def _facts(exif: Exif) -> Facts:
    return Facts(
        acquired=exif.acquired,
        microscope_manufacturer=exif.make,
        microscope_model=exif.model,
        software=exif.software,
    )
