"""Hours of the day in which a folder's slides may begin: `20:00-06:00`, several with commas, a time zone after a space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SPAN = re.compile(r"(\d{2}:\d{2})-(\d{2}:\d{2})")


@dataclass(frozen=True, slots=True)
class Hours:
    """Spans of a day by the wall clock; one whose end is not after its beginning goes on past midnight."""

    spans: tuple[tuple[time, time], ...]
    zone: ZoneInfo | None
    """None: that of the machine."""

    def has(self, now: datetime) -> bool:
        """Whether an aware moment lies in one of the spans; the beginning does, the end does not."""
        at = now.astimezone(self.zone).time()
        return any(begin <= at < end if begin < end else at >= begin or at < end for begin, end in self.spans)


def hours_of(text: str) -> Hours:
    """Raises ValueError."""
    spans, _, zone = text.strip().partition(" ")
    return Hours(tuple(_span(text, part) for part in spans.split(",")), _zone(text, zone) if zone else None)


def _zone(text: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:  # of a name that is a folder, a path, or nothing
        raise ValueError(f"hours {text!r}: there is no time zone {name!r}; Europe/Berlin is one") from error


def _span(text: str, part: str) -> tuple[time, time]:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise ValueError(f"hours {text!r}: write 20:00-06:00, or 20:00-06:00,12:00-13:00")
    return _clock(text, found[1]), _clock(text, found[2])


def _clock(text: str, word: str) -> time:
    try:
        return time.min if word == "24:00" else time.fromisoformat(word)
    except ValueError as error:
        raise ValueError(f"hours {text!r}: {word} is no time of the day") from error
