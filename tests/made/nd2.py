"""ND2 files made by the tests: chunks, a chunk map, and metadata as binary variants, as nd2 (BSD-3) reads them.

`MADE` lists them for the conformance suite as (name, maker, facts).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
NAME_BYTES = 4072
"""Names of chunks are padded, so that frames begin at a multiple of 4096."""


@dataclass(frozen=True, slots=True)
class Nd2:
    """What to make."""

    frames: Image
    """(frame, height, width, component); of colour, blue first."""
    loops: Sequence[Mapping[str, Any]] = ()
    """From the outermost to the innermost: type (1 time, 2 position, 4 z, 7 custom) and its parameters."""
    planes: int = 1
    """Channels; components over planes is 3 for colour."""
    deflated: bool = False
    pad: int = 0
    """Bytes behind every row."""
    missing: Sequence[int] = ()
    bits: int = 12
    calibrated: bool = True
    description: str = ""
    compression: int | None = None
    probe: bool = True
    """Whether the planes name a fluorescent probe."""
    claims: Mapping[str, int] | None = None
    """Attributes that are wrong."""
    again: Mapping[int, Image] | None = None
    """Frames that are stored a second time, by their number."""
    masks: Mapping[str, Mapping[int, Image]] | None = None
    """Binary layers: by name, then frame, an array of labels (height, width)."""


def variant(name: str, value: Any) -> bytes:
    """One record: type, length of its name, name, value."""
    head = name.encode("utf-16-le") + b"\0\0"
    kind, data = 3, b""
    match value:
        case bool():
            kind, data = 1, struct.pack("<B", value)
        case int():
            data = struct.pack("<I", value)
        case float():
            kind, data = 6, struct.pack("<d", value)
        case str():
            kind, data = 8, value.encode("utf-16-le") + b"\0\0"
        case bytes():
            kind, data = 9, struct.pack("<Q", len(value)) + value
        case _:
            kind, inner = 11, b"".join(variant(k, v) for k, v in value.items())
            length = 2 + len(head) + 12 + len(inner)
            data = struct.pack("<IQ", len(value), length) + inner + b"\0" * 8 * len(value)
    return bytes([kind, len(head) // 2]) + head + data


def chunk(name: bytes, data: bytes) -> bytes:
    """Magic, lengths, name, data."""
    return struct.pack("<IIQ", 0x0ABECEDA, NAME_BYTES, len(data)) + name.ljust(NAME_BYTES, b"\0") + data


def frame_data(nd2: Nd2, number: int) -> bytes:
    """A time stamp and the pixels."""
    frame = np.ascontiguousarray(nd2.frames[number])
    rows = frame.reshape(frame.shape[0], -1).view(np.uint8)
    raw = np.pad(rows, ((0, 0), (0, nd2.pad))).tobytes()
    return struct.pack("<d", number) + (zlib.compress(raw) if nd2.deflated else raw)


def mask_data(labels: Image) -> bytes:
    """Four bytes, and a zlib stream of the runs of each label."""
    height, width = labels.shape
    objects = b""
    found = [int(label) for label in np.unique(labels) if label]
    for label in found:
        rows = b""
        inside = np.pad((labels == label).astype(np.int8), ((0, 0), (1, 1)))
        there = [int(y) for y in np.flatnonzero(inside.any(axis=1))]
        for y in there:
            starts, stops = (np.flatnonzero(np.diff(inside[y]) == step) for step in (1, -1))
            rows += struct.pack("<2I", y, len(starts))
            rows += b"".join(struct.pack("<2I", a, b - a) for a, b in zip(starts, stops, strict=True))
        objects += struct.pack("<9I", label, 0, there[0], width - 1, there[-1], len(rows), len(there), 0, 0) + rows
    head = struct.pack("<7I", 3, width, height, len(found), len(objects), 0, 0)
    return b"\0\0\0\0" + zlib.compress(head + objects)


def mask_chunks(masks: Mapping[str, Mapping[int, Image]]) -> list[tuple[bytes, bytes]]:
    """The masks of all layers, and the chunk that names the layers."""
    tags = [f"RleZipBinarySequence_{i}_v1" for i in range(1, len(masks) + 1)]
    layers = {f"i{i:010}": {"wsName": name, "wsFileTag": tag} for i, (name, tag) in enumerate(zip(masks, tags, strict=True))}
    stored = [
        (f"CustomDataSeq|{tag}|{number}!".encode(), mask_data(labels))
        for tag, frames in zip(tags, masks.values(), strict=True)
        for number, labels in frames.items()
    ]
    return [*stored, (b"CustomDataVar|BinaryMetadata_v1!", variant("BinaryMetadata_v1", layers))]


def spectrum(wavelength: float) -> dict[str, Any]:
    """With one point."""
    return {"uiCount": 1, "pPoint": {"Point0": {"eType": 4, "dWavelength": wavelength, "dTValue": 1.0}}}


def metadata(nd2: Nd2) -> dict[str, Any]:
    """Of the first frame."""
    each = nd2.frames.shape[3] // nd2.planes
    spectra = {"m_ExcitationSpectrum": spectrum(488.0), "m_EmissionSpectrum": spectrum(525.0)} if nd2.probe else {}
    plane = {"uiCompCount": each, "uiModalityMask": 257, "pFluorescentProbe": spectra}
    colour = 0x0700FF
    planes = {
        f"a{i}": plane | {"uiSampleIndex": i, "uiColor": colour + i, "sDescription": f"Ch {i}"} for i in range(nd2.planes)
    }
    return {
        "dTimeAbsolute": 2460742.5,
        "dTimeMSec": 0.0,
        "dXPos": 100.0,
        "dYPos": -200.0,
        "bCalibrated": nd2.calibrated,
        "dCalibration": 0.325,
        "dObjectiveMag": 20.0 if nd2.calibrated else -1.0,
        "dObjectiveNA": 0.75 if nd2.calibrated else -1.0,
        "wsObjectiveName": "Plan Apo 20x" if nd2.calibrated else "",
        "sPicturePlanes": {"uiCount": nd2.planes, "uiCompCount": nd2.frames.shape[3], "sPlaneNew": planes},
    }


def experiment(loops: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Nested loops."""
    first = dict(loops[0])
    found: dict[str, Any] = {"eType": first.pop("type"), "uLoopPars": first}
    if len(loops) > 1:
        found["ppNextLevelEx"] = {"i0000000000": experiment(loops[1:])}
    return found


def make_nd2(path: Path, nd2: Nd2) -> Path:
    """Write the file."""
    count, height, width, components = nd2.frames.shape
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * components * nd2.frames.itemsize + nd2.pad,
        "uiHeight": height,
        "uiComp": components,
        "uiBpcInMemory": nd2.frames.itemsize * 8,
        "uiBpcSignificant": nd2.bits,
        "uiSequenceCount": count,
        "eCompression": nd2.compression if nd2.compression is not None else 0 if nd2.deflated else 2,
    } | dict(nd2.claims or {})
    chunks = [(b"ImageAttributesLV!", variant("SLxImageAttributes", attributes))]
    chunks += [(f"ImageDataSeq|{i}!".encode(), frame_data(nd2, i)) for i in range(count) if i not in nd2.missing]
    for i, pixels in (nd2.again or {}).items():
        other = replace(nd2, frames=np.broadcast_to(pixels, nd2.frames.shape))
        chunks += [(f"ImageDataSeq|{i}!".encode(), struct.pack("<d", 99.0) + frame_data(other, 0)[8:])]
    chunks += [(b"ImageMetadataSeqLV|0!", variant("SLxPictureMetadata", metadata(nd2)))]
    if nd2.loops:
        chunks += [(b"ImageMetadataLV!", variant("SLxExperiment", experiment(nd2.loops)))]
    text = {"TextInfoItem_5": nd2.description, "TextInfoItem_14": "NIS-Elements 5"}
    chunks += [(b"ImageTextInfoLV!", variant("SLxImageTextInfo", text))]
    chunks += [(b"CustomData|AcqTimesCache!", np.arange(count, dtype="<f8").tobytes())]
    chunks += mask_chunks(nd2.masks) if nd2.masks else []
    out = bytearray(
        struct.pack("<IIQ", 0x0ABECEDA, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!" + b"Ver3.0".ljust(64, b"\0")
    )
    entries = b""
    for name, data in chunks:
        out += b"\0" * (-len(out) % 4096)
        entries += name + struct.pack("<QQ", len(out), len(data))
        out += chunk(name, data)
    at = len(out)
    out += chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", entries + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", at))
    out += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", at)
    path.write_bytes(out)
    return path


def numbers(*shape: int, dtype: str = "u2", seed: int = 1) -> Image:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def time_loop(count: int, period: float = 1500.0) -> dict[str, Any]:
    """A time loop of a period in milliseconds."""
    return {"type": 1, "uiCount": count, "dStart": 0.0, "dPeriod": period, "dDuration": 0.0}


def z_loop(count: int, step: float = 0.5) -> dict[str, Any]:
    """A z loop of a step in micrometres."""
    return {"type": 4, "uiCount": count, "dZLow": 0.0, "dZHigh": 1.0, "dZStep": step, "dZHome": 0.0}


def place_loop(*names: str) -> dict[str, Any]:
    """Stage positions."""
    points = {f"i{i:010}": {"dPosX": 10.0 * i, "dPosY": 5.0, "dPosName": name} for i, name in enumerate(names)}
    return {"type": 2, "uiCount": len(names), "bUseZ": False, "Points": points}


STACK = Nd2(
    numbers(6, 33, 47, 2), [time_loop(2), z_loop(3)], planes=2, description="Exposure: 20 ms\r\n x Exposure: 1,5 s\r\n"
)
COLOUR = Nd2(numbers(1, 41, 39, 3, dtype="u1"), bits=8, pad=3)
DEFLATED = Nd2(numbers(2, 33, 47, 1), [time_loop(2)], deflated=True)

MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (
        "stack.nd2",
        lambda path: make_nd2(path, STACK),
        {
            "driver": "nd2",
            "oracle": False,
            "dtype": "uint16",
            "rgb": False,
            "levels": [(2, 2, 3, 33, 47)],
            "fill": 0,
            "compression": "none",
            "associated": [],
            "pixel_size_um": 0.325,
            "magnification": 20.0,
        },
    ),
    (
        "colour.nd2",
        lambda path: make_nd2(path, COLOUR),
        {"driver": "nd2", "oracle": False, "dtype": "uint8", "rgb": True, "levels": [(1, 3, 1, 41, 39)], "fill": 255},
    ),
    (
        "deflated.nd2",
        lambda path: make_nd2(path, DEFLATED),
        {"driver": "nd2", "oracle": False, "levels": [(2, 1, 1, 33, 47)], "compression": "deflate"},
    ),
]
