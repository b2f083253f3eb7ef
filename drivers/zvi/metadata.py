"""What the tags of a ZVI say. Numbers: "ZVI Format Specification" as Bio-Formats, libzvi and openreadout use them.

Titles, comments, file names and user fields are left alone: they may name people. Dates are local times without a zone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from drivers.model import Channel, Facts, PixelSize, Position
from drivers.zvi.compound import Compound
from drivers.zvi.item import Item
from drivers.zvi.values import EPOCH, NoValue, Value, integer_of, number_of, read_value, text_of

Tags = Mapping[int, Value]

_UM = {72: 1e6, 76: 1.0, 77: 1e-3, 81: 25400.0}
"""Unit codes on which libzvi and slideio agree; 0 says that the image was not calibrated, others are not known."""
_SCALE = ((772, 773), (769, 770), (775, 776))
"""(factor, unit) of y, x, z."""
_IMMERSION = {1: "Air", 2: "Oil", 3: "Water"}
_NAME, _COLOR, _EXPOSURE_MS, _EXCITATION, _EMISSION = 1284, 1282, 2564, 0x1000110, 0x1000111
_ACQUIRED, _RELATIVE_DAYS = 1025, 300
_OBJECTIVE, _MAGNIFICATION, _APERTURE, _IMMERSED, _MICROSCOPE, _CAMERA = 2049, 2076, 2077, 2105, 2075, 1042
_STAGE = (2074, 2073)
_POWER = re.compile(r"(?<![\d.,])(\d+(?:[.,]\d+)?)\s*[xX]\s*(?:/\s*(\d+(?:[.,]\d+)?))?")
"""Magnification and aperture in the name of an objective: "Plan-Neofluar 40x/1.30 Oil"."""


def pixel_size_of(compound: Compound, tags: Tags) -> PixelSize:
    """In micrometres; out of the tags of the image, else out of its Scaling object. None where no unit is stated."""
    sizes = [_um(number_of(tags, factor), integer_of(tags, unit)) for factor, unit in _SCALE]
    if sizes == [None, None, None]:
        x, y, z = _scaling(compound)
        sizes = [y, x, z]
    return PixelSize(*sizes)


def _um(factor: float | None, unit: int | None) -> float | None:
    scale = _UM.get(unit or 0)
    return None if factor is None or scale is None or factor <= 0 else float(f"{factor * scale:.12g}")


def _scaling(compound: Compound) -> list[float | None]:
    """Of x, y, z: version, name, kind, then five values an axis, of which the first are factor and unit (libzvi)."""
    stream = compound.stream("Image/Scaling/Contents")
    data = b"" if stream is None else stream.read(0, min(stream.size, 4096))
    values: list[Value] = []
    at = 0
    try:
        while len(values) < 18:
            value, at = read_value(data, at)
            values.append(value)
    except NoValue:
        return [None, None, None]
    pairs = [dict(enumerate(values[i : i + 2])) for i in (3, 8, 13)]
    return [_um(number_of(pair, 0), integer_of(pair, 1)) for pair in pairs]


def said_of(item: Item, image: Tags) -> Tags:
    """The tags of an item, and those of the image that it leaves out or empty."""
    return {**image, **{number: value for number, value in item.tags.items() if value is not None}}


def channels_of(items: Sequence[Item], image: Tags) -> list[Channel]:
    """One channel for each of the items; what a single channel's item does not say may be said of the image."""
    fallback: Tags = image if len(items) == 1 else {}
    return [_channel(said_of(item, fallback)) for item in items]


def _channel(tags: Tags) -> Channel:
    exposure = _positive(tags, _EXPOSURE_MS)
    return Channel(
        name=text_of(tags, _NAME),
        color=_color(integer_of(tags, _COLOR)),
        excitation_nm=_positive(tags, _EXCITATION),
        emission_nm=_positive(tags, _EMISSION),
        exposure_s=None if exposure is None else float(f"{exposure / 1000:.12g}"),
    )


def _color(value: int | None) -> str | None:
    """0x00BBGGRR; black, in which nothing would be seen, is what files without a choice hold."""
    if value is None or not 0 < value <= 0xFFFFFF:
        return None
    return f"{value & 255:02X}{value >> 8 & 255:02X}{value >> 16:02X}"


def _positive(tags: Tags, number: int) -> float | None:
    value = number_of(tags, number)
    return value if value is not None and value > 0 else None


def magnification_of(tags: Tags) -> float | None:
    """Of the objective, by its tag or its name."""
    return _positive(tags, _MAGNIFICATION) or _named(tags)[0]


def _named(tags: Tags) -> tuple[float | None, float | None]:
    match = _POWER.search(text_of(tags, _OBJECTIVE) or "")
    parts = (None, None) if match is None else match.groups()
    power, aperture = (None if part is None else float(part.replace(",", ".")) or None for part in parts)
    return power, aperture


def facts_of(tags: Tags) -> Facts:
    """Microscope, objective, and when the first plane was taken, whose tags these are."""
    acquired = tags.get(_ACQUIRED)
    return Facts(
        acquired=acquired if isinstance(acquired, datetime) else None,
        microscope_model=text_of(tags, _MICROSCOPE),
        objective_model=text_of(tags, _OBJECTIVE),
        objective_na=_positive(tags, _APERTURE) or _named(tags)[1],
        detector_model=text_of(tags, _CAMERA),
        immersion=_IMMERSION.get(integer_of(tags, _IMMERSED) or 0),
    )


def position_of(tiles: Sequence[Item], pixel: PixelSize) -> Position | None:
    """Of the upper left corner: the stage tags give the middle of a tile (openreadout).

    Without a motorised stage they give the middle of the image, as if its corner were at 0: no position is known then.
    """
    if pixel.y_um is None or pixel.x_um is None:
        return None
    corners = [_corner(item, pixel.y_um, pixel.x_um) for item in tiles]
    known = [corner for corner in corners if corner is not None]
    if not known or len(known) < len(corners):
        return None
    y, x = (float(f"{min(corner[axis] for corner in known):.9g}") for axis in (0, 1))
    at_origin = abs(y) < pixel.y_um and abs(x) < pixel.x_um
    unset = all(number_of(item.tags, tag) == 0 for item in tiles for tag in _STAGE)
    return None if at_origin or unset else Position(y, x)


def _corner(item: Item, y_um: float, x_um: float) -> tuple[float, float] | None:
    y, x = (number_of(item.tags, tag) for tag in _STAGE)
    return None if y is None or x is None else (y - item.height * y_um / 2, x - item.width * x_um / 2)


def time_step_of(frames: Sequence[Item]) -> float | None:
    """Mean distance in seconds of frames that follow each other: by their times since the first, else by their dates."""
    if len(frames) < 2:
        return None
    ends = (frames[0], frames[-1])
    days = [_days(item.tags.get(_RELATIVE_DAYS)) for item in ends]
    if days[0] is None or days[1] is None or days[1] <= days[0]:
        days = [_days(item.tags.get(_ACQUIRED)) for item in ends]
    if days[0] is None or days[1] is None or days[1] <= days[0]:
        return None
    return float(f"{(days[1] - days[0]) * 86400 / (len(frames) - 1):.9g}")


def _days(value: Value) -> float | None:
    if isinstance(value, datetime):
        return (value - EPOCH).total_seconds() / 86400
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def raw_of(image: Tags, items: Sequence[Item]) -> str:
    """All tags of the image and of its first item, by number, as JSON."""
    parts = {"Image": image, f"Item({items[0].number})": items[0].tags}
    return json.dumps({name: {str(k): _plain(v) for k, v in tags.items()} for name, tags in parts.items()}, indent=1)


def _plain(value: Value) -> int | float | bool | str | None:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value) if isinstance(value, float) and not abs(value) < 1e300 else value
