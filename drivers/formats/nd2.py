"""Nikon ND2: every stage position a scene; frames are read where they lie, without nd2's lock.

What it does is in drivers/nikon/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide

_MAGIC = b"\xda\xce\xbe\x0a"
_SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


def matches(path: Path, head: bytes) -> bool:
    """A file that begins with ND2's signature chunk, or a JPEG 2000 file that is named .nd2."""
    modern = head.startswith(_MAGIC) and head[16:48] == _SIGNATURE
    return modern or (head.startswith(_JP2) and path.suffix.lower() == ".nd2")


def open_slide(path: Path) -> Slide:
    """Open ND2; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.nikon.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("nd2", (".nd2",), matches, open_slide, library="nd2")
