"""Opening a TIFF safely: its directories are walked before tifffile's lazy reading is trusted.

tifffile stops without an error at a cycle, and opens a file whose first IFD lies past its end as an empty image.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.errors import Damaged, DriverError
from drivers.files import ByteSource, open_source
from drivers.tiff.directory import MAGIC, Directories, check_directories, layout_of, read_directory, value_of

if TYPE_CHECKING:
    from tifffile import TiffFile

_DESCRIPTION = 270
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class OpenTiff:
    """A TIFF file: `tiff` for its tags, `source` for positioned reads from any thread."""

    source: ByteSource
    tiff: TiffFile
    chain: frozenset[int] = frozenset()
    """Offsets of the main directories."""
    is_open: bool = False
    """Whether the file ends before the pointer that tells of the next directory."""

    @property
    def name(self) -> str:
        """File name, for messages."""
        return self.source.path.name

    def close(self) -> None:
        """Close both handles."""
        self.tiff.close()
        self.source.close()


def is_tiff(head: bytes) -> bool:
    """Whether a file that starts with `head` says it is a TIFF or BigTIFF."""
    return head[:4] in MAGIC


def first_description(path: Path, head: bytes) -> bytes:
    """ImageDescription of the first page, empty where there is none or the file is no sound TIFF."""
    return first_values(path, head, _DESCRIPTION).get(_DESCRIPTION, b"")


def first_values(path: Path, head: bytes, *codes: int, ndpi: bool = False) -> dict[int, bytes]:
    """Bytes of those tags of the first page that it has; none where the file is no sound TIFF."""
    if not is_tiff(head):
        return {}
    try:
        source = open_source(path)
    except DriverError:  # recognising must not raise on broken files; opening them says what is wrong
        return {}
    try:
        layout = layout_of(source, ndpi=ndpi)
        entries, _ = read_directory(source, layout, layout.first)
        return {e.code: value_of(source, layout, e).rstrip(b"\0") for e in entries if e.code in codes}
    except DriverError:
        return {}
    finally:
        source.close()


def check_tiff(path: Path) -> None:
    """The checks of a TIFF that another library opens. Raises Damaged where it is cut short, and as `open_tiff` does."""
    source = open_source(path)
    try:
        check_directories(source)
    finally:
        source.close()


def open_tiff(path: Path, *, ndpi: bool = False, open_end: bool = False) -> OpenTiff:
    """Open and check the container; `ndpi`: with Hamamatsu's 64-bit pointers in a classic TIFF.

    `open_end`: the pointer after the last directory may be absent, and the caller says so to its own.
    Raises Damaged (a circle, no image, directories past the end), LimitExceeded, Unsupported.
    """
    source = open_source(path)
    try:
        found = check_directories(source, ndpi=ndpi)
        _require_end(found, path, open_end)
        return OpenTiff(source, _tifffile(path, ndpi), found.main, found.is_open)
    except BaseException:
        source.close()
        raise


def _require_end(found: Directories, path: Path, open_end: bool) -> None:
    if found.is_open and not open_end:
        raise Damaged(f"{path.name}: ends where it would tell of further images; copy the file again")


def _tifffile(path: Path, ndpi: bool) -> TiffFile:
    import tifffile

    try:
        tiff = tifffile.TiffFile(path, is_ndpi=ndpi)  # without it, tifffile goes by the suffix
    except DriverError:
        raise
    except Exception as error:
        raise Damaged(f"{path.name}: not a readable TIFF: {' '.join(str(error).split())[:200]}") from error
    if not len(tiff.pages):
        tiff.close()
        raise Damaged(f"{path.name}: the TIFF holds no image; the file is truncated or damaged")
    return tiff
