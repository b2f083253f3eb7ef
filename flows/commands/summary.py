"""The end of a batch: what became of how many slides, as a table, a line and an object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from converter.receipt import Receipt
from flows.commands.batch import Outcome
from flows.commands.text import counted, cut, shown, size, without_name

MOST_ROWS = 50
"""Of more slides the table has those only that failed or carry notes."""

_NUMBERS = ("seconds", "size", "objects", "notes")
_SLIDE = 31
"""Columns of a table that are kept for the slide: a terminal of 80 has all numbers."""


def batch_total(outcomes: Sequence[Outcome], slides: int, seconds: float) -> dict[str, Any]:
    """What `{"total": ...}` says; a slide that was interrupted is not done, as are those that it kept from beginning."""
    states = Counter(outcome.receipt.status for outcome in outcomes if not outcome.interrupted)
    receipts = [outcome.receipt for outcome in outcomes]
    return {
        "slides": slides,
        "done": states["done"],
        "skipped": states["skipped"],
        "failed": states["failed"],
        "not_done": slides - sum(states.values()),
        "notes": sum(len(receipt.warnings) for receipt in receipts),
        "bytes": sum(receipt.bytes for receipt in receipts if receipt.status == "done"),
        "objects": sum(receipt.objects for receipt in receipts if receipt.status == "done"),
        "seconds": round(seconds, 3),
    }


def counts(total: dict[str, Any]) -> str:
    """`20 done, 1 failed, 1 not done`."""
    names = {"done": "done", "skipped": "skipped", "failed": "failed", "not_done": "not done"}
    return ", ".join(f"{total[key]} {name}" for key, name in names.items() if total[key] or key == "done")


def summary_line(total: dict[str, Any]) -> str:
    """The batch in one line."""
    written = f"{size(total['bytes'])} in {total['objects']} objects, " if total["done"] else ""
    return f"{counted(total['slides'], 'slide')}: {counts(total)}; {written}{total['seconds']:.1f} s"


def table_lines(outcomes: Sequence[Outcome], width: int | None) -> Iterator[str]:
    """One row a slide, cut to `width` columns, where it has room for those of the numbers only that leave the slide some; of
    many slides those that want to be looked at."""
    receipts = [outcome.receipt for outcome in outcomes]
    rows = receipts if len(receipts) <= MOST_ROWS else _to_look_at(receipts)
    if not rows:
        return
    numbers = len(_NUMBERS) if width is None else max(0, min(len(_NUMBERS), (width - _SLIDE - 9) // 10))
    lines = [_row("result", _NUMBERS[:numbers], "slide")]
    for receipt in rows[:MOST_ROWS]:
        done = receipt.status == "done"
        told = (size(receipt.bytes), str(receipt.objects)) if done else ("", "")
        cells = (f"{receipt.seconds:.1f}", *told, str(len(receipt.warnings) or ""))
        lines.append(_row(receipt.status, cells[:numbers], _last(receipt)))
    yield from (line if width is None else cut(line, width) for line in lines)
    if len(rows) > MOST_ROWS:
        yield f"and {len(rows) - MOST_ROWS} more that failed or have notes"


def _to_look_at(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Those that failed, then those with notes."""
    failed = [receipt for receipt in receipts if receipt.status == "failed"]
    return failed + [receipt for receipt in receipts if receipt.warnings and receipt.status != "failed"]


def _row(first: str, numbers: tuple[str, ...], last: str) -> str:
    return "  ".join([f"{first:<7}", *(f"{cell:>8}" for cell in numbers), last])


def _last(receipt: Receipt) -> str:
    if receipt.failure is None:
        return shown(receipt.path)
    return f"{shown(receipt.path)}: {without_name(receipt.path, receipt.failure.message)}"
