"""Writing a slide into the ledger: where its output goes, what it consists of, or why it waits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes
from uuid import uuid4

from sqlalchemy import Connection, and_, bindparam, null, select

from converter.options import Options
from flows.ledger.rows import SlideRow, as_slide
from flows.ledger.tables import State, files, slides
from flows.naming import store_name
from flows.settings import Folder
from flows.watching.look import Look, as_path

_LATER = {"alpha": "drop"}
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class FoundSlide:
    """A slide in a folder. Paths as text, below the folder; `members` with the look they had."""

    path: str
    driver: str | None
    members: Mapping[str, Look]


def options_hash(options: Options) -> str:
    """Hash of the options that shape an output. The version is not in it: an upgrade converts nothing anew.

    Hence an option that came later counts only where it is not at its default.
    """
    record = options.for_record()
    known = {key: value for key, value in record.items() if key not in _LATER or value != _LATER[key]}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def signature(members: Mapping[str, Look]) -> str:
    """Hash over names and looks of the files of a slide."""
    rows = sorted((path, *found) for path, found in members.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rule:
    """What is the same for all slides of a folder."""

    folder: Folder
    options: Mapping[str, Any]
    options_hash: str


def rule_of(folder: Folder) -> Rule:
    """The rule of a folder: its options are bound once, not for each slide."""
    options = folder.bound()
    return Rule(folder, options.model_dump(mode="json"), options_hash(options))


# Statements are made once: making them costs more than running them.
_C, _F = slides.c, files.c
_OF_PATH = select(slides).where(_C.folder == bindparam("b_folder"), _C.path == bindparam("b_path"))
_WAITING = _OF_PATH.where(_C.state == State.WAITING)
_UPDATE = slides.update().where(_C.id == bindparam("b_id"))
_DECIDE = (
    files.update()
    .where(_F.folder == bindparam("b_folder"), _F.path == bindparam("b_path"), _F.slide.is_(None) | (_F.slide == ""))
    .values(slide=bindparam("b_slide"))
)
_UNDECIDED = select(_F.path).where(_F.folder == bindparam("b_folder"), _F.path == bindparam("b_path"), _F.slide.is_(None))
# Earlier rows of the same file that came to nothing do not count: a slide that is copied again keeps its name.
_NEVER_WAS = and_(
    _C.folder == bindparam("b_folder"),
    _C.path == bindparam("b_path"),
    _C.state.in_((State.SUPERSEDED, State.GONE)),
    _C.receipt.is_(null()),
)
_OWN = select(_C.id).where(
    _C.output == bindparam("b_output"), _C.folder == bindparam("b_folder"), _C.path == bindparam("b_path")
)
_TAKEN = select(_C.id).where(_C.output == bindparam("b_output"), ~_NEVER_WAS).limit(1)


def register(connection: Connection, rule: Rule, found: FoundSlide, state: State, now: float, **said: Any) -> str:
    """Write the slide, in the given state, and decide its files; a row that waits for it is used. Returns its id.

    Waiting slides leave their files undecided: they are asked about again.
    """
    here = {"b_folder": rule.folder.name, "b_path": found.path}
    before = [as_slide(row) for row in connection.execute(_OF_PATH, here)]
    waiting = next((row for row in before if row.state == State.WAITING), None)
    values = _values(rule, found) | {"state": state, "reason": None, "kind": None} | said
    if state == State.READY:
        values["ready"] = now
    if waiting is not None:
        slide = waiting.id
        connection.execute(_UPDATE.values(**values), {"b_id": slide})
    else:
        slide = uuid4().hex[:16]
        generation = max((row.generation + 1 for row in before), default=0)
        output = free_output(connection, rule.folder, found.path)
        fixed = {"id": slide, "generation": generation, "output": output, "seen": now}
        connection.execute(slides.insert(), {**fixed, **values})
    if state != State.WAITING:
        decide(connection, rule.folder.name, list(found.members), slide)
    if state == State.READY:
        _take_over(connection, rule.folder.name, found)
    return slide


def _take_over(connection: Connection, folder: str, found: FoundSlide) -> None:
    """End what waits for more files, or was refused without them, and is a file of this slide."""
    others = sorted(set(found.members) - {found.path})
    values = {"state": State.SUPERSEDED, "reason": f"is a file of {found.path}"}
    for first in range(0, len(others), _PAGE):
        here = (
            _C.folder == folder,
            _C.state.in_((State.WAITING, State.QUARANTINED, State.DISMISSED)),
            _C.path.in_(others[first : first + _PAGE]),
        )
        connection.execute(slides.update().where(*here).values(**values))


def _values(rule: Rule, found: FoundSlide) -> dict[str, Any]:
    folder = rule.folder
    return {
        "folder": folder.name,
        "root": str(folder.path),
        "path": found.path,
        "driver": found.driver,
        "options": rule.options,
        "options_hash": rule.options_hash,
        "queue": folder.queue,
        "priority": folder.priority,
        "files": len(found.members),
        "bytes": sum(look.size for look in found.members.values()),
        "signature": signature(found.members),
    }


def decide(connection: Connection, folder: str, paths: Sequence[str], slide: str) -> None:
    """Note what undecided files belong to."""
    if paths:
        connection.execute(_DECIDE, [{"b_folder": folder, "b_path": path, "b_slide": slide} for path in paths])


def is_undecided(connection: Connection, folder: str, path: str) -> bool:
    """Whether nobody has decided about a file meanwhile."""
    return connection.execute(_UNDECIDED, {"b_folder": folder, "b_path": path}).one_or_none() is not None


def waiting_row(connection: Connection, folder: str, path: str) -> SlideRow | None:
    """The row of a slide that waits for more of its files."""
    row = connection.execute(_WAITING, {"b_folder": folder, "b_path": path}).one_or_none()
    return None if row is None else as_slide(row)


def free_output(connection: Connection, folder: Folder, path: str) -> str:
    """Where the output of a slide goes: a name that no other slide of the ledger has, so that nothing is ever replaced."""
    source, here = Path(as_path(path)), {"b_folder": folder.name, "b_path": path}
    parent = "/".join(part for part in (folder.output.rstrip("/"), *map(_as_name, source.parent.parts)) if part)
    plain = store_name(source)
    stem = plain.removesuffix(".ome.zarr")
    names = [plain]
    if source.suffix and not _is_its_own(connection, here, f"{parent}/{plain}"):
        names.append(f"{stem}{_as_name(source.suffix)}.ome.zarr")
    number = 2
    while True:
        for name in names:
            output = f"{parent}/{name}"
            if connection.execute(_TAKEN, {**here, "b_output": output}).first() is None:
                return output
        names = [f"{stem}-{number}.ome.zarr"]
        number += 1


def _is_its_own(connection: Connection, here: Mapping[str, str], output: str) -> bool:
    """Whether an output is that of an earlier version of the same file: this one is numbered, which says so."""
    return connection.execute(_OWN, {**here, "b_output": output}).first() is not None


def _as_name(part: str) -> str:
    """A part of a path as it is, or with its bytes percent-encoded where they are no UTF-8: no database could hold them."""
    try:
        part.encode("utf-8")
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(part), safe=" ")
    return part
