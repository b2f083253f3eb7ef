"""Images that name one memory block: copies of each other, or one of them is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.lif.container import Stored

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

_LAID = ("DimID", "NumberOfElements", "BytesInc", "BitInc", "DataType", "ChannelTag", "Resolution")
"""What says where the samples of an image lie in its memory block."""


def shared(images: Iterable[Stored]) -> list[str]:
    """Warnings. Raises Damaged where two images of one memory block lay their samples out in different ways."""
    first: dict[tuple[Path, int], Stored] = {}
    warnings: list[str] = []
    for image in images:
        if not image.memory.size:
            continue
        known = first.setdefault((image.memory.source.path, image.memory.offset), image)
        if known is image:
            continue
        what = f"images {known.name!r} and {image.name!r} name the same memory block of {image.memory.source.path.name}"
        if _layout(known.element) != _layout(image.element):
            raise Damaged(f"{what} and describe it differently: whose pixels it holds is not known")
        warnings.append(f"{what}: they are copies")
    return warnings


def _layout(element: Element) -> list[list[str | None]]:
    image = element.find("Data/Image")
    if image is None:
        return []
    parts = [*image.iterfind(".//ChannelDescription"), *image.iterfind(".//DimensionDescription")]
    return [[part.get(name) for name in _LAID] for part in parts]
