"""A look at a folder against what the ledger knows: what is new, changed, gone, and what has been quiet for long enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from flows.ledger.outcomes import undecided
from flows.ledger.rows import slide_by_id
from flows.ledger.tables import OPEN, State, files, slides
from flows.watching.walk import Look

NOT_A_SLIDE = ""
"""What `files.slide` says of a file that is none."""


class Known(NamedTuple):
    """A file as the ledger has it."""

    look: Look
    since: float
    looks: int
    slide: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as the ledger has it. Paths as text."""

    new: Mapping[str, Look]
    changed: Mapping[str, Look]
    gone: Sequence[str]
    """Undecided files that are not there any more. Decided ones may go: the ledger remembers them."""


def known_files(connection: Connection, folder: str) -> dict[str, Known]:
    """Everything the ledger knows of a folder."""
    c = files.c
    query = select(c.path, c.size, c.mtime_ns, c.inode, c.since, c.looks, c.slide).where(c.folder == folder)
    rows = connection.execute(query).tuples()
    return {path: Known(Look(size, mtime, inode), since, n, slide) for path, size, mtime, inode, since, n, slide in rows}


def compare(seen: Mapping[str, Look], known: Mapping[str, Known]) -> Change:
    """What differs; pure."""
    new: dict[str, Look] = {}
    changed: dict[str, Look] = {}
    for path, found in seen.items():
        before = known.get(path)
        if before is None:
            new[path] = found
        elif before.look != found:
            changed[path] = found
    gone = [path for path, before in known.items() if before.slide is None and path not in seen]
    return Change(new, changed, gone)


def record(connection: Connection, folder: str, change: Change, now: float) -> None:
    """Write what differs. Slides whose files changed are looked at anew; what is being converted is left to its process,
    which will find out."""
    here = files.c.folder == folder
    connection.execute(files.update().where(here, files.c.slide.is_(None)).values(looks=files.c.looks + 1))
    _settle(connection, folder, change.changed)
    if change.gone:
        connection.execute(
            files.delete().where(here, files.c.path == bindparam("b_path")), [{"b_path": p} for p in change.gone]
        )
        _lost(connection, folder, change.gone, now)
    if change.changed:
        update = files.update().where(here, files.c.path == bindparam("b_path"))
        connection.execute(update, [{"b_path": p, "slide": None, **_row(v, now)} for p, v in change.changed.items()])
    if change.new:
        connection.execute(
            files.insert(), [{"folder": folder, "path": p, "slide": None, **_row(v, now)} for p, v in change.new.items()]
        )


def _row(found: Look, now: float) -> dict[str, float]:
    return {**found._asdict(), "since": now, "looks": 1}


def _settle(connection: Connection, folder: str, changed: Iterable[str]) -> None:
    """Take the decision back for every slide one of whose files changed."""
    query = select(files.c.slide).where(files.c.folder == folder, files.c.path == bindparam("b_path"))
    owners = {connection.execute(query, {"b_path": path}).scalar_one_or_none() for path in changed}
    for owner in sorted(slide for slide in owners if slide):
        undecided(connection, owner)
        row = slide_by_id(connection, owner)
        if row is not None and row.state not in (*OPEN, State.DONE):
            values = {"state": State.SUPERSEDED, "reason": "the file changed"}
            connection.execute(slides.update().where(slides.c.id == owner).values(**values))


def _lost(connection: Connection, folder: str, gone: Sequence[str], now: float) -> None:
    waiting = (slides.c.folder == folder, slides.c.path == bindparam("b_path"), slides.c.state == State.WAITING)
    update = slides.update().where(*waiting).values(state=State.GONE, finished=now, reason="the file went away")
    connection.execute(update, [{"b_path": path} for path in gone])


def quiet(found: Known, now: float, seconds: float) -> bool:
    """Whether a file has been seen as it is at least twice, and for long enough."""
    return found.looks >= 2 and now - found.since >= seconds
