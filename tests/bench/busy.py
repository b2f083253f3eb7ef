"""An hour of work on a machine that has much else to do: what Prefect's SQLite says of it, and what is left in logs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

from flows.ledger.tables import SETTLED
from tests.bench.service import Stand, database_bytes, small_slides

_WAITING = 8
"""Slides that are always there to be taken."""
_LINES = ("database is locked", "Traceback", "rror during state validation", " ERROR ", " WARNING ")


def bench_busy(seconds: float = 3600.0, others: int = 10, size: int = 1500) -> None:
    """Two slots, a run for each slide, and `others` programs that never rest."""
    stand = Stand(at_once=2, threads=1)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
    loads: list[float] = []
    try:
        with stand.up():
            before, start, put = database_bytes(stand), time.monotonic(), 0
            while time.monotonic() < start + seconds:
                settled = len(stand.rows(*SETTLED))
                if put - settled < _WAITING:
                    small_slides(stand.place / "in", _WAITING, size, f"{put:05d}-")
                    for part in sorted((stand.place / "in").glob("*.part")):
                        part.rename(part.with_suffix(""))
                    put += _WAITING
                loads.append(os.getloadavg()[0])
                time.sleep(5)
            grown = database_bytes(stand) - before
            states = Counter(row.state.value for row in stand.rows())
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    print(f"{seconds / 60:.0f} minutes, load {min(loads):.1f} to {max(loads):.1f}, median {median(loads):.1f}")
    print(f"slides: {dict(states)}; Prefect's database grew by {grown / 1e6:.1f} MB")
    for name, said in _said(stand).items():
        print(f"{name}: {said}")
    stand.close()


def _said(stand: Stand) -> dict[str, str]:
    """For each log its size and how often it says each of the lines that nobody wants to read."""
    found: dict[str, str] = {}
    for log in sorted([*stand.place.glob("*.log"), *(stand.place / "state").rglob("*.log*")]):
        text = Path(log).read_text(errors="replace")
        counts = {line.strip(): n for line in _LINES if (n := text.count(line))}
        found[str(log.relative_to(stand.place))] = f"{len(text) / 1000:.0f} kB {counts}"
    return found
