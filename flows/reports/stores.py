"""What is known of the stores that were made: how many were looked at again, and those that are not as they were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from flows.ledger import checks
from flows.ledger.rows import SlideRow, slide_by_id

_SHOWN = 200


def stores(connection: Connection) -> dict[str, Any]:
    """Numbers: all stores, those that somebody looked into, seconds since the look longest ago, those wrong by kind."""
    found = checks.summary(connection)
    wrong = {str(kind): count for kind, count in found.wrong.items()}
    oldest = None if found.oldest is None else round(found.oldest, 1)
    return {"made": found.stores, "looked_into": found.looked, "oldest_look_s": oldest, "wrong": wrong}


def wrong_stores(connection: Connection) -> list[dict[str, Any]]:
    """Slides whose stores are not as they were made, the first ones: id, folder, path, output, and what is wrong."""
    ids = checks.wrong(connection, _SHOWN)
    rows = [row for slide in ids if (row := slide_by_id(connection, slide)) is not None]
    said = of_slides(connection, rows)
    keys = ("id", "folder", "path", "output")
    return [{key: getattr(row, key) for key in keys} | said[row.id] for row in rows]


def of_slides(connection: Connection, rows: Sequence[SlideRow]) -> dict[str, dict[str, Any]]:
    """Of each slide what is wrong with its store, and why; both None where nothing is known to be."""
    found = checks.findings(connection, [row.id for row in rows])
    return {
        row.id: {
            "store": str(found[row.id].wrong) if row.id in found else None,
            "store_reason": found[row.id].reason if row.id in found else None,
        }
        for row in rows
    }


def fault(found: dict[str, Any]) -> Iterator[str]:
    """A line about stores that are not as they were made; nothing where all are."""
    bad = {kind: count for kind, count in found["wrong"].items() if count}
    if bad:
        number, kinds = sum(bad.values()), ", ".join(f"{count} {kind}" for kind, count in bad.items())
        what = "store is" if number == 1 else "stores are"
        yield f"{number} {what} not as made ({kinds}): `slidemill audit --found`, with --again to make them again"
