"""Are all files of a slide here? The driver answers, in a process of its own: a file that crashes its reader, or that
makes it hang, costs that process and nothing else."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import ConverterError
from flows.parent import end_with_parent

if TYPE_CHECKING:
    from drivers.model import Driver

_MOMENT_S = 0.2
_IDLE_S = 60.0
_GROWN_BYTES = 500 << 20
"""More memory than at its first answer, and a process has had its time: vendor libraries may leak with each file."""


class ReaderCrashed(ConverterError):
    """Opening the slide ended the process that did it, or never ended."""

    kind = "crashed"


@dataclass(frozen=True, slots=True)
class Probed:
    """What a driver says of a path."""

    path: Path
    """The slide: the path asked about, or the folder it is a part of (DICOM)."""
    driver: str | None
    files: tuple[Path, ...] = ()
    kind: str | None = None
    message: str | None = None
    known_suffix: bool = True
    """Whether a driver claims files of such names: what is damaged among them is worth a word."""
    read: int = 0
    """Bytes that were read to answer."""


@dataclass(slots=True)
class Prober:
    """Asks about one path at a time; starts its process when first asked, and keeps it for the next ones. Close it.

    The process is replaced where it has grown, and ended where nobody asked for a while: `rest` tells.
    """

    seconds: float
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _asked: float = field(default=0.0, init=False)

    def ask(self, root: Path, path: Path, meanwhile: Callable[[], None] | None = None) -> Probed:
        """What the driver says. `meanwhile` is called where the answer takes more than a moment. Raises ReaderCrashed."""
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it ended by itself, or somebody ended it: that is not this file's fault
        process = self._process or self._start()
        question = json.dumps({"root": os.fsencode(root).hex(), "path": os.fsencode(path).hex()})
        try:
            line = self._answer(process, f"{question}\n".encode(), meanwhile)
        except BrokenPipeError:
            line = b""
        except BaseException:  # the answer that is still to come would be taken for that to the next question
            self.close()
            raise
        self._asked = time.monotonic()
        if line:
            answer = json.loads(line)
            if answer.get("grown"):
                self.close()
            return _read(answer)
        self.close()
        name = printable(path.name)
        if line is None:
            raise ReaderCrashed(f"{name}: its reader did not come back within {self.seconds:g} s")
        raise ReaderCrashed(f"{name}: its reader ended with {process.returncode}")

    def _answer(
        self, process: subprocess.Popen[bytes], question: bytes, meanwhile: Callable[[], None] | None
    ) -> bytes | None:
        """One line; empty where the process ended, None where it takes too long."""
        assert process.stdin is not None
        assert process.stdout is not None
        start = time.monotonic()
        process.stdin.write(question)
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], min(_MOMENT_S, self.seconds))
        if not ready:
            if meanwhile is not None:
                meanwhile()
            left = max(0.0, start + self.seconds - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left)
        return process.stdout.readline() if ready else None

    def rest(self) -> None:
        """End a process that nobody has asked for a while: it holds the libraries of all formats in memory."""
        if self._process is not None and time.monotonic() - self._asked > _IDLE_S:
            self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # No secrets for a process that runs decoders on whatever arrives.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SLIDEMILL_", "AWS_", "PG"))}
        command = [sys.executable, "-m", "flows.watching.probe", str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(found: dict[str, Any]) -> Probed:
    return Probed(
        Path(os.fsdecode(bytes.fromhex(found["path"]))),
        found.get("driver"),
        tuple(Path(os.fsdecode(bytes.fromhex(name))) for name in found.get("files", [])),
        found.get("kind"),
        None if found.get("message") is None else printable(found["message"]),
        found.get("known_suffix", True),
        found.get("read", 0),
    )


def printable(text: str) -> str:
    """A message as a database can hold it: a name in it may be no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Drivers:
    """All drivers, looked up once a process: finding them takes a while, too."""

    drivers: Sequence[Driver]
    suffixes: tuple[str, ...]


def _find() -> _Drivers:
    from drivers.discovery import find_drivers

    drivers = [found.driver for found in find_drivers() if found.driver is not None]
    return _Drivers(drivers, tuple({suffix.lower() for driver in drivers for suffix in driver.suffixes}))


def _answer(question: dict[str, str], found: _Drivers) -> dict[str, Any]:
    from drivers.discovery import driver_for, translated
    from drivers.errors import DriverError

    path, root = (Path(os.fsdecode(bytes.fromhex(question[key]))) for key in ("path", "root"))
    answer: dict[str, Any] = {"path": question["path"], "known_suffix": path.name.lower().endswith(found.suffixes)}
    try:
        driver = driver_for(path, found.drivers)
        if driver.name == "dicom" and path.is_file() and path.parent != root:
            path = path.parent  # a slide is a folder of instances
        with driver.open(path) as slide:
            names = [os.fsencode(file.absolute()).hex() for file in slide.files]
        return answer | {"path": os.fsencode(path).hex(), "driver": driver.name, "files": names}
    except DriverError as error:
        return answer | {"kind": error.kind, "message": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a vendor library raises is an answer
        typed = translated(error, path.name)
        return answer | {"kind": typed.kind, "message": str(typed)}


def _die_with(parent: int) -> None:
    """Whatever ends the process that asks ends this one, too: a reader that hangs would not see the end of its input."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Answer questions, one JSON line each, until the input ends."""
    _die_with(int(sys.argv[1]))
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    from converter.pace import bytes_read

    drivers, first = _find(), 0
    for line in sys.stdin:
        before = bytes_read() or 0
        answer = _answer(json.loads(line), drivers)
        answer["read"] = max(0, (bytes_read() or 0) - before)
        memory = _memory_bytes()
        first = first or memory
        answer["grown"] = memory - first > _GROWN_BYTES
        answers.write(json.dumps(answer).encode() + b"\n")


def _memory_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux: it is not replaced
        return 0


if __name__ == "__main__":
    main()
