"""TIFF and OME-TIFF files made for tests: by tifffile where it writes them, byte by byte where no library would."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

PLAIN: dict[str, Any] = {"metadata": None, "software": False}
"""No description: the pages speak for themselves."""

_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 16: "Q"}


def noise(shape: Sequence[int], dtype: Any = "u1", seed: int = 1) -> NDArray[Any]:
    """Random samples over the whole range of an integer type, or of -1..1."""
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "f":
        return (rng.random(tuple(shape)) * 2 - 1).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, tuple(shape), dtype=kind, endpoint=True)


def five(pixels: NDArray[Any]) -> NDArray[Any]:
    """A single image (y, x) or (y, x, channels) on the axes t c z y x."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels.transpose(2, 0, 1)[None, :, None]


def halves(pixels: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """The image and `count` reduced ones, each every second pixel of the one before, floor-rounded."""
    found = [pixels]
    for _ in range(count):
        last = found[-1]
        found.append(np.ascontiguousarray(last[: last.shape[0] // 2 * 2 : 2, : last.shape[1] // 2 * 2 : 2]))
    return found


def write_pages(path: Path, pages: Sequence[tuple[NDArray[Any], dict[str, Any]]], **file: Any) -> Path:
    """Pages with their own options."""
    with tifffile.TiffWriter(path, **file) as writer:
        for pixels, options in pages:
            writer.write(pixels, **(PLAIN | options))
    return path


Tags = Mapping[int, tuple[int, Sequence[int] | bytes]]
"""Tag to (type, values)."""


def write_raw(path: Path, pages: Sequence[tuple[Tags, bytes]], *, order: str = "<") -> Path:
    """A classic TIFF of pages given as tags and the bytes of one strip; StripOffsets 0 is replaced by its place."""
    blob = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0))
    pointer = 4
    for tags, data in pages:
        start = len(blob)
        blob += data
        entries = b""
        for code, (kind, values) in sorted(tags.items()):
            if code == 273 and list(values) == [0]:
                values = [start]  # noqa: PLW2901
            packed = bytes(values) if isinstance(values, bytes) else _packed(order, kind, values)
            count = len(packed) if kind in (1, 2) else len(values) // (2 if kind == 5 else 1)
            if len(packed) > 4:
                packed, at = struct.pack(order + "I", len(blob)), packed
                blob += at
            entries += struct.pack(order + "HHI", code, kind, count) + packed.ljust(4, b"\0")
        blob[pointer : pointer + 4] = struct.pack(order + "I", len(blob))
        blob += struct.pack(order + "H", len(tags)) + entries + bytes(4)
        pointer = len(blob) - 4
    path.write_bytes(blob)
    return path


def _packed(order: str, kind: int, values: Sequence[int]) -> bytes:
    return b"".join(struct.pack(order + _FORMATS[kind][0], v) for v in values)


def grey_tags(height: int, width: int, **more: Any) -> dict[int, tuple[int, Any]]:
    """Tags of an uncompressed 8-bit grey image in one strip; `t262=(3, [0])` replaces one."""
    tags: dict[int, tuple[int, Any]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [0]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [height * width]),
    }
    return tags | {int(name[1:]): value for name, value in more.items()}


OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def ome_xml(images: str, *, uuid: str | None = None, before: str = "") -> str:
    """An OME document around Image elements."""
    own = f' UUID="{uuid}"' if uuid else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>{before}<OME xmlns="{OME}"{own} Creator="made">{images}</OME>'


def ome_image(sizes: Mapping[str, object], inner: str, **parts: str) -> str:
    """An Image element.

    `sizes` holds the attributes X, Y, Z, C, T of Pixels; `inner` its content; parts: `image` and `pixels`, more attributes,
    and `before`, what stands in front of Pixels.
    """
    lengths = " ".join(f'Size{axis}="{n}"' for axis, n in sizes.items())
    return (
        f"<Image {parts.get('image', 'ID="Image:0"')}>{parts.get('before', '')}"
        f'<Pixels ID="Pixels:0" Type="uint8" {lengths} {parts.get("pixels", "")}>{inner}</Pixels></Image>'
    )


def write_ome(path: Path, xml: str, pages: Sequence[NDArray[Any]], **options: Any) -> Path:
    """Pages (each a plane) with an OME document in the first."""
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            photometric = "rgb" if page.ndim == 3 else "minisblack"
            description = xml.encode() if number == 0 else None
            writer.write(page, description=description, **(PLAIN | {"photometric": photometric} | options))
    return path
