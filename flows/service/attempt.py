"""One attempt at one slide, under the ledger: take it, convert it, publish it behind the fence, say what became of it."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from converter.convert import Conversion, Step, convert, directly
from converter.errors import Busy, Cancelled
from converter.fingerprint import fingerprint
from converter.options import Options
from converter.pace import open_paced
from converter.writing.run import Amount
from drivers.location import Location, location
from flows.ledger import attempts, outcomes
from flows.ledger.attempts import Fenced, Ticket
from flows.ledger.database import is_away, patiently, present, writing
from flows.ledger.outcomes import Patience, Trouble
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State
from flows.outcome import KNOWN, one_line, unexpected
from flows.service.originals import home
from flows.service.paces import Paces, paces
from flows.service.places import first_seen, root_of, stands
from flows.service.process import this_process
from flows.service.putting import kept_at, put_away_slide
from flows.settings import Settings
from flows.watching.look import FolderUnavailable, as_path
from flows.watching.members import changed_files, other_files
from flows.watching.mounted import away as folder_away

log = logging.getLogger("slidemill.attempt")

_LEDGER_S = 900.0
"""How long a finished conversion waits for a ledger that is away."""

_ROUNDS = 5
_STORAGE_AWAY = (errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)
"""What a network file system or a disk says that is not there any more: nothing about the slide."""

Report = Callable[[float], None]
"""Told of progress, from 0 to 1."""


@dataclass(slots=True)
class Watch:
    """What an attempt lets others see and do. `stop` may be set by a signal handler."""

    stop: threading.Event = field(default_factory=threading.Event)
    step: Step = directly
    report: Report | None = None
    give_up: Callable[[], None] | None = None
    """Ends the process: called where a conversion that was told to stop hangs."""
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    engine: Engine
    settings: Settings
    ticket: Ticket
    row: SlideRow
    watch: Watch
    paces: Paces

    @property
    def path(self) -> Path:
        return Path(self.row.root) / as_path(self.row.path)

    @property
    def patience(self) -> Patience:
        return Patience(self.settings.limits.attempts, self.settings.limits.retry_seconds)


def run_attempt(engine: Engine, settings: Settings, ticket: Ticket, watch: Watch) -> State | None:
    """Convert a slide under `ticket`. The state it is left in; None where it is not this attempt's any more."""
    row = patiently(lambda: attempts.start(engine, ticket, this_process()), _LEDGER_S)
    if row is None:
        log.info("slide %s: attempt %d is not to be started", ticket.slide, ticket.attempt)
        return None
    row = replace(row, root=str(home(row, settings)))
    this = _Attempt(engine, settings, ticket, row, watch, paces(settings, (row.root, row.output or row.root), watch.stop))
    patiently(lambda: this.paces.divide(engine), _LEDGER_S)
    ended = threading.Event()
    pulse = threading.Thread(target=_beat, args=(this, ended), name="slidemill-pulse", daemon=True)
    pulse.start()
    threading.Thread(target=_report, args=(this, ended), name="slidemill-report", daemon=True).start()
    try:
        _convert(this)
    except Fenced:
        log.info("slide %s: attempt %d was fenced off", ticket.slide, ticket.attempt)
        patiently(lambda: outcomes.cancelled(engine, ticket), _LEDGER_S)
    except Exception as error:  # noqa: BLE001 - whatever went wrong belongs into the ledger
        patiently(partial(_failed, this, error), _LEDGER_S)
    finally:
        ended.set()
        pulse.join()
    now = patiently(lambda: _row(engine, ticket), _LEDGER_S)
    return now.state if now is not None and now.attempt == ticket.attempt else None


def _row(engine: Engine, ticket: Ticket) -> SlideRow | None:
    with engine.connect() as connection:
        return slide_by_id(connection, ticket.slide)


def _convert(this: _Attempt) -> None:
    members = _members(this)
    if members is None:
        return
    identity = this.watch.step("fingerprint", lambda: fingerprint(members, this.watch.stop.is_set, this.paces.read))
    owner = patiently(lambda: _owner(this, identity), _LEDGER_S)
    where = kept_at(this.settings, this.row)
    if owner is not None:
        patiently(lambda: outcomes.duplicate(this.engine, this.ticket, owner, where), _LEDGER_S)
        if owner.state == State.DONE:  # else its original is put away once that is done: it may have to be converted yet
            put_away_slide(this.engine, this.settings, this.row, members)
        return
    receipt = convert(this.path, _target(this), _conversion(this, identity))
    patiently(lambda: attempts.finish(this.engine, this.ticket, receipt.as_json(), where), _LEDGER_S)
    _after(this, members)


def _members(this: _Attempt) -> list[Path] | None:
    """The slide's files; None where they are not those that were found complete: the next scan looks at them anew."""
    members: list[Path] = []
    changed = patiently(lambda: changed_files(this.engine, this.row), _LEDGER_S)
    if changed is None:
        with open_paced(this.path, this.paces.read) as slide:
            members = [file.absolute() for file in slide.files]
        changed = patiently(lambda: other_files(this.engine, this.row, members), _LEDGER_S)
    if changed is None:
        return members
    reason, why = changed, _folder_away(this)
    if why is not None:
        raise FolderUnavailable(why)
    patiently(lambda: outcomes.superseded(this.engine, this.ticket, reason, gone=_is_gone(this)), _LEDGER_S)
    return None


def _folder_away(this: _Attempt) -> str | None:
    """Why nobody can tell whether the slide is still there: its folder is not. None where somebody can."""
    root = Path(this.row.root)

    def asked() -> str | None:
        with this.engine.connect() as connection:
            return folder_away(connection, this.row.folder, root)

    return None if os.path.lexists(this.path) else patiently(asked, _LEDGER_S)


def _is_gone(this: _Attempt) -> bool:
    return this.path.parent.is_dir() and not this.path.exists()


def _owner(this: _Attempt, identity: str) -> SlideRow | None:
    """The slide that this one is a copy of, None where this one is to be converted. Raises Busy."""
    for _ in range(_ROUNDS):
        owner = attempts.claim_content(this.engine, this.ticket, identity, this.row.options_hash)
        if owner is None:
            return None
        with this.engine.connect() as connection:
            row = slide_by_id(connection, owner)
        if row is not None and _stands(this, row):
            return row
        if attempts.take_over(this.engine, this.ticket, identity, owner):
            return None
        # Refused: another copy became the owner meanwhile, and this one may be a copy of that.
    raise Busy(f"{this.row.path}: its copies come and go; tried again later")


def _stands(this: _Attempt, row: SlideRow) -> bool:
    """Whether a slide is, or will be, converted: an output that somebody removed does not count."""
    if row.state == State.DONE:
        return stands(this.engine, this.settings, row)
    return row.state in (State.READY, State.SUBMITTED, State.RUNNING, State.PUBLISHED, State.FAILED)


def _target(this: _Attempt) -> Location:
    assert this.row.output is not None
    return location(this.row.output)


def _conversion(this: _Attempt, identity: str) -> Conversion:
    given = dict(this.row.options)
    given["workers"] = given.get("workers") or this.settings.limits.threads_per_slide
    watch = this.watch

    def observe(_name: str, amount: Amount) -> None:
        watch.progress = min(0.99, amount.done / amount.total if amount.total else 0.0)

    def fence() -> AbstractContextManager[None]:
        patiently(lambda: present(this.engine), _LEDGER_S)  # hours of work are not thrown away for a ledger that restarts
        return attempts.publishing(this.engine, this.ticket)

    return Conversion(
        Options.model_validate(given),
        watch.stop,
        observe,
        step=watch.step,
        fence=fence,
        identity=identity,
        reading=this.paces.read,
        writing=this.paces.write,
    )


def _beat(this: _Attempt, ended: threading.Event) -> None:
    """Say in the ledger that this process lives; stop it where the slide is somebody else's, or is not wanted."""
    watch, limits, told, before = this.watch, this.settings.limits, None, this.paces.moved()
    while not ended.wait(limits.heartbeat_seconds):
        try:
            before, last = this.paces.moved(), before
            if not attempts.beat(this.engine, this.ticket, watch.progress, moved=before != last):
                told = told or time.monotonic()
                watch.stop.set()
            this.paces.divide(this.engine)
        except Exception as error:  # noqa: BLE001 - a ledger that is away for a while is no reason to stop: the fence holds
            log.warning("slide %s: no sign of life could be given: %s", this.ticket.slide, type(error).__name__)
        if told is not None and time.monotonic() - told > limits.lease_seconds and watch.give_up is not None:
            log.error("slide %s: attempt %d does not stop; ending its process", this.ticket.slide, this.ticket.attempt)
            watch.give_up()


def _report(this: _Attempt, ended: threading.Event) -> None:
    """Show progress to whoever asked. On a thread of its own: an engine that does not answer must not stop the pulse."""
    watch = this.watch
    while watch.report is not None and not ended.wait(this.settings.limits.heartbeat_seconds):
        try:
            watch.report(watch.progress)
        except Exception as error:  # noqa: BLE001 - what nobody can see now is shown next time
            log.debug("slide %s: progress could not be shown: %s", this.ticket.slide, type(error).__name__)


def _failed(this: _Attempt, error: Exception) -> None:
    if isinstance(error, Cancelled):
        outcomes.interrupted(this.engine, this.ticket)
        return
    known = error if isinstance(error, KNOWN) else unexpected(error)
    kind = getattr(known, "kind", "failed")
    why = _folder_away(this)
    if why is None and kind in ("source_changed", "incomplete"):
        outcomes.superseded(this.engine, this.ticket, one_line(known), gone=_is_gone(this))
        return
    full = kind == "no_space" or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    # Busy: in an object store the claim of an attempt that died stands for two minutes more.
    away = isinstance(error, Busy | FolderUnavailable) or is_away(error) or kind == "network" or why is not None
    elsewhere = full or away or getattr(error, "errno", None) in _STORAGE_AWAY
    retryable = elsewhere or bool(getattr(known, "retryable", False))
    trouble = Trouble("no_space" if full else kind, why or one_line(known), retryable, counts=not elsewhere)
    with writing(this.engine) as connection:
        outcomes.failed(connection, this.ticket, trouble, this.patience)


def _after(this: _Attempt, members: list[Path]) -> None:
    output = this.row.output
    if output is not None and "://" not in output:
        try:
            first_seen(this.engine, root_of(this.settings, this.row.folder, output))
        except (OSError, SQLAlchemyError) as error:  # the next look at all stores notes it
            log.debug("slide %s: its folder of outputs is not noted: %s", this.ticket.slide, error)
    put_away_slide(this.engine, this.settings, this.row, members)
