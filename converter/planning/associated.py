"""Associated images, looked at before anything is written: one that cannot be decoded is left out with a word."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.associated import left_out
from drivers.discovery import translated
from drivers.geometry import Box
from drivers.model import Scene, Slide

_LEAST_SIDE = 4
"""Some scanners write a strip of 256 x 1 where they have no thumbnail."""


def decodable(slide: Slide, roles: Sequence[str]) -> tuple[list[str], list[str]]:
    """(roles that show something and whose every stored tile decodes, warnings that name the others).

    Reads them tile by tile and keeps none.

    They are small, and a part of one in the store would be worth nothing. What only a retry can help is raised.
    """
    kept: list[str] = []
    warnings: list[str] = []
    for role in roles:
        shape = slide.associated[role].shape
        if min(shape.y, shape.x) < _LEAST_SIDE:
            warnings.append(f"the {role} image of {shape.x}x{shape.y} pixels shows nothing and is left out")
            continue
        try:
            _read(slide.associated[role])
        except Exception as raised:
            error = translated(raised, slide.path.name)
            if error.retryable:
                raise error from raised
            warnings.append(left_out(role, error))
        else:
            kept.append(role)
    return kept, warnings


def _read(scene: Scene) -> None:
    for level in scene.levels:
        for tile in level.index.tiles(Box.of(level.shape)):
            level.read(tile.key)
