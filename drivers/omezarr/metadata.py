"""What a store says of its images beside the levels: omero, and the OME-XML of the bioformats2raw layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from drivers.errors import DriverError
from drivers.limits import LIMITS
from drivers.metadata.omexml import (
    Pixels,
    channels_of,
    facts_of,
    instrument_of,
    pixels_of,
    position_of,
    significant_bits_of,
)
from drivers.metadata.xmltree import child, parse_xml
from drivers.model import RGB_CHANNELS, Channel, Facts, Position
from drivers.zarrstore.files import Files
from drivers.zarrstore.node import OME_XML, Group, Json

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PRIMARIES = ["FF0000", "00FF00", "0000FF"]
_RGB_LABELS = (["red", "green", "blue"], ["r", "g", "b"])


@dataclass(frozen=True, slots=True)
class Document:
    """The OME-XML of a store."""

    text: str
    root: Element
    images: tuple[Pixels, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of an image."""

    rgb: bool
    channels: tuple[Channel, ...]
    name: str | None = None
    magnification: float | None = None
    position: Position | None = None
    significant_bits: int | None = None
    facts: Facts = field(default_factory=Facts)


def document_of(files: Files, warnings: list[str]) -> Document | None:
    """The OME-XML beside the images, None where there is none or it cannot be read (with a warning)."""
    try:
        data = files.whole(OME_XML, LIMITS.metadata_bytes)
        if data is None:
            return None
        text = data.decode("utf-8", "replace")
        parsed = parse_xml(text)
        return Document(text, parsed, tuple(pixels_of(parsed)))
    except DriverError as error:
        warnings.append(f"its OME-XML is left out: {error}")
        return None


def describe(group: Group, count: int, bits: int, place: tuple[Document | None, int | None]) -> Description:
    """Channels and facts of an image with `count` channels; `place` has its OME-XML and its index therein."""
    document, index = place
    own = _omero_channels(group.ome.get("omero"), count)
    pixels = document.images[index] if document is not None and index is not None and index < len(document.images) else None
    if document is None or pixels is None:
        rgb = count == 3 and bits <= 16 and _looks_rgb(own)
        return Description(rgb, RGB_CHANNELS if rgb else own)
    samples = _samples(pixels)
    rgb = count == 3 and (samples == 3 or _looks_rgb(own))
    instrument = instrument_of(document.root, pixels)
    facts = facts_of(document.root, pixels, instrument, document.text)
    try:
        stated = channels_of(pixels, samples)
    except DriverError:
        stated = ()
    channels = tuple(map(_merged, own, stated)) if len(stated) == count else own
    return Description(
        rgb=rgb,
        channels=RGB_CHANNELS if rgb else channels,
        name=pixels.name,
        magnification=instrument.magnification,
        position=position_of(pixels),
        significant_bits=significant_bits_of(pixels, bits),
        facts=replace(facts, objective_na=facts.objective_na or None),
    )


def _samples(pixels: Pixels) -> int:
    channel = child(pixels.pixels, "Channel")
    value = channel.get("SamplesPerPixel", "1") if channel is not None else "1"
    return int(value) if value.isdecimal() and 0 < int(value) <= LIMITS.channels else 1


def _merged(own: Channel, stated: Channel) -> Channel:
    """omero for what is shown, OME-XML for what was measured."""
    return replace(
        stated,
        name=own.name or stated.name,
        color=own.color or stated.color,
        window=own.window or stated.window,
        inverted=own.inverted,
    )


def _omero_channels(omero: object, count: int) -> tuple[Channel, ...]:
    listed: Any = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        return tuple(Channel() for _ in range(count))
    return tuple(_channel(entry) if isinstance(entry, dict) else Channel() for entry in listed)


def _channel(entry: Mapping[str, Any]) -> Channel:
    color = str(entry.get("color") or "").removeprefix("#")
    sound = len(color) == 6 and all(c in "0123456789abcdefABCDEF" for c in color)
    return Channel(
        name=str(entry.get("label") or "").strip() or None,
        color=color.upper() if sound else None,
        window=_window(entry),
        inverted=entry.get("inverted") is True,
    )


def _window(entry: Json) -> tuple[float, float] | None:
    window = entry.get("window")
    low, high = (window.get("start"), window.get("end")) if isinstance(window, dict) else (None, None)
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return (float(low), float(high)) if numbers and low is not None and high is not None and low < high else None


def _looks_rgb(channels: tuple[Channel, ...]) -> bool:
    """Three channels named and coloured red, green and blue."""
    names = [(channel.name or "").lower() for channel in channels]
    return [channel.color for channel in channels] == _PRIMARIES and names in _RGB_LABELS
