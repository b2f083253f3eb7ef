"""Logs of the service's processes: each a file that its process appends to, kept below a bound, for its owner only.

What a process prints (a traceback of a library, a crash of the interpreter) does not go through Python's logging, so no
handler of that could keep the file small; it is copied and emptied from outside, as logrotate's `copytruncate` does.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

BOUND = 5 << 20
KEPT = 2
"""How many older parts are kept, beside the one that grows: `server.log.1` is younger than `server.log.2`."""

log = logging.getLogger("slidemill.up")


def appended(path: Path) -> BinaryIO:
    """The log, open for appending; made where it is not there, readable by its owner only. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def keep_small(paths: Iterable[Path], bound: int = BOUND) -> None:
    """Begin a new part of each log that has grown to the bound. Lines written in that moment may be lost.

    Where there is no room for the old part, it is dropped: the bound holds.
    """
    for path in paths:
        try:
            if path.stat().st_size < bound:
                continue
            _set_aside(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.debug("%s: %s", path.name, error.strerror)
        with suppress(OSError):  # on a disk that became read-only nothing grows
            os.truncate(path, 0)


def _set_aside(path: Path) -> None:
    parts = [path.with_name(f"{path.name}.{number}") for number in range(1, KEPT + 1)]
    for younger, older in zip(reversed(parts[:-1]), reversed(parts[1:]), strict=True):
        if younger.exists():
            younger.replace(older)
    with path.open("rb") as whole, appended(parts[0]) as copy:
        copy.truncate(0)
        shutil.copyfileobj(whole, copy)
