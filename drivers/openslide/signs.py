"""By what a slide of each vendor is known, cheaply and without the OpenSlide library (openslide.org/formats)."""

from __future__ import annotations

from pathlib import Path

from drivers.errors import DriverError
from drivers.files import ByteSource, open_source
from drivers.tiff.container import is_tiff
from drivers.tiff.directory import Entry, Layout, layout_of, read_directory, value_of

VMS = b"[Virtual Microscope Specimen]"
VMU = b"[Uncompressed Virtual Microscope Specimen]"
_SQLITE = b"SQLite format 3\0"
_SOFTWARE, _XMP = 305, 700


def vendor_of(path: Path, head: bytes) -> str | None:
    """The vendor, in OpenSlide's words, of a slide that the fallback driver reads; None for every other file."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and (path.with_suffix("") / "Slidedat.ini").is_file():
        return "mirax"
    if head.lstrip(b"\xef\xbb\xbf").startswith((VMS, VMU)):
        return "hamamatsu"
    if suffix == ".svslide" and head.startswith(_SQLITE):
        return "sakura"
    return _tiff_vendor(path) if is_tiff(head) else None


def _tiff_vendor(path: Path) -> str | None:
    try:
        source = open_source(path)
    except DriverError:
        return None
    try:
        layout = layout_of(source)
        entries, _ = read_directory(source, layout, layout.first)
        if b"<iScan" in _value(source, layout, entries, _XMP):
            return "ventana"
        return "trestle" if _value(source, layout, entries, _SOFTWARE).startswith(b"MedScan") else None
    except DriverError:
        return None
    finally:
        source.close()


def _value(source: ByteSource, layout: Layout, entries: list[Entry], code: int) -> bytes:
    found = next((entry for entry in entries if entry.code == code), None)
    return b"" if found is None else value_of(source, layout, found)
