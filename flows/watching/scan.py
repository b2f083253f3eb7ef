"""One pass over the watched folders: compare, see what is complete, write what was found into the ledger.

Safe to run twice at a time: every decision is taken in a transaction that looks whether somebody else has taken it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Engine, select

from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import mark
from flows.ledger.tables import State, slides
from flows.settings import Folder, Settings
from flows.watching.companions import Lists
from flows.watching.compare import NOT_A_SLIDE, Known, compare, known_files, quiet, record
from flows.watching.grown import ended_beside, look_again
from flows.watching.jumps import Moment, last_moment, moment, undo_jump
from flows.watching.probe import Probed, Prober, ReaderCrashed
from flows.watching.register import FoundSlide, decide, is_undecided, register, signature, waiting_row
from flows.watching.walk import FolderUnavailable, Look, as_path, as_text, walk

log = logging.getLogger("slidemill.scan")

_INDEXES = (".afi", ".ndpis", ".mrxs", ".vsi", ".xlef", ".vms", ".vmu", ".xml", ".companion.ome")
"""Files that name others: they are asked first, and take the files they name along."""
_AGAIN_S = 15.0


@dataclass(slots=True)
class Found:
    """What a pass found."""

    files: int = 0
    new: int = 0
    ready: list[str] = field(default_factory=list[str])
    waiting: int = 0
    refused: list[str] = field(default_factory=list[str])
    unavailable: list[str] = field(default_factory=list[str])
    unasked: int = 0
    """Complete files that there was no time to ask about: the next pass goes on."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Pass:
    engine: Engine
    folder: Folder
    prober: Prober
    found: Found
    deadline: float
    arrived: set[str] = field(default_factory=set[str])
    """Files found now to be no slides of their own."""


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
    _decide(this, known, now)


def _decide(this: _Pass, known: Mapping[str, Known], now: float) -> None:
    decided: set[str] = set()
    lists = Lists(this.folder.path, _lists(this, known))
    for path in _candidates(this, known, now):
        if path in decided:
            continue
        if not _is_list(path) and lists.name(path):
            this.found.waiting += 1  # it belongs to a slide whose other files are still to come
            continue
        if time.monotonic() > this.deadline:
            this.found.unasked += 1
            continue
        decided |= _no_slide(this, path) if _is_output(this, path) else _one(this, path, known, now)
    _look_again(this, known)


def _look_again(this: _Pass, known: Mapping[str, Known]) -> None:
    """Slides that ended, and of which more has come: where their driver or their files are others now, decide anew."""
    with this.engine.connect() as connection:
        beside = ended_beside(connection, this.folder.name, this.arrived) if this.arrived else []
    for slide in beside:
        if slide.path not in known:
            continue  # it was moved away after its conversion
        try:
            probed = this.prober.ask(this.folder.path, this.folder.path / as_path(slide.path))
        except ReaderCrashed:
            continue
        same = (
            probed.driver == slide.driver and signature(_members(this.folder, probed, known, slide.path)) == slide.signature
        )
        if probed.kind is None and not same:
            with alone(this.engine) as connection:
                look_again(connection, slide)


def _is_list(path: str) -> bool:
    return path.lower().endswith(_INDEXES)


def _lists(this: _Pass, known: Mapping[str, Known]) -> list[str]:
    """Files that name others and are not decided; one that waits in vain holds nothing up any more."""
    undecided = [path for path, found in known.items() if found.slide is None and _is_list(path)]
    if not undecided:
        return []
    here = (slides.c.folder == this.folder.name, slides.c.state == State.WAITING, slides.c.kind == "stuck")
    with this.engine.connect() as connection:
        stuck = set(connection.execute(select(slides.c.path).where(*here)).scalars())
    return [path for path in undecided if path not in stuck]


def _candidates(this: _Pass, known: Mapping[str, Known], now: float) -> list[str]:
    """Undecided files that are complete as far as one can see from outside; those that name others come first."""
    folder = this.folder
    undecided = {path: found for path, found in known.items() if found.slide is None}
    none = [path for path in undecided if not _wanted(folder, path)]
    if none:
        with writing(this.engine) as connection:
            decide(connection, folder.name, none, NOT_A_SLIDE)
    ready = [path for path, f in undecided.items() if _wanted(folder, path) and _complete(folder, path, f, known, now)]
    return sorted(ready, key=lambda path: (not _is_list(path), path))


def _wanted(folder: Folder, path: str) -> bool:
    name = PurePosixPath(as_path(path)).name
    if folder.marker is not None and fnmatch(name, folder.marker.format(name="*", stem="*")):
        return False
    return any(fnmatch(name, pattern) for pattern in folder.pattern)


def _complete(folder: Folder, path: str, found: Known, known: Mapping[str, Known], now: float) -> bool:
    if folder.marker is None:
        return quiet(found, now, folder.quiet_seconds)
    source = PurePosixPath(as_path(path))
    return as_text(str(source.parent / folder.marker.format(name=source.name, stem=source.stem))) in known


def _one(this: _Pass, path: str, known: Mapping[str, Known], now: float) -> set[str]:
    """Ask about one file and write down the answer. Returns the files that are decided by it."""
    folder, members = this.folder, {path: known[path].look}
    with this.engine.connect() as connection:
        row = waiting_row(connection, folder.name, path)
    if row is not None and row.not_before is not None and now < row.not_before:
        this.found.waiting += 1
        return set()
    try:
        probed = this.prober.ask(folder.path, folder.path / as_path(path))
    except ReaderCrashed as error:
        return _refuse(this, FoundSlide(path, None, members), error.kind, str(error))
    if probed.kind is None:
        return _accept(this, path, probed, (known, now))
    if probed.kind == "unsupported" and not probed.known_suffix:
        return _no_slide(this, path)
    if probed.kind in ("incomplete", "unreadable"):
        return _wait(this, FoundSlide(path, probed.driver, members), now, (probed.kind, probed.message or ""))
    return _refuse(this, FoundSlide(path, probed.driver, members), probed.kind, probed.message or "")


def _no_slide(this: _Pass, path: str) -> set[str]:
    with writing(this.engine) as connection:
        decide(connection, this.folder.name, [path], NOT_A_SLIDE)
    this.arrived.add(path)
    return {path}


def _is_output(this: _Pass, path: str) -> bool:
    """Whether this store is what some slide was converted to: two folders may show one place."""
    if not path.endswith(".zarr"):
        return False
    with this.engine.connect() as connection:
        like = slides.c.output.endswith(f"/{PurePosixPath(path).name}", autoescape=True)
        outputs = connection.execute(select(slides.c.output).where(like)).scalars()
        return any("://" not in found and _same(Path(found), this.folder.path / as_path(path)) for found in outputs if found)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _accept(this: _Pass, asked: str, probed: Probed, seen: tuple[Mapping[str, Known], float]) -> set[str]:
    (known, now), folder = seen, this.folder
    path, members = _below(folder, probed.path), _members(folder, probed, known, asked)
    slide = FoundSlide(path, probed.driver, members)
    moving = [p for p in members if folder.marker is None and not _still(folder, known.get(p), now)]
    if moving:
        _wait(this, slide, now, ("incomplete", f"{len(moving)} of its files changed a moment ago"))
        return {asked, *members}
    with alone(this.engine) as connection:
        if is_undecided(connection, folder.name, asked):
            this.found.ready.append(register(connection, folder, slide, State.READY, clock(connection), not_before=None))
            decide(connection, folder.name, [asked], NOT_A_SLIDE)
    return {asked, *members}


def _still(folder: Folder, found: Known | None, now: float) -> bool:
    # Of a file that is decided, looks are not counted any more.
    return found is not None and now - found.since >= folder.quiet_seconds and (found.slide is not None or found.looks >= 2)


def _members(folder: Folder, probed: Probed, known: Mapping[str, Known], asked: str) -> dict[str, Look]:
    """Files of the slide as the ledger has them; one that the walk does not show (hidden) stands for itself."""
    if probed.path.suffix == ".zarr":
        return {asked: known[asked].look}
    found: dict[str, Look] = {}
    for file in probed.files:
        path = _below(folder, file)
        if path in known:
            found[path] = known[path].look
    return found or {asked: known[asked].look}


def _below(folder: Folder, path: Path) -> str:
    return as_text(path.relative_to(folder.path).as_posix())


def _wait(this: _Pass, slide: FoundSlide, now: float, why: tuple[str, str]) -> set[str]:
    kind, reason = why
    with alone(this.engine) as connection:
        row = waiting_row(connection, this.folder.name, slide.path)
        late = row is not None and now - row.seen > this.folder.incomplete_hours * 3600
        said: dict[str, Any] = {"kind": "stuck" if late else kind, "reason": reason}
        again = clock(connection) + min(_AGAIN_S, this.folder.quiet_seconds)
        if row is not None:
            connection.execute(slides.update().where(slides.c.id == row.id).values(not_before=again, **said))
        else:
            register(connection, this.folder, slide, State.WAITING, now, not_before=again, **said)
    this.found.waiting += 1
    return set()


def _refuse(this: _Pass, slide: FoundSlide, kind: str, reason: str) -> set[str]:
    with alone(this.engine) as connection:
        if is_undecided(connection, this.folder.name, slide.path):
            said = {"kind": kind, "reason": reason, "finished": clock(connection)}
            this.found.refused.append(register(connection, this.folder, slide, State.QUARANTINED, clock(connection), **said))
    return set(slide.members)
