"""A look at a folder against what the ledger knows: what is new, changed, gone, and what has been quiet for long enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from flows.ledger.outcomes import undecided
from flows.ledger.rows import slide_by_id
from flows.ledger.tables import OPEN, State, files, slides
from flows.watching.look import Look

_PAGE = 500


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


def known_files(connection: Connection, folder: str, *, undecided: bool = False) -> dict[str, Known]:
    """Everything the ledger knows of a folder, or of its undecided files."""
    c = files.c
    query = select(c.path, c.size, c.mtime_ns, c.inode, c.since, c.looks, c.slide).where(c.folder == folder)
    rows = connection.execute(query.where(c.slide.is_(None)) if undecided else query).tuples()
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
    """Write what differs, and is not so in the ledger yet. Slides whose files changed are looked at anew; what is being
    converted is left to its process, which will find out."""
    here = files.c.folder == folder
    connection.execute(files.update().where(here, files.c.slide.is_(None)).values(looks=files.c.looks + 1))
    changed = _still_other(connection, folder, change.changed)
    _settle(connection, folder, changed)
    if change.gone:
        gone = files.delete().where(here, files.c.path == bindparam("b_path"), files.c.slide.is_(None))
        connection.execute(gone, [{"b_path": p} for p in change.gone])
        _lost(connection, folder, change.gone, now)
    if changed:
        update = files.update().where(here, files.c.path == bindparam("b_path"))
        connection.execute(update, [{"b_path": p, "slide": None, **_row(v, now)} for p, v in changed.items()])
    add(connection, folder, change.new, now)


def add(connection: Connection, folder: str, new: Mapping[str, Look], now: float) -> None:
    """Write down files that are new, where nobody else has done so meanwhile."""
    if new:
        rows = [{"folder": folder, "path": p, "slide": None, **_row(v, now)} for p, v in new.items()]
        insert = postgresql.insert(files) if connection.dialect.name == "postgresql" else sqlite.insert(files)
        connection.execute(insert.on_conflict_do_nothing(), rows)


def _still_other(connection: Connection, folder: str, changed: Mapping[str, Look]) -> dict[str, Look]:
    """Of changed files those that the ledger does not have as they are now: another process may have looked meanwhile."""
    c, paths, found = files.c, list(changed), dict[str, Look]()
    for first in range(0, len(paths), _PAGE):
        page = c.path.in_(paths[first : first + _PAGE])
        rows = connection.execute(select(c.path, c.size, c.mtime_ns, c.inode).where(c.folder == folder, page)).tuples()
        found |= {path: Look(*rest) for path, *rest in rows}
    return {path: now for path, now in changed.items() if found.get(path) != now}


def _row(found: Look, now: float) -> dict[str, float]:
    return {**found._asdict(), "since": now, "looks": 1}


def _settle(connection: Connection, folder: str, changed: Iterable[str]) -> None:
    """Take the decision back for every slide one of whose files changed."""
    query = select(files.c.slide).where(files.c.folder == folder, files.c.path == bindparam("b_path"))
    owners = {connection.execute(query, {"b_path": path}).scalar_one_or_none() for path in changed}
    for owner in sorted(slide for slide in owners if slide):
        undecided(connection, owner)
        row = slide_by_id(connection, owner)
        if row is None or row.state in OPEN:
            continue
        if row.state == State.DONE:  # its store is of what the file was: it stays, and what the file is now gets its own
            values: dict[str, object] = {"reason": "the file changed since; what it is now is a slide of its own"}
        else:
            values = {"state": State.SUPERSEDED, "reason": "the file changed"}
        connection.execute(slides.update().where(slides.c.id == owner, slides.c.state == row.state).values(**values))


def _lost(connection: Connection, folder: str, gone: Sequence[str], now: float) -> None:
    waiting = (slides.c.folder == folder, slides.c.path == bindparam("b_path"), slides.c.state == State.WAITING)
    update = slides.update().where(*waiting).values(state=State.GONE, finished=now, reason="the file went away")
    connection.execute(update, [{"b_path": path} for path in gone])


def quiet(found: Known, now: float, seconds: float) -> bool:
    """Whether a file has been seen as it is at least twice, and for long enough."""
    return found.looks >= 2 and now - found.since >= seconds
