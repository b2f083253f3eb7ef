"""Slides that were converted, or refused, before all of their files had come: what arrives beside one makes it worth another
look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from sqlalchemy import Connection, select

from flows.ledger.outcomes import undecided
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State, slides
from flows.watching.look import as_path
from flows.watching.register import FoundSlide

_LEVELS = 3
"""Folders above an arriving file whose names are looked at: `x/Data0001.dat` of x.mrxs, `_x_/stack1/frame_t.ets` of x.vsi."""


_NOTHING = (State.WAITING, State.SUPERSEDED, State.GONE)
_PAGE = 1000
_REFUSED = (State.QUARANTINED, State.DISMISSED)
ENDED = (State.DONE, *_REFUSED)
"""States that more files of a slide can change."""


def ended_beside(connection: Connection, folder: str, arrived: Iterable[str]) -> list[SlideRow]:
    """The newest slide of each file whose stem an arriving file, or a folder that holds it, bears; done or refused.

    Upper and lower case are the same here: programs of Windows mix them in the names of one slide.
    """
    starts = {start.lower() for path in arrived for start in _starts(path)}
    c, newest = slides.c, dict[str, tuple[int, str, str]]()
    for path, *row in connection.execute(select(c.path, c.generation, c.id, c.state).where(c.folder == folder)).tuples():
        if not starts.isdisjoint(_stems(as_path(path).lower())) and tuple(row) > newest.get(path, (-1,)):
            newest[path] = (row[0], row[1], row[2])
    found = [slide_by_id(connection, slide) for _, slide, state in newest.values() if state in ENDED]
    return [slide for slide in found if slide is not None]


def _stems(path: str) -> Iterator[str]:
    """A path up to each dot in its last part."""
    at = path.find(".", path.rfind("/") + 1)
    while at >= 0:
        yield path[: at + 1]
        at = path.find(".", at + 1)


def _starts(path: str) -> Iterator[str]:
    """What the path of a slide begins with to which the file at `path` may belong."""
    place = PurePosixPath(as_path(path))
    for part in (place, *place.parents[:_LEVELS]):
        if part.name and part.parent != part:
            stem = part.stem if part == place else part.name.strip("_") or part.name
            yield f"{part.parent.as_posix()}/{stem}.".removeprefix("./")


def earlier(connection: Connection, folder: str, found: FoundSlide) -> list[SlideRow]:
    """Slides of the same driver whose own file is one of a slide's files: the same slide under another name, if asking
    about that file gives the same files. Of DICOM, and of OME-TIFF in several files, each file stands for the whole."""
    c, newest = slides.c, dict[str, tuple[int, str, str]]()
    others = sorted(set(found.members) - {found.path})
    for first in range(0, len(others), _PAGE):
        here = (c.folder == folder, c.driver == found.driver, c.path.in_(others[first : first + _PAGE]))
        for path, *row in connection.execute(select(c.path, c.generation, c.id, c.state).where(*here)).tuples():
            if tuple(row) > newest.get(path, (-1,)):
                newest[path] = (row[0], row[1], row[2])
    kept = [slide_by_id(connection, slide) for _, slide, state in newest.values() if state not in _NOTHING]
    return [slide for slide in kept if slide is not None]


def look_again(connection: Connection, slide: SlideRow) -> None:
    """Let the next scan decide anew what the files are. A refused slide is over with this; one that is done stays done."""
    undecided(connection, slide.id)
    refused = (slides.c.id == slide.id, slides.c.state.in_(_REFUSED))
    values = {"state": State.SUPERSEDED, "reason": "more of its files came"}
    connection.execute(slides.update().where(*refused).values(**values))
