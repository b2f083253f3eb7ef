"""How fast new slides are found: `python -m tests.bench.service discover`; see there.

Each line is of a ledger and a folder of its own: slides, and what lies beside them in real folders, are asked about in a
warm reader and written into the ledger, in as many passes as it takes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil

from flows.watching import tree
from flows.watching.memory import Memory
from flows.watching.probe import Prober
from flows.watching.scan import scan
from tests.made.svs import Svs, make_svs
from tests.made.tiff import halves, noise, write_pages

if TYPE_CHECKING:
    from tests.bench.service import Stand

_LEAST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """Files that arrive at once: how each slide and what lies beside it is made from its name without an ending."""

    name: str
    slides: int
    make: Callable[[Path], None]


def padded(path: Path, data: bytes) -> None:
    """A slide of about a megabyte, with content of its own."""
    path.write_bytes(data + bytes(max(0, _LEAST_BYTES - len(data))) + path.name.encode())


def discover(stand: Stand, arrival: Arrival) -> str:
    """The figures of one arrival, a line."""
    for i in range(arrival.slides):
        arrival.make(stand.place / "in" / f"slide{i:05d}")
    ready = passes = 0
    with Prober(60) as prober:
        scan(stand.engine, stand.settings, prober)  # seen for the first time: nothing is asked about yet
        start, own = time.monotonic(), _cpu_s()
        while ready < arrival.slides:
            found = scan(stand.engine, stand.settings, prober)
            ready, passes = ready + len(found.ready), passes + 1
            if not found.unasked and ready < arrival.slides:
                raise SystemExit(f"{arrival.name}: only {ready} of {arrival.slides} are ready: {stand.place}")
        took = time.monotonic() - start
        reader = sum(_cpu_s(child) for child in psutil.Process().children())
    each = (_cpu_s() - own) * 1000 / arrival.slides
    rate = f"{arrival.slides / took:.0f} a second ({took:.1f} s, {passes} passes)"
    return (
        f"{arrival.slides} {arrival.name}: {rate}; CPU a slide: {each:.1f} ms, reader {reader * 1000 / arrival.slides:.1f} ms"
    )


def idle(stand: Stand, looks: int = 72) -> str:
    """What a look costs over 50,000 known files in 500 folders below ten watched ones, in CPU seconds of this process.

    One each ten seconds, as the service has it; the time between is not waited for, the clock of the trees is set on.
    """
    folders = [stand.place / f"watched{i}" for i in range(10)]
    for i in range(500):
        place = folders[i % 10] / f"{i:03d}"
        place.mkdir(parents=True)
        for j in range(100):
            (place / f"{j}.txt").touch()
    watched = stand.settings.folders[0]
    given = [watched.model_copy(update={"name": path.name, "path": path, "output": f"{path}-out"}) for path in folders]
    settings, memory = stand.settings.model_copy(update={"folders": tuple(given)}), Memory()
    with Prober(60) as prober:
        scan(stand.engine, settings, prober, budget=0, memory=memory)
        with stand.engine.begin() as connection:  # asking drivers about each is not what is timed
            connection.exec_driver_sql("UPDATE files SET slide = ''")
        times = list[float]()
        with patch.object(tree, "time", SimpleNamespace()) as clock:
            for i in range(looks + 12):  # the first ones settle
                clock.monotonic = partial(float, time.monotonic() + 10 * i)
                before = _cpu_s()
                scan(stand.engine, settings, prober, memory=memory)
                times.append(_cpu_s() - before)
    each = times[12:]
    figures = f"mean {sum(each) / looks * 1000:.1f} ms CPU, most {max(each) * 1000:.0f} ms"
    return f"a look over 50,000 known files, one each 10 s: {figures}"


def arrivals(count: int) -> list[Arrival]:
    """What is timed, `count` slides each."""
    with tempfile.TemporaryDirectory() as place:
        make_svs(Path(place) / "a.svs", Svs(size=(600, 600)))
        svs = (Path(place) / "a.svs").read_bytes()
        pages = [(level, {"tile": (256, 256), "photometric": "rgb"}) for level in halves(noise((600, 600, 3)), 1)]
        write_pages(Path(place) / "a.tiff", pages)
        tiff = (Path(place) / "a.tiff").read_bytes()

    def alone(stem: Path) -> None:
        padded(stem.with_suffix(".svs"), svs)

    def plain(stem: Path) -> None:
        padded(stem.with_suffix(".tiff"), tiff)

    def annotated(stem: Path) -> None:
        alone(stem)
        for ending in (".xml", ".txt"):
            stem.with_suffix(ending).write_text(f"<Annotations><Annotation Name='{stem.name}'/></Annotations>")

    def in_folders(stem: Path) -> None:
        stem.mkdir()
        annotated(stem / stem.name)

    return [
        Arrival("SVS", count, alone),
        Arrival("TIFF", count, plain),
        Arrival("SVS with annotations", count, annotated),
        Arrival("SVS with annotations, each in a folder", count, in_folders),
    ]


def _cpu_s(process: psutil.Process | None = None) -> float:
    if process is None:
        return time.process_time()
    times = process.cpu_times()
    return times.user + times.system
