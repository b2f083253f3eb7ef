"""What the tests of stores in an object store share: slides, command lines, and looks at what is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import obstore

from drivers import open_slide
from drivers.errors import DriverError
from drivers.location import Url
from drivers.model import Slide
from tests.object_server import ObjectServer, folder_of
from tests.stores import simple_slide, texture

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["--chunk", "64", "--shard", "128", "--codec", "gzip-9", "--workers", "1"]
"""Many objects and a slow codec, so that a kill finds something to interrupt."""


def slide_in(folder: Path, seed: int = 1, size: tuple[int, int] = (300, 290)) -> Slide:
    """A slide whose pixels depend on the seed, and its file too."""
    folder.mkdir(exist_ok=True)
    slide = simple_slide(folder, texture((1, 3, 1, *size), seed=seed), rgb=True)
    slide.path.write_bytes(b"slide %d" % seed)
    return slide


def contents(server: ObjectServer, prefix: str) -> dict[str, bytes]:
    """Every object below a prefix."""
    client = server.client(folder_of(prefix))
    return {name: bytes(obstore.get(client, name).bytes()) for name in server.objects(prefix)}


def command(*words: object) -> subprocess.Popen[str]:
    """`slidemill` in a process of its own, in this process's environment."""
    line = [sys.executable, "-m", "flows.cli", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def opens(url: Url | str) -> bool:
    """Whether a reader finds an image there."""
    try:
        with open_slide(str(url)):
            return True
    except DriverError:
        return False


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Until the condition holds; False when the process ends before."""
    end = time.monotonic() + 60
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.01)
    return True
