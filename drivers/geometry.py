"""Shapes and boxes: five axes, always in the order t, c, z, y, x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Slices = tuple[slice, slice, slice, slice, slice]


class Shape(NamedTuple):
    """Extent, or a corner, in pixels along t, c, z, y, x."""

    t: int
    c: int
    z: int
    y: int
    x: int

    def plus(self, other: Shape) -> Shape:
        """Sum, axis by axis."""
        return Shape(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Shape) -> Shape:
        """Difference, axis by axis."""
        return Shape(*(a - b for a, b in zip(self, other, strict=True)))


ORIGIN = Shape(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open, integer, zero-based box in pixels of one level. Empty where a stop is not beyond its start."""

    start: Shape
    stop: Shape

    @classmethod
    def of(cls, shape: Shape) -> Box:
        """The whole of `shape`, from the origin."""
        return cls(ORIGIN, shape)

    @property
    def shape(self) -> Shape:
        """Extent per axis, never negative."""
        return Shape(*(max(0, b - a) for a, b in zip(self.start, self.stop, strict=True)))

    @property
    def pixels(self) -> int:
        """Number of samples in the box."""
        t, c, z, y, x = self.shape
        return t * c * z * y * x

    def __bool__(self) -> bool:
        """Whether the box holds any pixel."""
        return all(b > a for a, b in zip(self.start, self.stop, strict=True))

    def __and__(self, other: Box) -> Box:
        """The common part; empty where there is none."""
        a, b, p, q = self.start, self.stop, other.start, other.stop
        return Box(
            Shape(max(a.t, p.t), max(a.c, p.c), max(a.z, p.z), max(a.y, p.y), max(a.x, p.x)),
            Shape(min(b.t, q.t), min(b.c, q.c), min(b.z, q.z), min(b.y, q.y), min(b.x, q.x)),
        )

    def contains(self, other: Box) -> bool:
        """Whether every pixel of `other` lies in this box."""
        return all(a <= p for a, p in zip(self.start, other.start, strict=True)) and all(
            q <= b for b, q in zip(self.stop, other.stop, strict=True)
        )

    def slices(self, origin: Shape = ORIGIN) -> Slices:
        """Index into an array whose first sample lies at `origin`."""
        a, b, o = self.start, self.stop, origin
        return (
            slice(a.t - o.t, b.t - o.t),
            slice(a.c - o.c, b.c - o.c),
            slice(a.z - o.z, b.z - o.z),
            slice(a.y - o.y, b.y - o.y),
            slice(a.x - o.x, b.x - o.x),
        )
