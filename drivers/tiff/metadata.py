"""TIFF tags as facts: ICC profile, text, resolution."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from drivers.limits import LIMITS
from drivers.metadata.resolution import UM_PER_CM, UM_PER_INCH, measured_pair
from drivers.model import Facts

if TYPE_CHECKING:
    from tifffile import TiffPage

_UM_PER_UNIT = {2: UM_PER_INCH, 3: UM_PER_CM}
_GEO_TAGS = (33550, 33922, 34264, 34735)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory (GeoTIFF 1.1, OGC 19-008r4)."""


def tag(page: TiffPage, code: int) -> Any:
    """Value of a tag, None where the page has none."""
    found = page.tags.get(code)
    return None if found is None else found.value


def text(page: TiffPage, code: int) -> str | None:
    """A text tag, stripped; None where absent or empty. Text that is not UTF-8 keeps what can be read."""
    value = tag(page, code)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return (value.strip("\0 \r\n\t") or None) if isinstance(value, str) else None


def icc_of(page: TiffPage) -> tuple[bytes | None, str | None]:
    """(profile, warning): the bytes of tag 34675, dropped with a warning over the limit."""
    found = page.tags.get(34675)
    if found is None:
        return None, None
    if found.count > LIMITS.icc_bytes:  # before the value is asked for, which reads it
        return None, f"the ICC profile of {found.count} bytes is over the limit and was dropped"
    return (bytes(found.value) or None), None


def pixel_size_um(page: TiffPage) -> tuple[float | None, float | None]:
    """(y, x) micrometres from XResolution and YResolution, only where they mean something (`drivers.metadata.resolution`).

    Files without a real unit are unknown, and so is the resolution of a map (GeoTIFF), whose pixels are metres.
    """
    unit = tag(page, 296)
    if unit not in _UM_PER_UNIT or any(code in page.tags for code in _GEO_TAGS):
        return None, None
    y, x = resolution(page, 283), resolution(page, 282)
    return (None, None) if y is None or x is None else measured_pair((y, x), _UM_PER_UNIT[unit])


def position_um(page: TiffPage) -> tuple[float, float] | None:
    """(y, x) micrometres of the image's upper left corner, from XPosition and YPosition in ResolutionUnit."""
    unit, y, x = tag(page, 296), resolution(page, 287), resolution(page, 286)
    if unit not in _UM_PER_UNIT or y is None or x is None:
        return None
    return y * _UM_PER_UNIT[unit], x * _UM_PER_UNIT[unit]


def resolution(page: TiffPage, code: int) -> float | None:
    """Pixels per unit of XResolution (282) or YResolution (283), None where it is absent, zero or negative."""
    value = tag(page, code)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    per_unit = float(value[0]) / float(value[1])
    return per_unit if per_unit > 0 else None


def facts_of(page: TiffPage) -> Facts:
    """DateTime, Software, Make and Model."""
    return Facts(
        acquired=_date(text(page, 306)),
        microscope_manufacturer=text(page, 271),
        microscope_model=text(page, 272),
        software=text(page, 305),
    )


def _date(value: str | None) -> datetime | None:
    """TIFF 6.0 writes YYYY:MM:DD HH:MM:SS; other writers dashes, T, or a compact date (MetaMorph)."""
    for pattern in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d %H:%M:%S"):
        try:
            return datetime.strptime((value or "")[:19], pattern)  # noqa: DTZ007 - TIFF knows no zone
        except ValueError:
            continue
    return None
