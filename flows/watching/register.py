"""Writing a slide into the ledger: where its output goes, what it consists of, or why it waits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, null, select

from converter.options import Options
from flows.ledger.rows import SlideRow, as_slide
from flows.ledger.tables import State, files, slides
from flows.naming import store_name
from flows.settings import Folder
from flows.watching.walk import Look, as_path

_LATER = {"alpha": "drop"}


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


def register(connection: Connection, folder: Folder, found: FoundSlide, state: State, now: float, **said: Any) -> str:
    """Write the slide, in the given state, and decide its files; a row that waits for it is used. Returns its id.

    Waiting slides leave their files undecided: they are asked about again.
    """
    waiting = waiting_row(connection, folder.name, found.path)
    values = _values(folder, found) | {"state": state, "reason": None, "kind": None} | said
    if state == State.READY:
        values["ready"] = now
    if waiting is not None:
        slide = waiting.id
        connection.execute(slides.update().where(slides.c.id == slide).values(**values))
    else:
        slide = uuid4().hex[:16]
        output = free_output(connection, folder, found.path)
        fixed = {"id": slide, "generation": _generation(connection, folder.name, found.path), "output": output, "seen": now}
        connection.execute(slides.insert().values(**fixed, **values))
    if state != State.WAITING:
        decide(connection, folder.name, list(found.members), slide)
    return slide


def _values(folder: Folder, found: FoundSlide) -> dict[str, Any]:
    options = folder.bound()
    return {
        "folder": folder.name,
        "root": str(folder.path),
        "path": found.path,
        "driver": found.driver,
        "options": options.model_dump(mode="json"),
        "options_hash": options_hash(options),
        "queue": folder.queue,
        "priority": folder.priority,
        "files": len(found.members),
        "bytes": sum(look.size for look in found.members.values()),
        "signature": signature(found.members),
    }


def decide(connection: Connection, folder: str, paths: Sequence[str], slide: str) -> None:
    """Note what undecided files belong to."""
    if paths:
        here = (
            files.c.folder == folder,
            files.c.path == bindparam("b_path"),
            files.c.slide.is_(None) | (files.c.slide == ""),
        )
        connection.execute(files.update().where(*here).values(slide=slide), [{"b_path": path} for path in paths])


def is_undecided(connection: Connection, folder: str, path: str) -> bool:
    """Whether nobody has decided about a file meanwhile."""
    query = select(files.c.path).where(files.c.folder == folder, files.c.path == path, files.c.slide.is_(None))
    return connection.execute(query).one_or_none() is not None


def waiting_row(connection: Connection, folder: str, path: str) -> SlideRow | None:
    """The row of a slide that waits for more of its files."""
    here = (slides.c.folder == folder, slides.c.path == path, slides.c.state == State.WAITING)
    row = connection.execute(select(slides).where(*here)).one_or_none()
    return None if row is None else as_slide(row)


def _generation(connection: Connection, folder: str, path: str) -> int:
    here = (slides.c.folder == folder, slides.c.path == path)
    last = connection.execute(select(func.max(slides.c.generation)).where(*here)).scalar_one()
    return 0 if last is None else int(last) + 1


def _never_was(folder: Folder, path: str) -> ColumnElement[bool]:
    """Earlier rows of the same file that came to nothing: a slide that is copied again keeps its name."""
    c = slides.c
    return and_(c.folder == folder.name, c.path == path, c.state.in_((State.SUPERSEDED, State.GONE)), c.receipt.is_(null()))


def free_output(connection: Connection, folder: Folder, path: str) -> str:
    """Where the output of a slide goes: a name that no other slide of the ledger has, so that nothing is ever replaced."""
    source = Path(as_path(path))
    parent = "/".join(part for part in (folder.output.rstrip("/"), *source.parent.parts) if part)
    plain = store_name(source)
    stem = plain.removesuffix(".ome.zarr")
    names = [plain]
    if source.suffix:
        names.append(f"{stem}{source.suffix}.ome.zarr")
    number = 2
    while True:
        for name in names:
            output = f"{parent}/{name}"
            taken = select(slides.c.id).where(slides.c.output == output, ~_never_was(folder, path))
            if connection.execute(taken.limit(1)).first() is None:
                return output
        names = [f"{stem}-{number}.ome.zarr"]
        number += 1
