"""How a file looks from outside, and its path as text."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from converter.errors import ConverterError

QUOTED = "%bytes:"
"""What a path begins with that was no UTF-8."""


class FolderUnavailable(ConverterError, OSError):
    """A watched folder cannot be listed."""

    kind = "unreadable"
    retryable = True


class Look(NamedTuple):
    """A file as it looked: bytes, modification time in ns, inode."""

    size: int
    mtime_ns: int
    inode: int


def look(stat: os.stat_result) -> Look:
    """The look of a file from its stat. Databases know no unsigned inode numbers."""
    return Look(stat.st_size, stat.st_mtime_ns, stat.st_ino & (2**63 - 1))


def as_text(path: str) -> str:
    """A path as a database can hold it: one that is no UTF-8 is quoted."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return QUOTED + quote_from_bytes(os.fsencode(path))
    return QUOTED + quote_from_bytes(path.encode()) if path.startswith(QUOTED) else path


def as_path(text: str) -> str:
    """The path that `as_text` made a text of."""
    return os.fsdecode(unquote_to_bytes(text[len(QUOTED) :])) if text.startswith(QUOTED) else text
