"""Aperio AFI: an XML list of SVS files, one per fluorescence channel, shown as one scene with their channels.

Layout: ImageList / Image / Path, as Bio-Formats' AFIReader and slideio know it; only made lists were met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from drivers.aperio import slide as aperio
from drivers.errors import Damaged, DriverError
from drivers.limits import LIMITS, check
from drivers.members.files import companion, read_list
from drivers.members.joined import joined
from drivers.metadata.aperio import parse_description
from drivers.metadata.units import number
from drivers.metadata.xmltree import child, children, local, parse_xml
from drivers.model import Channel, Scene, Slide


def open_slide(path: Path) -> Slide:
    """Open the set: one scene with a channel per file where their sizes agree, else a scene per file."""
    text = read_list(path)
    try:
        listed = image_names(text)
    except DriverError as error:
        raise type(error)(f"{path.name}: {error}") from error
    files = [companion(path, name) for name in listed]
    names = channel_names([file.stem for file in files])
    labels = dict(zip(files, names, strict=True))
    return joined(path, "afi", files, lambda file: _named(aperio.open_slide(file), labels[file]), text)


def image_names(text: str) -> list[str]:
    """The Path of every Image. Raises Damaged where the XML is none of this kind, or lists no file."""
    root = parse_xml(text)
    if local(root) != "ImageList":
        raise Damaged("the XML is no list of images")
    paths = [child(image, "Path") for image in children(root, "Image")]
    check("the number of images", len(paths), LIMITS.channels)
    names = [(one.text or "").strip() for one in paths if one is not None]
    if not names or len(names) != len(paths) or not all(names):
        raise Damaged(f"lists {len(paths)} images, {len([n for n in names if n])} of them with a path")
    return names


def channel_names(stems: list[str]) -> list[str | None]:
    """What tells the files apart: "slide_DAPI" and "slide_FITC" are DAPI and FITC. The XML names no channels."""
    if len(stems) < 2:
        return [None] * len(stems)
    parts = [stem.replace("-", "_").split("_") for stem in stems]
    common = 0
    while all(len(part) > common + 1 for part in parts) and len({part[common] for part in parts}) == 1:
        common += 1
    return [stem[len("_".join(part[:common])) + bool(common) :] for stem, part in zip(stems, parts, strict=True)]


def _named(slide: Slide, name: str | None) -> Slide:
    """The channel of a grey file, named by its dye where the scanner says (keys as Bio-Formats' SVSReader knows them)."""
    fields = parse_description(slide.raw_metadata or "")
    channel = Channel(
        name=fields.get("Dye") or name,
        excitation_nm=_positive(fields.get("Excitation Wavelength")),
        emission_nm=_positive(fields.get("Emission Wavelength")),
        exposure_s=_exposure_s(fields),
    )
    return replace(slide, scenes=[_described(scene, channel) for scene in slide.scenes])


def _positive(value: str | None) -> float | None:
    parsed = number(value)
    return parsed if parsed is not None and parsed > 0 else None


def _exposure_s(fields: Mapping[str, str]) -> float | None:
    """Exposure Time in units of Exposure Scale seconds: the line cameras of brightfield scanners state 109 of 0.000001."""
    time, scale = _positive(fields.get("Exposure Time")), _positive(fields.get("Exposure Scale"))
    return None if time is None or scale is None else float(f"{time * scale:.12g}")


def _described(scene: Scene, channel: Channel) -> Scene:
    return scene if len(scene.channels) != 1 else replace(scene, channels=[channel])
