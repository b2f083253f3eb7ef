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


@dataclass(frozen=True, slots=True)
class _Store:
    slide: str
    attempt: int
    folder: str
    output: str
    wrong: str | None

    @property
    def parent(self) -> str:
        return self.output.rpartition("/")[0]


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
    for parent, stores in groupby(_stores(engine), lambda store: store.parent):
        names = _names(parent)
        for store in stores:
            root = roots.setdefault(root_of(settings, store.folder, store.output), _Root())
            if store.output.rpartition("/")[2] not in names:
                root.missing.append(store)
                continue
            root.there += 1
            if store.wrong in (Wrong.GONE, Wrong.UNKNOWN):
                back.append(store)
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


def _stores(engine: Engine) -> Iterator[_Store]:
    c = slides.c
    query = select(c.id, c.attempt, c.folder, c.output, checks.c.wrong).outerjoin(checks, OF_SLIDE)
    query = query.where(c.state == State.DONE, c.output.is_not(None)).order_by(c.output)
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=_PAGE).execute(query).tuples()
        yield from (_Store(*row) for row in rows if "://" not in str(row[3]))


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
