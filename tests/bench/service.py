"""Figures of the service: `python -m tests.bench.service [PART ...]`; each prints a line or two.

scan: one pass over 50,000 known files. idle: a look over them where nothing changes. discover: new slides a second, of
several kinds. overhead: per slide beyond the conversion, and from "complete" to "under way". tiny: a thousand small slides
through the queue, with memory and open files of the service's processes over time. workers: two worker processes against
one, slides converted by one thread each. rest: what the service costs by process where nothing is to be done. small: slides
of a few MB through the queue against `convert` of the same folder, and what they leave in Prefect's database.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import Engine

from flows.engine.names import EVERYWHERE, SLIDE_POOL
from flows.engine.server import server_environment
from flows.ledger.database import connect
from flows.ledger.migrate import migrate
from flows.ledger.rows import SlideRow, slides_in
from flows.ledger.tables import SETTLED, State
from flows.settings import Settings, load_settings
from flows.watching.probe import Prober
from flows.watching.scan import scan
from tests.bench.discovery import arrivals, discover, idle
from tests.made.svs import Svs, make_svs
from tests.service.postgres import free_port

_CONFIG = """
state = "{0}/state"
port = {port}
[schedule]
scan_seconds = {scan}
{run}
reconcile_seconds = 60
[limits]
slides_at_once = {at_once}
threads_per_slide = {threads}
small_bytes = {small}
[[folders]]
name = "in"
path = "{0}/in"
output = "{0}/out"
{rule}
"""


class Stand:
    """A temporary place with settings and a ledger."""

    def __init__(self, rule: str = "quiet_seconds = 0", **more: int | str) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="slidemill-bench-"))
        (self.place / "in").mkdir()
        values = {
            "port": free_port(),
            "scan": 2,
            "at_once": 1,
            "threads": 2,
            "small": 0,
            "run": "scan_run_seconds = 60",
        } | more
        self.config = self.place / "slidemill.toml"
        self.config.write_text(_CONFIG.format(self.place, rule=rule, **values))
        self.settings: Settings = load_settings(self.config)
        self.engine: Engine = connect(self.settings.ledger_url)
        migrate(self.engine)

    def rows(self, *states: State) -> list[SlideRow]:
        with self.engine.connect() as connection:
            return slides_in(connection, states or tuple(State))

    def wait(self, count: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while len(self.rows(*SETTLED)) < count:
            if time.monotonic() > end:
                raise SystemExit(f"only {len(self.rows(*SETTLED))} of {count} slides within {seconds:.0f} s: {self.place}")
            time.sleep(0.5)

    @contextmanager
    def up(self, at_once: bool = True) -> Iterator[psutil.Process]:
        log = (self.place / "up.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "flows.cli", "up", "--config", str(self.config)], stderr=log)
        try:
            while "interface is at" not in (self.place / "up.log").read_text():
                if process.poll() is not None:
                    raise SystemExit((self.place / "up.log").read_text())
                time.sleep(0.5)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)
            log.close()

    def close(self) -> None:
        self.engine.dispose()
        shutil.rmtree(self.place, ignore_errors=True)


def small_slides(folder: Path, count: int, size: int, name: str = "s") -> None:
    """Slides that differ in content, made once and varied at their end."""
    first = folder / "made.bin"
    make_svs(first, Svs(size=(size, size), steps=()))
    data = first.read_bytes()
    for i in range(count):
        part = folder / f"{name}{i:04d}.svs.part"
        part.write_bytes(data + i.to_bytes(4, "little"))
    first.unlink()


def bench_scan() -> None:
    stand = Stand()
    _known_files(stand)
    with Prober(60) as prober:
        times = [scan(stand.engine, stand.settings, prober).seconds for _ in range(5)]
    print(f"scan of 50,000 known files, SQLite: median {statistics.median(times):.2f} s, least {min(times):.2f} s")
    stand.close()


def bench_rest(seconds: float = 300.0) -> None:
    """Ten folders, 50,000 known files, nothing to do. Memory is PSS: what processes share is counted once."""
    stand = Stand(scan=10, run="")
    with stand.config.open("a") as config:
        for i in range(9):
            (stand.place / f"in{i}").mkdir()
            config.write(f'[[folders]]\nname = "in{i}"\npath = "{stand.place}/in{i}"\noutput = "{stand.place}/out{i}"\n')
    stand.settings = load_settings(stand.config)
    _known_files(stand)
    with stand.up() as process:
        time.sleep(60)
        before, start = _spent(process), time.monotonic()
        time.sleep(seconds)
        after, took = _spent(process), time.monotonic() - start
    total = sum(after[pid][1] - before.get(pid, ("", 0.0, 0))[1] for pid in after)
    memory = sum(shared for _, _, shared in after.values())
    print(f"idle for {took:.0f} s: {100 * total / took:.1f} % of a core, {memory >> 20} MB (PSS), {len(after)} processes")
    for pid, (name, used, memory) in sorted(after.items()):
        print(f"  {100 * (used - before.get(pid, ('', 0.0, 0))[1]) / took:5.1f} %  {memory >> 20:4d} MB  {name}")
    stand.close()


def _spent(root: psutil.Process) -> dict[int, tuple[str, float, int]]:
    """Of each process: its name, its processor time with that of its children that ended, its memory (PSS)."""
    found: dict[int, tuple[str, float, int]] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times, memory = process.cpu_times(), process.memory_full_info().pss
            command = " ".join(part.rpartition("/")[2] for part in process.cmdline()[:9])
            found[process.pid] = (f"{process.name()}: {command[:90]}", sum(times[:4]), memory)
        except psutil.Error:
            continue
    return found


def _known_files(stand: Stand) -> None:
    for i in range(500):
        folder = stand.place / "in" / f"{i:03d}"
        folder.mkdir()
        for j in range(100):
            (folder / f"{j}.txt").touch()
    with Prober(60) as prober:
        scan(stand.engine, stand.settings, prober, budget=0)
    with stand.engine.begin() as connection:  # asking drivers about each takes minutes, and is not what is timed
        connection.exec_driver_sql("UPDATE files SET slide = ''")


def bench_discover(count: int = 500) -> None:
    for arrival in arrivals(count):
        stand = Stand()
        print(discover(stand, arrival), flush=True)
        stand.close()


def bench_idle() -> None:
    stand = Stand()
    print(idle(stand))
    stand.close()


def bench_overhead(count: int = 10, size: int = 1500) -> None:
    stand = Stand(rule='marker = "{name}.done"')
    small_slides(stand.place / "in", count, size)
    with stand.up():
        stand_ready = time.monotonic() + 15
        while time.monotonic() < stand_ready:
            time.sleep(1)
        complete: dict[str, float] = {}
        for i, part in enumerate(sorted((stand.place / "in").glob("*.part"))):
            slide = part.with_suffix("")
            part.rename(slide)
            slide.with_name(f"{slide.name}.done").touch()
            complete[slide.name] = time.time()
            stand.wait(i + 1, 120)
    rows = [row for row in stand.rows(State.DONE) if row.receipt and row.started and row.finished and row.submitted]
    begun = [(row.started or 0) - complete[row.path] for row in rows]
    over = [(row.finished or 0) - (row.submitted or 0) - float((row.receipt or {})["seconds"]) for row in rows]
    within = [(row.finished or 0) - (row.started or 0) - float((row.receipt or {})["seconds"]) for row in rows]
    print(f"{len(rows)} slides one after the other, scan every {stand.settings.schedule.scan_seconds:g} s")
    print(f"overhead a slide, submitted to done less the conversion: median {statistics.median(over):.2f} s")
    print(f"of that inside the run: median {statistics.median(within):.2f} s")
    print(f"complete to under way: median {statistics.median(begun):.2f} s, most {max(begun):.2f} s")
    stand.close()


def bench_tiny(count: int = 1000) -> None:
    stand = Stand(at_once=2, threads=1, small=50 << 20)
    small_slides(stand.place / "in", count, 300)
    samples: list[tuple[float, int, int, int]] = []
    with stand.up() as process:
        over = threading.Event()
        watcher = threading.Thread(target=_sample, args=(process, stand, samples, over.is_set))
        watcher.start()
        start = time.monotonic()
        for part in sorted((stand.place / "in").glob("*.part")):
            part.rename(part.with_suffix(""))
        stand.wait(count, 5400)
        took = time.monotonic() - start
        over.set()
        watcher.join()
    done = len(stand.rows(State.DONE))
    print(f"{done} of {count} tiny slides in {took:.0f} s: {took / count:.2f} s a slide")
    for at, ended, memory, files in samples[:: max(1, len(samples) // 10)]:
        print(f"  {at:5.0f} s  {ended:4d} ended  server and workers: {memory >> 20} MB, {files} open files")
    stand.close()


def bench_small(count: int = 500, threads: int = 2) -> None:
    """Rates from the moment that all slides are there until the last one is done."""
    stand = Stand(at_once=threads, threads=1, small=50 << 20)
    for size in (1500, 2000, 3000, 4500):
        small_slides(stand.place / "in", count // 4, size, f"{size}-")
    parts = sorted((stand.place / "in").glob("*.part"))
    mean = sum(part.stat().st_size for part in parts) / len(parts) / 1e6
    with stand.up():
        time.sleep(15)
        before, start = database_bytes(stand), time.monotonic()
        for part in parts:
            part.rename(part.with_suffix(""))
        stand.wait(len(parts), 5400)
        service, grown = len(parts) / (time.monotonic() - start), database_bytes(stand) - before
    done = len(stand.rows(State.DONE))
    command = ["convert", str(stand.place / "in"), "-o", str(stand.place / "direct"), "--workers", str(threads), "--quiet"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "flows.cli", *command], check=True)
    direct = len(parts) / (time.monotonic() - start)
    print(f"{done} of {len(parts)} slides of {mean:.1f} MB, {threads} threads: {service:.2f}/s, convert {direct:.2f}/s")
    print(f"{service / direct:.2f} of convert's rate; Prefect's database grew by {grown / len(parts) / 1000:.1f} kB a slide")
    stand.close()


def database_bytes(stand: Stand) -> int:
    """Bytes of Prefect's database in use."""
    with sqlite3.connect(stand.place / "state" / "prefect" / "prefect.db") as database:
        pages, free, size = (
            database.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _sample(process: psutil.Process, stand: Stand, into: list[tuple[float, int, int, int]], over: Callable[[], bool]) -> None:
    """The processes that live as long as the service: `up`, its server, its workers."""
    start = time.monotonic()
    while not over():
        lasting = [process, *process.children()]
        memory = sum(one.memory_info().rss for one in lasting)
        files = sum(one.num_fds() for one in lasting)
        into.append((time.monotonic() - start, len(stand.rows(*SETTLED)), memory, files))
        time.sleep(10)


def bench_workers(count: int = 8, size: int = 12000) -> None:
    took: dict[int, float] = {}
    for workers in (1, 2, 2, 1):
        stand = Stand(at_once=1, threads=1)
        small_slides(stand.place / "in", count, size)
        with stand.up():
            extra = _worker(stand) if workers == 2 else None
            time.sleep(12)
            for part in sorted((stand.place / "in").glob("*.part")):
                part.rename(part.with_suffix(""))
            stand.wait(count, 1800)
            if extra is not None:
                extra.send_signal(signal.SIGINT)
                extra.wait(30)
        rows = stand.rows(State.DONE)
        span = max(row.finished or 0 for row in rows) - min(row.started or 0 for row in rows)
        inside = statistics.median(float((row.receipt or {})["seconds"]) for row in rows)
        print(f"{workers} worker(s): {len(rows)} slides in {span:.1f} s, a conversion takes {inside:.1f} s", flush=True)
        took[workers] = min(took.get(workers, span), span)
        stand.close()
    print(f"2 workers against 1: {took[1] / took[2]:.2f} x")


def _worker(stand: Stand) -> subprocess.Popen[bytes]:
    import json

    port = json.loads((stand.place / "state" / "port.json").read_text())["port"]
    environment = os.environ | EVERYWHERE | server_environment(stand.place / "state", port)
    environment["SLIDEMILL_CONFIG"] = str(stand.config)
    command = [sys.executable, "-m", "flows.cli", "worker", "--pool", SLIDE_POOL, "--limit", "1"]
    with (stand.place / "extra.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def main(names: Sequence[str]) -> None:
    from tests.bench.busy import bench_busy

    parts = {
        "busy": bench_busy,
        "rest": bench_rest,
        "scan": bench_scan,
        "discover": bench_discover,
        "idle": bench_idle,
        "overhead": bench_overhead,
        "small": bench_small,
        "tiny": bench_tiny,
        "workers": bench_workers,
    }
    for name in names or list(parts):
        parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
