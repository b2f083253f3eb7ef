"""Further pictures of a file: of animated GIF, WebP and PNG, and of JPEG files of several pictures (MPF).

They are associated images, `picture-2` and so on as the file numbers them, and are decoded when they are read. Those of an
animation are what is displayed at their time, with all that the pictures before them have left (drivers/gdal/animation.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from drivers.associated import associated_images
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.files import ByteSource
from drivers.gdal.animation import Animation
from drivers.gdal.apng import apng_pictures
from drivers.gdal.dataset import Source
from drivers.gdal.embedded import jpeg_carries, profile
from drivers.gdal.exif import exif_of
from drivers.gdal.gif import gif_pictures
from drivers.gdal.kinds import Kind
from drivers.gdal.level import Bands, Spooled, spooled
from drivers.gdal.multi import Listed, frame_of, multi_picture
from drivers.gdal.spool import Spool
from drivers.gdal.webp import webp_pictures
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import ALPHA, RGB_CHANNELS, Channel, Pixels, Scene
from drivers.pictures.in_memory import decoded_jpeg
from drivers.pictures.jpeg import EOI, check_end
from drivers.pictures.orient import oriented
from drivers.pictures.whole import whole_level

_MOST = 1000
"""Further pictures that are offered; of more the number is told."""
_NAMED = 4
_END = 4096
_RGB_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Further:
    """Further pictures by role, and what is to be said of them."""

    scenes: Mapping[str, Scene] = field(default_factory=dict[str, Scene])
    warnings: tuple[str, ...] = ()


def animation_of(source: ByteSource, kind: Kind) -> Animation | None:
    """The animation that a file holds; None where it holds none, or none that can be made out."""
    read = {"GIF": gif_pictures, "WEBP": webp_pictures, "PNG": apng_pictures}.get(kind.driver)
    try:
        return None if read is None else read(source)
    except (DriverError, struct.error, ValueError, IndexError):
        return None  # what is wrong is told by the decoder of the first picture


def further_pictures(source: ByteSource, kind: Kind, animation: Animation | None) -> Further:
    """All but the first."""
    if kind.driver == "JPEG":
        makers = {f"picture-{one.number}": partial(_stored, source, one) for one in multi_picture(source)}
        return _offered(makers, [])
    if animation is None:
        return Further()
    first = 0 if animation.hidden else 1
    count = len(animation.parts) - first
    words = [] if animation.whole else [f"the file ends within an animation, after {count + 1} whole pictures; copy it again"]
    if animation.canvas.bytes > LIMITS.tile_bytes:
        return Further({}, (*words, f"{count} further pictures are too large to be decoded and are left out"))
    return _offered(
        {f"picture-{i + 2}": partial(_displayed, animation, i + first, f"picture-{i + 2}") for i in range(count)}, words
    )


def _offered(makers: dict[str, Callable[[], Scene]], words: list[str]) -> Further:
    roles = list(makers)
    if not roles:
        return Further({}, tuple(words))
    kept = {role: makers[role] for role in roles[:_MOST]}
    named = ",".join(kept) if len(kept) <= _NAMED else f"{roles[0]} (to {list(kept)[-1]})"
    many, them = (f"{len(roles)} further pictures", "them") if len(roles) > 1 else ("a further picture", "it")
    words.append(f"the first picture is shown, and the file holds {many}: --associated {named} writes {them}")
    if len(roles) > _MOST:
        words.append(f"the last {len(roles) - _MOST} pictures are left out: no more than {_MOST} further ones are offered")
    return Further(associated_images(kept, words), tuple(words))


def first_picture(source: Source, animation: Animation) -> Spooled:
    """The first picture of an animated WebP, which GDAL opens and cannot decode."""
    canvas = animation.canvas
    check(f"{source.name}: the number of bytes of the picture, decoded at once", canvas.bytes, LIMITS.tile_bytes)
    samples = canvas.samples if animation.clear else canvas.samples - 1
    bands = Bands(tuple(range(1, samples + 1)), canvas.dtype, rgb=True, colors=True, alpha=3 if animation.clear else None)
    shape = (canvas.height, canvas.width, samples)
    return spooled(Spool(shape, canvas.dtype, lambda row: iter([animation.picture(0)[row:, :, :samples]])), bands, source)


def _displayed(animation: Animation, index: int, role: str) -> Scene:
    canvas = animation.canvas
    rgb = canvas.samples == _RGB_SAMPLES
    colors = RGB_CHANNELS if rgb else (Channel(),)
    channels = (*colors, ALPHA) if animation.clear else colors
    alpha = len(colors) if animation.clear else None
    shape = Shape(1, len(channels), 1, canvas.height, canvas.width)
    level = whole_level(shape, canvas.dtype, _Displayed(animation, index, len(channels)), "none")
    bits = canvas.most.bit_length()
    return Scene(
        role, [level], rgb, channels, alpha=alpha, significant_bits=bits if bits < canvas.dtype.itemsize * 8 else None
    )


@dataclass(frozen=True, slots=True)
class _Displayed:
    """`Level.read` of a picture of an animation."""

    animation: Animation
    index: int
    samples: int

    def __call__(self, _: Hashable) -> Pixels:
        return self.animation.picture(self.index)[..., : self.samples].transpose(2, 0, 1)[None, :, None]


def _stored(source: ByteSource, listed: Listed) -> Scene:
    """A picture of a JPEG file of several, turned as its own EXIF says. Raises Damaged, Unsupported, LimitExceeded."""
    role = f"picture-{listed.number}"
    frame = frame_of(source, listed.start)
    stop = min(listed.start + listed.size, source.size)  # writers state the size of the third and later ones wrongly
    if frame is None or (
        stop == source.size and EOI not in source.read(max(listed.start, stop - _END), min(_END, stop - listed.start))
    ):
        raise Damaged(f"{source.path.name}: at byte {listed.start} there is no whole JPEG")
    height, width, components, bits = frame
    if components not in (1, 3) or bits != 8:
        raise Unsupported(f"{source.path.name}: a further JPEG of {components} components of {bits} bits is not read")
    check("the number of bytes of the picture, decoded at once", height * width * components, LIMITS.tile_bytes)
    rgb = components == 3
    shape = Shape(1, components, 1, height, width)
    level = whole_level(shape, np.dtype("u1"), _Jpeg(source, listed.start, stop, shape), "jpeg")
    kept = jpeg_carries(source, listed.start)
    icc, _ = profile(kept.icc, components)
    level = oriented(level, exif_of(kept.exif).orientation)
    return Scene(role, [level], rgb, RGB_CHANNELS if rgb else (Channel(),), icc=icc)


@dataclass(frozen=True, slots=True)
class _Jpeg:
    """`Level.read` of a JPEG within a file."""

    source: ByteSource
    start: int
    stop: int
    shape: Shape

    def __call__(self, _: Hashable) -> Pixels:
        data = self.source.read(self.start, self.stop - self.start)
        check_end(data)
        return decoded_jpeg("it", data, self.shape)
