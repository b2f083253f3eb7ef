"""The description of Aperio's images, which others write too (ImageScope's regions, Motic, Grundium): fields in bars.

Facts: Aperio "Digital slides and third-party data interchange", and descriptions people have posted of their files.
"""

from __future__ import annotations

import math
import re
from datetime import datetime


def parse_description(description: str) -> dict[str, str]:
    """`key = value` fields between bars; the software's name in front of them under ""."""
    head, *rest = description.split("|")
    fields = {"": head.splitlines()[0].strip() if head.strip() else ""}
    for part in rest:
        key, separator, value = part.partition("=")
        if separator and value.strip():
            fields[key.strip()] = value.strip()
    return fields


def positive(value: str | None, *, signed: bool = False) -> float | None:
    """A finite number, with a decimal point or comma; positive unless `signed`. Anything else is unknown."""
    if value is None or not re.fullmatch(r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?|\d+[.,]", value):
        return None
    number = float(value.replace(",", "."))
    return number if math.isfinite(number) and (signed or number > 0) else None


def date_of(date: str | None, time: str | None) -> datetime | None:
    """Aperio writes mm/dd/yy (older) or mm/dd/yyyy, and hh:mm:ss."""
    for pattern in ("%m/%d/%y %H:%M:%S", "%m/%d/%Y %H:%M:%S"):
        try:
            return datetime.strptime(f"{date} {time}", pattern)  # noqa: DTZ007 - the zone is not stated reliably
        except ValueError:
            continue
    return None
