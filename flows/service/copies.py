"""Copies of slides that are not there: the one that was seen first is converted, and the others become copies of that."""

from __future__ import annotations

from sqlalchemy import Engine, and_, or_, select

from flows.ledger.attempts import take_copies
from flows.ledger.checks import Wrong
from flows.ledger.database import clock, writing
from flows.ledger.tables import State, checks, slides

_FALLEN = (State.CANCELLED, State.GONE, State.SUPERSEDED, State.QUARANTINED, State.DISMISSED)


def promote_copies(engine: Engine) -> list[str]:
    """Queue the first copy of every slide that was cancelled, went away, failed for good, or whose store was removed.

    Returns the ids of those copies.
    """
    promoted: dict[str, str] = {}
    with engine.connect() as connection:
        for owner, copy in connection.execute(_FALLEN_OWNERS).tuples():
            promoted.setdefault(owner, copy)
    if not promoted:
        return []
    done: list[str] = []
    with writing(engine) as connection:
        now = clock(connection)
        for owner, copy in promoted.items():
            here = (slides.c.id == copy, slides.c.state == State.DUPLICATE, slides.c.same_as == owner)
            again = {"state": State.READY, "same_as": None, "reason": None, "ready": now, "failures": 0, "not_before": None}
            if connection.execute(slides.update().where(*here).values(**again)).rowcount:
                take_copies(connection, owner, copy)
                done.append(copy)
    return done


_owner = slides.alias("owner")
_IS_REMOVED = and_(
    _owner.c.state == State.DONE,
    checks.c.slide == _owner.c.id,
    checks.c.attempt == _owner.c.attempt,
    checks.c.wrong == Wrong.GONE,
)
_FALLEN_OWNERS = (
    select(_owner.c.id, slides.c.id)
    .join_from(slides, _owner, _owner.c.id == slides.c.same_as)
    .outerjoin(checks, checks.c.slide == _owner.c.id)
    .where(slides.c.state == State.DUPLICATE, or_(_owner.c.state.in_(_FALLEN), _IS_REMOVED))
    .order_by(slides.c.seen, slides.c.folder, slides.c.path)
)
