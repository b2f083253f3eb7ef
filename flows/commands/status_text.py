"""The status for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

_STATES = ("waiting", "queued", "running", "done", "failed", "quarantined", "cancelled", "duplicate", "superseded", "gone")
_ANY = 100_000
"""A path that is folded cannot be copied."""


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
    if found["ended"]:
        yield from list_lines(found["ended"])
    yield from _remarks(found)


def _remarks(found: Mapping[str, Any]) -> Iterator[str]:
    if found["undecided_files"]:
        yield f"{found['undecided_files']} files seen, not decided yet: a slide is taken once it has not changed for a while"
    hour = found["throughput"]
    yield f"last hour: {hour['slides_last_hour']} slides, {hour['bytes_last_hour'] / 1e6:.0f} MB"
    if found["oldest_waiting_s"] is not None:
        yield f"oldest in the queue: {found['oldest_waiting_s']:.0f} s"
    for name in found["unavailable"]:
        yield f"folder {name} cannot be listed: is it there, is it mounted?"
    if found["stopped"]:
        yield "the service is stopped: start `slidemill up`, or `slidemill watch` as before"
    elif found["last_scan_s"] is None:
        yield "nobody has looked at the folders yet: is `slidemill up` or `slidemill watch` running?"
    elif not found["healthy"] and not found["unavailable"]:
        yield f"nobody has looked at the folders for {found['last_scan_s']:.0f} s: is `slidemill up` running?"


def list_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table of slides, each with what came of it."""
    said = [[r["id"], r["path"], r["state"], r["output"] if r["state"] == "done" else r["reason"] or ""] for r in rows]
    yield from _table(("slide", "path", "state", "output or reason"), said, _ANY)


def _table(head: tuple[str, ...], rows: list[list[str]], width: int = 120) -> Iterator[str]:
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    text = StringIO()
    Console(file=text, width=width).print(table)
    yield from (line.rstrip() for line in text.getvalue().rstrip().splitlines())
    yield ""
