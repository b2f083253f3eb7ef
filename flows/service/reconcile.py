"""Setting right what crashes, losses and hangs left: every open row of the ledger against its process, its run and the disk.

Prefect can be wrong about a run for good, and a process can outlive its run: the ledger decides, the attempt is the fence.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, select

from converter.checking.record import stored_receipt
from converter.checking.stored import files_of
from drivers.errors import DriverError
from drivers.location import location
from flows.ledger.attempts import Ticket, leave
from flows.ledger.database import alone, clock, writing
from flows.ledger.outcomes import Patience, Trouble, failed
from flows.ledger.rows import SlideRow, as_slide, mark, slides_in
from flows.ledger.tables import OPEN, State, slides
from flows.service.copies import promote_copies
from flows.service.dispatch import Dispatcher, EngineUnavailable, Run, RunState
from flows.service.leftovers import remove_stages
from flows.service.process import is_gone, pid_here
from flows.service.putting import put_away_rest
from flows.service.witness import Silence, watched
from flows.settings import Limits, Settings

log = logging.getLogger("slidemill.reconcile")

_GRACE_S = 15.0
"""A run that ended is given this long to write its outcome."""


@dataclass(slots=True)
class Reconciled:
    """What was set right, ids of slides by what became of them."""

    adopted: list[str] = field(default_factory=list[str])
    requeued: list[str] = field(default_factory=list[str])
    quarantined: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    copies: list[str] = field(default_factory=list[str])
    """Copies that are converted themselves, since what they were copies of is not there."""
    put_away: list[str] = field(default_factory=list[str])
    """Slides whose originals were moved now."""
    engine_away: bool = False


def reconcile(engine: Engine, settings: Settings, dispatcher: Dispatcher) -> Reconciled:
    """One pass over everything that is open. Safe to run twice at a time."""
    done = Reconciled()
    with alone(engine) as connection:
        rows, now = slides_in(connection, OPEN), clock(connection)
        silences = watched(connection, rows, settings.limits.lease_seconds)
    runs: Mapping[str, Run] | None = None
    try:
        runs = dispatcher.runs([row.flow_run for row in rows if row.flow_run])
    except EngineUnavailable as error:
        log.warning("runs are not looked at: %s", error)
        done.engine_away = True
    for row in rows:
        verdict = _judge(row, runs, _Now(now, silences.get(row.id, Silence())), settings.limits)
        _one(row, _Hands(engine, settings, dispatcher), verdict, done)
    done.copies = promote_copies(engine)
    done.put_away = put_away_rest(engine, settings)
    with writing(engine) as connection:
        mark(connection, "reconcile", clock(connection))
    return done


@dataclass(frozen=True, slots=True)
class _Hands:
    """What a pass works with."""

    engine: Engine
    settings: Settings
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True)
class _Now:
    """The ledger's time, and for how long this machine has seen the slide say nothing new."""

    clock: float
    silence: Silence


def _judge(row: SlideRow, runs: Mapping[str, Run] | None, now: _Now, limits: Limits) -> Trouble | State | None:
    """What is wrong with an open slide; CANCELLED where a person ended its run; pure but for a look at this machine."""
    run = runs.get(row.flow_run) if runs is not None and row.flow_run else None
    if run is not None and run.state is RunState.CANCELLED:
        return State.CANCELLED
    if row.state == State.SUBMITTED:
        return _submitted(row, runs, run, now.clock, limits)
    if is_gone(row.process):
        message = run.message if run is not None and run.message else "its process is gone"
        return Trouble("crashed", f"the converting process ended without a word: {message}", retryable=True)
    # Not by the ledger's clock: where that jumps, every living process would look silent.
    silent, still = now.silence.silent, now.silence.still
    if silent > limits.lease_seconds:
        return Trouble("lost", f"no sign of life for {silent:.0f} s", retryable=True)
    if row.state == State.RUNNING and still > limits.hang_seconds:
        return Trouble("hung", f"no progress for {still:.0f} s", retryable=True)
    return None


def _submitted(row: SlideRow, runs: Mapping[str, Run] | None, run: Run | None, now: float, limits: Limits) -> Trouble | None:
    if runs is None or row.flow_run is None or row.submitted is None:
        return None  # nobody to ask, or not sent yet: feeding sends it again
    if run is None:
        lost = not 0.0 <= now - row.submitted <= _GRACE_S  # in the future: the clock was set back
        return Trouble("lost", "its flow run no longer exists", retryable=True, counts=False) if lost else None
    if run.state in (RunState.CRASHED, RunState.ENDED) and run.age > _GRACE_S:
        return Trouble("crashed", run.message or "its flow run ended before it began", retryable=True, counts=False)
    if run.state is RunState.PENDING and run.age > limits.pending_seconds:
        return Trouble("lost", f"a worker took it {run.age:.0f} s ago and did not start it", retryable=True, counts=False)
    if run.state is RunState.RUNNING and run.age > limits.lease_seconds + limits.pending_seconds:
        return Trouble("lost", "its flow run says running, and no process took the slide", retryable=True, counts=False)
    return None


def _one(row: SlideRow, hands: _Hands, verdict: Trouble | State | None, done: Reconciled) -> None:
    engine, settings, dispatcher = hands.engine, hands.settings, hands.dispatcher
    if verdict is None and not row.cancel:
        return
    try:
        if row.state != State.SUBMITTED and verdict is not None and _adopt(engine, row):
            remove_stages(row)
            done.adopted.append(row.id)
            return
    except DriverError as error:  # an object store that is away: whether it is published is seen later
        log.warning("slide %s: %s", row.id, error)
        return
    if verdict is None:
        _cancel_queued(engine, row, dispatcher, done)
        return
    with writing(engine) as connection:
        locked = _lock(connection, row)
        if locked is None:
            return  # publishing at this very moment, or somebody else has set it right
        state = _settle(connection, locked, verdict, settings)
    _stop_process(row)
    remove_stages(row)
    _end_run(dispatcher, row, verdict)
    if state is not None:
        into = {State.QUARANTINED: done.quarantined, State.CANCELLED: done.cancelled}.get(state, done.requeued)
        into.append(row.id)


def _lock(connection: Connection, row: SlideRow) -> SlideRow | None:
    """The row, locked, where it is still as it was seen."""
    here = (slides.c.id == row.id, slides.c.attempt == row.attempt, slides.c.state == row.state)
    found = connection.execute(select(slides).where(*here).with_for_update(skip_locked=True)).one_or_none()
    if found is None or found.heartbeat != row.heartbeat:
        return None
    return as_slide(found)


def _settle(connection: Connection, row: SlideRow, verdict: Trouble | State, settings: Settings) -> State | None:
    ticket = Ticket(row.id, row.attempt)
    if isinstance(verdict, State):
        values: dict[str, Any] = {"finished": clock(connection), "reason": "cancelled", "cancel": False}
        return State.CANCELLED if leave(connection, ticket, State.CANCELLED, **values) else None
    patience = Patience(settings.limits.attempts, settings.limits.retry_seconds)
    return failed(connection, ticket, verdict, patience)


def _cancel_queued(engine: Engine, row: SlideRow, dispatcher: Dispatcher, done: Reconciled) -> None:
    """A running process sees the wish itself; one that never began is cancelled here."""
    if row.state != State.SUBMITTED:
        return
    with writing(engine) as connection:
        values: dict[str, Any] = {"finished": clock(connection), "reason": "cancelled", "cancel": False}
        if not leave(connection, Ticket(row.id, row.attempt), State.CANCELLED, **values):
            return
    _end_run(dispatcher, row, State.CANCELLED)
    done.cancelled.append(row.id)


def _adopt(engine: Engine, row: SlideRow) -> bool:
    """Take over an output that this very conversion published before its process ended."""
    receipt = _published(row)
    if receipt is None:
        return False
    with writing(engine) as connection:
        here = (slides.c.id == row.id, slides.c.attempt == row.attempt, slides.c.state == row.state)
        values = {"state": State.DONE, "finished": clock(connection), "progress": 1.0, "receipt": receipt}
        cleared = {"reason": None, "kind": None, "told": False, "cancel": False}
        return connection.execute(slides.update().where(*here).values(**values, **cleared)).rowcount > 0


def _published(row: SlideRow) -> dict[str, Any] | None:
    """The receipt of the output, where it is of this slide's content and options."""
    if row.output is None or row.fingerprint is None:
        return None
    receipt = stored_receipt(files_of(location(row.output)))
    if receipt is None or receipt.get("fingerprint") != row.fingerprint:
        return None
    said = receipt.get("options")
    same = isinstance(said, dict) and all(row.options.get(key) == _listed(value) for key, value in said.items())
    return receipt if same else None


def _listed(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _stop_process(row: SlideRow) -> None:
    """End a process of this machine that hangs: it may not publish, but it would go on using the machine."""
    pid = pid_here(row.process)
    if pid is not None and pid != os.getpid():
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _end_run(dispatcher: Dispatcher, row: SlideRow, verdict: Trouble | State) -> None:
    if row.flow_run is None:
        return
    reason = verdict.message if isinstance(verdict, Trouble) else "cancelled"
    try:
        dispatcher.end(row.flow_run, reason)
    except EngineUnavailable as error:
        log.warning("run %s could not be ended: %s", row.flow_run, error)
