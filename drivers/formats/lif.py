"""Leica LIF, LOF and XLEF (with XLCF and XLIF): every image a scene, every tile of an unmerged tile scan too.

What it does is in drivers/lif/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide

_HEADER = "LMSDataContainer"
_TEXTS = (_HEADER, "LMS_Object_File")


def matches(_path: Path, head: bytes) -> bool:
    """A text block of UTF-16 that begins as Leica's do, or Leica's XML."""
    if head.startswith(b"\x70\0\0\0") and head[8:9] == b"\x2a":
        return any(text.encode("utf-16-le") in head[13:160] for text in _TEXTS)
    plain = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t")
    return plain.startswith(b"<") and f"<{_HEADER}Header".encode() in plain[:400]


def open_slide(path: Path) -> Slide:
    """Open LIF; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.lif.slide import open_slide as opened

    return opened(path)


DRIVER = Driver(
    "lif",
    (".lif", ".lof", ".xlef", ".xlif", ".xlcf"),
    matches,
    open_slide,
    claims=dict.fromkeys((".xlef", ".xlif", ".xlcf"), "its XML whole and the files that it names"),
)
