"""Axes of a multiscale image as t, c, z, y, x, with their units; versions 0.1 to 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.errors import Damaged, Unsupported
from drivers.geometry import Shape
from drivers.model import Pixels
from drivers.zarrstore.node import Json, as_list

LETTERS = "tczyx"
_LENGTHS_UM = {
    "angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4,
    "decimeter": 1e5, "meter": 1e6, "inch": 25400.0, "foot": 304800.0, "yard": 914400.0,
    "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "mm": 1e3, "m": 1e6,
}  # fmt: skip
_TIMES_S = {
    "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0,
    "day": 86400.0, "ms": 1e-3, "s": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Axes:
    """The letter and the unit of every array axis."""

    letters: tuple[str, ...]
    units: tuple[str | None, ...]

    def shape(self, sizes: Sequence[int]) -> Shape:
        """Sizes of array axes as t, c, z, y, x; 1 where the array has no such axis."""
        return Shape(*(sizes[self.letters.index(a)] if a in self.letters else 1 for a in LETTERS))

    def position(self, key: Shape) -> tuple[int, ...]:
        """A position t, c, z, y, x on the array's axes."""
        return tuple(key[LETTERS.index(letter)] for letter in self.letters)

    def pixels(self, block: Pixels) -> Pixels:
        """A block with the array's axes as t, c, z, y, x."""
        present = [letter for letter in LETTERS if letter in self.letters]
        turned = block.transpose([self.letters.index(letter) for letter in present])
        return turned.reshape(self.shape(block.shape))

    def length_um(self, letter: str, value: float | None) -> float | None:
        """A length along an axis in micrometres; None where the unit is not stated."""
        return self._scaled(letter, value, _LENGTHS_UM)

    def time_s(self, value: float | None) -> float | None:
        """A time in seconds; None where the unit is not stated."""
        return self._scaled("t", value, _TIMES_S)

    def _scaled(self, letter: str, value: float | None, factors: dict[str, float]) -> float | None:
        unit = self.units[self.letters.index(letter)] if letter in self.letters else None
        factor = factors.get((unit or "").lower())
        return None if value is None or factor is None or not value > 0 else round(value * factor, 12)


def axes_of(multiscale: Json, dimensions: int) -> Axes:
    """Axes as stated: objects (0.4, 0.5), letters (0.3), or none at all, then the last of t, c, z, y, x (0.1, 0.2)."""
    if "coordinateSystems" in multiscale:
        raise Unsupported("is OME-Zarr 0.6 or newer, which is not read yet")
    stated = as_list(multiscale.get("axes") or list(LETTERS[5 - min(5, dimensions) :]), "axes")
    if len(stated) != dimensions:
        raise Damaged(f"names {len(stated)} axes, its arrays have {dimensions}")
    letters: list[str] = []
    units: list[str | None] = []
    for axis in stated:
        name, kind, unit = (
            (axis.get("name"), axis.get("type"), axis.get("unit")) if isinstance(axis, dict) else (axis, None, None)
        )
        letters.append({"time": "t", "channel": "c"}.get(str(kind), str(name).lower()))
        units.append(str(unit) if unit else None)
    if len(set(letters)) != len(letters) or not set(letters) <= set(LETTERS) or not {"y", "x"} <= set(letters):
        raise Unsupported(f"the axes {', '.join(letters)} are not those of an image (t, c, z, y, x)")
    return Axes(tuple(letters), tuple(units))
