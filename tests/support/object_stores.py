"""What the tests of stores in an object store share: fixtures, command lines, and looks at what is there.

Imported before pytest loads it as a plugin, as tests/support/object_server.py is: hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest

from drivers import open_slide
from drivers.errors import DriverError
from drivers.location import Url
from drivers.model import Slide
from tests.made.svs import Svs, make_svs
from tests.support.object_server import ObjectServer, folder_of
from tests.support.stores import simple_slide, texture

Made = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--chunk", "64", "--shard", "128", "--codec", "gzip-9", "--workers", "1"]
"""Many objects and a slow codec, so that a kill finds something to interrupt."""


def slide_in(folder: Path, seed: int = 1, size: tuple[int, int] = (200, 190)) -> Slide:
    """A slide whose pixels depend on the seed, and its file too."""
    folder.mkdir(exist_ok=True)
    slide = simple_slide(folder, texture((1, 3, 1, *size), seed=seed), rgb=True)
    slide.path.write_bytes(b"slide %d" % seed)
    return slide


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    """A small slide."""
    return slide_in(tmp_path / "in")


@pytest.fixture
def target(prefix: str) -> Url:
    """Where its store goes."""
    return Url(f"{prefix}/x.zarr")


@pytest.fixture
def svs(made: Made) -> Path:
    """A slide as a file."""
    return made("object.svs", lambda path: make_svs(path, Svs(size=(700, 800), steps=(4,))))


def contents(server: ObjectServer, prefix: str) -> dict[str, bytes]:
    """Every object below a prefix."""
    client = server.client(folder_of(prefix))
    return {name: bytes(obstore.get(client, name).bytes()) for name in server.objects(prefix)}


def command(*words: object, standing: tuple[int, Path] | None = None) -> subprocess.Popen[str]:
    """`slidemill` in a process of its own, in this process's environment; `standing`: as tests/support/held.py has it."""
    module = ["flows.cli"] if standing is None else ["tests.support.held", *standing]
    line = [sys.executable, "-m", *map(str, [*module, *words])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def opens(url: Url | str) -> bool:
    """Whether a reader finds an image there."""
    try:
        with open_slide(str(url)):
            return True
    except DriverError:
        return False
