"""Rows of the ledger as values, and what is read of them everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from flows.ledger.tables import State, marks, slides


@dataclass(frozen=True, slots=True)
class SlideRow:
    """One version of one slide; fields as in `flows.ledger.tables.slides`."""

    id: str
    folder: str
    root: str
    path: str
    generation: int
    output: str | None
    driver: str | None
    options: Mapping[str, Any]
    options_hash: str
    queue: str
    priority: int
    files: int
    bytes: int
    signature: str
    fingerprint: str | None
    state: State
    reason: str | None
    kind: str | None
    attempt: int
    failures: int
    flow_run: str | None
    process: str | None
    heartbeat: float | None
    progress: float | None
    moved: float | None
    cancel: bool
    same_as: str | None
    seen: float
    ready: float | None
    submitted: float | None
    started: float | None
    finished: float | None
    not_before: float | None
    told: bool
    receipt: Mapping[str, Any] | None
    put_away: str | None


def as_slide(row: Row[Any]) -> SlideRow:
    """The value of a row of all columns."""
    found: dict[str, Any] = dict(row._mapping)  # pyright: ignore[reportPrivateUsage] - a public name of SQLAlchemy
    found["state"] = State(found["state"])
    return SlideRow(**found)


def slide_by_id(connection: Connection, slide: str, *, lock: bool = False) -> SlideRow | None:
    """The row of that id; `lock`: as it is until the transaction ends, whoever is writing it now."""
    query = select(slides).where(slides.c.id == slide)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else as_slide(row)


def slides_in(connection: Connection, states: Sequence[State]) -> list[SlideRow]:
    """Rows in any of the states, oldest first."""
    query = select(slides).where(slides.c.state.in_(states)).order_by(slides.c.seen, slides.c.id)
    return [as_slide(row) for row in connection.execute(query)]


def newest(connection: Connection, states: Sequence[State], most: int, text: str = "") -> list[SlideRow]:
    """Rows in any of the states whose path or id has `text` in it, the one that changed last first."""
    c = slides.c
    here = c.path.contains(text, autoescape=True) | c.id.startswith(text, autoescape=True)
    last = func.coalesce(c.finished, c.started, c.ready, c.seen).desc()
    query = select(slides).where(c.state.in_(states), here).order_by(last, c.id).limit(most)
    return [as_slide(row) for row in connection.execute(query)]


def matching(engine: Engine, start: str) -> list[SlideRow]:
    """Rows whose id begins so: people type the first characters."""
    with engine.connect() as connection:
        query = select(slides).where(slides.c.id.startswith(start, autoescape=True)).order_by(slides.c.id)
        return [as_slide(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[State, int]:
    """Rows by state."""
    query = select(slides.c.state, func.count()).group_by(slides.c.state)
    return {State(state): int(count) for state, count in connection.execute(query)}


def mark(connection: Connection, name: str, at: float, value: Any = None) -> None:
    """Note when something last happened."""
    if connection.execute(marks.update().where(marks.c.name == name).values(at=at, value=value)).rowcount == 0:
        connection.execute(marks.insert().values(name=name, at=at, value=value))


def marked(connection: Connection, name: str) -> tuple[float, Any] | None:
    """When something last happened, and what was noted with it."""
    row = connection.execute(select(marks.c.at, marks.c.value).where(marks.c.name == name)).one_or_none()
    return None if row is None else (float(row[0]), row[1])
