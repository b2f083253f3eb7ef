"""Fixtures for all tests: made and shared samples, and a check that no file stays open."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SHARED_SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
"""Slides of others, beside the project where somebody put them; never part of it."""

# Where an environment forbids bytecode, each of some hundred processes that the tests start would compile all again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell has what it starts in the background ignore Ctrl-C, which tests send to themselves and to their children.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("everyday", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "everyday")


@pytest.fixture(scope="session")
def shared_samples() -> Path:
    """Folder of shared samples; the test is skipped where there is none."""
    if not SHARED_SAMPLES.is_dir():
        pytest.skip("no shared samples beside the project")
    return SHARED_SAMPLES


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made(name, maker)`: path of a sample, made once a session. Tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("made")

    def sample(name: str, maker: Callable[[Path], object]) -> Path:
        path = folder / name
        if not path.exists():
            maker(path)
        return path

    return sample


def open_files() -> list[str]:
    """What the descriptors of this process point to, as far as it is files, FIFOs or sockets by name."""
    found: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # the one that lists the folder
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/sys/")):
            found.append(target)
    return sorted(found)


@pytest.fixture
def files_closed() -> Iterator[None]:
    """Fails when the test leaves a file open; `pytestmark = pytest.mark.usefixtures("files_closed")` in a module."""
    if not Path("/proc/self/fd").is_dir():
        yield
        return
    before = open_files()
    yield
    after = open_files()
    for name in before:
        if name in after:
            after.remove(name)
    assert not after, f"left open: {after}"
