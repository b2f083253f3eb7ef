"""Publishing: what may be in the way, what happens when the disk fails, and that nobody ever sees half a store."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr

from converter.checking.verify import verify_store
from converter.errors import Cancelled, NoSpace, OutputFailed, Refused, SourceChanged
from converter.publishing import publish as publish_module
from converter.publishing.identity import identity
from converter.publishing.publish import publish
from converter.publishing.stage import OWNER, STAGES, collect, open_stage
from drivers.errors import Unreadable
from drivers.model import Slide
from flows.outcome import error_json, exit_code
from tests.made.svs import Svs, make_svs
from tests.support.stores import converted, own, simple_slide, stored, texture

Made = Callable[[str, Callable[[Path], object]], Path]
ARRAY = texture((1, 3, 1, 300, 290))
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def slide_in(folder: Path, seed: int = 1) -> Slide:
    """A slide whose pixels depend on the seed, and its file too."""
    slide = simple_slide(folder, texture((1, 3, 1, 300, 290), seed=seed), rgb=True)
    slide.path.write_bytes(b"slide %d" % seed)
    return slide


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    (tmp_path / "in").mkdir()
    return slide_in(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where stores go; only they may be there afterwards."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- what exists already --


def test_target_that_exists_is_refused(slide: Slide, out: Path) -> None:
    converted(slide, out / "x.zarr")
    before = own(out / "x.zarr")
    with pytest.raises(Refused, match="exists") as caught:
        converted(slide, out / "x.zarr")
    assert exit_code(caught.value) == 5
    assert own(out / "x.zarr") == before
    assert names(out) == ["x.zarr"]


@pytest.mark.parametrize("kind", ["empty folder", "folder", "file", "link to nowhere", "link to a folder"])
@pytest.mark.parametrize("exists", ["fail", "skip"])
def test_anything_in_the_place_of_the_target_is_refused(slide: Slide, out: Path, kind: str, exists: str) -> None:
    target = out / "x.zarr"
    if "folder" in kind and "link" not in kind:
        target.mkdir()
    if kind == "folder":
        (target / "letter.txt").write_text("dear")
    if kind == "file":
        target.write_text("dear")
    if kind == "link to nowhere":
        target.symlink_to(out / "nowhere")
    if kind == "link to a folder":
        (out / "elsewhere").mkdir()
        target.symlink_to(out / "elsewhere")
    before = names(out)
    with pytest.raises(Refused):
        converted(slide, target, exists=exists)
    assert names(out) == before
    if kind == "folder":
        assert (target / "letter.txt").read_text() == "dear"
    if kind == "empty folder":
        assert names(target) == []


def test_target_that_comes_into_being_meanwhile_is_refused(slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("empty", "full"):
        target = out / f"{kind}.zarr"

        def verify(*_: object, target: Path = target, kind: str = kind, **__: object) -> Any:
            target.mkdir()
            if kind == "full":
                (target / "letter.txt").write_text("dear")
            return SimpleNamespace(ok=True, violations=[])

        with monkeypatch.context() as patch:
            patch.setattr("converter.checking.verify.verify_store", verify)
            with pytest.raises(Refused):
                converted(slide, target)
        assert names(target) == (["letter.txt"] if kind == "full" else [])
    assert names(out) == ["empty.zarr", "full.zarr"]


@pytest.mark.parametrize("look", [1, 2])
def test_an_empty_folder_that_appears_at_the_last_moment_is_not_replaced(
    out: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """Right after a look that found nothing, the last one if there are several: a plain rename would replace it silently."""
    target = out / "x.zarr"
    stage = open_stage(target)
    stage.write("zarr.json", [b"{}"])
    really, looks, made = os.path.lexists, list[bool](), list[int]()

    def late(path: Path) -> bool:
        looks.append(really(path))
        if len(looks) == look:
            target.mkdir()
            made.append(target.stat().st_ino)
        return looks[-1]

    monkeypatch.setattr("os.path.lexists", late)
    with suppress(Refused):
        publish(stage, target, replace=False)
    assert made or look > 1
    if made:
        assert (target.stat().st_ino, names(target)) == (made[0], [])
    stage.discard()


@pytest.mark.parametrize("words", [{"exists": "skip"}, {"resume": True}])
def test_the_same_again_is_skipped(slide: Slide, out: Path, words: dict[str, Any]) -> None:
    first = converted(slide, out / "x.zarr")
    inode = (out / "x.zarr").stat().st_ino
    again = converted(slide, out / "x.zarr", workers=1, verify="none", **words)
    assert (again.status, again.fingerprint, again.manifest) == ("skipped", first.fingerprint, first.manifest)
    assert (out / "x.zarr").stat().st_ino == inode
    assert names(out) == ["x.zarr"]


@pytest.mark.parametrize("words", [{"exists": "skip"}, {"resume": True}])
@pytest.mark.parametrize("why", ["options", "slide", "version", "no receipt"])
def test_another_is_not_skipped(slide: Slide, out: Path, words: dict[str, Any], why: str) -> None:
    target = out / "x.zarr"
    converted(slide, target)
    options: dict[str, Any] = dict(words)
    if why == "options":
        options["codec"] = "zstd-1"
    if why == "slide":
        slide = slide_in(slide.path.parent, 2)
    if why in ("version", "no receipt"):
        found = json.loads((target / "zarr.json").read_text())
        if why == "version":
            found["attributes"]["slidemill"]["version"] = "0.0.0"
        else:
            del found["attributes"]["slidemill"]
        (target / "zarr.json").write_text(json.dumps(found))
    with pytest.raises(Refused, match="replace"):
        converted(slide, target, **options)


def test_replace(slide: Slide, out: Path) -> None:
    converted(slide, out / "x.zarr")
    other = slide_in(slide.path.parent, 2)
    converted(other, out / "x.zarr", exists="replace")
    np.testing.assert_array_equal(stored(out / "x.zarr", "0"), texture((1, 3, 1, 300, 290), seed=2)[0, :, 0])
    assert verify_store(out / "x.zarr", slide=other, depth="full").ok
    assert names(out) == ["x.zarr"]


def test_replacing_where_the_file_system_cannot_exchange(slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.publishing.publish._rename", lambda *_: False)
    converted(slide, out / "x.zarr")
    assert verify_store(out / "x.zarr").ok
    with pytest.raises(Refused):
        converted(slide, out / "x.zarr")
    converted(slide_in(slide.path.parent, 2), out / "x.zarr", exists="replace")
    assert verify_store(out / "x.zarr").ok
    assert names(out) == ["x.zarr"]


def test_a_reader_never_sees_less_than_a_store(slide: Slide, out: Path) -> None:
    target = out / "x.zarr"
    converted(slide, target)
    done, faults, looks = threading.Event(), list[BaseException](), list[int]()

    def read() -> None:
        while not done.is_set():
            try:
                group = zarr.open_group(str(target), mode="r")
                assert group.attrs["ome"]
                looks.append(zarr.open_array(str(target / "0"), mode="r").shape[1])
            except BaseException as error:  # noqa: BLE001 - told to the test
                faults.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(8):
        converted(slide_in(slide.path.parent, seed), target, exists="replace", verify="none")
    done.set()
    reader.join()
    assert not faults
    assert len(looks) > 10


def test_slide_is_never_its_own_target(out: Path) -> None:
    slide = slide_in(out)
    for target in (slide.path, out / "." / slide.path.name, out):
        for exists in ("fail", "replace"):
            with pytest.raises(Refused):
                converted(slide, target, exists=exists)
    link = out / "link.zarr"
    link.symlink_to(slide.path)
    with pytest.raises(Refused):
        converted(slide, link, exists="replace")
    assert slide.path.read_bytes() == b"slide 1"


@pytest.mark.parametrize(
    "case", list(product(["a letter", "another store"], ["while it converts", "under the exchange"], [True, False]))
)
def test_a_replacement_removes_only_the_store_that_it_saw(
    slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str, bool]
) -> None:
    what, moment, atomic = case
    target, published = out / "x.zarr", list[Path]()
    converted(slide, target)

    def somebody_comes(*_: object) -> None:
        if not published:
            published.append(target)
            target.rename(out / "gone")
            target.mkdir()
            (target / ("letter.txt" if what == "a letter" else "zarr.json")).write_text("theirs")

    name = "is_replaceable" if moment == "while it converts" else "identity"
    really = getattr(publish_module, name)
    rename = publish_module._rename
    if moment == "while it converts":
        monkeypatch.setattr(publish_module, name, lambda place: (somebody_comes(), really(place))[1])
    elif atomic:
        monkeypatch.setattr(publish_module, "_rename", lambda *given: (somebody_comes(), rename(*given))[1])
    if not atomic:
        monkeypatch.setattr(
            publish_module, "_rename", lambda *_: (moment == "under the exchange" and somebody_comes(), False)[1]
        )
    other = slide_in(slide.path.parent, 2)
    if what == "a letter" and moment == "while it converts":
        with pytest.raises(Refused, match="no Zarr store"):
            converted(other, target, exists="replace")
        assert (target / "letter.txt").read_text() == "theirs"
        return
    receipt = converted(other, target, exists="replace")
    assert verify_store(target, slide=other).ok
    aside = next(path for path in out.iterdir() if ".aside-" in path.name)
    assert next(aside.iterdir()).read_text() == "theirs"
    assert [warning for warning in receipt.warnings if str(aside) in warning]
    assert names(out) == sorted(["gone", "x.zarr", aside.name])


def test_killed_in_a_replacement_a_stage_with_what_is_not_ours_stays(slide: Slide, out: Path) -> None:
    target = out / "x.zarr"
    converted(slide, target)
    for theirs in (False, True):
        stage = open_stage(target)
        stage.write("zarr.json", [b"new"])
        stage.own(identity(stage.store), identity(target), 2**63)
        facts = json.loads((stage.folder / OWNER).read_text())
        (stage.folder / OWNER).write_text(json.dumps(facts | {"started": "1"}))
        if theirs:
            shutil.rmtree(stage.store)
            stage.store.mkdir()
            (stage.store / "letter.txt").write_text("dear")
        assert collect(out / STAGES) == ([] if theirs else [stage.folder])
        assert stage.folder.exists() is theirs


class Killed(BaseException):
    """Played in the middle of something: nothing catches it."""


def test_killed_while_the_old_store_is_removed_a_stage_is_collected(
    slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = out / "x.zarr"
    converted(slide, target)
    stage = open_stage(target)
    stage.write("zarr.json", [b"new"])
    publish(stage, target, replace=True)
    facts = json.loads((stage.folder / OWNER).read_text())
    (stage.folder / OWNER).write_text(json.dumps(facts | {"started": "1"}))

    def half(folder: Path, **_: object) -> None:
        (folder / "zarr.json").unlink()  # what is left is neither the new store nor the old one
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", half)
        with pytest.raises(Killed):
            stage.discard()
    assert stage.folder.exists()
    assert collect(out / STAGES) == [stage.folder]
    assert names(out / STAGES) == []


def test_what_is_no_store_is_not_replaced(slide: Slide, out: Path) -> None:
    folder = out / "photos.zarr"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    (out / "file.zarr").write_text("dear")
    for name in ("photos.zarr", "file.zarr"):
        with pytest.raises(Refused):
            converted(slide, out / name, exists="replace")
    assert (folder / "letter.txt").read_text() == "dear"
    assert (out / "file.zarr").read_text() == "dear"


# -- disks --


def test_too_little_space_is_refused_before_writing(slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(f_flag=0, f_blocks=1 << 20, f_bavail=1 << 8, f_frsize=1 << 12)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    with pytest.raises(NoSpace, match="free") as caught:
        converted(slide, out / "deeper" / "x.zarr")
    assert exit_code(caught.value) == 5
    assert names(out) == []


@pytest.mark.parametrize("place", ["/proc", "/sys"])
def test_a_file_system_that_counts_no_room_is_not_called_full(slide: Slide, place: str) -> None:
    if not Path(place).is_mount():
        pytest.skip("not mounted here")
    with pytest.raises(OutputFailed) as caught:
        converted(slide, Path(place) / "x.zarr")
    assert not isinstance(caught.value, NoSpace)


@pytest.mark.parametrize("kind", ["file", "under a file"])
def test_parent_that_is_no_folder(slide: Slide, out: Path, kind: str) -> None:
    (out / "file").write_text("x")
    target = out / "file" / "x.zarr" if kind == "file" else out / "file" / "deeper" / "x.zarr"
    with pytest.raises(OutputFailed) as caught:
        converted(slide, target)
    assert error_json(caught.value)["kind"] == "output"
    assert exit_code(caught.value) == 6
    assert names(out) == ["file"]


def in_child(work: Callable[[], int], *, become: int | None = None) -> int:
    """Run in a fork, as another user if asked; its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if become is not None:
                os.setgroups([])
                os.setgid(become)
                os.setuid(become)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def opened_up(folder: Path) -> None:
    """Let others look into the test's folders."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o011)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_parent_that_may_not_be_written(slide: Slide, out: Path) -> None:
    opened_up(out)
    slide.path.chmod(0o644)
    out.chmod(0o755)

    def work() -> int:
        try:
            converted(slide, out / "x.zarr")
        except OutputFailed as error:
            found = error_json(error)
            said = "ermission" in found["message"] and str(out) in found["message"]
            return 10 if said and found["retryable"] else 11
        return 12

    assert in_child(work, become=NOBODY) == 10
    assert names(out) == []


FULL = """
import resource
import sys
from pathlib import Path
from flows.cli import run
if int(sys.argv[1]):
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(run(sys.argv[2:]))
"""
OPTIONS = ["--chunk", "64", "--shard", "256", "--codec", "none", "--json"]


def run_limited(limit: int, slide: Path, store: Path) -> tuple[int, dict[str, Any]]:
    """`convert` in a process that may write files of at most `limit` bytes."""
    command = [sys.executable, "-c", FULL, str(limit), "convert", str(slide), "-o", str(store), *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def svs(made: Made) -> Path:
    return made("publish.svs", lambda path: make_svs(path, Svs(size=(700, 800), steps=(4,))))


@pytest.mark.parametrize("limit", [300, 100_000])
def test_files_that_may_not_grow(svs: Path, out: Path, limit: int) -> None:
    code, found = run_limited(limit, svs, out / "x.zarr")
    assert code == 6, found
    assert found["error"]["kind"] == "output"
    assert found["error"]["retryable"]
    assert names(out) == []
    code, found = run_limited(0, svs, out / "x.zarr")
    assert (code, found["status"]) == (0, "done")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A maker of file systems of so many bytes."""
    mounted: list[Path] = []

    def mount(size: int, inodes: int = 4096) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", str(place)]
        if os.getuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size", [64 << 10, 512 << 10, 1536 << 10])
def test_full_disk(slide: Slide, small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    disk = small_disk(size)
    monkeypatch.setattr("converter.publishing.existing._SPARE", -(1 << 40))  # the check beforehand would refuse
    big = simple_slide(slide.path.parent, texture((1, 3, 1, 700, 900)), rgb=True)
    with pytest.raises(OutputFailed, match="space") as caught:
        converted(big, disk / "x.zarr", codec="none")
    assert exit_code(caught.value) == 6
    assert names(disk) == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    assert converted(big, disk / "x.zarr", codec="none").status == "done"
    assert names(disk) == ["x.zarr"]


@pytest.mark.parametrize("inodes", [2, 3, 4, 5, 9, 20])
def test_disk_without_inodes(slide: Slide, small_disk: Callable[..., Path], inodes: int) -> None:
    disk = small_disk(1 << 28, inodes)
    with pytest.raises(OutputFailed, match="space"):
        converted(slide, disk / "x.zarr")
    assert names(disk) == []


def test_read_only_disk(slide: Slide, small_disk: Callable[..., Path]) -> None:
    disk = small_disk(1 << 24)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises((OutputFailed, NoSpace)) as caught:
        converted(slide, disk / "x.zarr")
    assert exit_code(caught.value) in (5, 6)
    assert names(disk) == []


@pytest.mark.parametrize("call", ["fsync", "syncfs", "rename"])
def test_failing_system_calls(slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> Any:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr("converter.publishing.stage.os.fsync", fail)
        elif call == "syncfs":
            patch.setattr("converter.publishing.stage._sync_file_system", fail)
        else:
            patch.setattr("converter.publishing.publish._rename", lambda *_: False)
            patch.setattr(Path, "rename", fail)
        with pytest.raises(OutputFailed, match="Input/output error") as caught:
            converted(slide, out / "x.zarr")
    assert exit_code(caught.value) == 6
    if call != "fsync":  # the folder is synced after publishing: the store is there then
        assert names(out) == []
    shutil.rmtree(out / "x.zarr", ignore_errors=True)
    assert converted(slide, out / "x.zarr").status == "done"


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("early", [True, False])
def test_a_failing_close_ends_the_conversion_and_no_more(
    slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch, code: int, early: bool
) -> None:
    """Quotas and network file systems tell of a failed write when the file is closed: close(2), nfs(5)."""
    really, failures = os.close, list[int]()

    def close(fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        really(fd)
        if "/store/" in path and path.endswith("zarr.json") is not early:
            failures.append(fd)
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("converter.publishing.stage.os.close", close)
        with pytest.raises(OutputFailed, match=os.strerror(code)) as caught:
            converted(slide, out / "x.zarr", chunk=16, shard=16)  # far more files than may wait for their sync
    assert failures
    assert caught.value.errno == code
    assert exit_code(caught.value) == 6
    assert names(out) == []
    assert converted(slide, out / "x.zarr").status == "done"


def test_writers_never_wait_for_a_sync_that_failed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, really = open_stage(out / "x.zarr"), os.close

    def close(fd: int) -> None:
        really(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("converter.publishing.stage.os.close", close)

    def work() -> None:
        for number in range(200):
            stage.write(str(number), [b"x"])
        stage.sync()

    with pytest.raises(OutputFailed, match="Input/output"):
        work()
    with pytest.raises(OutputFailed, match="Input/output"):
        stage.write("after", [b"x"])
    monkeypatch.undo()
    stage.discard()
    assert names(out) == []


@pytest.mark.parametrize("call", ["fsync", "close"])
@pytest.mark.parametrize("code", [errno.EDQUOT, errno.ESTALE])
def test_the_last_file_that_fails_is_told_by_sync(out: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """Nothing is written after it that could tell."""
    stage, really = open_stage(out / "x.zarr"), os.close

    def fail(fd: int) -> None:
        if call == "close":
            really(fd)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(f"converter.publishing.stage.os.{call}", fail)
        stage.write("last", [b"x"])
        stage._stop_syncer()
    with pytest.raises(OutputFailed) as caught:
        stage.sync()
    assert caught.value.errno == code
    stage.discard()


# -- the source --


@pytest.mark.parametrize("how", ["appended", "replaced", "deleted", "touched"])
def test_slide_that_changes_meanwhile_is_discarded(
    slide: Slide, out: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    import converter.convert as module

    original = module.run_image

    def run_image(*arguments: Any) -> None:
        original(*arguments)
        assert slide.path.exists()
        if how == "appended":
            with slide.path.open("ab") as file:
                file.write(b"more")
        elif how == "replaced":
            other = slide.path.with_name("other")
            other.write_bytes(slide.path.read_bytes())
            other.rename(slide.path)
        elif how == "deleted":
            slide.path.unlink()
        else:
            os.utime(slide.path, ns=(1, 1))

    monkeypatch.setattr(module, "run_image", run_image)
    with pytest.raises((SourceChanged, Unreadable)) as caught:
        converted(slide, out / "x.zarr")
    assert caught.value.retryable
    assert exit_code(caught.value) == 4
    assert names(out) == []


def test_stop_from_another_thread(slide: Slide, out: Path) -> None:
    from converter.convert import Conversion, convert
    from converter.options import Options

    conversion = Conversion(Options(chunk=64, shard=64, workers=2))
    conversion.observe = lambda *_: conversion.stop.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.pace.open_slide", lambda _: slide)
        with pytest.raises(Cancelled):
            convert(slide.path, out / "x.zarr", conversion)
    assert names(out) == []


# -- stages --


def test_stages_of_the_dead_are_collected(out: Path) -> None:
    stages = out / STAGES

    def work() -> int:
        open_stage(out / "dead.zarr")
        return 0

    alive = open_stage(out / "alive.zarr")
    script = "import sys, pathlib, converter.publishing.stage as s\ns.open_stage(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(out / "dead.zarr")]
    subprocess.run(command, cwd=ROOT, check=True)
    assert len(names(stages)) == 2
    removed = collect(stages)
    assert [path.name.split(".")[0] for path in removed] == ["dead"]
    assert names(stages) == [alive.folder.name]
    alive.discard()
    assert names(out) == []


def test_a_pid_that_was_given_to_another_process_does_not_keep_a_stage(out: Path) -> None:
    stage = open_stage(out / "x.zarr")
    facts = json.loads((stage.folder / OWNER).read_text())
    (stage.folder / OWNER).write_text(json.dumps(facts | {"started": "1"}))
    assert collect(out / STAGES) == [stage.folder]
    assert not stage.folder.exists()


def test_a_stage_killed_while_it_was_made_or_removed_is_collected(out: Path) -> None:
    young, old, half = (out / STAGES / name for name in ("young", "old", "half"))
    for folder in (young, old):
        folder.mkdir(parents=True)
    (old / OWNER).write_text('{"host": ')
    os.utime(old, (1, 1))
    stage = open_stage(out / "x.zarr")
    stage.folder.rename(half)
    facts = json.loads((half / OWNER).read_text())
    (half / OWNER).write_text(json.dumps(facts | {"started": "1"}))
    shutil.rmtree(half / "store")
    collect(out / STAGES)
    assert names(out / STAGES) == ["young"]


def test_removing_a_stage_takes_its_owner_last(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = open_stage(out / "x.zarr")
    stage.write("a/b", [b"x"])
    removed: list[str] = []
    really = shutil.rmtree

    def rmtree(path: Path, **more: Any) -> None:
        removed.append(Path(path).name)
        assert (stage.folder / OWNER).exists()
        really(path, **more)

    monkeypatch.setattr("converter.publishing.stage.shutil.rmtree", rmtree)
    stage.discard()
    assert removed == ["going", stage.folder.name]
    assert names(out) == []


def test_stages_of_other_hosts_are_left_alone(out: Path) -> None:
    stage = open_stage(out / "x.zarr")
    facts = json.loads((stage.folder / OWNER).read_text())
    (stage.folder / OWNER).write_text(json.dumps(facts | {"machine": "elsewhere", "pid": 999999}))
    assert collect(out / STAGES) == []
    assert stage.folder.exists()


def test_stages_come_and_go_side_by_side(out: Path) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(100):
                stage = open_stage(out / "x.zarr")
                stage.write("a/b", [b"x"])
                stage.discard()
        except BaseException as error:  # noqa: BLE001 - told to the test
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert names(out) == []
