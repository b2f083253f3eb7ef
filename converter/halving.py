"""Making a level from the one above it: two by two pixels become one."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from drivers.geometry import Box, Shape
from drivers.model import Pixels

_CV2_MEAN = {"u1", "u2", "i2", "f4", "f8"}


def halved_shape(shape: Shape) -> Shape:
    """Half of y and x, rounded down as vendors do, but never below 1; an axis of 1 stays."""
    return shape._replace(y=max(1, shape.y // 2), x=max(1, shape.x // 2))


def halved_box(box: Box, parent: Shape) -> Box:
    """The pixels of the halved level that `box` of its parent yields; empty where only a dropped last row or column lies.

    `box` starts at even places, or spans the axis.
    """
    child = halved_shape(parent)

    def half(value: int, size: int, limit: int) -> int:
        return value if size == 1 else min(value // 2, limit)

    start, stop = box.start, box.stop
    return Box(
        start._replace(y=half(start.y, parent.y, child.y), x=half(start.x, parent.x, child.x)),
        stop._replace(y=half(stop.y, parent.y, child.y), x=half(stop.x, parent.x, child.x)),
    )


def halve(pixels: Pixels, method: str) -> Pixels:
    """Halve y and x of a five-axis array; odd last rows and columns are dropped, an axis of 1 stays.

    "mean": arithmetic mean of the four, for integers rounded half up; "mode": the commonest, the smallest of equals;
    "nearest": the first. Keeps dtype and memory order (interleaved channels stay so).
    """
    y, x = pixels.shape[3], pixels.shape[4]
    if method == "nearest":
        return pixels[..., : max(1, y // 2 * 2) : 2, : max(1, x // 2 * 2) : 2]
    if y == 1 or x == 1:
        pixels = _doubled(pixels, y, x)
        y, x = pixels.shape[3], pixels.shape[4]
    cut = pixels[..., : y // 2 * 2, : x // 2 * 2]
    if method == "mode":
        return _mode(cut)
    if cut.dtype.str[1:] in _CV2_MEAN:
        return _mean_cv2(cut)
    return _mean_numpy(cut)


def _doubled(pixels: Pixels, y: int, x: int) -> Pixels:
    if y == 1:
        pixels = np.repeat(pixels, 2, axis=3)
    return np.repeat(pixels, 2, axis=4) if x == 1 else pixels


def _mean_cv2(pixels: Pixels) -> Pixels:
    # INTER_AREA by exactly 2 equals the rounded integer mean and is many times faster than numpy slicing.
    import cv2

    t, c, z, y, x = pixels.shape
    size = (x // 2, y // 2)
    # Two interleaved channels are left out: there OpenCV rounds half to even, other than with one, three or four.
    if c in (3, 4) and pixels.strides[1] == pixels.itemsize and t == z == 1:
        together = pixels[0, :, 0].transpose(1, 2, 0)
        small = cv2.resize(together, size, interpolation=cv2.INTER_AREA)
        return cast(Pixels, small).reshape(size[1], size[0], c).transpose(2, 0, 1)[None, :, None]
    out = np.empty((t, c, z, size[1], size[0]), pixels.dtype)
    for place in np.ndindex(t, c, z):
        cv2.resize(np.ascontiguousarray(pixels[place]), size, out[place], interpolation=cv2.INTER_AREA)
    return out


def _quads(pixels: Pixels) -> list[Pixels]:
    return [pixels[..., dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]


def _mean_numpy(pixels: Pixels) -> Pixels:
    a, b, c, d = _quads(pixels)
    kind, bits = pixels.dtype.kind, pixels.dtype.itemsize * 8
    if kind == "f":
        wide = np.float64
        return ((a.astype(wide) + b + c + d) / 4).astype(pixels.dtype)
    if bits < 64:
        return ((a.astype(np.int64) + b + c + d + 2) >> 2).astype(pixels.dtype)
    # 64 bit: the sum may overflow, so quotients and remainders are added apart.
    parts: list[Any] = [a, b, c, d]
    quotient: Any = sum((p >> 2) for p in parts)
    rest: Any = sum((p & 3) for p in parts)
    return (quotient + ((rest + 2) >> 2)).astype(pixels.dtype)


def _mode(pixels: Pixels) -> Pixels:
    # Of four sorted values a<=b<=c<=d the commonest is b when a==b or b==c, else c when c==d, else a.
    a, b, c, d = np.sort(np.stack(_quads(pixels)), axis=0)
    return np.where((a == b) | (b == c), b, np.where(c == d, c, a))
