"""The colours of a palette beside an image whose reader gives 8 bits of them, or the indices alone, as GDAL does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from drivers.associated import free_role
from drivers.errors import DriverError
from drivers.model import Scene, Slide
from drivers.tiff.container import OpenTiff, open_tiff
from drivers.tiff.level import build_level
from drivers.tiff.samples import deep_palette, has_palette, samples_of
from drivers.tiff.stack import layer_of_page

_DEEP = "the colours of the palette have 16 bits and are written with 8"
_INDICES = "the indices of a palette are written"


def with_palette(path: Path, slide: Slide) -> Slide:
    """The slide of one scene with an image of the colours that the scene has not, read from the first page; and a word."""
    try:
        file = open_tiff(path)
    except DriverError as error:
        return _told(slide, f"whether its palette has 16 bits is not known: {error}")
    try:
        found = _beside(slide, file)
    except DriverError as error:
        found = _told(slide, f"its palette is left out: {error}")
    except BaseException:
        file.close()
        slide.close()
        raise
    if found.associated == slide.associated:
        file.close()
        return found
    return replace(found, close=_both(slide.close, file.close))


def _beside(slide: Slide, file: OpenTiff) -> Slide:
    page, (scene,) = file.tiff.pages.first, slide.scenes
    if not has_palette(page):
        return slide
    deep = deep_palette(page)
    if deep is None and scene.rgb:
        return slide
    samples = deep or samples_of(page)
    role = free_role("palette" if deep is None else "palette-16", slide.associated)
    layer = layer_of_page(page, file.source)
    level = build_level(file.source, layer.storage, layer.planes, samples.facts(1.0))
    colors = Scene(role, [level], samples.rgb, samples.described, scene.pixel_size, alpha=samples.alpha)
    words = f"{_DEEP}: --associated {role} writes the image with all"
    if not scene.rgb:
        words = f"{_INDICES}: --associated {role} writes the image in its colours"
    return replace(_told(slide, words), associated={**slide.associated, role: colors})


def _told(slide: Slide, word: str) -> Slide:
    return replace(slide, warnings=[*slide.warnings, word])


def _both(*closing: Callable[[], None]) -> Callable[[], None]:
    def close() -> None:
        for one in closing:
            one()

    return close
