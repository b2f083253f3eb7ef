"""Tables for spreadsheets: CSV by RFC 4180, every cell quoted, that no name of a file can turn into a formula."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote_from_bytes

QUOTED = "%bytes:"
_FORMULA = tuple("=+-@'＝＋－＠")
Cell = str | int | float | None


class Table:
    """Writes rows into a stream that was opened with newline=""."""

    def __init__(self, stream: TextIO, head: Sequence[str]) -> None:
        self._writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        self._writer.writerow(head)

    def add(self, cells: Sequence[Cell]) -> None:
        """One row; None is an empty cell."""
        self._writer.writerow([cell_text(cell) if isinstance(cell, str) else cell for cell in cells])


def cell_text(text: str) -> str:
    """A text as one line that a spreadsheet shows and does not carry out.

    With control characters, or bytes that are no UTF-8, it is `%bytes:` and the text percent-encoded. What begins as a
    formula does, or with an apostrophe, gets an apostrophe in front: without the first one it is the text again.
    """
    if not _is_plain(text):
        text = QUOTED + quote_from_bytes(os.fsencode(text), safe="/ ,;:()[]{}'!+=@&$~^#")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _is_plain(text: str) -> bool:
    return not any(ch < " " or "\x7f" <= ch <= "\x9f" or "\ud800" <= ch <= "\udfff" or ch in "\u2028\u2029" for ch in text)


def time_text(seconds: float | None) -> str | None:
    """Seconds since the epoch as `2026-11-29T12:34:56Z`; the number where no calendar has it."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds // 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
