"""Which process this is, and whether another one is known to be gone. The one place that tells machines apart.

Stages, claims and the ledger all name processes by these facts. A host name alone names no machine: clones share one, as do
containers, in each of which the first process has the id 1.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

monotonic = time.monotonic
"""Seconds by this machine's clock: it does not jump, sleeps with the machine, and is one for all processes of a boot."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIMES = Path("/proc/self/ns/time")
_UNKNOWN = "?"


def machine() -> str:
    """`host/boot/namespace`: this host name, this boot of this kernel, this space of process ids and its clock of when they
    started; ? for what nobody tells.

    See proc(5), random(4), pid_namespaces(7) and time_namespaces(7).
    """
    return f"{socket.gethostname()}/{_boot()}/{_namespace()}"


def _boot() -> str:
    try:
        return _BOOT.read_text().strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN


def _namespace() -> str:
    try:
        # A /proc that was mounted for another space of process ids shows other processes under our numbers.
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            return _UNKNOWN
        spaces = [str(Path("/proc/self/ns/pid").stat().st_ino)]
        if _TIMES.exists():  # since Linux 5.6: the start of one process is another number for those of another time
            spaces.append(str(_TIMES.stat().st_ino))
        return "-".join(spaces)
    except OSError:
        return _UNKNOWN


def this_process() -> dict[str, Any]:
    """This process, to be written down: machine, pid, and when it started."""
    return {"machine": machine(), "pid": os.getpid(), "started": _start(os.getpid())}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a process is known to have ended. False for those of other machines, and where nobody can tell."""
    if not is_of_here(process):
        return False
    pid = int(process["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is somebody else's
    start = _start(pid)
    return start is not None and process["started"] is not None and start != process["started"]


def lives_here(process: Mapping[str, Any]) -> bool:
    """Whether a process is known to run on this machine."""
    return is_of_here(process) and process["started"] is not None and _start(int(process["pid"])) == process["started"]


def same_process(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both name one process."""
    return _is_whole(one) and all(one[name] == other.get(name) for name in ("machine", "pid", "started"))


def is_of_here(process: Mapping[str, Any]) -> bool:
    """Whether a process is known to be one of this machine, so that it can be told whether it lives."""
    here = machine()
    return _is_whole(process) and process["machine"] == here and _UNKNOWN not in here.split("/")


def _is_whole(process: Mapping[str, Any]) -> bool:
    return {"machine", "pid", "started"} <= set(process) and isinstance(process["pid"], int) and process["pid"] > 0


def _start(pid: int) -> str | None:
    """Start of a process in clock ticks since boot, None where it cannot be read: tells a reused pid from the old owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
