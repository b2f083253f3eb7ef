"""The flows: scan, convert_slide, reconcile. Thin: what they do is in plain modules that know nothing of Prefect.

Parameters are ids only; everything else comes from the ledger and the settings.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from prefect import flow, get_client, get_run_logger, task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.client.schemas.objects import StateType
from prefect.context import get_run_context
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError

from converter.convert import directly
from flows.engine.dispatcher import PrefectDispatcher, reaching_prefect
from flows.engine.heap import give_back
from flows.engine.missed import forget_missed
from flows.engine.names import CONVERT, RECONCILE, SCAN
from flows.engine.poke import poke
from flows.engine.report import report_batch
from flows.engine.stopping import stop_of
from flows.ledger.attempts import Ticket
from flows.ledger.database import clock, connect, is_away, patiently, writing
from flows.ledger.faults import fault
from flows.ledger.rows import marked, slide_by_id
from flows.ledger.tables import State, slides
from flows.service import turns
from flows.service.attempt import Watch, run_attempt
from flows.service.dispatch import EngineUnavailable
from flows.service.feed import feed, take_along
from flows.service.recheck import rechecking
from flows.service.reconcile import reconcile as reconcile_now
from flows.settings import Settings, load_settings
from flows.watching.memory import Memory
from flows.watching.probe import Prober
from flows.watching.scan import scan as scan_once

_ARTIFACT_S = 10.0
_OVERLAP_S = 60.0
"""A run goes on for this long after its time, for the next one to take over."""
_TURN_S = 60.0
_LONG_S = 0.1
"""A look that took longer has read the ledger."""
_LEAST_S = 0.1


class StepFailed(Exception):
    """What Prefect sees of an error in a step: its kind."""


@flow(name=SCAN, flow_run_name="scan", retries=0)
def scan() -> None:
    """Look at the watched folders, again and again for the run's time; submit what is due after each look."""
    settings, engine = _open()
    dispatcher, memory = PrefectDispatcher(), Memory()
    with Prober(settings.limits.probe_seconds) as prober:

        def look() -> None:
            found = scan_once(engine, settings, prober, memory=memory)
            if found.seconds > _LONG_S:
                give_back()  # of all that the ledger knows
            if found.ready or found.refused:
                get_run_logger().info("%d slides are ready, %d refused", len(found.ready), len(found.refused))
            _hand_out(engine, settings, dispatcher)

        _again_and_again(engine, settings, (SCAN, settings.schedule.scan_seconds), look)
    engine.dispose()


@flow(name=RECONCILE, flow_run_name="reconcile", retries=0)
def reconcile() -> None:
    """Set right what crashes and losses left, submit what is due, report batches that came to their end; again and again."""
    settings, engine = _open()
    dispatcher = PrefectDispatcher()

    def look() -> None:
        done = reconcile_now(engine, settings, dispatcher)
        for what in ("adopted", "requeued", "quarantined", "cancelled"):
            for slide in getattr(done, what):
                get_run_logger().warning("slide %s: %s", slide, what)
        _hand_out(engine, settings, dispatcher)
        report_batch(engine, settings)

    own = _own_run()
    with rechecking(engine, settings, str(own), stop_of(own)):
        _again_and_again(engine, settings, (RECONCILE, settings.schedule.reconcile_seconds), look)
    engine.dispose()


def _hand_out(engine: Engine, settings: Settings, dispatcher: PrefectDispatcher) -> None:
    if feed(engine, settings, dispatcher):
        poke()


def _again_and_again(engine: Engine, settings: Settings, job: tuple[str, float], look: Callable[[], None]) -> None:
    """Look every so many seconds, for the time of a run, or until a later run has taken over.

    A run of an hour costs one process; the next one is scheduled for its end, and one that is killed is missed by the
    workers of the control pool (`flows.engine.keeper`). Where ledger or engine are away, the next look tries again.
    """
    try:
        _in_turn(engine, settings, job, look)
    except DBAPIError as error:  # not a traceback a minute for what somebody has to set right; another run is asked for
        get_run_logger().warning("%s", fault(error, settings.ledger_url))


def _in_turn(engine: Engine, settings: Settings, job: tuple[str, float], look: Callable[[], None]) -> None:
    name, every = job
    if _is_needless(engine, name, settings.schedule.scan_run_seconds):
        return
    own, told = _own_run(), _Told(settings.ledger_url)
    run, stop = str(own), stop_of(own)
    end = time.monotonic() + settings.schedule.scan_run_seconds + _OVERLAP_S
    patiently(lambda: turns.take(engine, name, run), _TURN_S)
    try:
        while True:
            start = time.monotonic()
            if not _looked(engine, (name, run), look, told):
                return
            wait = max(every - (time.monotonic() - start), _LEAST_S)
            if time.monotonic() + wait >= end or stop.wait(wait):
                return
    finally:
        patiently(lambda: turns.leave(engine, name, run), _TURN_S)


@dataclass(slots=True)
class _Told:
    """What keeps a run from looking is told once, not at each look."""

    url: str
    last: str = ""

    def tell(self, error: Exception | None) -> None:
        said = str(fault(error, self.url) if isinstance(error, DBAPIError) else error or "")
        if said and said != self.last:
            get_run_logger().warning("%s", said)
        self.last = said


def _looked(engine: Engine, turn: tuple[str, str], look: Callable[[], None], told: _Told) -> bool:
    """One look, where it is this run's turn. Whether there is to be another one."""
    try:
        if not turns.keep(engine, *turn):
            return False
        look()
        told.tell(None)
    except EngineUnavailable as error:
        told.tell(error)
    except DBAPIError as error:
        if not is_away(error):
            raise
        told.tell(error)
    return True


@flow(name=CONVERT, flow_run_name="{slide}-{attempt}", retries=0)
async def convert_slide(slide: str, attempt: int) -> PrefectState[Any]:
    """Convert one slide: plan, convert each scene, verify and publish are its tasks."""
    # Asynchronous, because a synchronous flow costs a second more at its end; the work is done on a thread.
    settings, engine = _open()
    step = directly if _is_small(engine, settings, slide) else _as_task
    watch = Watch(step=step, give_up=lambda: os.kill(os.getpid(), signal.SIGKILL))
    watch.report = _progress_reporter(slide)
    asked = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        watch.stop.set()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        ticket, start = Ticket(slide, attempt), time.monotonic()
        state = await asyncio.to_thread(run_attempt, engine, settings, ticket, watch)
        if state is not None:
            await asyncio.to_thread(_along, engine, settings, watch, start)
        if asked and await asyncio.to_thread(_cancelled_by_a_person):
            await asyncio.to_thread(_cancel, engine, ticket)
            state = State.CANCELLED
        return await asyncio.to_thread(_outcome, engine, ticket, state)
    finally:
        signal.signal(signal.SIGTERM, before)
        engine.dispose()


def _open() -> tuple[Settings, Engine]:
    settings = load_settings(None)
    return settings, connect(settings.ledger_url)


def _is_small(engine: Engine, settings: Settings, slide: str) -> bool:
    """Whether a slide's steps are no tasks: five task runs with their states and events are 178 kB in Prefect's database."""
    try:
        with engine.connect() as connection:
            row = slide_by_id(connection, slide)
    except Exception as error:
        if not is_away(error):
            raise
        return False
    return row is not None and row.bytes <= settings.limits.small_bytes


def _along(engine: Engine, settings: Settings, watch: Watch, start: float) -> None:
    """Convert small slides that are due in the same run, for a while."""
    run = _own_run()
    while run is not None and not watch.stop.is_set() and time.monotonic() - start < settings.limits.along_seconds:
        chosen = take_along(engine, settings, str(run))
        if chosen is None:
            return
        run_attempt(
            engine, settings, Ticket(chosen.id, chosen.attempt), replace(watch, progress=0.0, report=None, step=directly)
        )


def _own_run() -> UUID | None:
    return getattr(getattr(get_run_context(), "flow_run", None), "id", None)


def _is_needless(engine: Engine, flow: str, interval: float) -> bool:
    """Whether another run has taken this one's place: after an outage, all that were missed would start one after another."""
    try:
        there = forget_missed(flow, 2 * interval)
    except EngineUnavailable as error:
        get_run_logger().warning("runs that were missed stay as they are: %s", error)
        return False
    due = flow_run.scheduled_start_time
    if due is None or (there - due).total_seconds() <= 2 * interval:
        return False
    # Late it may be because the machine is busy: then it is still needed.
    with engine.connect() as connection:
        last, now = marked(connection, flow), clock(connection)
    return last is not None and 0.0 <= now - last[0] < interval  # in the future: the clock was set back


def _as_task[T](name: str, work: Callable[[], T], /) -> T:
    """Run a step of a conversion as a task of the current run.

    Names of slides and what errors say of them stay out of Prefect, which keeps both: they may name a patient.
    """
    word, errors = name.partition(" ")[0], list[Exception]()

    @task(name=word, task_run_name=word, retries=0, cache_policy=NO_CACHE, persist_result=False)
    def step() -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - raised again outside of the task
            errors.append(error)
            raise StepFailed(getattr(error, "kind", type(error).__name__)) from None

    try:
        return step()
    except StepFailed:
        raise errors[0] from None


def _progress_reporter(slide: str) -> Callable[[float], None]:
    """Shows progress as an artifact of the run, at most every 10 s. Called from another thread: the context goes along."""
    context, last = contextvars.copy_context(), -_ARTIFACT_S
    artifact: UUID | None = None

    def report(progress: float) -> None:
        nonlocal last, artifact
        if time.monotonic() - last < _ARTIFACT_S:
            return
        last = time.monotonic()
        percent = round(100 * progress, 1)
        if artifact is None:
            artifact = context.run(asyncio.run, acreate_progress_artifact(percent, key=f"slide-{slide}"))
        else:
            context.run(asyncio.run, aupdate_progress_artifact(artifact, percent))

    return report


def _cancelled_by_a_person() -> bool:
    """Whether this run is being cancelled through Prefect; else the machine or the service is being stopped."""
    run = _own_run()
    if run is None:
        return False
    try:
        with reaching_prefect(), get_client(sync_client=True) as client:
            return client.read_flow_run(run).state_type in (StateType.CANCELLING, StateType.CANCELLED)
    except Exception:  # noqa: BLE001 - who cannot be asked has cancelled nothing
        return False


def _cancel(engine: Engine, ticket: Ticket) -> None:
    with writing(engine) as connection:
        here = (slides.c.id == ticket.slide, slides.c.attempt == ticket.attempt, slides.c.state == State.READY)
        connection.execute(update(slides).where(*here).values(state=State.CANCELLED, reason="cancelled"))


def _outcome(engine: Engine, ticket: Ticket, state: State | None) -> PrefectState[Any]:
    """What Prefect shows of the attempt."""
    if state is None:
        return Completed(message="another attempt has the slide")
    with engine.connect() as connection:
        row = slide_by_id(connection, ticket.slide)
    words = f"{state}: {row.kind}" if row is not None and row.kind else str(state)
    return Failed(message=words) if state in (State.FAILED, State.QUARANTINED) else Completed(message=words)
