"""Whether the stores that were made are there: names of their folders against the ledger; nothing is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sqlalchemy import Engine, select

from flows.ledger.checks import OF_SLIDE, Finding, Look, Wrong, note
from flows.ledger.database import writing
from flows.ledger.tables import State, checks, slides
from flows.service.places import missing, root_of, seen
from flows.settings import Settings

_PAGE = 500
_AWAY = (Wrong.GONE, Wrong.UNKNOWN)
_Row = tuple[str, int, str, str, str | None]
"""Id, attempt, folder, output, what was wrong."""


@dataclass(frozen=True, slots=True)
class _Store:
    slide: str
    attempt: int
    folder: str
    output: str
    wrong: str | None


@dataclass(slots=True)
class _Root:
    """A folder of outputs: how many of its stores are there, and those that are not."""

    there: int = 0
    missing: list[_Store] = field(default_factory=list[_Store])


def look_for_stores(engine: Engine, settings: Settings) -> int:
    """Note which stores are gone, or cannot be told, and which are back. Returns how many are not there.

    Stores in object stores are left out: each would be a request.
    """
    roots, back = dict[Path, _Root](), list[_Store]()
    for (parent, folder), stores in groupby(_rows(engine), lambda row: (row[3].rpartition("/")[0], row[2])):
        names, begin, root = _names(parent), len(parent) + 1, _Root()
        for row in stores:  # tens of thousands: nothing is made for those that are well
            if row[3][begin:] not in names:
                root.missing.append(_Store(*row))
                continue
            root.there += 1
            if row[4] in _AWAY:
                back.append(_Store(*row))
        whole = roots.setdefault(root_of(settings, folder, f"{parent}/x"), _Root())
        whole.there += root.there
        whole.missing += root.missing
    for place, root in roots.items():
        # A single store that was written where a disk is not mounted does not make its folder the one that was meant.
        if root.there and root.there >= len(root.missing):
            seen(engine, place)
    found = [(store, Finding()) for store in back]
    with engine.connect() as connection:
        for place, root in roots.items():
            said = [(store, missing(connection, place, store.output)) for store in root.missing]
            found += [(store, finding) for store, finding in said if finding.wrong != store.wrong]
    _note(engine, found)
    return sum(len(root.missing) for root in roots.values())


def _rows(engine: Engine) -> Iterator[_Row]:
    c = slides.c
    query = select(c.id, c.attempt, c.folder, c.output, checks.c.wrong).outerjoin(checks, OF_SLIDE)
    query = query.where(c.state == State.DONE, c.output.is_not(None)).order_by(c.output)
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=_PAGE).execute(query).tuples()
        yield from (row for row in rows if "://" not in row[3])


def _names(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except OSError:
        return frozenset()


def _note(engine: Engine, found: list[tuple[_Store, Finding]]) -> None:
    for first in range(0, len(found), _PAGE):
        with writing(engine) as connection:
            for store, finding in found[first : first + _PAGE]:
                note(connection, Look(store.slide, store.attempt, finding, inside=False))
