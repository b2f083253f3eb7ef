"""The images that a .vsi file lists, as its tags describe them.

Tag numbers: slideio's `vsitags.hpp` and `volume.cpp` (BSD-3-Clause); which folder belongs to which image: real files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from drivers.model import Channel, Facts, PixelSize, Position
from drivers.vsi.quantity import amount, number, scale, text, whole
from drivers.vsi.tags import Node, Value

COLLECTION, IMAGE, FRAME, DIMENSION, PROPERTIES, STACK, FRAME_FILE = 2000, 2001, 2002, 2007, 2008, 2005, 2018
_BOUNDARY, _HAS_FILE, _PAGE = 2053, 20005, 2016
_NAME, _TYPE, _CREATED, _ORIGIN, _SCALE, _UNIT = 2030, 2074, 2015, 2018, 2019, 2020
_MEANING, _Z_STEP, _T_STEP = 2023, 2013, 2016
_CHANNEL, _CHANNEL_NAME, _EMISSION, _EXCITATION, _LIMITS, _LUT = 2021, 2419, 2417, 2474, 2003, 2004
_DEVICES, _SETTINGS, _DEVICE, _MODEL, _MAKER, _KIND = 2043, 120114, 120116, 120132, 120133, 120130
_MAGNIFICATION, _APERTURE, _OBJECTIVE, _OBJECTIVE_SHORT = 120060, 120061, 120065, 120063
_EXPOSURE_US, _BITS = 100002, 100049
_DOCUMENT, _PRODUCT, _VERSION = 2, 34, 35
_VALUE = 268435458
_CAMERA, _STAND = 0, 40500
Z, T, LAMBDA, C, PHASE = 1, 2, 3, 4, 9

OVERVIEW, MACRO = 1, 256
_KINDS = {
    0: "image", 1: "overview", 2: "sample mask", 4: "focus map", 8: "sharpness map", 16: "height map", 32: "texture map",
    64: "EFI stack", 256: "macro", 1024: "focus points",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dimension:
    """A coordinate of the tiles after x and y."""

    meaning: int | None
    channels: tuple[Channel, ...] = ()
    z_step_um: float | None = None
    time_step_s: float | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """What the tags say of one image."""

    index: int
    """Number of its folder: `stack<index>`."""
    name: str | None
    kind: int
    external: bool
    page: int | None
    """TIFF page of the .vsi file that holds the pixels, where they are not external."""
    size: tuple[int, int] | None
    """(height, width)"""
    dimensions: tuple[Dimension, ...]
    pixel_size: PixelSize
    position: Position | None
    magnification: float | None
    bits: int | None
    facts: Facts = field(default_factory=Facts)

    @property
    def kind_name(self) -> str:
        """What it shows, in words."""
        return _KINDS.get(self.kind, f"image of type {self.kind}")


def images_of(root: Node) -> list[Image]:
    """All images, in the order of the file."""
    collection = root.first(COLLECTION)
    software = _software(root)
    return [] if collection is None else [_image(node, software) for node in collection.all(IMAGE)]


def _software(root: Node) -> str | None:
    words = [text(root.first(_DOCUMENT, tag)) for tag in (_PRODUCT, _VERSION)]
    return " ".join(word for word in words if word) or None


def _image(node: Node, software: str | None) -> Image:
    external, page, boundary = False, None, None
    for frame in node.all(FRAME):
        properties = frame.first(FRAME_FILE)
        if properties is not None:
            external = external or whole(properties.first(_HAS_FILE)) == 1
            boundary = boundary or _value(properties, _BOUNDARY)
        sample = frame.first(_PAGE)
        page = sample.index if page is None and sample is not None else page
    stack = node.first(STACK) or Node(STACK, None, None)
    width, height = number(boundary, 2), number(boundary, 3)
    return Image(
        index=node.index if node.index is not None else 1,
        name=text(stack.first(_NAME)),
        kind=whole(stack.first(_TYPE)) or 0,
        external=external,
        page=page,
        size=None if not width or not height else (int(height), int(width)),
        dimensions=tuple(_dimension(d) for d in sorted(node.all(DIMENSION), key=lambda d: d.index or 0)),
        pixel_size=_pixel_size(stack),
        position=_position(stack),
        magnification=_positive(_found(stack, _MAGNIFICATION)),
        bits=whole(_deep(stack, _BITS)),
        facts=_facts(stack, software),
    )


def _value(node: Node, tag: int) -> Value:
    found = node.first(tag)
    return None if found is None else found.value


def _deep(node: Node, tag: int) -> Node | None:
    return next((n for n in node.walk() if n.tag == tag), None)


def _found(node: Node, tag: int) -> Value:
    found = _deep(node, tag)
    return None if found is None else found.value


def _positive(value: Value) -> float | None:
    parsed = number(value)
    return parsed if parsed is not None and parsed > 0 else None


def _um(stack: Node) -> float | None:
    metres = scale(text(stack.first(_UNIT)), "m")
    return None if metres is None else metres * 1e6


def _pixel_size(stack: Node) -> PixelSize:
    um, sizes = _um(stack), _value(stack, _SCALE)
    x, y = number(sizes, 0), number(sizes, 1)
    if um is None or x is None or y is None or x <= 0 or y <= 0:
        return PixelSize()
    return PixelSize(y * um, x * um)


def _position(stack: Node) -> Position | None:
    um, origin = _um(stack), _value(stack, _ORIGIN)
    x, y = number(origin, 0), number(origin, 1)
    # cellSens writes (0, 0) where it knows no stage.
    return None if um is None or x is None or y is None or (x, y) == (0, 0) else Position(y * um, x * um)


def _dimension(node: Node) -> Dimension:
    properties = list(node.all(PROPERTIES))
    first = properties[0] if properties else Node(PROPERTIES, None, None)
    step = amount(first.first(_Z_STEP), "m")
    return Dimension(
        meaning=whole(first.first(_MEANING)),
        channels=tuple(
            _channel(p) for p in properties if p.first(_CHANNEL) is not None or p.first(_CHANNEL_NAME) is not None
        ),
        z_step_um=None if step is None else step * 1e6,
        time_step_s=amount(first.first(_T_STEP), "s"),
    )


def _channel(node: Node) -> Channel:
    emission, excitation = amount(node.first(_EMISSION), "m"), amount(node.first(_EXCITATION), "m")
    exposure = _positive(_found(node, _EXPOSURE_US))
    limits = _value(node, _LIMITS)
    low, high = number(limits, 0), number(limits, 1)
    return Channel(
        name=text(node.first(_CHANNEL_NAME)) or text(node.first(_CHANNEL)),
        color=_color(node.first(_LUT)),
        emission_nm=None if emission is None else round(emission * 1e9, 6),
        excitation_nm=None if excitation is None else round(excitation * 1e9, 6),
        exposure_s=None if exposure is None else exposure / 1e6,
        window=(low, high) if low is not None and high is not None and low < high else None,
    )


def _color(table: Node | None) -> str | None:
    """The last colour of the look-up table, whose entries are blue, green, red."""
    values = None if table is None else _value(table, _VALUE)
    if not isinstance(values, tuple) or len(values) < 6 or len(values) % 3:
        return None
    blue, green, red = (int(v) for v in values[-3:])
    return f"{red:02X}{green:02X}{blue:02X}" if red or green or blue else None


def _facts(stack: Node, software: str | None) -> Facts:
    devices = [device for device in (stack.first(_DEVICES) or Node(0, None, None)).children if device.children]
    stand = next((d for d in devices if whole(d.first(_KIND)) == _STAND), None)
    camera = next((d for d in devices if whole(d.first(_KIND)) == _CAMERA), None)
    lens = next((d for d in devices if _deep(d, _MAGNIFICATION) is not None), None)
    created = whole(stack.first(_CREATED))
    return Facts(
        acquired=_time(created),
        microscope_manufacturer=None if lens is None else text(lens.first(_MAKER)),
        microscope_model=None if stand is None else text(stand.first(_MODEL)) or text(stand.first(_DEVICE)),
        objective_model=None if lens is None else text(_deep(lens, _OBJECTIVE)) or text(_deep(lens, _OBJECTIVE_SHORT)),
        objective_na=None if lens is None else _positive(_found(lens, _APERTURE)),
        detector_model=None if camera is None else text(camera.first(_MODEL)) or text(camera.first(_DEVICE)),
        software=software,
    )


def _time(seconds: int | None) -> datetime | None:
    if seconds is None or not 0 < seconds < 1 << 33:
        return None
    return datetime.fromtimestamp(seconds, UTC)
