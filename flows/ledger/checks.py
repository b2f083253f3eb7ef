"""What is known of the stores of slides that are done: when somebody looked at each, and whether it was as it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from flows.ledger.database import clock
from flows.ledger.tables import State, checks, slides

_PAGE = 1000


class Wrong(StrEnum):
    """What is wrong with a store."""

    GONE = "gone"
    DAMAGED = "damaged"
    OTHER = "other"
    """Whole, but not the one that was made."""
    UNKNOWN = "unknown"
    """It cannot be told: its folder is not there, its server does not answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a store found. `wrong` is None where it is as it was made."""

    wrong: Wrong | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a slide's store: the last finding, and after which of its files the next look goes on."""

    finding: Finding
    looked: float | None
    goes_on: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the store that this attempt of a slide made."""

    slide: str
    attempt: int
    finding: Finding
    inside: bool = True
    """Whether its contents were read, from the beginning or where the look before ended."""
    goes_on: str | None = None


OF_SLIDE = and_(checks.c.slide == slides.c.id, checks.c.attempt == slides.c.attempt)
"""What joins a slide with what is known of the store that it has now."""


def is_wrong(*kinds: Wrong) -> ColumnElement[bool]:
    """The condition on a slide joined with its check: its store was found so; of any kind where none is named."""
    which = checks.c.wrong.is_not(None) if not kinds else checks.c.wrong.in_(kinds)
    return and_(slides.c.state == State.DONE, which)


def known(connection: Connection, slide: str) -> Known:
    """What is known of the store of a slide; nothing at all where nobody looked since it was made."""
    c = checks.c
    query = select(c.wrong, c.reason, c.looked, c.goes_on).join(slides, OF_SLIDE).where(slides.c.id == slide)
    row = connection.execute(query).one_or_none()
    if row is None:
        return Known(Finding(), None, None)
    return Known(Finding(None if row.wrong is None else Wrong(row.wrong), row.reason), row.looked, row.goes_on)


def note(connection: Connection, look: Look) -> bool:
    """Write down what was found. False where the slide was handed out again meanwhile: it says nothing of its new store."""
    here = (slides.c.id == look.slide, slides.c.attempt == look.attempt, slides.c.state == State.DONE)
    if connection.execute(select(slides.c.id).where(*here)).one_or_none() is None:
        return False
    now, before = clock(connection), known(connection, look.slide)
    values: dict[str, Any] = {"attempt": look.attempt, "wrong": look.finding.wrong, "reason": look.finding.reason}
    if look.inside:
        values |= {"looked": now, "goes_on": look.goes_on}
    elif before.finding.wrong is not None and look.finding.wrong is None:
        values |= {"looked": None, "goes_on": None}  # one that is back may be another one: it is looked into soon
    if before.finding.wrong != look.finding.wrong:
        values["since"] = now
    insert = postgresql.insert(checks) if connection.dialect.name == "postgresql" else sqlite.insert(checks)
    connection.execute(insert.values(slide=look.slide, **values).on_conflict_do_update(index_elements=["slide"], set_=values))
    return True


def go_on(connection: Connection, slide: str, attempt: int, file: str) -> None:
    """Note how far a look came that was ended: the next one goes on after this file."""
    values: dict[str, Any] = {"attempt": attempt, "goes_on": file}
    insert = postgresql.insert(checks) if connection.dialect.name == "postgresql" else sqlite.insert(checks)
    connection.execute(insert.values(slide=slide, **values).on_conflict_do_update(index_elements=["slide"], set_=values))


def due(connection: Connection, age: float, most: int) -> list[str]:
    """Ids of slides whose stores are to be looked into: never done first, then those looked at longest ago.

    Those looked at less than `age` seconds ago are left out, but where a look is to go on.
    """
    c, now = checks.c, clock(connection)
    rests = and_(c.goes_on.is_not(None), c.wrong.is_(None))
    old = c.looked.is_(None) | (c.looked < now - age) | (c.looked > now)  # in the future: the clock was set back
    query = select(slides.c.id).outerjoin(checks, OF_SLIDE)
    query = query.where(slides.c.state == State.DONE, slides.c.output.is_not(None), rests | old)
    order = (func.coalesce(c.looked, 0.0), slides.c.finished, slides.c.id)
    return list(connection.execute(query.order_by(*order).limit(most)).scalars())


def wrong(connection: Connection, most: int, folder: str | None = None) -> list[str]:
    """Ids of slides whose stores were found wrong, the one found last first."""
    here = [is_wrong()] + ([] if folder is None else [slides.c.folder == folder])
    query = select(slides.c.id).join(checks, OF_SLIDE).where(*here).order_by(checks.c.since.desc(), slides.c.id)
    return list(connection.execute(query.limit(most)).scalars())


def findings(connection: Connection, ids: Sequence[str]) -> dict[str, Finding]:
    """What is wrong with the stores of these slides; those with which nothing is wrong are left out."""
    query = select(checks.c.slide, checks.c.wrong, checks.c.reason).join(slides, OF_SLIDE)
    found: dict[str, Finding] = {}
    for first in range(0, len(ids), _PAGE):
        rows = connection.execute(query.where(is_wrong(), slides.c.id.in_(ids[first : first + _PAGE]))).tuples()
        found |= {slide: Finding(Wrong(kind), reason) for slide, kind, reason in rows}
    return found


@dataclass(frozen=True, slots=True)
class Summary:
    """Of all stores: how many there are, how many somebody has looked into, when at the first of them; what is wrong."""

    stores: int
    looked: int
    oldest: float | None
    """Seconds since the look that is longest ago."""
    wrong: dict[Wrong, int]


def summary(connection: Connection) -> Summary:
    """One line about all stores."""
    done, c, now = slides.c.state == State.DONE, checks.c, clock(connection)
    stores = connection.execute(select(func.count()).where(done, slides.c.output.is_not(None))).scalar_one()
    joined = select(func.count(c.looked), func.min(c.looked)).join_from(checks, slides, OF_SLIDE).where(done)
    looked, first = connection.execute(joined).one()
    kinds = select(c.wrong, func.count()).join_from(checks, slides, OF_SLIDE).where(is_wrong()).group_by(c.wrong)
    found = dict(connection.execute(kinds).tuples().all())
    oldest = None if first is None else max(0.0, now - float(first))
    return Summary(stores, looked, oldest, {kind: int(found.get(kind, 0)) for kind in Wrong})
