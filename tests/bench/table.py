"""Results as lines: the table for people, the same facts for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.floor import Floor
from tests.bench.measure import Run
from tests.bench.stores import Store

_HEAD = (
    "tool", "variant", "wall s", "CPU s", "peak MB", "MB written", "files", "of floor", "× default",
    "levels", "dtype", "chunk / shard", "level 0", "note",
)  # fmt: skip
_NUMBERS = slice(2, 9)
_QUIET = 1.3
"""On a quiet machine the ratios of several pairs differ by less than this factor."""


@dataclass(slots=True)
class Line:
    """One row: its runs, the floors measured just before each, and what was written. Sizes in bytes."""

    name: str
    tool: str
    variant: str
    walls: list[float] = field(default_factory=list[float])
    cpus: list[float] = field(default_factory=list[float])
    peaks: list[int] = field(default_factory=list[int])
    floors: list[float] = field(default_factory=list[float])
    store: Store | None = None
    note: str = ""

    def add(self, run: Run, floor: Floor | None) -> None:
        """Take in one run."""
        self.walls.append(run.wall_s)
        self.cpus.append(run.cpu_s)
        self.peaks.append(run.peak_bytes)
        if floor is not None:
            self.floors.append(floor.floor_s)

    @property
    def wall_s(self) -> float | None:
        return median(self.walls) if self.walls else None

    @property
    def cpu_s(self) -> float | None:
        return median(self.cpus) if self.cpus else None

    @property
    def peak_bytes(self) -> int | None:
        return max(self.peaks, default=None)

    @property
    def of_floor(self) -> float | None:
        """Median of floor over wall, pair by pair: the machine's speed drifts, but little between the two of a pair."""
        return median(self._ratios()) if self._ratios() else None

    @property
    def spread(self) -> str:
        """Lowest and highest of these ratios where they differ much, which says that the machine was not quiet."""
        ratios = self._ratios()
        if not ratios or max(ratios) < _QUIET * min(ratios):
            return ""
        return f"of floor from {min(ratios):.2f} to {max(ratios):.2f}"

    def _ratios(self) -> list[float]:
        return [floor / wall for floor, wall in zip(self.floors, self.walls, strict=False)]

    def against(self, other: Line | None) -> float | None:
        """How many times as long as another line this takes."""
        if other is None or self.wall_s is None or not other.wall_s:
            return None
        return self.wall_s / other.wall_s


def markdown(lines: Sequence[Line], default: Line | None) -> str:
    """One table."""
    rows = [_cells(line, default) for line in lines]
    widths = [max(len(row[i]) for row in [_HEAD, *rows]) for i in range(len(_HEAD))]
    right = set(range(*_NUMBERS.indices(len(_HEAD))))

    def shown(row: Sequence[str]) -> str:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * (w - 1) + ":" if i in right else "-" * w for i, w in enumerate(widths)]
    return "\n".join([shown(_HEAD), f"| {' | '.join(rule)} |", *(shown(row) for row in rows)])


def _cells(line: Line, default: Line | None) -> tuple[str, ...]:
    store = line.store
    return (
        line.tool,
        line.variant,
        _number(line.wall_s, 2),
        _number(line.cpu_s, 2),
        _number(_mega(line.peak_bytes), 0),
        _number(_mega(store.bytes), 1) if store else "",
        str(store.files) if store else "",
        _number(line.of_floor, 2),
        _number(line.against(default), 2),
        "/".join(str(factor) for factor in store.factors) if store else "",
        store.dtype if store else "",
        " / ".join("×".join(map(str, part)) for part in (store.chunk, store.shard) if part) if store else "",
        _sameness(store) if store else "",
        "; ".join(part for part in (line.note, line.spread) if part).replace("|", "/"),
    )


def _sameness(store: Store) -> str:
    if not store.compared:
        return "not compared"
    return "equal" if store.same == store.compared else f"differs in {store.compared - store.same} of {store.compared}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _mega(size: int | None) -> float | None:
    return None if size is None else size / 1e6


def as_json(line: Line, default: Line | None) -> dict[str, Any]:
    """All facts of a line, single runs too."""
    found: dict[str, Any] = {
        "name": line.name,
        "tool": line.tool,
        "variant": line.variant,
        "wall_s": line.wall_s,
        "cpu_s": line.cpu_s,
        "peak_bytes": line.peak_bytes,
        "of_floor": line.of_floor,
        "times_default": line.against(default),
        "runs": {"wall_s": line.walls, "cpu_s": line.cpus, "peak_bytes": line.peaks, "floor_s": line.floors},
    }
    if line.store is not None:
        store = line.store
        found |= {"bytes": store.bytes, "files": store.files, "factors": store.factors, "dtype": store.dtype}
        found |= {"chunk": store.chunk, "shard": store.shard, "same": store.same, "compared": store.compared}
    if line.note:
        found["note"] = line.note
    return found
