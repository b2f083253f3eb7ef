"""What a stored JPEG segment must show before it is decoded. (JPEG 2000 decoding is strict by itself.)

Decoders turn damage into pixels: a half-missing JPEG decodes to grey without an error, and one that claims
65500 x 65500 pixels is decoded first and rejected afterwards.
"""

from __future__ import annotations

from drivers.errors import Damaged

EOI = b"\xff\xd9"
_SCAN = b"\xff\xda"
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_jpeg(data: bytes, height: int, width: int) -> None:
    """Raise Damaged unless `data` ends with EOI and its frame is `width` wide and at most `height` high.

    The last strip of an image may hold fewer rows, so a lower frame passes here; `paint` compares what was decoded.
    """
    if not data.startswith(b"\xff\xd8"):
        raise Damaged("the JPEG stream has no start marker")
    check_end(data)
    frame = frame_size(data)
    if frame is None:
        raise Damaged("the JPEG stream has no frame header")
    if frame[1] != width or not 0 < frame[0] <= height:
        raise Damaged(f"the JPEG frame is {frame[1]}x{frame[0]}, the tile {width}x{height}")


def check_end(data: bytes) -> None:
    """Raise Damaged unless the stream has its end marker; writers may pad behind it.

    The marker cannot occur within the scan, where every FF is followed by 00 or RSTn (ITU-T T.81 B.1.1.5).
    """
    if not data.endswith(EOI) and data.rfind(EOI) < data.rfind(_SCAN):
        raise Damaged("the compressed stream ends before its end marker: the tile is cut short")


def frame_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of the first frame header (ITU-T T.81 B.2.2), None where there is none."""
    at = frame_offset(data)
    return (
        None if at is None else (int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big"))
    )


def frame_offset(data: bytes) -> int | None:
    """Where the first frame header starts; its height is at + 5, its width at + 7."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _FRAMES:
            return at
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
