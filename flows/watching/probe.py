"""Are all files of a slide here? The driver answers, in a process of its own: a file that crashes its reader, or that
makes it hang, costs that process and nothing else."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converter.errors import ConverterError

_PR_SET_PDEATHSIG = 1


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


@dataclass(slots=True)
class Prober:
    """Asks about one path at a time; starts its process when first asked. Close it."""

    seconds: float
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def ask(self, root: Path, path: Path) -> Probed:
        """What the driver says. Raises ReaderCrashed."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        question = json.dumps({"root": os.fsencode(root).hex(), "path": os.fsencode(path).hex()})
        try:
            process.stdin.write(f"{question}\n".encode())
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.seconds)
            line = process.stdout.readline() if ready else None
        except OSError:
            line = b""
        if line:
            return _read(json.loads(line))
        self.close()
        if line is None:
            raise ReaderCrashed(f"{path.name}: its reader did not come back within {self.seconds:g} s")
        raise ReaderCrashed(f"{path.name}: its reader ended with {process.returncode}")

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
        found.get("message"),
        found.get("known_suffix", True),
    )


def _answer(question: dict[str, str]) -> dict[str, Any]:
    from drivers.discovery import driver_for, find_drivers, translated
    from drivers.errors import DriverError

    path, root = (Path(os.fsdecode(bytes.fromhex(question[key]))) for key in ("path", "root"))
    drivers = [found.driver for found in find_drivers() if found.driver is not None]
    suffixes = {suffix.lower() for driver in drivers for suffix in driver.suffixes}
    answer: dict[str, Any] = {"path": question["path"], "known_suffix": path.name.lower().endswith(tuple(suffixes))}
    try:
        driver = driver_for(path, drivers)
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
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Answer questions, one JSON line each, until the input ends."""
    _die_with(int(sys.argv[1]))
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
