"""Leica LIF, LOF and XLEF (with XLCF and XLIF): every image a scene, every tile of an unmerged tile scan too.

The pixels lie in the file without compression, so reads go to the samples that are asked for. How dimensions such as
wavelengths or an XZ section are mapped is said in drivers/lif/image.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from drivers.errors import Damaged, DriverError, Unsupported
from drivers.files import closed_on_error
from drivers.lif.container import Container, Stored, load
from drivers.lif.image import layouts_of, level_of
from drivers.lif.metadata import (
    channels_of,
    facts_of,
    magnification_of,
    pixel_size_of,
    position_of,
    time_step_of,
)
from drivers.lif.shared import shared
from drivers.lif.times import measured_step_of, planes_of
from drivers.model import RGB_CHANNELS, Scene, Slide

_HEADER = "LMSDataContainer"
_TEXTS = (_HEADER, "LMS_Object_File")


def open_slide(path: Path) -> Slide:
    """Open a file and those it refers to, which must lie in its folder."""
    container = Container(path.parent)
    with closed_on_error(path, container.close):
        load(container, path)
        return _slide(path, container)


def _slide(path: Path, container: Container) -> Slide:
    scenes: list[Scene] = []
    warnings = [*container.warnings, *shared(container.images)]
    for stored in container.images:
        try:
            scenes += _scenes(stored)
        except Unsupported as error:  # one image out of many
            warnings.append(f"image {stored.name!r} is left out: {error}")
        except DriverError as error:
            raise type(error)(f"image {stored.name!r}: {error}") from error
    if not scenes:
        raise Damaged("holds no image that can be read" + "".join(f"; {warning}" for warning in warnings[:1]))
    return Slide(
        path=path,
        driver="lif",
        files=list(container.sources),
        scenes=_named(scenes),
        associated={},
        close=container.close,
        raw_metadata=container.xml,
        warnings=warnings,
    )


def _scenes(stored: Stored) -> Iterator[Scene]:
    image = stored.element.find("Data/Image")
    assert image is not None
    found = layouts_of(image, stored.memory)
    times = planes_of(image, [layout for _, layout in found])
    for (tile, layout), planes in zip(found, times, strict=True):
        bits = max(part.bits for part in layout.parts)
        yield Scene(
            name=stored.name if tile is None else f"{stored.name}, tile {tile}",
            levels=[level_of(stored.memory, layout)],
            rgb=layout.rgb,
            channels=RGB_CHANNELS if layout.rgb else channels_of(image, layout.parts),
            pixel_size=pixel_size_of(layout),
            magnification=magnification_of(image),
            position=position_of(image, tile),
            time_step_s=time_step_of(layout) or measured_step_of(image, layout, planes),
            significant_bits=bits if layout.dtype.kind == "u" and bits < layout.dtype.itemsize * 8 else None,
            facts=facts_of(image),
            planes=planes,
        )


def _named(scenes: list[Scene]) -> list[Scene]:
    """A number behind names that occur twice."""
    names = [scene.name for scene in scenes]
    seen: dict[str, int] = {}
    found: list[Scene] = []
    for scene in scenes:
        seen[scene.name] = seen.get(scene.name, 0) + 1
        found.append(scene if names.count(scene.name) == 1 else replace(scene, name=f"{scene.name} ({seen[scene.name]})"))
    return found
