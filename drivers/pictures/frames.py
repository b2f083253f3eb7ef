"""The size that a stored picture says it has, read before it is decoded: its decoder allocates by that, not by the tile."""

from __future__ import annotations

from drivers.pictures.jpeg2000 import codestream

_PNG, _WEBP = 34933, (50001, 34927)
_JPEG2000 = (33003, 33004, 33005, 34712)
_JPEGXR = (22610, 34934)
_JPEGXR_WIDTH, _JPEGXR_HEIGHT = 0xBC80, 0xBC81


def picture_size(compression: int, data: bytes) -> tuple[int, int] | None:
    """(height, width) in the header of a JPEG 2000, PNG, WebP or JPEG XR stream; None for other codecs."""
    if compression in _JPEG2000:
        return _jpeg2000(data)
    if compression == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if compression in _WEBP and len(data) >= 30:
        return _webp(data)
    if compression in _JPEGXR and data[:3] == b"II\xbc":
        return _jpegxr(data)
    return None


def _jpeg2000(data: bytes) -> tuple[int, int] | None:
    """SIZ follows SOC (ISO 15444-1 A.5.1): Xsiz, Ysiz less XOsiz, YOsiz; boxes of a JP2 file may come before."""
    at = codestream(data)
    if at is None or len(data) < at + 24:
        return None
    x, y, left, top = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(4))
    return y - top, x - left


def _webp(data: bytes) -> tuple[int, int] | None:
    """RFC 9649: the first chunk is VP8X (canvas, 24 bits less one), VP8L (14 bits less one) or VP8 (14 bits)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    return None


def _jpegxr(data: bytes) -> tuple[int, int] | None:
    """The file format is a small TIFF of its own, with tags for width and height (ITU-T T.832 A.7)."""
    at = int.from_bytes(data[4:8], "little")
    found: dict[int, int] = {}
    for start in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], "little"), 12):
        entry = data[start : start + 12]
        length = 2 if entry[2:4] == b"\3\0" else 4
        found[int.from_bytes(entry[:2], "little")] = int.from_bytes(entry[8 : 8 + length], "little")
    if _JPEGXR_WIDTH not in found or _JPEGXR_HEIGHT not in found:
        return None
    return found[_JPEGXR_HEIGHT], found[_JPEGXR_WIDTH]
