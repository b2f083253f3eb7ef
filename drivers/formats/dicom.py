"""DICOM: whole slides in any number of files, and ordinary images of one or several frames.

What it does is in drivers/dicom/.
"""

from __future__ import annotations

from pathlib import Path

from drivers.model import Driver, Slide


def matches(path: Path, head: bytes) -> bool:
    """A file with DICOM's magic at byte 128 (its name need not have a suffix) or a bare data set; or a folder of them."""
    if head and head[128:132] != b"DICM" and not head.startswith(b"\x08\0"):
        return False
    from drivers.dicom.fileset import has_dicom
    from drivers.dicom.instance import is_dicom

    return has_dicom(path) if not head and path.is_dir() else is_dicom(head)


def open_slide(path: Path) -> Slide:
    """Open DICOM; its parts are imported now, so that slides of other formats do not pay for them."""
    from drivers.dicom.slide import open_slide as opened

    return opened(path)


_CLAIMS = {"dicomdir": "its directory whole and the files that it names"}
DRIVER = Driver("dicom", (".dcm", ".dicom"), matches, open_slide, library="imagecodecs", claims=_CLAIMS)
