"""The status for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

_STATES = ("waiting", "queued", "running", "done", "failed", "quarantined", "cancelled", "duplicate")


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a table of folders, of what runs, and of what went wrong."""
    yield from _table(("folder", *_STATES), [[f["name"], *(str(f[s]) for s in _STATES)] for f in found["folders"]])
    running = [
        [row["id"], row["path"], f"{row['progress']:.0%}", f"{row['seconds']:.0f} s", str(row["attempt"])]
        for row in found["running"]
    ]
    if running:
        yield from _table(("running", "slide", "progress", "since", "attempt"), running)
    bad = [[r["id"], r["path"], r["state"], r["reason"] or ""] for r in (*found["failed"], *found["quarantined"])]
    if bad:
        yield from _table(("slide", "path", "state", "reason"), bad)
    waiting = [[row["id"], row["path"], row["reason"] or ""] for row in found["waiting"]]
    if waiting:
        yield from _table(("waiting", "path", "for"), waiting)
    hour = found["throughput"]
    yield f"last hour: {hour['slides_last_hour']} slides, {hour['bytes_last_hour'] / 1e9:.2f} GB"
    if found["oldest_waiting_s"] is not None:
        yield f"oldest in the queue: {found['oldest_waiting_s']:.0f} s"
    if found["last_scan_s"] is None:
        yield "nobody has looked at the folders yet: start `slidemill up`"
    elif not found["healthy"]:
        yield f"nobody has looked at the folders for {found['last_scan_s']:.0f} s: is `slidemill up` running?"


def _table(head: tuple[str, ...], rows: list[list[str]]) -> Iterator[str]:
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    text = StringIO()
    Console(file=text, width=120).print(table)
    yield from (line.rstrip() for line in text.getvalue().rstrip().splitlines())
    yield ""
