"""Names of optical paths: their identifiers, and where these collide what else tells the paths apart."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.dicom.dataset import DataSet
from drivers.dicom.parts import Part

PATHS, PATH_ID = 0x00480105, 0x00480106
_DESCRIPTION = 0x00480107
_NUMBERS = {0x00220055: "f", 0x00220001: "H", 0x00220002: "H", 0x00220003: "H", 0x00220004: "H"}
"""IlluminationWaveLength, and what the filters of the light path and of the image path let through."""
_CODES = 0x00220016, 0x00480108, 0x00220017, 0x00220018, 0x0022001A
"""Sequences of codes: illumination, its colour, filters of the light path and of the image path, channel description."""


def path_key(path: DataSet, described: bool) -> str:
    """The identifier of an item of the Optical Path Sequence; with `described`, all that tells it from another."""
    identifier = path.text(PATH_ID) or ""
    return "\n".join((identifier, *_signature(path))) if described else identifier


def _signature(path: DataSet) -> tuple[str, ...]:
    numbers = [f"{number:g}" for tag, code in _NUMBERS.items() for number in (*path.numbers(tag, code), -1)]
    codes = [code.text(0x00080100) or code.text(0x00080104) or "" for tag in _CODES for code in path.items(tag)]
    return (path.text(_DESCRIPTION) or "", *numbers, *codes)


def keys_of(part: Part, described: bool) -> dict[str, str]:
    """Identifier to key, in the order of the sequence."""
    return {path.text(PATH_ID) or "": path_key(path, described) for path in part.data.items(PATHS)}


def colliding(parts: Sequence[Part]) -> bool:
    """Whether an identifier stands for several optical paths in the instances of a level."""
    known: dict[str, str] = {}
    return any(known.setdefault(name, key) != key for part in parts for name, key in keys_of(part, True).items())
