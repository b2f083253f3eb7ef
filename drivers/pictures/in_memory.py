"""A JPEG of colours that lies in memory, as an image: the pictures that some formats keep in their XML."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Level, Pixels, Scene
from drivers.pictures.jpeg import check_end, frame_size
from drivers.tiles import Grid


def jpeg_scene(what: str, data: bytes, role: str) -> Scene:
    """The image, `what` in messages. Raises Damaged where the data are no whole JPEG, LimitExceeded; decodes later."""
    size = frame_size(data) if data.startswith(b"\xff\xd8") else None
    if size is None or min(size) < 1:
        raise Damaged(f"{what} is no JPEG")
    check_end(data)
    check(f"{what}: the number of pixels", size[0] * size[1], LIMITS.tile_pixels)
    shape = Shape(1, 3, 1, *size)
    read = _Reader(what, data, 3)
    level = Level(shape, np.dtype("u1"), Grid(shape, shape), read, shape, 255, 1.0, "jpeg", interleaved=True)
    return Scene(role, [level], True, RGB_CHANNELS)


@dataclass(frozen=True, slots=True)
class _Reader:
    """`Level.read` for a JPEG that lies in memory; checked before."""

    name: str
    data: bytes
    channels: int

    def __call__(self, _: Hashable) -> Pixels:
        import imagecodecs

        try:
            pixels: Any = imagecodecs.jpeg8_decode(self.data)
        except MemoryError:
            raise
        except Exception as error:
            raise Damaged(f"{self.name} cannot be decoded: {' '.join(str(error).split())[:160]}") from error
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.shape[2] != self.channels:
            raise Damaged(f"{self.name} decodes to {pixels.shape[2]} samples")
        return pixels.transpose(2, 0, 1)[None, :, None]
