"""A JPEG of colours that lies in memory, as an image: the pictures that some formats keep in their XML."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Pixels, Scene
from drivers.pictures.jpeg import check_end, frame_size
from drivers.pictures.whole import whole_level


def jpeg_scene(what: str, data: bytes, role: str) -> Scene:
    """The image, `what` in messages. Raises Damaged where the data are no whole JPEG, LimitExceeded; decodes later."""
    size = frame_size(data) if data.startswith(b"\xff\xd8") else None
    if size is None or min(size) < 1:
        raise Damaged(f"{what} is no JPEG")
    check_end(data)
    check(f"{what}: the number of pixels", size[0] * size[1], LIMITS.tile_pixels)
    shape = Shape(1, 3, 1, *size)
    return Scene(role, [whole_level(shape, np.dtype("u1"), _Reader(what, data, shape), "jpeg")], True, RGB_CHANNELS)


@dataclass(frozen=True, slots=True)
class _Reader:
    """`Level.read` for a JPEG that lies in memory; checked before."""

    name: str
    data: bytes
    shape: Shape

    def __call__(self, _: Hashable) -> Pixels:
        return decoded_jpeg(self.name, self.data, self.shape)


def decoded_jpeg(what: str, data: bytes, shape: Shape) -> Pixels:
    """A whole JPEG of 8 bits as (1, c, 1, y, x). Raises Damaged where it is not of that shape, or does not decode."""
    import imagecodecs

    try:
        pixels: Any = imagecodecs.jpeg8_decode(data)
    except MemoryError:
        raise
    except Exception as error:
        raise Damaged(f"{what} cannot be decoded: {' '.join(str(error).split())[:160]}") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape != (shape.y, shape.x, shape.c):
        raise Damaged(f"{what} decodes to {pixels.shape}, not {(shape.y, shape.x, shape.c)}")
    return pixels.transpose(2, 0, 1)[None, :, None]
