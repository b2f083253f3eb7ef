"""What people ask of the service: try again, cancel, submit. Written into the ledger; the service carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, select

from converter.errors import OptionError
from converter.options import Options
from drivers.location import Location, Url
from flows.ledger.checks import Finding, Wrong
from flows.ledger.database import alone, clock, writing
from flows.ledger.rows import SlideRow, matching, slide_by_id, slides_in
from flows.ledger.tables import OPEN, QUEUED, State, files, slides
from flows.service.again import repair
from flows.settings import Settings
from flows.watching.look import as_text, look
from flows.watching.register import options_hash, signature

SUBMITTED_BY_HAND = "by-hand"
_AGAIN = (State.QUARANTINED, State.CANCELLED, State.FAILED, State.GONE, State.DISMISSED)


def one(engine: Engine, start: str) -> SlideRow:
    """The slide whose id begins so. Raises OptionError."""
    found = matching(engine, start)
    if len(found) != 1:
        many = "no slide has" if not found else f"{len(found)} slides have"
        raise OptionError(f"{start}: {many} an id that begins so; `slidemill list` shows them")
    return found[0]


def retry(engine: Engine, row: SlideRow) -> bool:
    """Queue a slide again that failed, was cancelled, dismissed, or is in quarantine. False where it is in no such state."""
    with writing(engine) as connection:
        again = {"state": State.READY, "failures": 0, "not_before": None, "ready": clock(connection)}
        cleared = {"reason": None, "kind": None, "cancel": False, "told": False}
        here = (slides.c.id == row.id, slides.c.state.in_(_AGAIN))
        return connection.execute(slides.update().where(*here).values(**again, **cleared)).rowcount > 0


def retry_one(engine: Engine, settings: Settings, start: str) -> str:
    """Queue the slide again whose id begins so, one that is done where its store was removed.

    Raises OptionError where there is nothing to try again, Refused where the original is not there any more.
    """
    row = one(engine, start)
    if row.state == State.DONE and is_removed(row.output):
        repair(engine, settings, row, Finding(Wrong.GONE))
    elif not retry(engine, row):
        more = "; `slidemill again` converts it once more" if row.state == State.DONE else ""
        raise OptionError(
            f"slide {row.id} is {row.state}; only failed, quarantined, cancelled, dismissed or removed ones start again{more}"
        )
    return row.id


def dismiss(engine: Engine, rows: Sequence[SlideRow]) -> list[str]:
    """Let slides in quarantine stay unconverted. Returns the ids of those that were there."""
    done: list[str] = []
    with writing(engine) as connection:
        for row in rows:
            here = (slides.c.id == row.id, slides.c.state == State.QUARANTINED)
            if connection.execute(slides.update().where(*here).values(state=State.DISMISSED)).rowcount:
                done.append(row.id)
    return done


def quarantined(engine: Engine, folder: str | None = None, kind: str | None = None) -> list[SlideRow]:
    """Slides in quarantine; of one folder, of one kind of failure."""
    with engine.connect() as connection:
        rows = slides_in(connection, (State.QUARANTINED,))
    return [row for row in rows if folder in (None, row.folder) and kind in (None, row.kind)]


def is_removed(output: str | None) -> bool:
    """Whether a store in a local folder is gone, and its folder is there: nothing is merely not mounted."""
    return output is not None and "://" not in output and Path(output).parent.is_dir() and not Path(output).exists()


def retry_all(engine: Engine, folder: str | None = None, kind: str | None = None) -> list[str]:
    """Queue everything again that is in quarantine or waits for its next attempt; of one folder, of one kind of failure."""
    with engine.connect() as connection:
        rows = slides_in(connection, (State.QUARANTINED, State.FAILED))
    asked = [row for row in rows if folder in (None, row.folder) and kind in (None, row.kind)]
    return [row.id for row in asked if retry(engine, row)]


def cancel(engine: Engine, row: SlideRow) -> State | None:
    """Cancel a slide: at once where it is not under way, else its process sees the wish. None where it has ended."""
    with writing(engine) as connection:
        # Locked: between two looks an attempt could fail, and the slide would be in neither of the states asked for.
        now = slide_by_id(connection, row.id, lock=True)
        update = slides.update().where(slides.c.id == row.id)
        if now is not None and now.state in (*QUEUED, State.WAITING):
            values = {"state": State.CANCELLED, "reason": "cancelled", "kind": None, "finished": clock(connection)}
            connection.execute(update.values(cancel=False, **values))
            return State.CANCELLED
        if now is not None and now.state in OPEN:
            connection.execute(update.values(cancel=True))
            return State.RUNNING
        return None


def submit(engine: Engine, slide: Location, output: str, options: Options) -> str:
    """Queue one slide by hand, before everything else. Returns its id. Raises OSError, DriverError."""
    from drivers.discovery import open_slide

    if isinstance(slide, Url):
        raise OptionError(f"{slide}: only files of this machine and its shares can be queued; convert it without --submit")
    path, target = slide.absolute(), output if "://" in output else str(Path(output).absolute())
    with open_slide(path) as opened:
        driver, found = opened.driver, [file.absolute() for file in opened.files]
    members = {as_text(_below(path, file)): look(file.stat()) for file in found}
    with alone(engine) as connection:
        now, identity = clock(connection), uuid4().hex[:16]
        values: dict[str, Any] = {
            "id": identity,
            "folder": SUBMITTED_BY_HAND,
            "root": str(path.parent),
            "path": as_text(path.name),
            "generation": _generation(connection, as_text(path.name)),
            "output": target,
            "driver": driver,
            "options": options.model_copy(update={"resume": True}).model_dump(mode="json"),
            "options_hash": options_hash(options),
            "queue": "interactive",
            "priority": 0,
            "files": len(members),
            "bytes": sum(one.size for one in members.values()),
            "signature": signature(members),
            "state": State.READY,
            "seen": now,
            "ready": now,
        }
        connection.execute(slides.insert().values(**values))
        fixed = {"folder": f"{SUBMITTED_BY_HAND}:{identity}", "since": now, "looks": 0, "slide": identity}
        rows = [{**fixed, "path": name, **seen._asdict()} for name, seen in members.items()]
        connection.execute(files.insert(), rows)
    return identity


def _below(path: Path, file: Path) -> str:
    return file.relative_to(path.parent).as_posix()


def _generation(connection: Connection, path: str) -> int:
    here = (slides.c.folder == SUBMITTED_BY_HAND, slides.c.path == path)
    last = connection.execute(select(func.max(slides.c.generation)).where(*here)).scalar_one()
    return 0 if last is None else int(last) + 1
