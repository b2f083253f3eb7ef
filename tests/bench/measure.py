"""Running a command to its end and measuring the whole tree of its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import psutil

_SAMPLE_S = 0.02
_LOOK_EVERY = 10
"""Samples between two looks for new processes: a look reads the table of all processes, which costs as much as ten."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command, run once.

    `peak_bytes` is the highest sum over its processes that a sample saw, or the highest of any one of them, which the
    system counts without gaps, where that is more.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    code: int
    timed_out: bool
    stdout: str
    stderr: str

    @property
    def trouble(self) -> str:
        """Why it failed, in one line; empty when it did not."""
        if self.timed_out:
            return f"stopped after {self.wall_s:.0f} s"
        if not self.code:
            return ""
        said = (self.stderr.strip() or self.stdout.strip() or "it said nothing").splitlines()[-1].strip()
        return f"exit {self.code}: {said[:160]}"


def run(command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> Run:
    """Run and measure. Every process of the tree is ended when the time is up or the caller is interrupted."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)
        tree = _Tree(process.pid, start + timeout_s)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - start
        except BaseException:
            tree.end()
            process.wait()
            raise
        finally:
            tree.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        # Linux counts what the caller held when it started the command to the command: then only samples tell.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) if usage.ru_maxrss > own else 0
        return Run(
            wall_s=wall_s,
            cpu_s=max(usage.ru_utime + usage.ru_stime, tree.cpu_s),
            peak_bytes=max(tree.peak_bytes, largest),
            code=process.returncode,
            timed_out=tree.timed_out,
            stdout=_text(out),
            stderr=_text(err),
        )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


class _Tree:
    """Watches a process and all it starts from a thread of its own, until closed."""

    def __init__(self, pid: int, deadline: float) -> None:
        self.peak_bytes = 0
        self.timed_out = False
        self._deadline = deadline
        self._cpu: dict[psutil.Process, float] = {}
        self._closed = threading.Event()
        self._processes: list[psutil.Process] = []
        with suppress(psutil.Error):
            self._processes.append(psutil.Process(pid))
        self._thread = threading.Thread(target=self._watch, name="bench-tree", daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> float:
        """CPU time seen so far; counts processes that were never waited for, which `rusage` leaves out."""
        return sum(self._cpu.values())

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join()

    def end(self) -> None:
        """Kill what still runs, of this tree only."""
        self._look()
        for process in reversed(self._processes):
            with suppress(psutil.Error):
                process.kill()

    def _watch(self) -> None:
        count = 0
        while not self._closed.wait(_SAMPLE_S):
            if count % _LOOK_EVERY == 0:
                self._look()
            count += 1
            self.peak_bytes = max(self.peak_bytes, self._memory())
            if time.perf_counter() > self._deadline and not self.timed_out:
                self.timed_out = True
                self.end()

    def _look(self) -> None:
        """Find new processes, and note the CPU time of all."""
        for process in self._processes[:1]:
            with suppress(psutil.Error):
                known = set(self._processes)
                self._processes += [child for child in process.children(recursive=True) if child not in known]
        for process in self._processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu[process] = times.user + times.system

    def _memory(self) -> int:
        """Bytes held now. Several processes share pages, so their proportional sizes are taken where the system has them.

        A proportional size takes a walk through the page table: it is asked for only when the plain sum could be a new peak.
        """
        held = {process: size for process in self._processes if (size := _resident(process))}
        plain = sum(held.values())
        if len(held) < 2 or plain <= self.peak_bytes:
            return plain
        return sum(_proportional(process, size) for process, size in held.items())


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process, resident: int) -> int:
    try:
        found: Any = process.memory_full_info()
    except psutil.Error:
        return resident
    return int(getattr(found, "pss", resident))
