"""Toy slides: a driver of their own whose pixels come out of thin air, slowly, or end the process that reads them.

Processes of the service find the driver as a plug-in: `install_plugin` makes a distribution for their PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.geometry import Shape
from drivers.model import Channel, Driver, Level, Scene, Slide
from drivers.tiles import Grid

MAGIC = b"toy slide\n"
SIDE = 256


@dataclass(frozen=True, slots=True)
class Toy:
    """A toy slide of `columns` tiles in a row."""

    columns: int = 4
    seconds: float = 0.0
    """How long a tile takes to decode."""
    seed: int = 1
    end: str = ""
    """What reading pixels does to the process: kill, segv, hang; empty: nothing."""
    opening: str = ""
    """The same, when the slide is opened."""
    log: str = ""
    """A file that gets one line a process that reads pixels: machine, its id, its parent's id, the slide's name."""


def make_toy(path: Path, toy: Toy) -> Path:
    """Write the file, appearing all at once."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(MAGIC + json.dumps(asdict(toy)).encode())
    part.rename(path)
    return path


def readers(log: Path) -> list[tuple[str, str, str]]:
    """(machine, parent's id, slide) for each process of the service that read pixels."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(machine, parent, slide) for machine, process, parent, slide in lines if process != str(os.getpid())]


def _open(path: Path) -> Slide:
    toy = Toy(**json.loads(path.read_bytes()[len(MAGIC) :]))
    _end(toy.opening)
    shape, tile = Shape(1, 1, 1, SIDE, SIDE * toy.columns), Shape(1, 1, 1, SIDE, SIDE)
    first = threading.Lock()

    def read(key: Any) -> NDArray[Any]:
        if first.acquire(blocking=False):
            _begin(path, toy)
        time.sleep(toy.seconds)
        return np.random.default_rng([toy.seed, key.x]).integers(0, 255, tile, np.uint8)

    level = Level(shape, np.dtype(np.uint8), Grid(shape, tile), read, tile, 0, 1.0, "none")
    return Slide(path, "toy", [path], [Scene("toy", [level], False, (Channel("grey"),))], {}, lambda: None)


def _begin(path: Path, toy: Toy) -> None:
    if toy.log:
        with Path(toy.log).open("a") as log:
            log.write(f"{socket.gethostname()} {os.getpid()} {os.getppid()} {path.name}\n")
    _end(toy.end)


def _end(how: str) -> None:
    if how in ("kill", "segv"):
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "segv": signal.SIGSEGV}[how])
    if how:
        threading.Event().wait()


DRIVER = Driver("toy", (".toy",), lambda _path, head: head.startswith(MAGIC), _open)


def install_plugin(folder: Path) -> Path:
    """A folder for PYTHONPATH whose distribution names the driver."""
    made = folder / "toy_slides-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-slides\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(f"[slidemill.drivers]\ntoy = {__name__}:DRIVER\n")
    return folder
