"""Zeiss AxioVision ZVI: T/C/Z, colour, mosaics and positions out of an OLE2 compound file.

What it does is in drivers/zvi/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.errors import DriverError
from drivers.model import Driver, Slide

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def matches(path: Path, head: bytes) -> bool:
    """A compound file with a storage `Image` that holds `Contents` or image items; Office, OIB, ... have none."""
    if not head.startswith(_MAGIC):
        return False
    from drivers.zvi.compound import names_image

    try:
        return names_image(path)
    except DriverError:
        return path.suffix.lower() == ".zvi"  # a damaged one: opening it says what is wrong


def open_slide(path: Path) -> Slide:
    """Open ZVI; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.zvi.slide import open_slide as opened

    return opened(path)


DRIVER = Driver("zvi", (".zvi",), matches, open_slide)
