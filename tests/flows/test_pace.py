"""The limit of a share, over threads, processes and slides, with bytes that are really read; slow slides do not look hung."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from converter.errors import Cancelled
from converter.pace import bytes_read, open_paced
from drivers import open_slide
from flows import pace as pace_file
from flows.cli import run
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.pace import Pace
from flows.service.attempt import Watch, run_attempt
from flows.service.paces import paces
from flows.service.reconcile import reconcile
from flows.share import Share
from tests.flows.parts import Bench, bench, submitted

READER = """
import sys
from pathlib import Path
from flows import pace
from flows.share import Share
pace._MEMORY = Path(sys.argv[3])
limit = pace.Pace(Share(path=sys.argv[1], mb_per_second=float(sys.argv[2])))
for path in sys.argv[4:]:
    with open(path, "rb") as file:
        while data := file.read(1 << 16):
            limit.spend(len(data))
"""


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where shares are booked: nobody else's."""
    monkeypatch.setattr(pace_file, "_MEMORY", tmp_path)
    return tmp_path


def limit(path: Path, mb_per_second: float) -> Pace:
    return Pace(Share(path=(str(path),), mb_per_second=mb_per_second))


def test_threads_share_it(tmp_path: Path) -> None:
    one, start = limit(tmp_path, 10.0), time.monotonic()
    threads = [threading.Thread(target=one.spend, args=(1_000_000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start >= 0.4
    assert one.spent == 4_000_000
    assert one.waiting == 0


def test_processes_share_it(tmp_path: Path) -> None:
    """Two processes read 2 MB each of one share at 4 MB/s: a second for both together."""
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        file.write_bytes(os.urandom(2_000_000))
    start = time.monotonic()
    command = [sys.executable, "-c", READER, str(tmp_path), "4", str(tmp_path)]
    running = [subprocess.Popen([*command, str(file)]) for file in files]
    assert [one.wait(60) for one in running] == [0, 0]
    assert time.monotonic() - start >= 1.0


def test_a_part_for_each_machine(tmp_path: Path) -> None:
    one = limit(tmp_path, 10.0)
    one.machines = 2
    start = time.monotonic()
    one.spend(1_000_000)
    assert time.monotonic() - start >= 0.2


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    one = limit(tmp_path, 0.01)
    threading.Timer(0.1, one.stop.set).start()
    with pytest.raises(Cancelled):
        one.spend(10_000_000)  # would wait for 1000 s
    assert one.waiting == 0


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 8, b"\x00" * 7 + b"\x7f"])
def test_a_broken_file_holds_nobody_up(tmp_path: Path, content: bytes) -> None:
    one = limit(tmp_path, 1000.0)
    one.book(1)
    (booked,) = tmp_path.glob("slidemill-*/share-*")
    assert booked.stat().st_mode & 0o777 == 0o600
    booked.write_bytes(content)
    assert one.busy_s() < 1


def test_without_the_file_a_process_keeps_to_it_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = logging.getLogger("plain")  # the handlers of Prefect want a run
    monkeypatch.setattr(pace_file, "log", plain)
    (tmp_path / f"slidemill-{os.geteuid()}").write_text("in the way")
    one, start = limit(tmp_path, 10.0), time.monotonic()
    one.spend(1_000_000)
    one.spend(1_000_000)
    assert time.monotonic() - start >= 0.2
    assert [record.getMessage().count("for this process alone") for record in caplog.records] == [1]


def test_what_a_thread_reads_is_counted(tmp_path: Path) -> None:
    file, others = tmp_path / "x", ThreadPoolExecutor(1)
    file.write_bytes(bytes(1_000_000))
    before = bytes_read()
    file.read_bytes()
    others.submit(file.read_bytes).result()
    after = bytes_read()
    others.shutdown()
    assert before is not None
    assert after is not None
    assert 1_000_000 <= after - before < 1_100_000


def test_blocks_count_by_what_was_read_of_the_file(slide: Path) -> None:
    told = list[int]()
    with open_slide(slide) as plain, open_paced(slide, told.append) as paced:
        told.clear()
        ours, theirs = paced.scenes[0].read_block(), plain.scenes[0].read_block()
    assert np.array_equal(ours, theirs)
    assert 0 < sum(told) < 2 * slide.stat().st_size + 10_000 * len(told)


def test_a_slide_whose_opening_was_stopped_is_closed(slide: Path) -> None:
    def stopped(_count: int) -> None:
        raise Cancelled("stopped")

    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Cancelled):
        open_paced(slide, stopped)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_places_on_one_share_have_one_pace(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "in")
    here = bench(tmp_path, rest=f'shares = [{{path = ["/none", "{tmp_path}/in"], mb_per_second = 1}}]\n')
    stop = threading.Event()
    both = paces(here.settings, (f"{tmp_path}/in/deep", f"{tmp_path}/link/x"), stop)
    assert both.reading is not None
    assert both.reading is both.writing
    apart = paces(here.settings, (f"{tmp_path}/inside", f"{tmp_path}/in"), stop)
    assert apart.reading is None
    assert apart.writing is not None
    here.close()


LIMITS = "[limits]\nheartbeat_seconds = 0.1\nlease_seconds = 1\nhang_seconds = 1\nretry_seconds = 0.1\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    """A bench that reads at 1 MB/s and takes a slide that does not move for a second for one that hangs."""
    found = bench(tmp_path, rest=f'shares = [{{path = "{tmp_path}/in", mb_per_second = 1}}]\n{LIMITS}')
    yield found
    found.close()


def padded(slide: Path, place: Path, count: int) -> Path:
    """A slide with bytes at its end that no tile has."""
    place.write_bytes(slide.read_bytes() + bytes(count))
    return place


def test_a_slide_is_slow_and_does_not_hang(here: Bench, slide: Path, tmp_path: Path) -> None:
    big = padded(slide, tmp_path / "big.svs", 1_500_000)
    ticket, done = submitted(here, big), list[str]()

    def look() -> None:
        while not ended.wait(0.2):
            found = reconcile(here.engine, here.settings, here.dispatcher)
            done.extend([*found.requeued, *found.quarantined])

    ended = threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    start = time.monotonic()
    try:
        left = run_attempt(here.engine, here.settings, ticket, Watch())
    finally:
        ended.set()
        looking.join()
    took = time.monotonic() - start
    assert left == State.DONE
    assert took >= big.stat().st_size / 1e6 - 0.1  # its fingerprint alone
    assert done == []


def test_a_stop_gives_a_slow_slide_back(here: Bench, slide: Path, tmp_path: Path) -> None:
    ticket, watch = submitted(here, padded(slide, tmp_path / "big.svs", 20_000_000)), Watch()
    threading.Timer(0.5, watch.stop.set).start()
    assert run_attempt(here.engine, here.settings, ticket, watch) == State.READY  # many seconds before its time
    assert here.row("a.svs").failures == 0


def test_stores_count_too(here: Bench, slide: Path, tmp_path: Path) -> None:
    settings = here.settings.model_copy(update={"shares": (Share(path=(f"{tmp_path}/out",), mb_per_second=1),)})
    ticket = submitted(here, slide)
    start = time.monotonic()
    assert run_attempt(here.engine, settings, ticket, Watch()) == State.DONE
    chunks = sum(path.stat().st_size for path in (tmp_path / "out").rglob("c/**/*") if path.is_file())
    assert chunks > 1_000_000
    assert time.monotonic() - start >= chunks / 1e6 - 0.1


def test_looking_is_counted_and_waits_for_the_next_pass(here: Bench, slide: Path) -> None:
    (here.folder / "a.svs").write_bytes(slide.read_bytes())
    (here.folder / "b.svs").write_bytes(slide.read_bytes() + b"\0")
    share = here.settings.shares[0]
    Pace(share).book(10_000_000)  # busy for 10 s: longer than a pass waits
    found = here.scan(2)
    assert found.unasked == 2
    assert here.rows() == []
    Pace(share).book(-9_900_000)
    found = here.scan()
    assert found.ready
    assert Pace(share).busy_s() > 0


def test_an_older_ticket_is_divided(here: Bench, slide: Path) -> None:
    """Two machines have slides of the share under way: each reads at half of the limit."""
    first, second = submitted(here, slide), submitted(here, slide, "b.svs")
    far = '{"machine": "elsewhere/1/1", "pid": 1, "started": "1"}'
    here.change(second.slide, state=State.RUNNING, process=far)
    here.change(Ticket(first.slide, first.attempt).slide, state=State.RUNNING, process=far.replace("elsewhere", "here"))
    both = paces(here.settings, (str(here.folder), str(here.place / "out")), threading.Event())
    both.divide(here.engine)
    assert both.reading is not None
    assert both.reading.machines == 2
    assert both.writing is None


def test_limits_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shares = f'{{path = "{tmp_path}/in", mb_per_second = 1.5}}, {{path = "{tmp_path}/typing-error", mb_per_second = 2}}'
    here = bench(tmp_path, rest=f"shares = [{shares}]\n")
    here.close()
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    assert run(["status"]) == 0
    assert f"read and written on {tmp_path}/in: at most 1.5 MB/s" in capsys.readouterr().out
    assert run(["config", "check"]) == 2
    out = capsys.readouterr().out
    assert "GB free, at most 1.5 MB/s)" in out
    assert f"nothing that is watched or written lies on {tmp_path}/typing-error" in out
