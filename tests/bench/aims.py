"""The bounds that slidemill sets itself, held against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.table import Line


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound, and what was measured; None: it was not."""

    what: str
    bound: str
    measured: float | None
    held: bool

    def __str__(self) -> str:
        if self.measured is None:
            return f"- not measured: {self.what} ({self.bound})"
        return f"- {'held' if self.held else 'MISSED'}: {self.what} {self.measured:.2f} ({self.bound})"


def aims(lines: Mapping[str, Line]) -> list[Aim]:
    """All bounds, by the names of rows."""
    default = lines.get("default")
    inspect, writing, big = lines.get("inspect"), lines.get("default-writing"), lines.get("big")
    peak = default.peak_bytes if default else None
    growth = big.peak_bytes / peak if big and big.peak_bytes and peak else None
    return [
        least("whole command, of floor", 0.6, default.of_floor if default else None),
        least("writing stage alone, of floor", 0.75, writing.of_floor if writing else None),
        _below("peak memory of the default, MB", 450, peak / 1e6 if peak else None),
        _below("inspect, s", 0.7, inspect.wall_s if inspect else None),
        _below("peak memory, slide four times the size over the slide", 1.2, growth),
    ]


def least(what: str, bound: float, measured: float | None) -> Aim:
    """A lower bound."""
    return Aim(what, f"at least {bound:g}", measured, measured is not None and measured >= bound)


def _below(what: str, bound: float, measured: float | None) -> Aim:
    return Aim(what, f"below {bound:g}", measured, measured is not None and measured < bound)
