"""What the XML of a Leica image says. Lengths are metres, times seconds, dates FILETIME (100 ns since 1601, UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from drivers.lif.image import Dimension, Layout, Part
from drivers.lif.times import stamps_of
from drivers.metadata.units import number, positive_seconds, positive_um
from drivers.model import Channel, Facts, PixelSize, Position

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_COLORS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
    "gray": "FFFFFF",
    "grey": "FFFFFF",
    "white": "FFFFFF",
}
_IMMERSION = {"dry": "Air", "air": "Air", "oil": "Oil", "water": "Water", "glyc": "Glycerol", "imm": None}


def _step(dimension: Dimension | None) -> float | None:
    """Distance of neighbours: the length reaches from the first element to the last."""
    if dimension is None or dimension.length is None or dimension.count < 2:
        return None
    return float(f"{abs(dimension.length) / (dimension.count - 1):.12g}")


def pixel_size_of(layout: Layout) -> PixelSize:
    """In micrometres, where a dimension is a length."""
    found = [
        None if a.source is None else positive_um(_step(a.source), a.source.unit) for a in (layout.y, layout.x, layout.z)
    ]
    return PixelSize(*(None if size is None else float(f"{size:.12g}") for size in found))


def time_step_of(layout: Layout) -> float | None:
    """In seconds."""
    return None if layout.t.source is None else positive_seconds(_step(layout.t.source), layout.t.source.unit)


def channels_of(image: Element, parts: Sequence[Part]) -> tuple[Channel, ...]:
    """Dye names that are written at the channel itself (those of detectors cannot be told apart), colours, windows."""
    scaling = image.findall("Attachment[@Name='ViewerScaling']/ChannelScalingInfo")
    return tuple(_channel(part, scaling[i] if len(scaling) == len(parts) else None) for i, part in enumerate(parts))


def _channel(part: Part, scaling: Element | None) -> Channel:
    dye = part.element.findtext("ChannelProperty[Key='DyeName']/Value")
    name = (dye or "").strip().removeprefix("Leica/") or None
    lut = (part.element.get("LUTName") or "").strip().lower()
    return Channel(name=name, color=_COLORS.get(lut), fluor=name, window=_window(part, scaling))


def _window(part: Part, scaling: Element | None) -> tuple[float, float] | None:
    if scaling is None or part.dtype.kind != "u":
        return None
    low, high, top = number(scaling.get("BlackValue")), number(scaling.get("WhiteValue")), float((1 << part.bits) - 1)
    if low is None or high is None or not 0 <= low < high <= 1:
        return None
    return round(low * top, 3), round(high * top, 3)


def setting_of(image: Element) -> Element | None:
    """The settings of the scanner or the camera."""
    hardware = image.find("Attachment[@Name='HardwareSetting']")
    if hardware is None:
        return None
    found = [hardware.find(f".//{name}") for name in ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")]
    return next((setting for setting in found if setting is not None), None)


def magnification_of(image: Element) -> float | None:
    """Of the objective."""
    setting = setting_of(image)
    value = None if setting is None else number(setting.get("Magnification"))
    return value if value is not None and value > 0 else None


def facts_of(image: Element) -> Facts:
    """Microscope, objective, software, date."""
    hardware, setting = image.find("Attachment[@Name='HardwareSetting']"), setting_of(image)
    aperture = None if setting is None else number(setting.get("NumericalAperture"))
    immersion = (_attribute(setting, "Immersion") or "").lower()
    return Facts(
        acquired=_acquired(image),
        microscope_model=_attribute(hardware, "SystemTypeName"),
        objective_model=_attribute(setting, "ObjectiveName"),
        objective_na=aperture if aperture is not None and aperture > 0 else None,
        immersion=_IMMERSION.get(immersion, immersion.capitalize() or None),
        software=_attribute(hardware, "Software"),
    )


def _attribute(element: Element | None, name: str) -> str | None:
    value = None if element is None else element.get(name)
    return " ".join((value or "").split()) or None


def _acquired(image: Element) -> datetime | None:
    """The first time stamp."""
    stamps = stamps_of(image)
    try:
        return (
            datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamps[0] // 10) if stamps and stamps[0] > 0 else None
        )
    except OverflowError:
        return None


def position_of(image: Element, tile: int | None) -> Position | None:
    """Of a tile of a tile scan, as its list of tiles says."""
    tiles = image.findall("Attachment[@Name='TileScanInfo']/Tile")
    if tile is None or tile >= len(tiles):
        return None
    y, x, z = (number(tiles[tile].get(name)) for name in ("PosY", "PosX", "PosZ"))
    return None if y is None or x is None else Position(_um(y), _um(x), None if z is None else _um(z))


def _um(metres: float) -> float:
    return float(f"{metres * 1e6:.12g}")
