"""OME-XML as facts: what an Image element says of its scene (OME schema 2016-06, and the older ones it grew from)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.metadata.times import interval_of
from drivers.metadata.units import length_um, number, positive_seconds, positive_um, seconds
from drivers.metadata.xmltree import child, children
from drivers.model import Channel, Facts, PixelSize, PlaneFacts, Position

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MICROMETRE, _NANOMETRE = "µm", "nm"


@dataclass(frozen=True, slots=True)
class Pixels:
    """An Image and its Pixels element."""

    image: Element
    pixels: Element
    index: int

    @property
    def name(self) -> str | None:
        """Image@Name."""
        return (self.image.get("Name") or "").strip() or None

    @property
    def order(self) -> str:
        """The letters of DimensionOrder after XY, fastest first."""
        order = self.pixels.get("DimensionOrder", "XYZCT").upper()
        if order[:2] != "XY" or sorted(order[2:]) != ["C", "T", "Z"]:
            raise Damaged(f"OME-XML: DimensionOrder {order!r} is none")
        return order[2:]

    def size(self, axis: str) -> int:
        """SizeX, SizeY, ..."""
        value = self.pixels.get(f"Size{axis}", "")
        if not value.isdecimal() or int(value) < 1:
            raise Damaged(f"OME-XML: Size{axis} of image {self.index} is {value!r}")
        return int(value)


def pixels_of(root: Element) -> list[Pixels]:
    """Every Image that has Pixels, in file order."""
    found = [(image, child(image, "Pixels"), i) for i, image in enumerate(children(root, "Image"))]
    return [Pixels(image, pixels, i) for image, pixels, i in found if pixels is not None]


def pixel_size_of(p: Pixels) -> PixelSize:
    """PhysicalSizeY, X, Z; micrometres are the default unit of the schema."""
    sizes = (
        positive_um(p.pixels.get(f"PhysicalSize{axis}"), p.pixels.get(f"PhysicalSize{axis}Unit", _MICROMETRE))
        for axis in "YXZ"
    )
    return PixelSize(*sizes)


def time_step_of(p: Pixels) -> float | None:
    """TimeIncrement in seconds, else the mean distance of the planes' DeltaT."""
    stated = positive_seconds(p.pixels.get("TimeIncrement"), p.pixels.get("TimeIncrementUnit", "s"))
    return stated if stated is not None else interval_of(planes_of(p))


def planes_of(p: Pixels) -> tuple[PlaneFacts, ...]:
    """Every plane of the Image that states a time or a place; of a Channel of several samples the first."""
    each = max(1, p.size("C") // max(1, len(children(p.pixels, "Channel"))))
    sizes = (p.size("T"), p.size("C") // each, p.size("Z"))
    found: dict[tuple[int, ...], PlaneFacts] = {}
    for plane in children(p.pixels, "Plane"):
        index = tuple(_index(plane.get(name)) for name in ("TheT", "TheC", "TheZ"))
        if not all(0 <= i < size for i, size in zip(index, sizes, strict=True)):
            continue
        t, c, z = index
        facts = PlaneFacts(t, c * each, z, seconds(plane.get("DeltaT"), plane.get("DeltaTUnit", "s")), _place(plane))
        if facts.delta_t_s is not None or facts.position is not None:
            found.setdefault(index, facts)
    return tuple(found.values())


def _index(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() else -1


def _place(plane: Element) -> Position | None:
    """The stage's place; the default unit, "reference frame", is no length."""
    y, x, z = (length_um(plane.get(f"Position{a}"), plane.get(f"Position{a}Unit", "")) for a in "YXZ")
    return None if y is None or x is None else Position(y, x, z)


def significant_bits_of(p: Pixels, dtype_bits: int) -> int | None:
    """SignificantBits where it is less than the sample type holds."""
    value = p.pixels.get("SignificantBits", "")
    return int(value) if value.isdecimal() and 0 < int(value) < dtype_bits else None


def position_of(p: Pixels) -> Position | None:
    """Stage position of the first plane."""
    plane = child(p.pixels, "Plane")
    return None if plane is None else _place(plane)


def channels_of(p: Pixels, samples: int) -> tuple[Channel, ...]:
    """A Channel for each channel of the scene: an element with several samples describes each of them."""
    found = [channel for element in channel_elements(p) for channel in [element] * samples]
    count = p.size("C")
    return tuple(found) if len(found) == count else tuple(Channel() for _ in range(count))


def channel_elements(p: Pixels) -> list[Channel]:
    """What each Channel element says."""
    exposures: dict[str, float] = {}
    for plane in children(p.pixels, "Plane"):
        exposure = positive_seconds(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s"))
        if exposure is not None:
            exposures.setdefault(plane.get("TheC", "0"), exposure)
    elements = enumerate(children(p.pixels, "Channel"))
    return [_channel(element, exposures.get(str(i))) for i, element in elements]


def _channel(element: Element, exposure: float | None) -> Channel:
    return Channel(
        name=element.get("Name") or None,
        color=_color(element.get("Color")),
        excitation_nm=_nanometres(element, "ExcitationWavelength"),
        emission_nm=_nanometres(element, "EmissionWavelength"),
        exposure_s=exposure,
        fluor=element.get("Fluor") or None,
    )


def _nanometres(element: Element, name: str) -> float | None:
    value = positive_um(element.get(name), element.get(f"{name}Unit", _NANOMETRE))
    return None if value is None else round(value * 1000, 6)


def _color(value: str | None) -> str | None:
    """Color is red, green, blue, alpha in a signed 32-bit number."""
    parsed = number(value)
    return None if parsed is None else f"{(int(parsed) >> 8) & 0xFFFFFF:06X}"


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the Instrument and the ObjectiveSettings of an Image say."""

    microscope: Mapping[str, str]
    objective: Mapping[str, str]

    @property
    def magnification(self) -> float | None:
        """Nominal magnification, positive."""
        value = number(self.objective.get("NominalMagnification"))
        return value if value is not None and value > 0 else None


def instrument_of(root: Element, p: Pixels) -> Instrument:
    """The instrument an Image refers to; with a single instrument or objective in the file, that one."""
    reference, settings = child(p.image, "InstrumentRef"), child(p.image, "ObjectiveSettings")
    settings = child(p.image, "ObjectiveRef") if settings is None else settings  # before schema 2012-06
    instruments = children(root, "Instrument")
    wanted = [i for i in instruments if reference is not None and i.get("ID") == reference.get("ID")]
    chosen = wanted[0] if wanted else instruments[0] if len(instruments) == 1 else None
    objectives = [o for i in instruments for o in children(i, "Objective")]
    named = [o for o in objectives if settings is not None and o.get("ID") == settings.get("ID")]
    objective = named[0] if named else objectives[0] if len(objectives) == 1 else None
    microscope = child(chosen, "Microscope")
    return Instrument({} if microscope is None else microscope.attrib, {} if objective is None else objective.attrib)


def facts_of(root: Element, p: Pixels, instrument: Instrument, text: str) -> Facts:
    """Facts of an Image; `text` is the whole OME-XML."""
    date = child(p.image, "AcquisitionDate")
    date = child(p.image, "AcquiredDate") if date is None else date
    microscope, objective = instrument.microscope, instrument.objective
    return Facts(
        acquired=_date(date.text if date is not None else None),
        microscope_manufacturer=microscope.get("Manufacturer") or None,
        microscope_model=microscope.get("Model") or None,
        microscope_serial=microscope.get("SerialNumber") or None,
        objective_model=objective.get("Model") or None,
        objective_na=number(objective.get("LensNA")),
        immersion=objective.get("Immersion") or None,
        software=root.get("Creator") or None,
        ome_xml=text,
        ome_image=p.index,
    )


def _date(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat((value or "").strip())
    except ValueError:
        return None
