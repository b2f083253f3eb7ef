"""Philips iSyntax, through pyisyntax (libisyntax), an optional extra.

The library is not safe for use from several threads (it crashes, amspath/libisyntax#41), so all its calls on a file take
turns: the one driver that holds a lock over a decode. Only level 0 is used: the origins of the further levels are shifted by
the padding of the wavelets (amspath/libisyntax#10). No real file was met while this was written.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from drivers.associated import associated_images
from drivers.errors import Damaged, Unsupported
from drivers.files import open_source
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Driver, Facts, Level, Pixels, PixelSize, Scene, Slide
from drivers.pictures.in_memory import jpeg_scene
from drivers.tiles import Grid

_WHITE = (255, 255, 255)


def matches(path: Path, head: bytes) -> bool:
    """The XML header that starts an iSyntax file."""
    _ = path
    return head.lstrip(b"\xef\xbb\xbf \r\n").startswith((b"<DataObject", b"<?xml")) and b'"DPUfsImport"' in head


@dataclass(slots=True)
class _Reader:
    """`Level.read`; the key is the grid position."""

    name: str
    image: Any
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        try:
            with self._lock:
                rgba = self.image.read_tile(key.x, key.y, 0)
        except Exception as error:
            raise Damaged(f"{self.name}: tile {key.y},{key.x}: {' '.join(str(error).split())[:160]}") from error
        from drivers.openslide.library import composed

        return composed(np.asarray(rgba), _WHITE).transpose(2, 0, 1)[None, :, None]


def open_slide(path: Path) -> Slide:
    """Open an iSyntax file; one scene. Raises Unsupported where the library is missing."""
    try:
        import isyntax
    except (ImportError, OSError) as error:
        raise Unsupported(f"{path.name}: iSyntax needs pyisyntax: pip install 'slidemill[isyntax]'") from error
    source = open_source(path)
    file = path.open("rb")  # by ourselves: the library keeps it open where it fails
    try:
        image = isyntax.ISyntax(file, source.size)
    except Exception as error:
        file.close()
        source.close()
        raise Damaged(f"{path.name}: libisyntax cannot open it: {' '.join(str(error).split())[:160]}") from error

    def close() -> None:
        image.close()
        file.close()
        source.close()

    warnings: list[str] = []
    makers = {role: partial(_picture, path.name, image, role) for role in ("label", "macro")}
    try:
        scene = _scene(path, image)
        return Slide(path, DRIVER.name, [path], [scene], associated_images(makers, warnings), close, None, warnings)
    except BaseException:
        close()
        raise


def _picture(name: str, image: Any, role: str) -> Scene:
    """The label or macro image, which the library gives as a JPEG. Raises Damaged, also where the file has none."""
    try:
        data = getattr(image, f"read_{role}_image_jpeg")()
    except Exception as error:
        raise Damaged(f"libisyntax gives none: {' '.join(str(error).split())[:160]}") from error
    if data is None:
        raise Damaged("libisyntax gives none")
    return jpeg_scene(f"{name}: the {role} image", bytes(data), role)


def _scene(path: Path, image: Any) -> Scene:
    width, height = (int(n) for n in image.level_dimensions[0])
    tile = Shape(1, 3, 1, int(image.tile_height), int(image.tile_width))
    if min(width, height, tile.y, tile.x) < 1:
        raise Damaged(f"{path.name}: {width}x{height} pixels in tiles of {tile.x}x{tile.y}")
    check(f"{path.name}: the number of pixels", width * height, LIMITS.level_pixels)
    check(f"{path.name}: the number of pixels of a tile", tile.y * tile.x, LIMITS.tile_pixels)
    shape = Shape(1, 3, 1, height, width)
    read = _Reader(path.name, image)
    level = Level(shape, np.dtype("u1"), Grid(shape, tile), read, tile, 255, 1.0, "isyntax", interleaved=True)
    sizes = [float(n) if 0 < float(n) < 1e6 else None for n in (image.mpp_y, image.mpp_x)]
    return Scene(
        name=path.stem,
        levels=[level],
        rgb=True,
        channels=RGB_CHANNELS,
        pixel_size=PixelSize(sizes[0], sizes[1]),
        facts=Facts(microscope_manufacturer="Philips"),
    )


DRIVER = Driver("isyntax", (".isyntax",), matches, open_slide, library="pyisyntax")
