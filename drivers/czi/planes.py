"""Where the stage stood and when, plane by plane: what each sub-block says of itself.

`METADATA/Tags` of a sub-block: StageXPosition, StageYPosition, FocusPosition in micrometres, AcquisitionTime (ZEISS, "ZISRAW
(CZI) File Format"; libCZI writes and reads the same). The stage states the middle of the image; ours is its upper left
corner, as everywhere in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from drivers.czi.directory import Block
from drivers.czi.levels import Frame, metadata_of
from drivers.czi.pixels import pixel_type
from drivers.czi.segments import Region
from drivers.errors import DriverError
from drivers.limits import LIMITS, check
from drivers.metadata.units import number
from drivers.metadata.xmltree import parse_xml
from drivers.model import PlaneFacts, Position, Scene

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MOST_PLANES = 4000
"""Two small reads and an XML each, about 0.1 ms together: what longer recordings say is not read."""
_MOST_BYTES = 1 << 20


class Said(NamedTuple):
    """What a sub-block says; None where it does not."""

    y_um: float | None
    x_um: float | None
    z_um: float | None
    taken: datetime | None


def with_planes(scene: Scene, parts: Mapping[int, Region], blocks: Sequence[Block], frame: Frame) -> Scene:
    """The scene with the positions of its planes where they differ, and their times where all have one and they differ.

    `blocks` are those of full resolution. Of a mosaic the first tile of a plane speaks for it, but for x and y: tiles may be
    cut out of one field, and state its middle.
    """
    first: dict[tuple[int, int, int], Block] = {}
    for b in sorted(blocks, key=lambda b: b.order):
        first.setdefault((b.t, b.c, b.z), b)
    if not 1 < len(first) <= _MOST_PLANES:
        return scene
    try:
        said = {place: _said(parts[block.part], block) for place, block in sorted(first.items())}
    except DriverError:  # places are not worth the slide
        return scene
    positions, times = _positions(scene, first, said, frame), _times(said)
    samples = pixel_type(blocks[0].pixel_type).samples
    planes = [
        PlaneFacts(t - frame.t, frame.channels[c] + i, z - frame.z, times.get((t, c, z)), positions.get((t, c, z)))
        for t, c, z in said
        for i in range(samples)
    ]
    return replace(scene, planes=planes) if positions or times else scene


def _said(region: Region, block: Block) -> Said:
    start, size = metadata_of(region, block)
    check("the length of the metadata of a sub-block", size, min(_MOST_BYTES, LIMITS.metadata_bytes))
    data = region.read(start, size).rstrip(b"\0 \r\n")
    root = parse_xml(data) if data else None
    tags = None if root is None else root.find("Tags")
    if tags is None:
        return Said(None, None, None, None)
    y, x, z = (number(tags.findtext(f"{name}Position")) for name in ("StageY", "StageX", "Focus"))
    return Said(y, x, z, _taken(tags))


def _taken(tags: Element) -> datetime | None:
    try:
        found = datetime.fromisoformat((tags.findtext("AcquisitionTime") or "").strip())
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _times(said: Mapping[tuple[int, int, int], Said]) -> dict[tuple[int, int, int], float]:
    """Seconds since the earliest plane."""
    taken = {place: one.taken for place, one in said.items() if one.taken is not None}
    if len(taken) < len(said) or len(set(taken.values())) < 2:
        return {}
    start = min(taken.values())
    return {place: (when - start).total_seconds() for place, when in taken.items()}


def _positions(
    scene: Scene, first: Mapping[tuple[int, int, int], Block], said: Mapping[tuple[int, int, int], Said], frame: Frame
) -> dict[tuple[int, int, int], Position]:
    """Of the planes that state one; empty where all are the same, or where the corner cannot be told from the middle."""
    size = scene.pixel_size
    if len({one[:3] for one in said.values()}) < 2 or size.y_um is None or size.x_um is None:
        return {}
    # In some files the tags of single planes lack one of the two (met: StageXPosition of a whole scene).
    whole = all(one.y_um is not None and one.x_um is not None for one in said.values())
    mosaic = not whole or any((b.height, b.width) != frame.shape[3:] for b in first.values())
    if mosaic and len({one.z_um for one in said.values()}) < 2:
        return {}
    found: dict[tuple[int, int, int], Position] = {}
    for place, one in said.items():
        b = first[place]
        if mosaic and scene.position is not None:
            found[place] = replace(scene.position, z_um=one.z_um)
        elif not mosaic and one.y_um is not None and one.x_um is not None:
            y = one.y_um - (b.y - frame.y + b.height / 2) * size.y_um
            x = one.x_um - (b.x - frame.x + b.width / 2) * size.x_um
            found[place] = Position(_rounded(y), _rounded(x), one.z_um)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")
