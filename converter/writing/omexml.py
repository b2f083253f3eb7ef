"""OME-XML 2016-06 for the store: written from a scene's facts, or the file's own OME-XML, patched.

Written with the standard library: the models of ome-types take longer to import than a small slide takes to convert. The
tests validate what is written here against ome-types and its schema.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.model import RGB_CHANNELS, Channel, PlaneFacts, Position, Scene

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{NAMESPACE} {NAMESPACE}/ome.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPES = {"float16": "float", "float32": "float", "float64": "double", "int64": "double", "uint64": "double"}
_IMMERSION_WORDS = ("Oil", "Water", "WaterDipping", "Air", "Multi", "Glycerol", "Other")
_IMMERSIONS = {word.lower(): word for word in _IMMERSION_WORDS} | {"dry": "Air", "glycerin": "Glycerol"}
_STORAGE = {"BinData", "TiffData"}
_PERSONAL = {
    "Experimenter",
    "ExperimenterRef",
    "ExperimenterGroup",
    "ExperimenterGroupRef",
    "StructuredAnnotations",
    "AnnotationRef",
    "Description",
    "Project",
    "Dataset",
    "DatasetRef",
    "Experiment",
    "ExperimentRef",
}
_STRICT = {"AcquisitionDate"}
_POSITIVE = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "ExcitationWavelength", "EmissionWavelength")
_SERIALS = ("SerialNumber", "LotNumber")


@dataclass(slots=True)
class Document:
    """OME-XML text, and what the privacy policy left out of it."""

    text: str
    removed: list[str] = field(default_factory=list[str])


def ome_xml(scenes: Sequence[tuple[Scene, str]], privacy: str, creator: str) -> Document:
    """OME-XML with one Image per scene (and name), in order, pixels marked MetadataOnly.

    The file's own is kept where it is of this schema. Of an older one the scenes' facts are written: renaming its namespace
    would not make it valid.
    """
    ET.register_namespace("", NAMESPACE)
    source = scenes[0][0].facts.ome_xml
    if source is not None and all(s.facts.ome_xml == source and s.facts.ome_image is not None for s, _ in scenes):
        own = _parsed(source)
        if own.tag == _name("OME"):
            return _patched(own, scenes, privacy, _creator(scenes, creator))
    root = ET.Element(_name("OME"), {"Creator": _creator(scenes, creator), f"{{{_XSI}}}schemaLocation": _SCHEMA})
    removed: set[str] = set()
    instruments = [_instrument(scene, i, privacy, removed) for i, (scene, _) in enumerate(scenes)]
    root.extend(e for e in instruments if e is not None)
    for i, (scene, name) in enumerate(scenes):
        image = _image(scene, name, i, instruments[i])
        _date(image, scene, privacy, removed)
        root.append(image)
    return Document(_text(root), sorted(removed))


def _creator(scenes: Sequence[tuple[Scene, str]], creator: str) -> str:
    """Who wrote this, and the software that wrote the slide: the schema has no other place for it."""
    known = dict.fromkeys(scene.facts.software for scene, _ in scenes if scene.facts.software is not None)
    return _clean(f"{creator}; from a file by {', '.join(known)}" if known else creator)


def _name(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def _text(root: ET.Element) -> str:
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _put(parent: ET.Element, tag: str, **attributes: Any) -> ET.Element:
    known = {key: _value(value) for key, value in attributes.items() if value is not None}
    return ET.SubElement(parent, _name(tag), known)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else _clean(str(value))


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 has no way to hold."""
    return "".join(ch for ch in text if ch in "\t\n\r" or " " <= ch < "\ud800" or "\udfff" < ch not in "\ufffe\uffff")


def _instrument(scene: Scene, i: int, privacy: str, removed: set[str]) -> ET.Element | None:
    facts, scope = scene.facts, {"Manufacturer": scene.facts.microscope_manufacturer}
    scope["Model"] = facts.microscope_model
    if facts.microscope_serial is not None:
        if privacy == "strict":
            removed.add("scanner serial number")
        else:
            scope["SerialNumber"] = facts.microscope_serial
    lens = {
        "Model": facts.objective_model,
        "NominalMagnification": scene.magnification,
        "LensNA": facts.objective_na,
        "Immersion": None if facts.immersion is None else _IMMERSIONS.get(facts.immersion.lower(), "Other"),
    }
    has_scope, has_lens = any(scope.values()), any(v is not None for v in lens.values())
    if not has_scope and not has_lens and facts.detector_model is None:
        return None
    instrument = ET.Element(_name("Instrument"), {"ID": f"Instrument:{i}"})
    if has_scope:
        _put(instrument, "Microscope", **scope)
    if facts.detector_model is not None:
        _put(instrument, "Detector", ID=f"Detector:{i}", Model=facts.detector_model)
    if has_lens:
        _put(instrument, "Objective", ID=f"Objective:{i}", **lens)
    return instrument


def _date(image: ET.Element, scene: Scene, privacy: str, removed: set[str]) -> None:
    """The acquisition date, which the schema wants first."""
    if scene.facts.acquired is None:
        return
    if privacy == "strict":
        removed.add("acquisition date")
        return
    date = ET.Element(_name("AcquisitionDate"))
    date.text = scene.facts.acquired.isoformat()
    image.insert(0, date)


def _image(scene: Scene, name: str, i: int, instrument: ET.Element | None) -> ET.Element:
    image = ET.Element(_name("Image"), {"ID": f"Image:{i}", "Name": _clean(name)})
    if instrument is not None:
        _put(image, "InstrumentRef", ID=f"Instrument:{i}")
        if instrument.find(_name("Objective")) is not None:
            _put(image, "ObjectiveSettings", ID=f"Objective:{i}")
    image.append(_pixels(scene, i))
    return image


def _pixels(scene: Scene, i: int) -> ET.Element:
    shape, size = scene.shape, scene.pixel_size
    lengths = {"X": size.x_um, "Y": size.y_um, "Z": size.z_um}
    physical = {f"PhysicalSize{a}": v for a, v in lengths.items()}
    units = {f"PhysicalSize{a}Unit": "µm" for a, v in lengths.items() if v is not None}
    if scene.time_step_s is not None:
        physical["TimeIncrement"] = scene.time_step_s
        units["TimeIncrementUnit"] = "s"
    pixels = ET.Element(_name("Pixels"))
    facts = {
        "ID": f"Pixels:{i}",
        "DimensionOrder": "XYZCT",
        "Type": pixel_type(scene.dtype),
        "SignificantBits": scene.significant_bits,
        "Interleaved": False,
        "SizeX": shape.x,
        "SizeY": shape.y,
        "SizeZ": shape.z,
        "SizeC": shape.c,
        "SizeT": shape.t,
    }
    pixels.attrib.update({k: _value(v) for k, v in {**facts, **physical, **units}.items() if v is not None})
    _channels(pixels, scene, i)
    _put(pixels, "MetadataOnly")
    _planes(pixels, scene)
    return pixels


def pixel_type(dtype: np.dtype[Any]) -> str:
    """OME's word for a sample type. OME knows no 64-bit integers: they are called double, the array has the truth."""
    return _TYPES.get(dtype.name, dtype.name)


def _channels(pixels: ET.Element, scene: Scene, i: int) -> None:
    # A colour image is three Channels too: bioformats2raw writes planes and says so (its pull request 85), Bio-Formats'
    # ZarrReader takes SizeC of the array as channels of one sample, and raw2ometiff merges three of them for --rgb.
    for c in range(scene.shape.c):
        channel = scene.channels[c] if c < len(scene.channels) else Channel()
        attributes: dict[str, Any] = {"Name": channel.name, "Color": _color(channel.color), "Fluor": channel.fluor}
        for key, value in (("Excitation", channel.excitation_nm), ("Emission", channel.emission_nm)):
            if value is not None and value > 0:
                attributes |= {f"{key}Wavelength": float(value), f"{key}WavelengthUnit": "nm"}
        _put(pixels, "Channel", ID=f"Channel:{i}:{c}", SamplesPerPixel=1, **attributes)


def _color(color: str | None) -> int | None:
    """RRGGBB as OME's signed 32-bit RGBA."""
    if color is None:
        return None
    value = int(color + "FF", 16)
    return value - (1 << 32) if value >= 1 << 31 else value


def _planes(pixels: ET.Element, scene: Scene) -> None:
    """Planes of which something is known; stage positions only of the first where all are the same."""
    exposures = [c.exposure_s for c in scene.channels[: scene.shape.c]]
    known = {(p.z, p.t, p.c): p for p in scene.planes}
    moving = len({p.position for p in scene.planes}) > 1
    for c, exposure in enumerate(exposures):
        if exposure is not None or c == 0:
            known.setdefault((0, 0, c), PlaneFacts(0, c, 0))
    for (z, t, c), plane in sorted(known.items(), key=lambda item: (item[0][1], item[0][2], item[0][0])):
        exposure = exposures[c] if c < len(exposures) and (moving or plane.delta_t_s is not None or t == z == 0) else None
        position = plane.position if moving else scene.position if (z, t, c) == (0, 0, 0) else None
        attributes = _told(exposure, plane.delta_t_s, position)
        if attributes:
            _put(pixels, "Plane", TheZ=z, TheT=t, TheC=c, **attributes)


def _told(exposure_s: float | None, delta_t_s: float | None, position: Position | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if exposure_s is not None:
        attributes |= {"ExposureTime": float(exposure_s), "ExposureTimeUnit": "s"}
    if delta_t_s is not None:
        attributes |= {"DeltaT": float(delta_t_s), "DeltaTUnit": "s"}
    places = {} if position is None else {"X": position.x_um, "Y": position.y_um, "Z": position.z_um}
    for axis, place in places.items():
        if place is not None:
            attributes |= {f"Position{axis}": float(place), f"Position{axis}Unit": "µm"}
    return attributes


def _parsed(source: str) -> ET.Element:
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(source.encode(), forbid_dtd=True)
    except Exception as error:
        raise Damaged(f"the OME-XML of the file cannot be parsed: {error}") from error


def _patched(root: ET.Element, scenes: Sequence[tuple[Scene, str]], privacy: str, creator: str) -> Document:
    """The file's own OME-XML: the converted Images only, storage elements out, personal data out by policy."""
    removed: set[str] = set()
    images = [e for e in root if _local(e) == "Image"]
    for image in images:
        root.remove(image)
    at = next((i for i, e in enumerate(root) if _local(e) in ("StructuredAnnotations", "ROI")), len(root))
    for offset, (scene, _) in enumerate(scenes):
        number = scene.facts.ome_image or 0
        if number >= len(images):
            raise Damaged(f"the OME-XML of the file has {len(images)} Images, and no number {number}")
        _set_channels(images[number], scene.shape.c)
        root.insert(at + offset, images[number])
    root.attrib.pop("UUID", None)
    root.set("Creator", creator)
    unwanted = set() if privacy == "keep" else _PERSONAL | (_STRICT if privacy == "strict" else set())
    _prune(root, unwanted, privacy == "strict", removed)
    for element in root.iter():
        if _local(element) in ("Pixels", "Channel"):
            _only_numbers(element)
        if _local(element) == "Pixels":
            _split_channels(element)
            _only_metadata(element)
    return Document(_text(root), sorted(removed))


def _set_channels(image: ET.Element, count: int) -> None:
    """The number of channels that are written, where the alpha of the one Channel is not."""
    for pixels in (e for e in image if _local(e) == "Pixels"):
        channels = [e for e in pixels if _local(e) == "Channel"]
        if len(channels) == 1 and channels[0].get("SamplesPerPixel") == pixels.get("SizeC") == str(count + 1):
            channels[0].set("SamplesPerPixel", str(count))
            pixels.set("SizeC", str(count))


def _split_channels(pixels: ET.Element) -> None:
    """A Channel of several samples as so many Channels of one, as `_channels` writes them: the arrays hold planes."""
    first: dict[str, str] = {}
    written = 0
    for number, channel in enumerate([e for e in pixels if _local(e) == "Channel"]):
        count, at = channel.get("SamplesPerPixel", "1"), list(pixels).index(channel)
        parts = _parts(channel, int(count) if count.isdecimal() else 1)
        for offset, part in enumerate(parts[1:], 1):
            pixels.insert(at + offset, part)
        first[str(number)] = str(written)
        written += len(parts)
        if len(parts) > 1:
            pixels.attrib.pop("Interleaved", None)
    for plane in (e for e in pixels if _local(e) == "Plane"):
        plane.set("TheC", first.get(plane.get("TheC", ""), plane.get("TheC", "0")))


def _parts(channel: ET.Element, count: int) -> list[ET.Element]:
    """The Channel itself, which becomes the first sample, and those of the other samples; three or four are colours."""
    if count < 2:
        return [channel]
    about = {key: value for key, value in channel.attrib.items() if key not in ("ID", "Color")}
    own, colors = channel.get("ID", "Channel"), (RGB_CHANNELS if count in (3, 4) else ())
    others = [ET.Element(channel.tag, {"ID": f"{own}:{i}", **about}) for i in range(1, count)]
    parts = [channel, *others]
    channel.attrib.pop("Color", None)
    for i, part in enumerate(parts):
        part.set("SamplesPerPixel", "1")
        if i < len(colors):
            part.set("Color", str(_color(colors[i].color)))
            part.attrib.setdefault("Name", colors[i].name or "")
    return parts


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _prune(element: ET.Element, unwanted: set[str], serials: bool, removed: set[str]) -> None:
    for child in list(element):
        if _local(child) in unwanted:
            element.remove(child)
            removed.add(_local(child))
            continue
        if serials:
            for key in _SERIALS:
                if child.attrib.pop(key, None) is not None:
                    removed.add(key)
        _prune(child, unwanted, serials, removed)


def _only_numbers(element: ET.Element) -> None:
    """Zero and the like stand for unknown in many files; the schema wants positive numbers."""
    for key in _POSITIVE:
        try:
            known = 0 < float(element.get(key, "1")) < float("inf")
        except ValueError:
            known = False
        if not known:
            element.attrib.pop(key, None)
            element.attrib.pop(f"{key}Unit", None)


def _only_metadata(pixels: ET.Element) -> None:
    storage = [e for e in pixels if _local(e) in _STORAGE | {"MetadataOnly"}]
    for element in storage:
        pixels.remove(element)
    channels = sum(_local(e) == "Channel" for e in pixels)
    prefix = pixels.tag.rpartition("}")[0] + "}" if "}" in pixels.tag else ""
    pixels.insert(channels, ET.Element(f"{prefix}MetadataOnly"))
    pixels.attrib.pop("BigEndian", None)
    pixels.attrib.setdefault("DimensionOrder", "XYZCT")  # the schema wants one; some writers leave it out
