"""What the faults taught, without servers: passes of the service called by hand on a ledger of SQLite, in a second or two."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from converter.errors import Busy, Refused, Unreachable
from flows.ledger import attempts
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.service.attempt import Watch, run_attempt
from flows.service.reconcile import reconcile
from tests.flows.parts import Bench, bench
from tests.made.afi import Afi, make_afi
from tests.made.dicom import Wsi, make_wsi
from tests.made.svs import Svs, make_svs
from tests.service.toy import Toy, install_plugin, make_toy

pytestmark = pytest.mark.usefixtures("files_closed")
SMALL = Svs(size=(300, 300), steps=())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path, rest="[limits]\nheartbeat_seconds = 0.05\nlease_seconds = 0.5\nretry_seconds = 0.01\n")
    yield made
    made.close()


def converted(here: Bench, watch: Watch | None = None) -> None:
    """Hand out and convert all that is due."""
    here.feed()
    for row in here.rows():
        if row.state == State.SUBMITTED:
            run_attempt(here.engine, here.settings, Ticket(row.id, row.attempt), watch or Watch())


def test_a_list_whose_files_were_slides_before_it_came(here: Bench, tmp_path: Path) -> None:
    listed = make_afi(tmp_path / "list.afi", Afi(size=(300, 401), words=("DAPI", "FITC"), seed=2))
    for path in tmp_path.glob("list_*.svs"):
        shutil.copy(path, here.folder)
    here.scan(3)
    converted(here)
    shutil.copy(listed, here.folder)
    for _ in range(3):  # it was found, put aside as changed, and found again, for ever
        here.scan(2)
        converted(here)
    assert set(here.states().values()) == {"done"}
    assert set(here.states()) == {"list.afi", "list_DAPI.svs", "list_FITC.svs"}


def test_a_waiting_list_holds_up_what_it_names_and_nothing_else(here: Bench, tmp_path: Path) -> None:
    listed = make_afi(tmp_path / "a.afi", Afi(size=(300, 401), words=("DAPI", "FITC"), seed=3))
    shutil.copy(listed, here.folder)
    shutil.copy(tmp_path / "a_DAPI.svs", here.folder)
    make_svs(here.folder / "another.svs", SMALL)
    here.scan(3)
    assert here.states() == {"a.afi": "waiting", "another.svs": "ready"}


def test_files_that_joined_between_scan_and_conversion(here: Bench, tmp_path: Path) -> None:
    wsi = Wsi(codec="rle", concatenation=3, roles=())
    make_wsi(tmp_path / "slide.dcm", wsi)
    late, *first = sorted(tmp_path.glob("slide.dcm*"))[::-1]
    (here.folder / "case").mkdir()
    for path in first:
        shutil.copy(path, here.folder / "case")
    here.scan(3)
    before = here.rows()
    shutil.copy(late, here.folder / "case")
    here.scan(3)
    converted(here)
    here.scan(3)
    converted(here)
    assert before
    (done,) = (row for row in here.rows() if row.state == State.DONE)
    assert done.files == len(first) + 1


def stage_of_a_dead_process(here: Bench) -> tuple[Path, str]:
    """A stage, and its process as the ledger names it, which has been killed."""
    code = (
        "import sys; from pathlib import Path; from converter.publishing.stage import open_stage;"
        "from flows.service.process import this_process;"
        "open_stage(Path(sys.argv[1])).write('0/c/0', [b'half']); print(this_process(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(here.place / "out" / "slide.ome.zarr")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    return next((here.place / "out" / ".stage").iterdir()), said


@pytest.mark.parametrize("machine", ["", "elsewhere"])
def test_the_stage_of_an_attempt_that_is_over_goes(here: Bench, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_svs(here.folder / "slide.svs", SMALL)
    here.scan(2)
    here.feed()
    stage, process = stage_of_a_dead_process(here)
    (here.place / "out" / ".stage" / "other.ome.zarr.123").mkdir()
    if machine:  # whose host is another one: it cannot be asked whether it lives, its lease ends
        process = json.dumps(json.loads(process) | {"machine": f"{machine}/b/n"})
        owner = stage / "owner.json"
        owner.write_text(json.dumps(json.loads(owner.read_text()) | {"machine": f"{machine}/b/n"}))
    row = here.row("slide.svs")
    attempts.start(here.engine, Ticket(row.id, 1), process)
    here.change(row.id, heartbeat=time.time() - 60)
    if machine:  # silent for two passes, each shorter than its lease
        moments = iter([1e6, 1e6 + 0.6 * here.settings.limits.lease_seconds, 1e6 + 1.2 * here.settings.limits.lease_seconds])
        monkeypatch.setattr("flows.service.witness.monotonic", lambda: next(moments))
        for _ in range(2):
            assert reconcile(here.engine, here.settings, here.dispatcher).requeued == []
    assert reconcile(here.engine, here.settings, here.dispatcher).requeued == [row.id]
    assert [path.name for path in (here.place / "out" / ".stage").iterdir()] == ["other.ome.zarr.123"]


def test_a_conversion_that_was_fenced_off_and_hangs_ends_its_process(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make_svs(here.folder / "slide.svs", SMALL)
    here.scan(2)
    here.feed()
    row, ended = here.row("slide.svs"), []

    def hangs(_name: str, work: Callable[[], object]) -> object:
        here.change(row.id, attempt=2)
        end = time.monotonic() + 200
        while not ended and time.monotonic() < end:
            time.sleep(0.01)
        return work()

    run_attempt(here.engine, here.settings, Ticket(row.id, 1), Watch(step=hangs, give_up=lambda: ended.append(1)))  # type: ignore[arg-type]
    assert ended


def test_a_reader_that_hangs_does_not_outlive_who_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = install_plugin(tmp_path / "plugins")
    slide = make_toy(tmp_path / "hangs.toy", Toy(opening="hang"))
    code = (
        "import sys; from pathlib import Path; from flows.watching.probe import Prober;"
        "Prober(60).ask(Path(sys.argv[1]).parent, Path(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(plugins), str(root)])}
    with subprocess.Popen([sys.executable, "-c", code, str(slide)], env=environment) as process:
        asking, end = psutil.Process(process.pid), time.monotonic() + 200
        while not (children := asking.children()):
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(1.5)  # now it hangs
        process.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(children, 200)
    assert gone
    assert not alive


@pytest.mark.parametrize(
    ("error", "output", "state", "failures"),
    [
        (Unreachable("the object store does not answer"), None, State.FAILED, 0),
        (OSError(errno.ESTALE, "stale file handle"), None, State.FAILED, 0),
        (OSError(errno.ENOSPC, "no space"), None, State.FAILED, 0),
        (OSError(errno.EIO, "input/output error"), None, State.QUARANTINED, 1),
        (Busy("is being written by another run"), "s3://bucket/x.ome.zarr", State.FAILED, 0),
        (Refused("exists already"), "s3://bucket/x.ome.zarr", State.QUARANTINED, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_is_held_against_a_slide(
    here: Bench, monkeypatch: pytest.MonkeyPatch, *, error: Exception, output: str | None, state: State, failures: int
) -> None:
    """Four attempts that end so: what is away or full comes back, and then the slide is converted."""
    make_svs(here.folder / "slide.svs", SMALL)
    here.scan(2)
    row = here.row("slide.svs")
    local = row.output
    here.change(row.id, output=output or local, attempt=1)

    def fails(_name: str, work: Callable[[], object]) -> object:
        raise error

    now, waits = time.time(), []
    monkeypatch.setattr("flows.ledger.outcomes.clock", lambda _: now)
    for _ in range(4):
        converted(here, Watch(step=fails))  # type: ignore[arg-type]
        row = here.row("slide.svs")
        waits.append(round((row.not_before or 0.0) - now, 3))
        here.change(row.id, not_before=0.0)
    assert (row.state, row.failures) == (state, failures)
    if state == State.FAILED:
        assert waits == [0.02, 0.04, 0.08, 0.16]
        here.change(row.id, output=local)
        converted(here)
        assert here.row("slide.svs").state == State.DONE
