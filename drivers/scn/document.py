"""The XML of Leica SCN files (schemas 2010/03/10 and 2010/10/01): images, their pages and places, in nanometres."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.limits import LIMITS, check
from drivers.metadata.units import number
from drivers.metadata.xmltree import child, children, local, parse_xml
from drivers.model import Channel

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@dataclass(frozen=True, slots=True)
class Dimension:
    """The page of one resolution `r`, channel `c` and focal plane `z`."""

    ifd: int
    height: int
    width: int
    r: int
    c: int
    z: int


@dataclass(frozen=True, slots=True)
class Image:
    """An `image` element. `view_*` and `offset_*` are its size and place on the slide."""

    name: str | None
    dimensions: Sequence[Dimension]
    view_y: float | None
    view_x: float | None
    offset_y: float | None
    offset_x: float | None
    spacing_z: float | None
    created: str | None
    device_model: str | None
    magnification: float | None
    aperture: float | None
    channels: Mapping[int, Channel] = field(default_factory=dict[int, Channel])
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """What the file holds. `size_*` is the slide's extent; `supplements` are (role, page)."""

    size_y: float | None
    size_x: float | None
    images: Sequence[Image]
    supplements: Sequence[tuple[str, int]]

    def covered_by(self, image: Image) -> bool:
        """Whether the image shows the whole slide, which is how OpenSlide tells the macro."""
        if self.size_x is None or self.size_y is None or image.offset_x or image.offset_y:
            return False
        return (image.view_y, image.view_x) == (self.size_y, self.size_x)


def collection_of(description: str) -> Collection:
    """Parse the description; raises Damaged where it is no sound SCN document, or has no image."""
    root = parse_xml(description)
    found = child(root, "collection")
    if local(root) != "scn" or found is None:
        raise Damaged("the XML holds no collection of images")
    images = [_image(element) for element in children(found, "image")]
    if not images:
        raise Damaged("the XML lists no image")
    supplements = [
        (kind.strip().lower(), _integer(element, "ifd", None))
        for element in children(found, "supplementalImage")
        if (kind := element.get("type", "")).strip()
    ]
    return Collection(number(found.get("sizeY")), number(found.get("sizeX")), images, supplements)


def _image(element: Element) -> Image:
    pixels, view, settings = (child(element, name) for name in ("pixels", "view", "scanSettings"))
    listed = [] if pixels is None else children(pixels, "dimension")
    check("the number of pages of an image", len(listed), LIMITS.ifds)
    device = child(element, "device")
    models = ("" if device is None else device.get("model", "")).split(";")
    view_y, view_x, offset_y, offset_x, spacing = (
        None if view is None else number(view.get(name)) for name in ("sizeY", "sizeX", "offsetY", "offsetX", "spacingZ")
    )
    channels, warnings = _channels(child(settings, "channelSettings"))
    return Image(
        name=(element.get("name") or "").strip() or None,
        dimensions=[_dimension(one) for one in listed],
        view_y=view_y,
        view_x=view_x,
        offset_y=offset_y,
        offset_x=offset_x,
        spacing_z=spacing,
        created=_text(child(element, "creationDate")),
        device_model=models[0].strip() or None,
        magnification=_positive(_text(child(child(settings, "objectiveSettings"), "objective"))),
        aperture=_positive(_text(child(child(settings, "illuminationSettings"), "numericalAperture"))),
        channels=channels,
        warnings=warnings,
    )


def _dimension(element: Element) -> Dimension:
    ifd, height, width = (_integer(element, name, None) for name in ("ifd", "sizeY", "sizeX"))
    r, c, z = (_integer(element, name, 0) for name in ("r", "c", "z"))
    return Dimension(ifd, height, width, r, c, z)


def _channels(settings: Element | None) -> tuple[dict[int, Channel], tuple[str, ...]]:
    """(channels by index, warnings). One that is described in two ways has no description: neither is known to be right."""
    found: dict[int, list[Channel]] = {}
    for order, element in enumerate([] if settings is None else children(settings, "channel")):
        color = re.fullmatch(r"#?([0-9a-fA-F]{6})", element.get("rgb", "").strip())
        name = element.get("name", "").strip() or None
        channel = Channel(name, color[1].upper() if color else None)
        found.setdefault(_integer(element, "index", order), []).append(channel)
    told = {index: set(channels) for index, channels in found.items() if len(set(channels)) > 1}
    words = [
        f"channel {index} is described twice ({' and '.join(str(one.name) for one in found[index])}): neither is used"
        for index in told
    ]
    return {index: Channel() if index in told else channels[0] for index, channels in found.items()}, tuple(words)


def _integer(element: Element, name: str, default: int | None) -> int:
    value = element.get(name)
    if value is None and default is not None:
        return default
    if value is None or not re.fullmatch(r"\s*\d{1,12}\s*", value, re.ASCII):
        raise Damaged(f"the XML says {name}={value!r} of a {local(element)}, where a number is needed"[:200])
    return int(value)


def _text(element: Element | None) -> str | None:
    return None if element is None else (element.text or "").strip() or None


def _positive(value: str | None) -> float | None:
    parsed = number(value)
    return parsed if parsed is not None and parsed > 0 else None
