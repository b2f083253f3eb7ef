"""Which process works on a slide, as the ledger names it, and whether it is still there: told at once on its own machine."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from converter import process as processes


def this_process() -> str:
    """This process, as the ledger names it."""
    return json.dumps(processes.this_process())


def pid_here(process: str | None) -> int | None:
    """The process id, where that process lives and is one of this machine."""
    found = parsed(process)
    return int(found["pid"]) if found is not None and processes.lives_here(found) else None


def is_gone(process: str | None) -> bool:
    """Whether a process is known to be gone. False for those of other machines: nobody can tell."""
    found = parsed(process)
    return found is not None and processes.is_gone(found)


def parsed(process: str | None) -> dict[str, Any] | None:
    """The facts of a process; None where the ledger names none."""
    try:
        found = json.loads(process or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_locked(path: Path) -> bool | None:
    """Whether some process holds the lock of that file; None where the file is not there or cannot be asked."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except OSError:
        return None
