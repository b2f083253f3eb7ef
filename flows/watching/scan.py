"""One pass over the watched folders: compare, see what is complete, write what was found into the ledger.

Safe to run twice at a time: every decision is taken in a transaction that looks whether somebody else has taken it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import mark
from flows.settings import Folder, Settings
from flows.watching.asking import Asking, Found, Ledgered
from flows.watching.compare import compare, known_files, record
from flows.watching.jumps import Moment, last_moment, moment, undo_jump
from flows.watching.probe import Prober
from flows.watching.register import rule_of
from flows.watching.walk import FolderUnavailable, walk

__all__ = ["Found", "scan"]

log = logging.getLogger("slidemill.scan")


@dataclass(frozen=True, slots=True)
class _Pass:
    engine: Engine
    folder: Folder
    prober: Prober
    found: Found
    deadline: float


def scan(engine: Engine, settings: Settings, prober: Prober, budget: float = 20.0) -> Found:
    """Look at every folder once; ask drivers about new slides for about `budget` seconds, the rest in the next pass."""
    start = time.monotonic()
    found = Found()
    with writing(engine) as connection:
        _undo(connection, last_moment(connection, "scan"))
        begun = moment(connection)
    for folder in settings.folders:
        try:
            _scan_folder(_Pass(engine, folder, prober, found, start + budget), settings)
        except FolderUnavailable as error:
            log.warning("%s", error)
            found.unavailable.append(folder.name)
    found.seconds = time.monotonic() - start
    with writing(engine) as connection:
        _undo(connection, begun)
        now = moment(connection)
        value = {"files": found.files, "seconds": round(found.seconds, 3), "unavailable": found.unavailable}
        mark(connection, "scan", now.ledger, value | {"moment": now.noted()})
    prober.rest()
    return found


def _undo(connection: Connection, before: Moment | None) -> None:
    jumped = undo_jump(connection, before)
    if jumped:
        log.warning("the ledger's clock was set by %+.0f s: files and slides that wait go on from where they were", jumped)


def _outside(settings: Settings) -> list[Path]:
    outputs = [Path(folder.output) for folder in settings.folders if "://" not in folder.output]
    return [*outputs, settings.state, *(folder.move_to for folder in settings.folders if folder.move_to)]


def _scan_folder(this: _Pass, settings: Settings) -> None:
    folder = this.folder
    seen = walk(folder, _outside(settings))
    this.found.files += len(seen)
    with this.engine.connect() as connection:
        known = known_files(connection, folder.name)
        now = clock(connection)
    change = compare(seen, known)
    this.found.new += len(change.new)
    if change.new or change.changed or change.gone or any(k.slide is None for k in known.values()):
        with alone(this.engine) as connection:
            record(connection, folder.name, change, clock(connection))
        with this.engine.connect() as connection:
            known, now = known_files(connection, folder.name), clock(connection)
    undecided = {path: found for path, found in known.items() if found.slide is None}
    if undecided:
        asking = Asking(this.engine, rule_of(folder), this.prober, this.found)
        asking.decide(Ledgered(known, undecided, now), this.deadline)
