"""What the data set says of channels, objective, scanner and date (PS3.3 C.8.12.5, C.7.5.1). Nothing of the patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np

from drivers.dicom.dataset import DataSet
from drivers.dicom.optics import path_key
from drivers.dicom.parts import Part
from drivers.dicom.tiling import Places
from drivers.limits import LIMITS
from drivers.model import ALPHA, RGB_CHANNELS, Channel, Facts

_PATHS, _PATH_ID, _DESCRIPTION, _ICC = 0x00480105, 0x00480106, 0x00480107, 0x00282000
_PALETTE = 0x00480120
_UNKNOWN = {"", "?", "unknown", "none", "n/a"}


def channels_of(places: Places) -> tuple[Channel, ...]:
    """A channel for each optical path, or three of a colour image."""
    parts, paths = places.parts, places.paths
    samples = parts[0].facts.samples
    if samples >= 3 and len(paths) == 1:
        return (*RGB_CHANNELS, ALPHA)[:samples]
    described = {path_key(path, places.described): path for part in parts for path in part.data.items(_PATHS)}
    found: list[Channel] = []
    for name in paths:
        path = described.get(name)
        channel = Channel() if path is None else _channel(path, len(paths) > 1)
        found += [replace(channel, inverted=parts[0].facts.shown_inverted)] * samples
    return tuple(found)


def _channel(path: DataSet, several: bool) -> Channel:
    identifier = path.text(_PATH_ID) if several else None
    return Channel(
        name=known(path.text(_DESCRIPTION)) or identifier,
        color=_color(path.item(_PALETTE)),
        excitation_nm=path.positive(0x00220055, "f") or path.positive(0x00220001, "H"),
        emission_nm=path.positive(0x00220003, "H"),
    )


def _color(palette: DataSet) -> str | None:
    """The last entry of the palette: what the brightest value is shown as."""
    values: list[int] = []
    for i in range(3):
        raw = palette.raw(0x00281201 + i) or palette.raw(0x00281221 + i)
        descriptor = palette.numbers(0x00281101 + i, "H")
        if raw is None or len(raw) < 2 or len(descriptor) != 3:
            return None
        if 0x00281201 + i in palette and descriptor[2] == 8 and len(raw) < 2 * (int(descriptor[0]) or 65536):
            values.append(raw[(int(descriptor[0]) or 65536) - 1] if len(raw) >= int(descriptor[0]) else raw[-1])
            continue
        last = int(np.frombuffer(raw[: len(raw) // 2 * 2], "<u2")[-1])  # segments end with the value they reach
        values.append(last >> 8 if descriptor[2] == 16 else last & 0xFF)
    return "{:02X}{:02X}{:02X}".format(*values)


def icc_of(part: Part) -> tuple[bytes | None, str | None]:
    """(profile, warning) of a colour image; the profiles of single channels belong to their false colours."""
    if not part.facts.rgb:
        return None, None
    for place in (part.data.item(_PATHS), part.data):
        element = place.found.get(_ICC)
        if element is not None and 0 < element.length < 1 << 31:
            if element.length > LIMITS.icc_bytes:
                return None, f"the ICC profile of {element.length} bytes is over the limit and was dropped"
            return place.raw(_ICC), None
    return None, None


def magnification_of(data: DataSet) -> float | None:
    """Power of the objective lens."""
    return data.item(_PATHS).positive(0x00480112)


def facts_of(data: DataSet) -> Facts:
    """Scanner, objective and date."""
    software = [word for word in data.texts(0x00181020) if known(word)]
    return Facts(
        acquired=acquired_of(data),
        microscope_manufacturer=known(data.text(0x00080070)),
        microscope_model=known(data.text(0x00081090)),
        microscope_serial=known(data.text(0x00181000)),
        objective_na=data.item(_PATHS).positive(0x00480113),
        software=", ".join(software) or None,
    )


def known(text: str | None) -> str | None:
    """None for the words that stand for nothing."""
    return None if text is None or text.strip().lower() in _UNKNOWN else text


def acquired_of(data: DataSet) -> datetime | None:
    """When the slide was scanned. ContentDate counts for original images only: of others it is that of their making."""
    date_time = data.text(0x0008002A)
    if date_time is None and (date := data.text(0x00080022)) is not None:
        date_time = date + (data.text(0x00080032) or "")
    if date_time is None and data.text(0x00080008) == "ORIGINAL" and (date := data.text(0x00080023)) is not None:
        date_time = date + (data.text(0x00080033) or "")
    return None if date_time is None else parsed_date(date_time)


def parsed_date(text: str) -> datetime | None:
    """YYYYMMDDHHMMSS.FFFFFF&ZZXX (PS3.5 6.2, DT); None for less than a day."""
    moment, sign, zone = text.strip(), "", ""
    for mark in "+-":
        head, found, tail = text.strip().partition(mark)
        if found:
            moment, sign, zone = head, mark, tail
    digits, _, fraction = moment.partition(".")
    try:
        parsed = datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - the zone follows, if stated
        parsed = parsed.replace(microsecond=int(fraction[:6].ljust(6, "0")) if fraction else 0)
        if len(zone) == 4:
            offset = timedelta(hours=int(zone[:2]), minutes=int(zone[2:]))
            parsed = parsed.replace(tzinfo=timezone(offset if sign == "+" else -offset))
        return parsed
    except ValueError:
        return None
