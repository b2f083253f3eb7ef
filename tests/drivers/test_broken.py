"""Broken files: one line that says what and where, the right kind of error, soon and in little memory; no crash."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SHARED_SAMPLES
from tests.made.broken import BROKEN, NO_FILES, Maker
from tests.made.svs import Svs, make_svs
from tests.support.sandbox import NOBODY, Outcome, Sandbox

CPU_SECONDS = 8
PEAK_BYTES = 1 << 30
KINDS = {"readable", "damaged", "limit", "unsupported", "unsafe_path", "unreadable", "incomplete"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A place where files may do their worst."""
    server = Sandbox()
    yield server
    server.close()


def check(outcome: Outcome, name: str) -> None:
    """What holds for every file: an end of its own accord, in bounds, told in one line that names the file."""
    assert outcome.kind in KINDS, outcome
    assert outcome.cpu_seconds < CPU_SECONDS, outcome
    assert outcome.peak_bytes < PEAK_BYTES, outcome
    assert outcome.left_open == 0, outcome
    if outcome.kind != "readable":
        assert outcome.message.isprintable()
        assert name in outcome.message
        assert len(outcome.message) < 500
        assert str(Path(__file__).parent) not in outcome.message


@pytest.mark.parametrize(("name", "maker", "kinds"), BROKEN + NO_FILES, ids=[name for name, _, _ in BROKEN + NO_FILES])
def test_made(sandbox: Sandbox, tmp_path: Path, name: str, maker: Maker, kinds: frozenset[str]) -> None:
    path = tmp_path / name
    maker(path)
    outcome = sandbox.examine(path)
    check(outcome, name)
    assert outcome.kind in kinds, outcome


def test_a_huge_profile_is_not_read(sandbox: Sandbox, tmp_path: Path) -> None:
    name, maker, _ = next(case for case in BROKEN if case[0].startswith("B59-icc-of-200-mb"))
    maker(tmp_path / name)
    assert sandbox.examine(tmp_path / name).peak_bytes < 150 << 20


SHARED = sorted(p for p in (SHARED_SAMPLES / "broken").rglob("*") if p.is_file()) if SHARED_SAMPLES.is_dir() else []


@pytest.mark.parametrize("path", SHARED or [None], ids=lambda p: "none" if p is None else p.name)
def test_shared(sandbox: Sandbox, path: Path | None) -> None:
    if path is None:
        pytest.skip("no shared samples beside the project")
    check(sandbox.examine(path), path.name)


def test_a_file_that_may_not_be_read(sandbox: Sandbox) -> None:
    # Not below tmp_path, whose folders are closed to others: the file itself must be what refuses.
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        path = make_svs(folder / "closed.svs", Svs(size=(60, 60), steps=()))
        assert sandbox.examine(path, as_nobody=True).kind == "readable"
        path.chmod(0)
        outcome = sandbox.examine(path, as_nobody=True)
    finally:
        shutil.rmtree(folder)
    check(outcome, "closed.svs")
    assert outcome.kind == "unreadable"
    assert "permission" in outcome.message.lower()
    assert os.getuid() != NOBODY


def test_the_sandbox_tells_crashes_hangs_and_bad_errors(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.examine(tmp_path / "absent.svs").kind == "incomplete"
    for bad in (
        Outcome("other", "KeyError: 5"),
        Outcome("killed", "killed: status 11"),
        Outcome("hangs"),
        Outcome("damaged", "two\nlines of x.svs"),
        Outcome("damaged", "no name"),
        Outcome("readable", cpu_seconds=60),
        Outcome("readable", peak_bytes=3 << 30),
        Outcome("damaged", "x.svs: bad", left_open=1),
    ):
        with pytest.raises(AssertionError):
            check(bad, "x.svs")
