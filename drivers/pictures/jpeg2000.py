"""What a JPEG 2000 stream says of its colour (ISO 15444-1): sizes in SIZ, the component transform in COD, `colr` of JP2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from drivers.errors import Unsupported

_SOC_SIZ = b"\xff\x4f\xff\x51"
_SIZ, _COD, _SOT, _SOD = 0x51, 0x52, 0x90, 0x93
_SEARCHED_BYTES = 4096
_ENUMERATED, _SRGB, _SYCC = 1, 16, 18


def decoded_as_rgb(data: bytes) -> bool:
    """Whether the samples that OpenJPEG gives are RGB already, whatever the container says of the stream.

    It undoes the component transform (COD); and as opj_decompress does, imagecodecs converts from YCbCr where chroma is
    reduced in size (SIZ) or a JP2 box says sYCC. A stream of three components of one size, without a transform, comes as it
    is stored: what its samples are, only the container tells.
    """
    start = codestream(data)
    if start is None:
        return False
    if _space(data[:start]) == _SYCC:
        return True
    for marker, body in _segments(data, start + 2):
        if marker == _SIZ and _reduced(body):
            return True
        if marker == _COD and len(body) > 4 and body[4] != 0:  # SGcod: progression, two of layers, transform
            return True
    return False


def decode(data: bytes, *, high_throughput: bool = False) -> NDArray[Any]:
    """Samples (rows, columns) or (rows, columns, samples); `decoded_as_rgb` tells what they are.

    OpenJPH decodes a bare high-throughput stream of components of one size (ISO 15444-15); it undoes the same transform as
    OpenJPEG, which decodes all others, also those with reduced chroma that OpenJPH leaves apart. Raises Unsupported where
    chroma is reduced in another way than to half the columns, or half the rows and columns.
    """
    import imagecodecs

    if high_throughput and data.startswith(_SOC_SIZ) and not has_reduced_chroma(data):
        return imagecodecs.htj2k_decode(data, planar=False)
    try:
        return imagecodecs.jpeg2k_decode(data)
    except NotImplementedError as error:
        raise Unsupported(f"JPEG 2000 with such components is not read ({error}): 4:4:4, 4:2:2 and 4:2:0 are") from error


def codestream(data: bytes) -> int | None:
    """Where the codestream begins: at once, or in the jp2c box, which may lie behind a long profile; None: nowhere.

    Streams with something else before them are searched for its first markers.
    """
    at = 0
    while data[4:8] == b"jP  " and at + 16 <= len(data):
        length, kind, begin = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if length == 1:  # the length follows, in 64 bits (I.4)
            length, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if kind == b"jp2c":
            return begin if data.startswith(_SOC_SIZ, begin) else None
        if length < begin - at:
            break
        at += length
    found = data.find(_SOC_SIZ, 0, _SEARCHED_BYTES)
    return None if found < 0 else found


def has_reduced_chroma(data: bytes) -> bool:
    """Whether the stream that begins here has components of another size than its first."""
    return any(marker == _SIZ and _reduced(body) for marker, body in _segments(data, 2))


def _segments(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of the main header and of the first tile's: its COD may replace the main one."""
    tiles = 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        tiles += marker == _SOT
        if marker == _SOD or tiles > 1:
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(2, length)


def _reduced(siz: bytes) -> bool:
    """Whether a component has another size than the first (XRsiz, YRsiz; A.5.1)."""
    steps = [siz[at + 1 : at + 3] for at in range(36, len(siz) - 2, 3)]
    return len(steps) >= 3 and any(step != steps[0] for step in steps[1:3])


def says_srgb(data: bytes) -> bool:
    """Whether a JP2 box in front of the stream says that its colours are sRGB."""
    start = codestream(data)
    return start is not None and _space(data[:start]) == _SRGB


def _space(boxes: bytes) -> int | None:
    """The enumerated colour space of the `colr` box."""
    at = boxes.find(b"colr")
    body = boxes[at + 4 : at + 11]  # method, precedence, approximation, enumerated colour space
    return int.from_bytes(body[3:], "big") if at >= 0 and len(body) == 7 and body[0] == _ENUMERATED else None
