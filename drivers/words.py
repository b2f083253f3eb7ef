"""Short words for what is shown of a slide."""

from __future__ import annotations

_MOST = 60


def counted(number: int, noun: str) -> str:
    """ "1 level", "3 levels"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str) -> str:
    """In quotes, on one line, its middle left out where it is long."""
    half = _MOST // 2
    return repr(text if len(text) <= _MOST else f"{text[:half]}...{text[-half:]}")
