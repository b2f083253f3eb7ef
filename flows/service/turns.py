"""Whose turn it is: looking at the folders and setting things right are done by one long run at a time, over all machines.

A run that begins takes the turn; the one that had it sees that at its next look and ends. Two that overlap for a moment do no
harm: whatever either decides, it decides in a transaction. A turn whose run is gone is vacant, and somebody begins a new run.
"""

from __future__ import annotations

from sqlalchemy import Engine

from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import mark, marked
from flows.service.process import is_gone, this_process


def take(engine: Engine, job: str, run: str) -> None:
    """Make it the turn of this run."""
    with alone(engine) as connection:
        mark(connection, _name(job), clock(connection), {"run": run, "process": this_process()})


def keep(engine: Engine, job: str, run: str) -> bool:
    """Whether it still is this run's turn; says that the run is alive."""
    with writing(engine) as connection:
        found = marked(connection, _name(job))
        if found is None or (found[1] or {}).get("run") != run:
            return False
        mark(connection, _name(job), clock(connection), found[1])
        return True


def leave(engine: Engine, job: str, run: str) -> None:
    """Give the turn up where it is still this run's."""
    with writing(engine) as connection:
        found = marked(connection, _name(job))
        if found is not None and (found[1] or {}).get("run") == run:
            mark(connection, _name(job), clock(connection), {})


def is_vacant(engine: Engine, job: str, lease: float) -> bool:
    """Whether nobody has the turn: its process is known to be gone, or gave no sign of life for `lease` seconds.

    A clock that was set makes it look vacant once: then two runs overlap for a moment.
    """
    with engine.connect() as connection:
        found, now = marked(connection, _name(job)), clock(connection)
    if found is None or not found[1]:
        return True
    at, value = found
    return is_gone(value.get("process")) or abs(now - at) > lease


def _name(job: str) -> str:
    return f"{job}-turn"
