"""Reading files that may crash, hang or swallow all memory: each in a process of its own, with limits.

`Sandbox.examine(path)` opens and reads a slide in a fork of a small server, which has everything imported and so costs
milliseconds. Run as a module this file is that server.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU_SECONDS = 20
"""Processor time a file may take; wall time would depend on what else the machine does."""
HANGS_SECONDS = 240
"""Without an end after this it waits for something that never comes."""
ADDRESS_SPACE = 4 << 30
NOBODY = 65534
_MOST_SAMPLES = 100_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the reading of a file ended."""

    kind: str
    """How: "readable", the kind of the DriverError, or "other" (an exception that is none), "killed", "hangs"."""
    message: str = ""
    cpu_seconds: float = 0
    peak_bytes: int = 0
    left_open: int = 0
    """Descriptors that were open afterwards and not before."""


class Sandbox:
    """The server process; close it."""

    def __init__(self) -> None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.support.sandbox"]
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def examine(self, path: Path, *, as_nobody: bool = False) -> Outcome:
        """Open the slide, read its levels, close it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps([os.fsencode(path).hex(), as_nobody]), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        assert answer, "the sandbox itself ended"
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End the server."""
        self._server.communicate()


def read_all(path: Path) -> None:
    """Open the slide and read every level, of huge ones two corners."""
    from drivers import open_slide, paint
    from drivers.geometry import Box, Shape

    with open_slide(path) as slide:
        for scene in (*slide.scenes, *slide.associated.values()):
            for level in scene.levels:
                whole = Box.of(level.shape)
                if whole.pixels <= _MOST_SAMPLES:
                    assert paint(level, whole).shape == level.shape
                    continue
                _, _, _, height, width = level.shape
                for y, x in ((0, 0), (max(0, height - 500), max(0, width - 500))):
                    paint(level, Box(Shape(0, 0, 0, y, x), Shape(1, level.shape.c, 1, y + 500, x + 500)))


def _outcome(path: Path) -> dict[str, object]:
    from drivers.errors import DriverError

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not read
    try:
        read_all(path)
        kind, message = "readable", ""
    except DriverError as error:
        kind, message = error.kind, str(error)
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails
        kind, message = "other", f"{type(error).__name__}: {error}"
    after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    return {"kind": kind, "message": message, "left_open": after - before}


def _child(path: Path, *, as_nobody: bool, pipe: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    if as_nobody and os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.write(pipe, json.dumps(_outcome(path)).encode())


def _examine(path: Path, *, as_nobody: bool) -> dict[str, object]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _child(path, as_nobody=as_nobody, pipe=writer)
        finally:
            os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], HANGS_SECONDS)
    if not ready:
        os.kill(child, signal.SIGKILL)
    said = os.read(reader, 1 << 16) if ready else b""
    os.close(reader)
    _, status, usage = os.wait4(child, 0)
    ended = "hangs" if not ready else f"killed: status {status}"
    outcome = json.loads(said) if said else {"kind": ended.partition(":")[0], "message": ended}
    return outcome | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def serve() -> None:
    """Answer one line per line: what to read, how it ended."""
    from tests.made.svs import ENCODERS, Svs, make_svs

    with tempfile.TemporaryDirectory() as folder:  # imports what reading needs, which nobody may not be able to
        for codec in ENCODERS:
            read_all(make_svs(Path(folder) / f"{codec}.svs", Svs(size=(60, 60), steps=(), codec=codec)))
    for line in sys.stdin:
        path, as_nobody = json.loads(line)
        answer = _examine(Path(os.fsdecode(bytes.fromhex(path))), as_nobody=as_nobody)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
