"""What a written store says of its images: OME-XML read with ome-types, omero and axes with json. Unsaid is None."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ome_types
from ome_types.model import OME

from converter.convert import Conversion, convert
from converter.options import Options
from tests.support.stores import ome, own, parsed, schema, violations


@dataclass(frozen=True, slots=True)
class Seen:
    """A channel."""

    name: str | None = None
    color: str | None = None
    excitation_nm: float | None = None
    emission_nm: float | None = None
    exposure_s: float | None = None
    fluor: str | None = None


RGB = (Seen("Red", "FF0000"), Seen("Green", "00FF00"), Seen("Blue", "0000FF"))
"""The three channels of a colour image."""


@dataclass(frozen=True, slots=True)
class Told:
    """An image. Sizes are z, y, x in micrometres; positions x, y, z."""

    name: str | None = None
    size_um: tuple[Any, Any, Any] = (None, None, None)
    time_step_s: float | None = None
    magnification: float | None = None
    aperture: float | None = None
    lens: str | None = None
    immersion: str | None = None
    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    detector: str | None = None
    acquired: str | None = None
    position_um: tuple[Any, Any, Any] = (None, None, None)
    bits: int | None = None
    channels: tuple[Seen, ...] = (Seen(),)
    software: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The metadata of OME-Zarr: of level 0 the scale and unit of each axis, and of each channel what viewers show."""

    scale: dict[str, Any]
    units: dict[str, str]
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    windows: tuple[tuple[float, float], ...]


def converted(path: Path, folder: Path, **options: Any) -> Path:
    """A store out of a slide, which every validator has passed. Nothing here looks at its pixels."""
    store = folder / "converted.ome.zarr"
    receipt = convert(path, store, Conversion(Options(**{"verify": "none", "codec": "blosc-lz4-5", "workers": 2} | options)))
    assert receipt.status == "done"
    found = violations(store)
    assert not found, found
    return store


def told(store: Path) -> list[Told]:
    """The images of the OME-XML in order."""
    text = (store / "OME" / "METADATA.ome.xml").read_text("utf-8")
    schema().assertValid(parsed(text))
    document = ome_types.from_xml(text)
    return [_image(document, i) for i in range(len(document.images))]


def shown(store: Path) -> list[Shown]:
    """The groups of the scenes in order."""
    return [_shown(ome(store / scene["group"])) for scene in own(store)["scenes"] if scene["index"] is not None]


def _of(model: Any, field: str) -> Any:
    """A field that the document states; schema defaults are none."""
    if model is None or field not in model.model_fields_set:
        return None
    value = getattr(model, field)
    return getattr(value, "value", value)


def _image(document: OME, index: int) -> Told:
    image = document.images[index]
    wanted = _of(image.instrument_ref, "id")
    instrument = next((one for one in document.instruments if one.id == wanted), None)
    lens_id = _of(image.objective_settings, "id")
    lens = next((one for owner in document.instruments for one in owner.objectives if one.id == lens_id), None)
    scope = _of(instrument, "microscope")
    detectors = _of(instrument, "detectors") or [None]
    pixels, date = image.pixels, _of(image, "acquisition_date")
    first = pixels.planes[0] if pixels.planes else None
    return Told(
        name=_of(image, "name"),
        size_um=tuple(_length(pixels, f"physical_size_{axis}") for axis in "zyx"),
        time_step_s=_of(pixels, "time_increment"),
        magnification=_of(lens, "nominal_magnification"),
        aperture=_of(lens, "lens_na"),
        lens=_of(lens, "model"),
        immersion=_of(lens, "immersion"),
        maker=_of(scope, "manufacturer"),
        model=_of(scope, "model"),
        serial=_of(scope, "serial_number"),
        detector=_of(detectors[0], "model"),
        acquired=None if date is None else date.isoformat(),
        position_um=tuple(_length(first, f"position_{axis}") for axis in "xyz"),
        bits=_of(pixels, "significant_bits"),
        channels=tuple(_seen(pixels, number) for number in range(len(pixels.channels))),
        software=(_of(document, "creator") or "").partition("; from a file by ")[2] or None,
    )


def _length(model: Any, field: str) -> float | None:
    """In micrometres, which the document must say, or mean: the schema's default for sizes of pixels."""
    value, default = _of(model, field), "µm" if field.startswith("physical") else None
    assert value is None or (_of(model, f"{field}_unit") or default) == "µm"
    return value


def _seen(pixels: Any, number: int) -> Seen:
    channel = pixels.channels[number]
    color = _of(channel, "color")
    exposures = [_of(plane, "exposure_time") for plane in pixels.planes if plane.the_c == number]
    return Seen(
        name=_of(channel, "name"),
        color=None if color is None else "{:02X}{:02X}{:02X}".format(*color.as_rgb_tuple(alpha=False)),
        excitation_nm=_of(channel, "excitation_wavelength"),
        emission_nm=_of(channel, "emission_wavelength"),
        exposure_s=next((exposure for exposure in exposures if exposure is not None), None),
        fluor=_of(channel, "fluor"),
    )


def _shown(attributes: dict[str, Any]) -> Shown:
    multiscale, channels = attributes["multiscales"][0], attributes["omero"]["channels"]
    names = [axis["name"] for axis in multiscale["axes"]]
    (transformation,) = multiscale["datasets"][0]["coordinateTransformations"]
    return Shown(
        scale=dict(zip(names, transformation["scale"], strict=True)),
        units={axis["name"]: axis["unit"] for axis in multiscale["axes"] if "unit" in axis},
        labels=tuple(channel["label"] for channel in channels),
        colors=tuple(channel["color"] for channel in channels),
        windows=tuple((channel["window"]["start"], channel["window"]["end"]) for channel in channels),
    )
