"""Handing out work: the next slides in order of urgency, as many as the window and their folders allow."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, and_, func, or_, select

from flows.ledger.database import alone, clock, writing
from flows.ledger.tables import OPEN, QUEUED, State, slides
from flows.service.dispatch import Dispatcher, EngineUnavailable
from flows.service.pauses import call_back, closed
from flows.settings import QUEUES, Settings

log = logging.getLogger("slidemill.feed")

_UNSENT_S = 5.0
_MOST = 1000
_SMALL = 2
"""Small slides of a queue that wait for runs of their own, at least; at most as many as are under way. All others go along: a
run for one slide costs what converting several does, so the last of many are not to be handed to one each."""

_Row = tuple[str, int, str, int, int]
"""Id, attempt, folder, priority, bytes."""


@dataclass(frozen=True, slots=True)
class Ticketed:
    """A slide that was handed out under an attempt."""

    id: str
    attempt: int
    queue: str


def feed(engine: Engine, settings: Settings, dispatcher: Dispatcher) -> int:
    """Submit what is due. Returns how many runs were started; a run that could not be is tried again by the next call."""
    with alone(engine) as connection:
        call_back(connection, closed(connection, settings))
        handed = _hand_out(connection, settings)
        unsent = _unsent(connection)
    started = 0
    for ticket in [*unsent, *handed]:
        try:
            run = dispatcher.submit(ticket.id, ticket.attempt, ticket.queue)
        except EngineUnavailable as error:
            log.warning("slides stay queued: %s", error)
            break
        with writing(engine) as connection:
            here = and_(slides.c.id == ticket.id, slides.c.attempt == ticket.attempt)
            connection.execute(slides.update().where(here).values(flow_run=run))
        started += 1
    return started


def take_along(engine: Engine, settings: Settings, flow_run: str) -> Ticketed | None:
    """The next slide in order of urgency, handed to a run that is there already, where it is a small one.

    A run costs seconds to start: what takes less than that to convert goes along with others.
    """
    with alone(engine) as connection:
        now = clock(connection)
        chosen = next((slide for queue in QUEUES for slide in _choose(connection, settings, queue, now, most=1)), None)
        if chosen is None:
            return None
        size = connection.execute(select(slides.c.bytes).where(slides.c.id == chosen.id)).scalar_one()
        if size > settings.limits.small_bytes:
            return None
        if not _mark(connection, chosen, now, flow_run):
            return None
    return chosen


def _hand_out(connection: Connection, settings: Settings) -> list[Ticketed]:
    """Raise the attempt of the next slides and mark them as submitted."""
    now = clock(connection)
    chosen = [slide for queue in QUEUES for slide in _choose(connection, settings, queue, now)]
    return [slide for slide in chosen if _mark(connection, slide, now, None)]


def _mark(connection: Connection, slide: Ticketed, now: float, flow_run: str | None) -> bool:
    """Hand a slide out. False where it is not due any more: it may have been cancelled since it was chosen."""
    values = {"state": State.SUBMITTED, "attempt": slide.attempt, "submitted": now, "flow_run": flow_run, "process": None}
    cleared = {"heartbeat": None, "progress": None, "started": None}
    due = (slides.c.id == slide.id, slides.c.attempt == slide.attempt - 1, slides.c.state.in_(QUEUED))
    return connection.execute(slides.update().where(*due).values(**values, **cleared)).rowcount > 0


def _choose(connection: Connection, settings: Settings, queue: str, now: float, most: int | None = None) -> list[Ticketed]:
    """The next slides of a queue: as many as its window has room for, or `most` whatever the window says."""
    counted = select(slides.c.folder, slides.c.queue, func.count()).where(slides.c.state.in_(OPEN))
    open_rows = list(connection.execute(counted.group_by(slides.c.folder, slides.c.queue)).tuples())
    busy: Counter[str] = Counter()
    for folder, _, count in open_rows:
        busy[folder] += count
    if most is None:
        room = _window(connection, settings, queue, sum(count for _, of, count in open_rows if of == queue))
    else:
        room = _Room(most, most, 0)
    if room.slides <= 0:
        return []
    due = or_(slides.c.state == State.READY, and_(slides.c.state == State.FAILED, slides.c.not_before <= now))
    c = slides.c
    # Folders that have less in the works go first among equals, so that one that was filled at once does not hold up others.
    shut = closed(connection, settings)
    if shut.paused.everything:
        return []
    may = c.folder.not_in(shut.folders)
    query = select(c.id, c.attempt, c.folder, c.priority, c.bytes).where(due, c.queue == queue, may)
    rows = list(connection.execute(query.order_by(c.priority.desc(), c.ready, c.seen, c.path, c.id).limit(_MOST)).tuples())
    return _fairly(rows, settings, busy, room, queue)


@dataclass(slots=True)
class _Room:
    """How many more slides may be handed out, and how many among them of up to `size` bytes."""

    slides: int
    small: int
    size: int

    def take(self, size: int) -> bool:
        """Whether a slide of `size` bytes still has room, which it then has taken."""
        if size <= self.size:
            if self.small <= 0:
                return False
            self.small -= 1
        self.slides -= 1
        return True


def _window(connection: Connection, settings: Settings, queue: str, used: int) -> _Room:
    limits = settings.limits
    room = limits.window - used
    if not limits.small_bytes:
        return _Room(room, room, 0)
    small = select(slides.c.state, func.count()).where(slides.c.queue == queue, slides.c.bytes <= limits.small_bytes)
    counts = Counter(dict(connection.execute(small.where(slides.c.state.in_(OPEN)).group_by(slides.c.state)).tuples().all()))
    waiting = counts[State.SUBMITTED]
    under_way = counts.total() - waiting
    return _Room(room, max(_SMALL, under_way) - waiting, limits.small_bytes)


def _fairly(rows: Sequence[_Row], settings: Settings, busy: Counter[str], room: _Room, queue: str) -> list[Ticketed]:
    """The first rows for which there is room by priority, in turn over folders, within each folder's own bound."""
    chosen: list[Ticketed] = []
    for priority in sorted({row[3] for row in rows}, reverse=True):
        waiting: dict[str, list[tuple[str, int, int]]] = {}
        for slide, attempt, folder, _, size in (row for row in rows if row[3] == priority):
            waiting.setdefault(folder, []).append((slide, attempt, size))
        while waiting and room.slides > 0:
            folder = min(waiting, key=lambda name: (busy[name], name))
            bound = settings.folder(folder)
            if bound is not None and bound.at_most is not None and busy[folder] >= bound.at_most:
                del waiting[folder]
                continue
            slide, attempt, size = waiting[folder].pop(0)
            if not waiting[folder]:
                del waiting[folder]
            if room.take(size):
                busy[folder] += 1
                chosen.append(Ticketed(slide, attempt + 1, queue))
    return chosen


def _unsent(connection: Connection) -> list[Ticketed]:
    """Slides handed out a while ago whose submission nobody confirmed: the same key gives the same run."""
    c, now = slides.c, clock(connection)
    then = or_(c.submitted < now - _UNSENT_S, c.submitted > now)  # in the future: the clock was set back
    here = (c.state == State.SUBMITTED, c.flow_run.is_(None), then)
    query = select(c.id, c.attempt, c.queue).where(*here).order_by(c.submitted)
    return [Ticketed(*row) for row in connection.execute(query).tuples()]
