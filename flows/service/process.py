"""Which process works on a slide, and whether it is still there: told at once for processes of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from converter.publishing.stage import process_start


def machine() -> str:
    """This machine, this boot, this space of process ids."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{socket.gethostname()}/{boot}/{namespace}"


def this_process() -> str:
    """This process, as the ledger names it."""
    return json.dumps({"machine": machine(), "pid": os.getpid(), "start": process_start(os.getpid())})


def pid_here(process: str | None) -> int | None:
    """The process id, where that process lives and is one of this machine."""
    found = parsed(process)
    if found is None or found["machine"] != machine() or process_start(int(found["pid"])) != found["start"]:
        return None
    return int(found["pid"])


def is_gone(process: str | None) -> bool:
    """Whether a process is known to be gone. False for those of other machines: nobody can tell."""
    found = parsed(process)
    return found is not None and found["machine"] == machine() and process_start(int(found["pid"])) != found["start"]


def parsed(process: str | None) -> dict[str, str | int] | None:
    """Machine, pid and start of a process; None where the ledger names none."""
    try:
        found = json.loads(process or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"machine", "pid", "start"} <= set(found) else None


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
