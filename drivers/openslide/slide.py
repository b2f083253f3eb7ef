"""A slide out of what the OpenSlide library says: scene, levels, associated images, facts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from drivers.associated import left_out
from drivers.errors import Damaged, LimitExceeded, Unsupported
from drivers.factors import nominal, snapped
from drivers.files import open_source, read_head
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Facts, Level, PixelSize, Position, Scene, Slide
from drivers.openslide.companions import check_whole, companions, end_missing
from drivers.openslide.library import Library, PictureReader, RegionReader, reason
from drivers.openslide.sakura import left_out_of
from drivers.openslide.signs import vendor_of
from drivers.openslide.spared import open_library
from drivers.pictures.whole import whole_level
from drivers.tiff.container import check_tiff
from drivers.tiles import Grid

_MAKERS = {"mirax": "3DHISTECH", "ventana": "Ventana", "hamamatsu": "Hamamatsu", "trestle": "Trestle", "sakura": "Sakura"}
_TIFFS = {"ventana", "trestle"}
_TILE, _LEAST = 512, 1024
_WHITE = (255, 255, 255)
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Canvas:
    """The part of level 0 that is shown."""

    x: int
    y: int
    width: int
    height: int


def open_with_library(path: Path, driver: str) -> Slide:
    """Open `path`. Raises Unsupported (also where the library is missing), Incomplete, UnsafePath, Damaged."""
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise Unsupported(f"{path.name}: this format needs OpenSlide: pip install 'slidemill[openslide]'") from error

    vendor = vendor_of(path, read_head(path))
    if vendor is None:
        raise Unsupported(f"{path.name}: is none of the formats that are read through OpenSlide")
    if vendor == "mirax" and path.suffix != ".mrxs":
        raise Unsupported(f"{path.name}: OpenSlide knows this format by small letters only: rename it to {path.stem}.mrxs")
    if vendor in _TIFFS:
        check_tiff(path)
    check_whole(path, vendor)
    beside, absent = companions(path, vendor)
    source = open_source(path)
    try:
        library, lost = open_library(path, vendor, beside, absent)
    except BaseException:
        source.close()
        raise

    def close() -> None:
        library.close()
        source.close()

    try:
        slide = library.slide()
        scene, warnings = _scene(library, slide, vendor)
        warnings += [*end_missing(path, vendor), *lost, *left_out_of(path, vendor, slide.associated_images)]
        properties = dict(slide.properties)
        raw = "\n".join(f"{key}={value}" for key, value in sorted(properties.items())) or None
        return Slide(path, driver, [path, *beside], [scene], _associated(library, slide, warnings), close, raw, warnings)
    except openslide.OpenSlideError as error:
        close()
        raise Damaged(f"{path.name}: {reason(error)}") from error
    except BaseException:
        close()
        raise


def _scene(library: Library, slide: Any, vendor: str) -> tuple[Scene, list[str]]:
    properties = slide.properties
    canvas = _canvas(properties, slide.level_dimensions[0], library.path.name)
    count = 1 if vendor == "hamamatsu" else slide.level_count  # theirs are decoded smaller, not stored
    levels, warnings = _levels(library, slide, count, (canvas, _background(properties)))
    if vendor == "mirax" and any("filter" in key.lower() for key in properties if key.startswith("mirax.NONHIERLAYER")):
        warnings.append("OpenSlide shows fluorescence of this format as RGB")
    warnings += _planes(properties, vendor)
    if properties.get("hamamatsu.BitsPerPixel", "").strip() == "36":
        warnings.append("OpenSlide shows the upper 8 of the 12 bits of this format")
    if vendor == "hamamatsu" and not {"openslide.mpp-x", "openslide.mpp-y"} <= set(properties):
        warnings.append("the index file states no pixel size: where its last lines are missing, copy it again")
    profile = slide.color_profile
    scene = Scene(
        name=library.path.stem,
        levels=levels,
        rgb=True,
        channels=RGB_CHANNELS,
        pixel_size=PixelSize(_number(properties, "openslide.mpp-y"), _number(properties, "openslide.mpp-x")),
        magnification=_number(properties, "openslide.objective-power"),
        position=_position(properties, canvas),
        icc=None if profile is None else profile.tobytes()[: LIMITS.icc_bytes + 1] or None,
        facts=_facts(properties, vendor),
    )
    return scene, warnings


def _planes(properties: Mapping[str, str], vendor: str) -> list[str]:
    """Words on planes of the slide that OpenSlide does not give: it knows neither focus nor time."""
    if (
        vendor == "ventana"
        and (properties.get("ventana.Z-layers") or "").isdigit()
        and int(properties["ventana.Z-layers"]) > 1
    ):
        return [f"OpenSlide shows one of {properties['ventana.Z-layers']} focal planes"]
    found: list[str] = []
    for key, name in properties.items():
        match = re.fullmatch(r"mirax\.HIERARCHICAL\.HIER_(\d+)_NAME", key)
        count = properties.get(f"mirax.HIERARCHICAL.HIER_{match[1]}_COUNT", "") if match is not None else ""
        if count.isdigit() and int(count) > 1 and not re.search("zoom|filter", name, re.IGNORECASE):
            found.append(f"OpenSlide shows one of the {count} of {name.strip()!r} of this slide")
    return found


def _levels(
    library: Library, slide: Any, count: int, shown: tuple[_Canvas, tuple[int, int, int]]
) -> tuple[list[Level], list[str]]:
    """The levels that can be used, and words about those that cannot."""
    levels: list[Level] = []
    warnings: list[str] = []
    for number in range(count):
        level = _level(library, slide, number, shown)
        if level is None:
            width, height = slide.level_dimensions[number]
            warnings.append(f"level {width}x{height} does not lie on the pixels of level 0 and is made anew")
        else:
            levels.append(level)
    return levels, warnings


def _canvas(properties: Mapping[str, str], size: tuple[int, int], name: str) -> _Canvas:
    values = [properties.get(f"openslide.bounds-{key}", "") for key in ("x", "y", "width", "height")]
    whole = _Canvas(0, 0, *size)
    check(f"{name}: the number of pixels", size[0] * size[1], LIMITS.level_pixels)
    if not all(value.isdigit() for value in values):
        return whole
    x, y, width, height = map(int, values)
    width, height = min(width, size[0] - x), min(height, size[1] - y)
    return _Canvas(x, y, width, height) if width > 0 and height > 0 else whole


def _level(library: Library, slide: Any, number: int, shown: tuple[_Canvas, tuple[int, int, int]]) -> Level | None:
    """A level cut to the canvas; None where its pixels do not lie on whole blocks of those of level 0."""
    canvas, background = shown
    width, height = slide.level_dimensions[number]
    full = slide.level_dimensions[0]
    factor = snapped((full[1], full[0]), (height, width))
    if factor is None or canvas.x % factor or canvas.y % factor:
        return None
    left, top = canvas.x // factor, canvas.y // factor
    size_y, size_x = min(-(-canvas.height // factor), height - top), min(-(-canvas.width // factor), width - left)
    if size_y < 1 or size_x < 1:
        return None
    shape = Shape(1, 3, 1, size_y, size_x)
    tile = Shape(1, 3, 1, *(_side(slide.properties, number, name) for name in ("height", "width")))
    tile = Shape(1, 3, 1, min(tile.y, size_y), min(tile.x, size_x))
    grid = Grid(shape, tile)
    return Level(
        shape=shape,
        dtype=np.dtype("u1"),
        index=grid,
        read=RegionReader(library, number, factor, (left, top), grid, background),
        tile=tile,
        fill=255,
        scale=nominal((canvas.height, canvas.width), (size_y, size_x)) if number else 1.0,
        compression=_compression(slide.properties, number),
        interleaved=True,
    )


def _side(properties: Mapping[str, str], number: int, name: str) -> int:
    """Side of the blocks to read: some stored tiles together, since each call costs."""
    text = properties.get(f"openslide.level[{number}].tile-{name}", "")
    side = int(text) if text.isdigit() and 0 < int(text) <= 8192 else _TILE
    return side * max(1, _LEAST // side)


def _compression(properties: Mapping[str, str], number: int) -> str:
    """Only MRXS states it."""
    return properties.get(f"mirax.LAYER_0_LEVEL_{number}_SECTION.IMAGE_FORMAT", "").strip().lower() or _UNKNOWN


def _background(properties: Mapping[str, str]) -> tuple[int, int, int]:
    text = properties.get("openslide.background-color", "")
    if not re.fullmatch("[0-9A-Fa-f]{6}", text):
        return _WHITE
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _number(properties: Mapping[str, str], key: str) -> float | None:
    try:
        number = float(properties.get(key, ""))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _position(properties: Mapping[str, str], canvas: _Canvas) -> Position | None:
    """Of the cut corner on the canvas; None where nothing was cut off."""
    y, x = _number(properties, "openslide.mpp-y"), _number(properties, "openslide.mpp-x")
    return None if y is None or x is None or not (canvas.x or canvas.y) else Position(canvas.y * y, canvas.x * x)


def _facts(properties: Mapping[str, str], vendor: str) -> Facts:
    return Facts(
        acquired=_date(properties.get("mirax.GENERAL.SLIDE_CREATIONDATETIME")),
        microscope_manufacturer=_MAKERS[vendor],
        microscope_model=properties.get("ventana.ScannerModel") or None,
        microscope_serial=properties.get("ventana.UnitNumber") or None,
        objective_model=properties.get("mirax.GENERAL.OBJECTIVE_NAME") or None,
        detector_model=properties.get("mirax.GENERAL.CAMERA_TYPE") or None,
    )


def _date(text: str | None) -> datetime | None:
    for pattern in ("%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text or "", pattern)  # noqa: DTZ007 - no zone is stated
        except ValueError:
            continue
    return None


def _associated(library: Library, slide: Any, warnings: list[str]) -> dict[str, Scene]:
    from openslide import lowlevel

    found: dict[str, Scene] = {}
    for name in slide.associated_images:
        width, height = lowlevel.get_associated_image_dimensions(slide._osr, name)  # not decoded
        shape, role = Shape(1, 3, 1, height, width), name.lower().replace(" ", "-")
        try:
            check("the number of its pixels", width * height, LIMITS.tile_pixels)
        except LimitExceeded as error:
            warnings.append(left_out(role, error))
            continue
        read = PictureReader(library, name, _WHITE)
        level = whole_level(shape, np.dtype("u1"), read, _UNKNOWN)
        found[role] = Scene(name=role, levels=[level], rgb=True, channels=RGB_CHANNELS)
    return found
