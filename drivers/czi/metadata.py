"""What the XML of a CZI says. Format: ZEISS, "CZI metadata" (ImageDocument schema); values checked on files of ZEN 2 to 3.6.

Lengths are metres, exposures nanoseconds, colours #AARRGGBB, and display limits fractions of the range of the pixel type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from drivers.czi.segments import Region, segment
from drivers.errors import Damaged
from drivers.limits import LIMITS, check
from drivers.metadata.units import number
from drivers.metadata.xmltree import parse_xml
from drivers.model import Channel, Facts, PixelSize

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})")


@dataclass(frozen=True, slots=True)
class SceneNote:
    """What is said of one scene."""

    name: str | None = None
    center_um: tuple[float, float] | None = None
    """(x, y) on the stage."""


@dataclass(frozen=True, slots=True)
class ChannelNote:
    """What is said of one channel."""

    channel: Channel = field(default_factory=Channel)
    display: tuple[float, float] | None = None
    """Limits of the display as fractions of the range of the pixel type."""
    bits: int | None = None
    fluorescent: bool = False


@dataclass(frozen=True, slots=True)
class Notes:
    """What the XML says of all scenes."""

    pixel_size: PixelSize = field(default_factory=PixelSize)
    magnification: float | None = None
    time_step_s: float | None = None
    channels: Sequence[ChannelNote] = ()
    scenes: Mapping[int, SceneNote] = field(default_factory=dict[int, SceneNote])
    facts: Facts = field(default_factory=Facts)


def xml_of(region: Region, offset: int) -> str | None:
    """The XML, None where there is none. Raises Damaged or LimitExceeded."""
    if not offset:
        return None
    start, length = segment(region, offset, "ZISRAWMETADATA")
    size = int.from_bytes(region.read(start, 4), "little", signed=True)
    check("the length of the metadata", size, LIMITS.metadata_bytes)
    if size < 0 or 256 + size > length:
        raise Damaged(f"the metadata claim {size} bytes in a segment of {length}")
    text = region.read(start + 256, size).rstrip(b"\0").decode("utf-8", "replace")
    return text.removeprefix("\ufeff") or None


def notes_of(xml: str | None) -> Notes:
    """Facts out of the XML; it must be well-formed and without a DOCTYPE."""
    root = None if xml is None else parse_xml(re.sub(r"^<\?xml[^>]*\?>", "", xml))
    top = None if root is None else root.find("Metadata")
    if top is None:
        return Notes()
    image, instrument = top.find("Information/Image"), top.find("Information/Instrument")
    objective = _objective(image, instrument)
    return Notes(
        PixelSize(*(_distance(top, axis) for axis in "YXZ")),
        _magnification(top, image, instrument, objective),
        _time_step(image),
        _channels(top, image),
        _scenes(image),
        Facts(
            acquired=_acquired(top, image),
            microscope_manufacturer=_text(instrument, "Microscopes/Microscope/Manufacturer/Manufacturer"),
            microscope_model=_microscope(instrument),
            objective_model=_text(objective, "Manufacturer/Model") or _attribute(objective, "Name"),
            objective_na=_positive(_text(objective, "LensNA")),
            immersion=_text(objective, "Immersion"),
            detector_model=_detector(instrument),
            software=_software(top),
        ),
    )


def _text(element: Element | None, path: str) -> str | None:
    value = None if element is None else element.findtext(path)
    return (value or "").strip() or None


def _attribute(element: Element | None, name: str) -> str | None:
    value = None if element is None else element.get(name)
    return (value or "").strip() or None


def _positive(text: str | None) -> float | None:
    value = number(text)
    return _rounded(value) if value is not None and value > 0 else None


def _rounded(value: float) -> float:
    """Without the last digits, in which products differ from what was meant: 0.1 and not 0.09999999999999999."""
    return float(f"{value:.12g}")


def _distance(top: Element, axis: str) -> float | None:
    for item in top.iterfind("Scaling/Items/Distance"):
        if item.get("Id") == axis:
            metres = _positive(_text(item, "Value"))
            return None if metres is None else _rounded(metres * 1e6)
    return None


def _time_step(image: Element | None) -> float | None:
    """The interval, or the distance of listed times where they are equally far apart, in seconds."""
    stated = _positive(_text(image, "Dimensions/T/Positions/Interval/Increment"))
    times = [number(part) for part in (_text(image, "Dimensions/T/Positions/List/Offsets") or "").split()]
    known = [time for time in times if time is not None]
    if stated is not None or len(known) < 2 or len(known) != len(times):
        return stated
    steps = [b - a for a, b in pairwise(known)]
    return _rounded(sum(steps) / len(steps)) if min(steps) > 0 and max(steps) - min(steps) <= 0.01 * max(steps) else None


def _objective(image: Element | None, instrument: Element | None) -> Element | None:
    found = [] if instrument is None else instrument.findall("Objectives/Objective")
    reference = None if image is None else image.find("ObjectiveSettings/ObjectiveRef")
    wanted = _attribute(reference, "Id")
    if wanted is None:
        return found[0] if len(found) == 1 else None
    return next((o for o in found if o.get("Id") == wanted), None)


def _magnification(
    top: Element, image: Element | None, instrument: Element | None, objective: Element | None
) -> float | None:
    """Of the scan: the objective's nominal magnification times the Optovar's (or the tube lens's, where it is stated)."""
    nominal = _positive(_text(objective, "NominalMagnification"))
    optovar = _positive(_text(top, "Scaling/AutoScaling/OptovarMagnification"))
    if optovar is None and image is not None and instrument is not None:
        wanted = _attribute(image.find("TubeLenses/TubeLensRef"), "Id")
        lenses = (lens for lens in instrument.iterfind("TubeLenses/TubeLens") if lens.get("Id") == wanted)
        optovar = _positive(_text(next(lenses, None), "Magnification"))
    return None if nominal is None else nominal * (optovar or 1.0)


def _microscope(instrument: Element | None) -> str | None:
    microscope = None if instrument is None else instrument.find("Microscopes/Microscope")
    return _attribute(microscope, "Name") or _text(microscope, "System")


def _detector(instrument: Element | None) -> str | None:
    """The camera, where there is one: of several no channel says which is its own."""
    found = [] if instrument is None else instrument.findall("Detectors/Detector")
    if len(found) != 1:
        return None
    return _text(found[0], "Manufacturer/Model") or _attribute(found[0], "Name")


def _software(top: Element) -> str | None:
    words = [_text(top, f"Information/Application/{name}") for name in ("Name", "Version")]
    return " ".join(word for word in words if word) or None


def _acquired(top: Element, image: Element | None) -> datetime | None:
    text = _text(image, "AcquisitionDateAndTime")
    if text is None and _text(image, "OriginalScanData") == "true":  # else it is the date of an export
        text = _text(top, "Information/Document/CreationDate")
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _scenes(image: Element | None) -> dict[int, SceneNote]:
    found: dict[int, SceneNote] = {}
    for scene in [] if image is None else image.iterfind("Dimensions/S/Scenes/Scene"):
        index = number(scene.get("Index"))
        numbers = [number(part) for part in (_text(scene, "CenterPosition") or "").split(",")]
        x, y = numbers if len(numbers) == 2 else (None, None)
        center = None if x is None or y is None else (x, y)
        if index is not None:
            found[int(index)] = SceneNote(_attribute(scene, "Name"), center)
    return found


def _channels(top: Element, image: Element | None) -> list[ChannelNote]:
    """Notes by channel index. The display settings go with a channel by its Id, else by its place in the list."""
    described = [] if image is None else image.findall("Dimensions/Channels/Channel")
    displayed = top.findall("DisplaySetting/Channels/Channel")
    by_id = {channel.get("Id"): channel for channel in displayed}
    known = {channel.get("Id") for channel in described}
    found: list[ChannelNote] = []
    for i, channel in enumerate(described):
        beside = displayed[i] if len(displayed) == len(described) and displayed[i].get("Id") not in known else None
        found.append(_channel(channel, by_id.get(channel.get("Id"), beside)))
    return found


def _channel(channel: Element, display: Element | None) -> ChannelNote:
    exposure, bits = _positive(_text(channel, "ExposureTime")), number(_text(channel, "ComponentBitCount"))
    words = {_text(channel, "ContrastMethod"), _text(channel, "IlluminationType")}
    return ChannelNote(
        Channel(
            name=_attribute(channel, "Name") or _attribute(display, "Name"),
            color=_color(_text(display, "Color")) or _color(_text(channel, "Color")),
            excitation_nm=_positive(_text(channel, "ExcitationWavelength")),
            emission_nm=_positive(_text(channel, "EmissionWavelength")),
            exposure_s=None if exposure is None else _rounded(exposure * 1e-9),
            fluor=_text(channel, "Fluor"),
        ),
        _limits(display),
        int(bits) if bits is not None and bits > 0 else None,
        not words.isdisjoint({"Fluorescence", "Epifluorescence"}),
    )


def _color(text: str | None) -> str | None:
    match = _COLOR.fullmatch(text or "")
    return None if match is None else match[1].upper()


def _limits(display: Element | None) -> tuple[float, float] | None:
    low, high = number(_text(display, "Low")), number(_text(display, "High"))
    if low is None and high is None:
        return None
    low, high = max(0.0, low or 0.0), 1.0 if high is None else min(high, 1.0)  # what is left out is at its end
    return (low, high) if low < high else None
