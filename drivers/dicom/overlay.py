"""Images of their own for what an image does not show: overlay planes (PS3.3 C.9.2) and the low bytes of its palette.

Overlay planes are drawings, text and regions of one bit a pixel, beside the pixels or (in old files) in their unused bits.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.dataset import DataSet
from drivers.dicom.decode import Decoder
from drivers.dicom.level import stacked_level
from drivers.dicom.parts import Part
from drivers.dicom.pixels import OVERLAYS, PixelFacts
from drivers.errors import Damaged, DriverError
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import Channel, Level, Pixels, Scene
from drivers.tiles import Grid

_ROWS, _COLUMNS, _FRAMES, _DATA, _BIT_POSITION = 0x0010, 0x0011, 0x0015, 0x3000, 0x0102
_PLAIN = {"none", "deflate", "rle"}
"""Compressions that keep the bits beside the values."""
DEEP = "palette-16"
"""Role of an image in colours of 16 bits."""


def overlays(data: DataSet, warnings: list[str]) -> dict[str, Scene]:
    """Those that are stored beside the pixels, by role; what cannot be read is told."""
    found: dict[str, Scene] = {}
    for group in OVERLAYS:
        if group << 16 | _DATA not in data:
            continue
        role = f"overlay-{group:04x}"
        try:
            found[role] = _scene(data, group << 16, role)
        except DriverError as error:
            warnings.append(f"the overlay plane {group:04X} is left out: {error}")
            continue
        warnings.append(f"the overlay plane {group:04X} is not drawn into the image; --associated {role} writes it")
    return found


def beside(part: Part, scene: Scene, warnings: list[str]) -> dict[str, Scene]:
    """What the samples of an ordinary image hold that its scene does not show: overlays in unused bits, 16-bit palettes."""
    found: dict[str, Scene] = {}
    for group in OVERLAYS:
        bit = part.data.whole(group << 16 | _BIT_POSITION)
        if group << 16 | _DATA in part.data or group << 16 | _ROWS not in part.data or bit is None:
            continue
        role = f"overlay-{group:04x}"
        if part.facts.stored_samples > 1 or part.facts.compression not in _PLAIN or not _is_spare(part.facts, bit):
            warnings.append(f"the overlay plane {group:04X} in bit {bit} of the pixels is not read and is left out")
            continue
        level = stacked_level(_redone(part, _bit_of(part.facts, bit)), scene.shape._replace(c=1))
        found[role] = Scene(role, [level], False, (Channel(),), significant_bits=1)
        warnings.append(f"--associated {role} writes the overlay plane {group:04X}")
    deep = part.facts.deep_palette
    if deep is not None:
        facts = replace(part.facts, palette=deep, dtype=np.dtype("u2"), samples=deep.shape[1])
        level = stacked_level(_redone(part, facts), scene.shape._replace(c=deep.shape[1]))
        found[DEEP] = replace(scene, name=DEEP, levels=[level])
        warnings.append(f"--associated {DEEP} writes the image with the 16 bits of its palette")
    return found


def _redone(part: Part, facts: PixelFacts) -> Part:
    return replace(part, facts=facts, decode=Decoder(facts))


def _is_spare(facts: PixelFacts, bit: int) -> bool:
    """Whether a bit lies outside those of the values (PS3.5, 8.1.1)."""
    inside = facts.stored.kind != "f" and 0 <= bit < facts.stored.itemsize * 8
    return inside and not facts.high_bit - facts.bits < bit <= facts.high_bit


def _bit_of(facts: PixelFacts, bit: int) -> PixelFacts:
    """The pixels as numbers of this one bit."""
    unsigned = np.dtype(f"{facts.stored.byteorder}u{facts.stored.itemsize}")
    about = replace(facts, bits=1, high_bit=bit, stored=unsigned, dtype=unsigned.newbyteorder("="))
    return replace(about, photometric="MONOCHROME2", palette=None, deep_palette=None, samples=1, told=())


def _scene(data: DataSet, base: int, role: str) -> Scene:
    rows, columns = data.whole(base | _ROWS) or 0, data.whole(base | _COLUMNS) or 0
    frames = data.whole(base | _FRAMES, "s") or 1
    raw = data.raw(base | _DATA) or b""
    if min(rows, columns, frames) < 1 or len(raw) * 8 < rows * columns * frames:
        raise Damaged(f"{len(raw)} bytes for {frames} of {columns}x{rows} bits")
    check("the number of its pixels", rows * columns * frames, LIMITS.tile_pixels)
    element = data.found[base | _DATA]
    stored = np.frombuffer(raw, np.uint8)
    if element.coding.order == ">" and element.vr == b"OW" and len(raw) % 2 == 0:
        stored = stored.view("<u2").byteswap().view(np.uint8)
    bits = np.unpackbits(stored, count=rows * columns * frames, bitorder="little")  # the first pixel is the lowest bit
    shape, tile = Shape(frames, 1, 1, rows, columns), Shape(1, 1, 1, rows, columns)
    read = _Reader(bits.reshape(shape))
    level = Level(shape, np.dtype(np.uint8), Grid(shape, tile), read, tile, 0, 1.0, "none")
    return Scene(role, [level], False, (Channel(),), significant_bits=1)


@dataclass(frozen=True, slots=True)
class _Reader:
    """`Level.read`: the key is the grid position."""

    bits: NDArray[np.uint8]

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        return self.bits[key.t : key.t + 1]
