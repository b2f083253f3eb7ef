"""One pass over the watched folders: compare, see what is complete, write what was found into the ledger.

Safe to run twice at a time: every decision is taken in a transaction that looks whether somebody else has taken it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, Engine

from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import mark
from flows.pace import Pace
from flows.settings import Folder, Settings
from flows.watching.asking import Asking, Found, Ledgered
from flows.watching.compare import Change, Known, add, compare, record
from flows.watching.jumps import Moment, last_moment, moment, undo_jump, was_set
from flows.watching.look import FolderUnavailable, Look
from flows.watching.memory import FolderMemory, Glance, Memory, glance
from flows.watching.mounted import away, note
from flows.watching.probe import Prober
from flows.watching.register import rule_of

__all__ = ["Found", "scan"]

log = logging.getLogger("slidemill.scan")

_PAGE = 5000
"""New files that are written down in one transaction."""


@dataclass(frozen=True, slots=True)
class _Pass:
    engine: Engine
    folder: Folder
    prober: Prober
    found: Found
    deadline: float
    begun: Glance
    pace: Pace | None
    """That of the share on which the folder lies."""


def scan(engine: Engine, settings: Settings, prober: Prober, budget: float = 20.0, memory: Memory | None = None) -> Found:
    """Look at every folder once; ask drivers about new slides for about `budget` seconds, the rest in the next pass.

    Who looks again and again keeps a `memory` and gives it to each look: where nothing changed it then costs next to nothing
    (`flows.watching.tree` says what is seen when). Without one every file is looked at.
    """
    start, memory = time.monotonic(), memory or Memory()
    found = Found()
    with engine.connect() as connection:
        before = last_moment(connection, "scan")
        begun, now = moment(connection), glance(connection)
        jumped = was_set(before, begun)
    if jumped:
        with writing(engine) as connection:
            _undo(connection, before)
            begun = moment(connection)
    outside = _outside(settings)
    for folder in settings.folders:
        try:
            share = settings.share_of(str(folder.path))
            this = _Pass(engine, folder, prober, found, start + budget, now, None if share is None else Pace(share))
            _scan_folder(this, memory.of(folder.name), outside)
        except FolderUnavailable as error:
            log.warning("%s", error)
            found.unavailable.append(folder.name)
    found.seconds = time.monotonic() - start
    with writing(engine) as connection:
        _undo(connection, begun)
        ended = moment(connection)
        value = {"files": found.files, "seconds": round(found.seconds, 3), "unavailable": found.unavailable}
        mark(connection, "scan", ended.ledger, value | {"moment": ended.noted()})
    prober.rest()
    return found


def _undo(connection: Connection, before: Moment | None) -> None:
    jumped = undo_jump(connection, before)
    if jumped:
        log.warning("the ledger's clock was set by %+.0f s: files and slides that wait go on from where they were", jumped)


def _outside(settings: Settings) -> set[str]:
    """Real paths of folders that are not entered: what is there is no input."""
    outputs = [Path(folder.output) for folder in settings.folders if "://" not in folder.output]
    others = (folder.move_to for folder in settings.folders if folder.move_to)
    return {os.path.realpath(path) for path in (*outputs, settings.state, *others)}


def _scan_folder(this: _Pass, memory: FolderMemory, outside: Collection[str]) -> None:
    folder = this.folder
    held = memory.holds(this.begun, folder.name)
    known, undecided = ({}, {}) if held else _read(this, memory)
    seen = memory.tree.look(folder, outside, undecided)
    this.found.files += len(seen)
    _require_mounted(this, seen, undecided)
    if memory.idle and not memory.tree.changed:
        return
    if held:
        known, undecided = _read(this, memory)
    change = compare(seen, known)
    if change.gone:
        change = replace(change, gone=[path for path in change.gone if not memory.tree.hides(path)])
    memory.idle = not (change.new or change.changed or change.gone or undecided)
    memory.tree.changed = False  # where it is not idle, the next look compares anyway
    this.found.new += len(change.new)
    if memory.idle:
        memory.rest()
        return
    _record(this, change)
    with this.engine.connect() as connection:
        now = clock(connection)
        known, undecided = memory.read(connection, folder.name)
    if undecided:
        asking = Asking(this.engine, rule_of(folder), this.prober, this.found, this.pace)
        asking.decide(Ledgered(known, undecided, now), this.deadline)


def _require_mounted(this: _Pass, seen: Mapping[str, Look], undecided: Mapping[str, Known]) -> None:
    """Raises FolderUnavailable where what waits is not there because all of it is away."""
    if seen or not undecided:
        return
    with this.engine.connect() as connection:
        why = away(connection, this.folder.name, this.folder.path)
    if why is not None:
        raise FolderUnavailable(why)


def _read(this: _Pass, memory: FolderMemory) -> tuple[Mapping[str, Known], Mapping[str, Known]]:
    with this.engine.connect() as connection:
        return memory.read(connection, this.folder.name)


def _record(this: _Pass, change: Change) -> None:
    """Write what differs; new files page by page, so that signs of life are not held up where a hundred thousand arrive."""
    new = list(change.new.items())
    with alone(this.engine) as connection:
        first = Change(dict(new[:_PAGE]), change.changed, change.gone)
        record(connection, this.folder.name, first, clock(connection))
        if new:
            with suppress(OSError):  # gone in this moment: the next look says so
                note(connection, this.folder.name, this.folder.path)
    for start in range(_PAGE, len(new), _PAGE):
        with alone(this.engine) as connection:
            add(connection, this.folder.name, dict(new[start : start + _PAGE]), clock(connection))
