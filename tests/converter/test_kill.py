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


def start(slide: Path, store: Path, *more: str) -> subprocess.Popen[str]:
    """`slidemill convert`, in a process of its own."""
    command = [sys.executable, "-m", "flows.cli", "convert", str(slide), "-o", str(store), *OPTIONS, *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def staged_files(folder: Path) -> int:
    """Files in all stages: how far a conversion has come."""
    return sum(1 for path in (folder / ".stage").rglob("*") if path.is_file()) if (folder / ".stage").is_dir() else 0


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
    process = start(slide, store, "--json")
    assert wait_for(lambda: staged_files(tmp_path) > 20, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, out + err
    found = json.loads(out)
    assert found["status"] == "failed"
    assert found["error"]["kind"] == "interrupted"
    assert found["error"]["retryable"]
    assert list(tmp_path.iterdir()) == []
    convert_again(slide, store)


def test_interrupt_ends_a_batch(slide: Path, tmp_path: Path, made: Made) -> None:
    second = made("kill-second.svs", lambda path: make_svs(path, Svs(size=(300, 300), steps=())))
    command = [sys.executable, "-m", "flows.cli", "convert", str(slide), str(second), "-o", str(tmp_path), *OPTIONS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert wait_for(lambda: staged_files(tmp_path) > 20, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def killed(slide: Path, folder: Path, when: Callable[[subprocess.Popen[str]], bool], *more: str) -> bool:
    """Start, kill -9 at a moment, look at what is there. Whether the kill came before the store was published."""
    store = folder / "x.ome.zarr"
    existed = store.exists()
    process = start(slide, store, *more)
    in_time = when(process)
    process.kill()
    process.communicate()
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


def after_files(folder: Path, count: int) -> Callable[[subprocess.Popen[str]], bool]:
    """A moment by progress: once so many files are staged."""
    return lambda process: wait_for(lambda: staged_files(folder) >= count, process)


def after_seconds(seconds: float) -> Callable[[subprocess.Popen[str]], bool]:
    """A moment by the clock, counted from the start of the process."""

    def wait(process: subprocess.Popen[str]) -> bool:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    return wait


def run_length(slide: Path, folder: Path) -> tuple[float, int]:
    """(seconds, files) of an undisturbed conversion."""
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
        by_clock, by_progress = moments.uniform(0.2, 1.05) * seconds, moments.randint(1, files)
        when = after_seconds(by_clock) if i % 2 else after_files(place, by_progress)
        hits += killed(slide, place, when, "--exists", "replace")
    assert hits >= count // 3, "the kills came too late to interrupt anything"
    convert_again(slide, place / "x.ome.zarr", "--exists", "replace")


def test_kill(slide: Path, tmp_path: Path) -> None:
    series(slide, tmp_path, 8, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_kill_often(slide: Path, tmp_path: Path, seed: int) -> None:
    series(slide, tmp_path, 16, 100 + seed)


def test_stage_of_the_killed_is_collected_but_not_that_of_the_living(slide: Path, tmp_path: Path) -> None:
    first = start(slide, tmp_path / "first.zarr")
    assert wait_for(lambda: staged_files(tmp_path) > 5, first)
    os.kill(first.pid, signal.SIGSTOP)  # alive, and not to be disturbed
    dead = start(slide, tmp_path / "dead.zarr")
    assert wait_for(lambda: len(list((tmp_path / ".stage").glob("dead*/store/0/c"))) > 0, dead)
    dead.kill()
    dead.communicate()
    stages = {path.name.split(".")[0] for path in (tmp_path / ".stage").iterdir()}
    assert stages == {"first", "dead"}
    third = start(slide, tmp_path / "third.zarr")
    third.communicate(timeout=240)
    assert third.returncode == 0
    assert {path.name.split(".")[0] for path in (tmp_path / ".stage").iterdir()} == {"first"}
    os.kill(first.pid, signal.SIGCONT)
    out, err = first.communicate(timeout=240)
    assert first.returncode == 0, out + err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.zarr", "third.zarr"]
