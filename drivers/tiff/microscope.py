"""What microscope software writes beside the tags: ImageJ, Zeiss LSM, and the kinds whose pixel size tifffile knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.metadata.resolution import COARSEST_UM, UM_PER_CM, UM_PER_INCH, measured_pair
from drivers.metadata.units import length_um, number, positive_seconds, positive_um
from drivers.model import Channel, PixelSize
from drivers.tiff.container import OpenTiff
from drivers.tiff.metadata import pixel_size_um, resolution

if TYPE_CHECKING:
    from tifffile import TiffPage

_LABELS = {"fluoview", "stk", "sis", "nih", "flimage"}
_TAG_UNITS = {2: "inch", 3: "cm"}


@dataclass(frozen=True, slots=True)
class Notes:
    """Facts for all scenes of a file."""

    kind: str | None = None
    size: PixelSize | None = None
    """None: as the resolution tags say."""
    time_step_s: float | None = None
    channels: tuple[Channel, ...] = ()

    def pixel_size(self, page: TiffPage) -> PixelSize:
        """The pixel size of a scene whose tags are the page's."""
        return PixelSize(*pixel_size_um(page)) if self.size is None else self.size

    def channels_for(self, described: tuple[Channel, ...]) -> tuple[Channel, ...]:
        """The channels as the microscope software describes them where it describes as many, else as the tags do."""
        if len(self.channels) != len(described):
            return described
        pairs = zip(self.channels, described, strict=True)
        return tuple(replace(own, inverted=own.inverted or tags.inverted) for own, tags in pairs)


def notes_of(file: OpenTiff, kind: str | None) -> Notes:
    """Facts of a file of a kind."""
    if kind == "imagej":
        return _imagej(file.tiff.imagej_metadata or {}, file.tiff.pages.first)
    if kind == "lsm":
        return _lsm(file.tiff.lsm_metadata or {})
    if kind in _LABELS:
        return Notes(kind, size=_known(file, kind))
    return Notes(kind)


def _known(file: OpenTiff, kind: str) -> PixelSize:
    """tifffile's reading of the vendor's calibration; unknown where it finds none in micrometres."""
    series = file.tiff.series(kind=kind, squeeze=False)
    found = series[0].mpp if len(series) else None
    if found is None or not (1e-4 < found[0] < 1e5 and 1e-4 < found[1] < 1e5):
        return PixelSize()
    return PixelSize(float(found[1]), float(found[0]))


def _imagej(meta: Mapping[str, Any], page: TiffPage) -> Notes:
    """Times are in `tunit`. `fps` is the speed at which ImageJ shows a stack, and no time of the specimen."""
    unit, channels = str(meta.get("unit") or ""), int(number(meta.get("channels")) or 1)
    y, x = _imagej_size(meta, page, unit)
    spacing = number(meta.get("spacing"))
    z_unit = str(meta.get("zunit") or "") or unit or _TAG_UNITS.get(page.tags.valueof(296), "")
    z = None if spacing is None else positive_um(abs(spacing), z_unit)
    if z is not None and length_um(1, z_unit) in (UM_PER_INCH, UM_PER_CM) and (y is None or z > COARSEST_UM):
        z = None  # 1, of the unit that ImageJ made of ResolutionUnit
    return Notes(
        "imagej",
        PixelSize(y, x, z),
        positive_seconds(number(meta.get("finterval")), str(meta.get("tunit", "sec"))),
        tuple(_imagej_channel(meta, i, channels) for i in range(channels)),
    )


def _imagej_size(meta: Mapping[str, Any], page: TiffPage, unit: str) -> tuple[float | None, float | None]:
    """(y, x) micrometres: ImageJ keeps pixels per `unit` (`yunit` for y) in the resolution tags.

    `inch`, `cm` and no unit are what it makes of ResolutionUnit, and mean no more than the tags do.
    """
    if not unit:
        return pixel_size_um(page)
    y, x = resolution(page, 283), resolution(page, 282)
    if y is None or x is None:
        return None, None
    y_unit = str(meta.get("yunit") or "") or unit
    lengths = length_um(1, y_unit), length_um(1, unit)
    if lengths[0] is None or lengths[1] is None:
        return None, None
    if unit == y_unit and lengths[1] in (UM_PER_INCH, UM_PER_CM):
        return measured_pair((y, x), lengths[1])
    return lengths[0] / y, lengths[1] / x


def _imagej_name(meta: Mapping[str, Any], index: int, count: int) -> str | None:
    """The label that all planes of one of several channels share; channels vary fastest. Labels of slices name no channel."""
    labels = meta.get("Labels")
    if count < 2 or not isinstance(labels, Sequence) or isinstance(labels, str) or not labels or len(labels) % count:
        return None
    own = {str(label).strip() for label in labels[index::count]}
    return (own.pop() or None) if len(own) == 1 else None


def _imagej_channel(meta: Mapping[str, Any], index: int, count: int) -> Channel:
    tables, ranges = meta.get("LUTs"), meta.get("Ranges")
    color, inverted = _lut_color(tables[index]) if isinstance(tables, Sequence) and len(tables) == count else (None, False)
    limits: list[float | None] = [None, None]
    if isinstance(ranges, Sequence) and len(ranges) == 2 * count:
        limits = [number(v) for v in ranges[2 * index : 2 * index + 2]]
    elif count == 1:
        limits = [number(meta.get("min")), number(meta.get("max"))]
    low, high = limits
    window = (low, high) if low is not None and high is not None and low < high else None
    return Channel(_imagej_name(meta, index, count), color, window=window, inverted=inverted)


def _lut_color(table: Any) -> tuple[str | None, bool]:
    """(the brightest end of a look-up table, whether that is its first entry); black is no colour."""
    entries = np.asarray(table)
    if entries.ndim != 2 or entries.shape[0] != 3:
        return None, False
    inverted = not entries[:, -1].any() and bool(entries[:, 0].any())
    brightest = entries[:, 0 if inverted else -1]
    return "".join(f"{int(v) & 255:02X}" for v in brightest) if brightest.any() else None, inverted


def _lsm(meta: Mapping[str, Any]) -> Notes:
    """Voxel sizes are metres, times seconds (CZ_LSMINFO, LSM 510 file format)."""
    sizes = [positive_um(meta.get(f"VoxelSize{axis}"), "m") for axis in "YXZ"]
    colors = meta.get("ChannelColors") or {}
    names: Sequence[Any] = colors.get("ColorNames") or []
    values: Sequence[Any] = colors.get("Colors") or []
    channels = tuple(
        Channel(name=str(name) or None, color="".join(f"{int(v) & 255:02X}" for v in value[:3]))
        for name, value in zip(names, values, strict=False)
    )
    return Notes("lsm", PixelSize(*sizes), positive_seconds(meta.get("TimeIntervall"), "s"), channels)
