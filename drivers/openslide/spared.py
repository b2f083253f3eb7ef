"""Slides of which OpenSlide cannot open an associated image, and therefore nothing: it is shown an index without that image.

The index is copied, without the image's entry, into a folder of its own beside links to the slide's files. Entries of MRXS
and VMS/VMU: openslide.org/formats.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from drivers.associated import left_out
from drivers.errors import Damaged, DriverError
from drivers.files import open_source
from drivers.limits import LIMITS, check
from drivers.openslide.library import Library

ENTRIES: Mapping[str, Mapping[str, bytes]] = {
    "mirax": {
        "macro": rb"(NONHIER_\d+_VAL_\d+\s*=\s*)ScanDataLayer_SlideThumbnail\s*$",
        "label": rb"(NONHIER_\d+_VAL_\d+\s*=\s*)ScanDataLayer_SlideBarcode\s*$",
        "thumbnail": rb"(NONHIER_\d+_VAL_\d+\s*=\s*)ScanDataLayer_SlidePreview\s*$",
    },
    "hamamatsu": {"macro": rb"()MacroImage\s*=.*$"},
}
"""By vendor and role, the line of the index that tells of the image."""
_NAMED = re.compile(r"read (macro|label|thumbnail) associated image")
_FORMAT = "Unsupported associated image format"
_TYPES = {b"THUMBNAIL": "macro", b"BARCODE": "label", b"PREVIEW": "thumbnail"}
_NO_JPEG = re.compile(rb"(?mi)^(THUMBNAIL|BARCODE|PREVIEW)_IMAGE_TYPE\s*=(?!\s*JPEG\s*$)")


def open_library(
    path: Path, vendor: str, files: Sequence[Path], absent: Mapping[str, DriverError]
) -> tuple[Library, list[str]]:
    """(the open slide, warnings on images that it is opened without: those that are `absent`, and what cannot be opened).

    `files` are those that are there. Raises Damaged where the slide itself cannot be opened.
    """
    lost = dict(absent)
    while True:
        library = Library(path, _view(path, vendor, files, tuple(lost)) if lost else None)
        try:
            library.slide()
        except Damaged as error:
            library.close()
            roles = (_blamed(str(error), path, vendor) & set(ENTRIES.get(vendor, ()))) - set(lost)
            if not roles:
                raise
            lost |= dict.fromkeys(sorted(roles), error)
        else:
            return library, [left_out(role, error) for role, error in lost.items()]


def _blamed(message: str, path: Path, vendor: str) -> set[str]:
    """Roles of the images that the library's message is about."""
    if vendor == "mirax" and _FORMAT in message:
        return {_TYPES[word.upper()] for word in _NO_JPEG.findall(_content(_index_of(path, vendor)))}
    found = _NAMED.search(message)
    return set() if found is None else {found[1]}


def _index_of(path: Path, vendor: str) -> Path:
    return path.with_suffix("") / "Slidedat.ini" if vendor == "mirax" else path


def _view(path: Path, vendor: str, files: Sequence[Path], roles: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """A folder with the slide under its name, whose index says nothing of these images. Whoever asks removes it."""
    folder = tempfile.TemporaryDirectory(prefix="slidemill-")
    index = _index_of(path, vendor)
    try:
        for file in (path, *files):
            link = Path(folder.name) / file.relative_to(path.parent)
            if link.exists():
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            if file == index:
                link.write_bytes(_without(file, vendor, roles))
            else:
                link.symlink_to(file.resolve())
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _without(index: Path, vendor: str, roles: Sequence[str]) -> bytes:
    data = _content(index)
    for role in roles:
        data = re.sub(rb"(?mi)^" + ENTRIES[vendor][role], rb"\1LeftOut=\r", data)
    return data


def _content(index: Path) -> bytes:
    source = open_source(index)
    try:
        check(f"{index.name}: its size", source.size, LIMITS.metadata_bytes)
        return source.read(0, source.size)
    finally:
        source.close()
