"""The status for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.commands.text import counted, shown, size
from flows.reports.stores import fault

_STATES = ("waiting", "queued", "running", "done", "failed", "quarantined")
_OTHERS = ("cancelled", "duplicate", "superseded", "gone", "dismissed")
_ANY = 100_000
"""A path that is folded cannot be copied."""


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Health first, then what runs, counts by folder, what went wrong; what may be long comes last."""
    yield from _health(found)
    running = [
        [row["id"], row["path"], f"{row['progress']:.0%}", f"{row['seconds']:.0f} s", str(row["attempt"])]
        for row in found["running"]
    ]
    if running:
        yield from _table(("running", "slide", "progress", "since", "attempt"), running)
    states = (*_STATES, *_OTHERS)
    yield from _table(("folder", *states), [[f["name"], *(str(f[s]) for s in states)] for f in found["folders"]])
    yield from _pace(found)
    bad = [[r["id"], r["path"], r["state"], r["reason"] or ""] for r in (*found["failed"], *found["quarantined"])]
    if bad:
        yield from _table(("slide", "path", "state", "reason"), bad)
    wrong = [[row["id"], row["output"], row["store"], row["store_reason"] or ""] for row in found["wrong_stores"]]
    if wrong:
        yield from _table(("slide", "store", "is", "reason"), wrong)
    waiting = [[row["id"], row["path"], row["reason"] or ""] for row in found["waiting"]]
    if waiting:
        yield from _table(("waiting", "path", "for"), waiting)
    if found["ended"]:
        yield from list_lines(found["ended"])


def _health(found: Mapping[str, Any]) -> Iterator[str]:
    if found["stopped"]:
        yield "the service is stopped: start `slidemill up`, or `slidemill watch` as before"
    elif found["last_scan_s"] is None:
        yield "nobody has looked at the folders yet: is `slidemill up` or `slidemill watch` running?"
    elif found["healthy"]:
        yield f"the service runs; it looked at the folders {found['last_scan_s']:.0f} s ago"
    elif not found["unavailable"]:
        yield f"nobody has looked at the folders for {found['last_scan_s']:.0f} s: is `slidemill up` running?"
    for name in found["unavailable"]:
        yield f"folder {name} cannot be listed: is it there, is it mounted?"
    if found["paused"]["all"]:
        yield "paused: no slide begins until `slidemill resume`"
    for name in found["paused"]["folders"]:
        yield f"folder {name} is paused until `slidemill resume {name}`"
    for name in found["asleep"]:
        yield f"folder {name} is outside its hours: its slides begin later"
    yield from fault(found["stores"])
    yield ""


def _pace(found: Mapping[str, Any]) -> Iterator[str]:
    if found["undecided_files"]:
        undecided = counted(found["undecided_files"], "file")
        yield f"{undecided} seen, not decided yet: a slide is taken once it has not changed for a while"
    hour = found["throughput"]
    rate = "" if hour["bytes_per_s"] is None else f", {size(hour['bytes_per_s'])}/s"
    yield f"last hour: {counted(hour['slides_last_hour'], 'slide')}, {size(hour['bytes_last_hour'])}{rate}"
    if found["oldest_waiting_s"] is not None:
        yield f"oldest in the queue: {found['oldest_waiting_s']:.0f} s"
    if found["empty_in_s"] and not found["stopped"]:
        yield f"at this rate the queue is empty in {_span(found['empty_in_s'])}"
    for share in found["shares"]:
        yield f"read and written on {share['path'][0]}: at most {share['mb_per_second']:g} MB/s"
    for place in found["room"]:
        yield f"free: {place['free'] / 1e9:.1f} GB at {place['path']}"
    yield ""


def _span(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def list_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table of slides, each with what came of it."""
    said = [[r["id"], r["path"], r["state"], _came_of(r)] for r in rows]
    yield from _table(("slide", "path", "state", "output or reason"), said, _ANY)


def _came_of(row: Mapping[str, Any]) -> str:
    if row["state"] != "done":
        return row["reason"] or ""
    said = f"{row['store']}: {row['store_reason']}" if row.get("store") else row["reason"]
    return f"{row['output']} ({said})" if said else row["output"] or ""


def unknown_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table of files that are no slides."""
    yield from _table(
        ("folder", "file that is no slide", "bytes"), [[r["folder"], r["path"], str(r["bytes"])] for r in rows], _ANY
    )


def _table(head: tuple[str, ...], rows: list[list[str]], width: int = 120) -> Iterator[str]:
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))  # a name is no markup, and moves no cursor
    text = StringIO()
    Console(file=text, width=width).print(table)
    yield from (line.rstrip() for line in text.getvalue().rstrip().splitlines())
    yield ""
