"""Interrupts and kills of real processes: the target is absent or whole, nothing half-made opens, the next run cleans up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.checking.verify import verify_store
from drivers import open_slide
from tests.made.svs import Svs, make_svs
from tests.support.waiting import wait_for

Made = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--chunk", "64", "--shard", "128", "--codec", "gzip-9", "--workers", "1"]
"""Many files and a slow codec, so that a kill finds something to interrupt."""


@pytest.fixture
def slide(made: Made) -> Path:
    """A slide that takes a second or two to convert."""
    return made("kill.svs", lambda path: make_svs(path, Svs(size=(900, 1000), codec="raw", tile=(256, 256))))


def run(*arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def start(slide: Path, store: Path, *more: str) -> subprocess.Popen[str]:
    """`slidemill convert`, in a process of its own."""
    return run("flows.cli", "convert", slide, "-o", store, *OPTIONS, *more)


def standing(files: int, marker: Path, *arguments: object) -> subprocess.Popen[str]:
    """`slidemill convert`, which stands still with so many files written until `marker` is removed, or an interrupt."""
    process = run("tests.support.held", files, marker, "convert", *arguments, *OPTIONS)
    assert wait_for(marker.exists, process)
    return process


def convert_again(slide: Path, store: Path, *more: str) -> None:
    """A later run succeeds and leaves nothing of the earlier one."""
    process = start(slide, store, *more)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert not (store.parent / ".stage").exists()
    assert sorted(path.name for path in store.parent.iterdir()) == [store.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_interrupt(slide: Path, tmp_path: Path, number: signal.Signals) -> None:
    store = tmp_path / "x.ome.zarr"
    process = standing(20, tmp_path / "stands", slide, "-o", store, "--json")
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, out + err
    found = json.loads(out)
    assert found["status"] == "failed"
    assert found["error"]["kind"] == "interrupted"
    assert found["error"]["retryable"]
    (tmp_path / "stands").unlink()
    assert list(tmp_path.iterdir()) == []
    convert_again(slide, store)


def test_interrupt_ends_a_batch(slide: Path, tmp_path: Path, made: Made) -> None:
    second = made("kill-second.svs", lambda path: make_svs(path, Svs(size=(300, 300), steps=())))
    process = standing(20, tmp_path / "stands", slide, second, "-o", tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    (tmp_path / "stands").unlink()
    assert list(tmp_path.iterdir()) == []


def killed(slide: Path, folder: Path, moment: float | int, *more: str) -> bool:
    """Start, kill -9 at a moment (files written, or seconds from the start), look at what is there.

    Whether the kill came before the store was published.
    """
    store = folder / "x.ome.zarr"
    existed = store.exists()
    if isinstance(moment, int):
        process = standing(moment, folder.parent / "stands", slide, "-o", store, *more)
        in_time = True
    else:
        process = start(slide, store, *more)
        in_time = not ended(process, moment)
    process.kill()
    process.communicate()
    (folder.parent / "stands").unlink(missing_ok=True)
    for stage in (folder / ".stage").glob("*"):
        if not (stage / "store").exists():  # killed before it said whose it is: that is kept for a minute, which passes now
            os.utime(stage, (time.time() - 120, time.time() - 120))
    leftovers = sorted((folder / ".stage").glob("*/store")) if (folder / ".stage").is_dir() else []
    if store.exists():
        with open_slide(slide) as opened:
            report = verify_store(store, slide=opened, depth="full")
        assert report.ok, report.violations
    else:
        assert not existed, "the old store is gone"
    for leftover in leftovers:
        roots = [name for name in ("zarr.json", ".zattrs", ".zgroup") if (leftover / name).exists()]
        if roots:  # between the last file and the rename: nobody looks into .stage, and what is there is whole
            assert verify_store(leftover, depth="full").ok
    return in_time and (existed or not store.exists())


def ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether a process ends by itself within so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run_length(slide: Path, folder: Path) -> tuple[float, int]:
    """(seconds, files) of an undisturbed conversion; the root's metadata is written in another way than the other files."""
    folder.mkdir()
    began = time.monotonic()
    process = start(slide, folder / "x.ome.zarr")
    process.communicate(timeout=240)
    assert process.returncode == 0
    return time.monotonic() - began, sum(1 for path in (folder / "x.ome.zarr").rglob("*") if path.is_file())


def series(slide: Path, folder: Path, count: int, seed: int) -> None:
    """Kill at seeded moments over the length of a run, half by progress and half by the clock; then convert to the end."""
    seconds, files = run_length(slide, folder / "whole")
    place = folder / "place"
    place.mkdir()
    moments = random.Random(seed)
    hits = 0
    for i in range(count):
        by_clock, by_progress = moments.uniform(0.2, 1.05) * seconds, moments.randint(1, files - 1)
        hits += killed(slide, place, by_clock if i % 2 else by_progress, "--exists", "replace")
    assert hits >= count // 2, "those that stood still were killed before they published"
    convert_again(slide, place / "x.ome.zarr", "--exists", "replace")


def test_kill(slide: Path, tmp_path: Path) -> None:
    series(slide, tmp_path, 6, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_kill_often(slide: Path, tmp_path: Path, seed: int) -> None:
    series(slide, tmp_path, 16, 100 + seed)


def test_stage_of_the_killed_is_collected_but_not_that_of_the_living(slide: Path, tmp_path: Path) -> None:
    out, moment = tmp_path / "out", tmp_path / "stands"
    first = standing(5, moment, slide, "-o", out / "first.zarr")  # alive, and not to be disturbed
    dead = standing(5, tmp_path / "dead", slide, "-o", out / "dead.zarr")
    dead.kill()
    dead.communicate()
    stages = {path.name.split(".")[0] for path in (out / ".stage").iterdir()}
    assert stages == {"first", "dead"}
    third = start(slide, out / "third.zarr")
    third.communicate(timeout=240)
    assert third.returncode == 0
    assert {path.name.split(".")[0] for path in (out / ".stage").iterdir()} == {"first"}
    moment.unlink()
    said, err = first.communicate(timeout=240)
    assert first.returncode == 0, said + err
    assert sorted(path.name for path in out.iterdir()) == ["first.zarr", "third.zarr"]
