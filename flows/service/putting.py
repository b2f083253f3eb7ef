"""Originals of slides that are done, and of their copies, put away where their folder's settings say so.

Done right after a conversion; and in every pass of the reconciliation for those whose process ended before, and for copies of
slides that were not done yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, or_, select

from flows.ledger.database import writing
from flows.ledger.rows import SlideRow, as_slide, slide_by_id
from flows.ledger.tables import State, slides
from flows.service.originals import files_below, put_away
from flows.settings import Settings
from flows.watching.look import as_text
from flows.watching.members import own_files

log = logging.getLogger("slidemill.originals")

_MOST = 200
"""In one pass: others wait for the next."""


def kept_at(settings: Settings, row: SlideRow) -> str | None:
    """What the ledger says of where a converted slide's files are (`put_away` of the table), before they are moved."""
    if _is_away(settings, row):
        return row.root
    folder = settings.folder(row.folder)
    return "" if folder is None or folder.move_to is None else None


def _is_away(settings: Settings, row: SlideRow) -> bool:
    """Whether the files were put away before, to the folder of that time or of now; `row.root`: where they are."""
    folder = settings.folder(row.folder)
    now = None if folder is None or folder.move_to is None else str(folder.move_to)
    return row.root in (row.put_away, now)


def put_away_slide(engine: Engine, settings: Settings, row: SlideRow, members: Sequence[Path] | None = None) -> bool:
    """Move a slide's files, those that the ledger knows where no others are named; whether they are put away.

    Files that cannot be moved stay for good, and the slide says why.
    """
    folder = settings.folder(row.folder)
    if folder is None or folder.move_to is None or _is_away(settings, row):
        return False
    root, names = Path(row.root), own_files(engine, row)
    known = files_below(root, names)
    chosen = known if members is None else {path: names.get(_below(root, path)) for path in members}
    where, reason = str(folder.move_to), ""
    try:
        if not chosen:
            raise FileNotFoundError(0, "it is another file now")
        put_away(chosen, root, folder.move_to)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        log.warning("slide %s: its original stays where it is: %s", row.id, said)
        where, reason = "", f"its original stays where it is: {said}"
    _note(engine, row.id, where, reason)
    return bool(where)


def _note(engine: Engine, slide: str, where: str, reason: str) -> None:
    with writing(engine) as connection:
        now = slide_by_id(connection, slide)
        if now is None or now.state not in (State.DONE, State.DUPLICATE):
            return  # somebody asked for it again this moment: `home` finds its files wherever they are
        values = {"put_away": where, "reason": "; ".join(word for word in (now.reason, reason) if word) or None}
        connection.execute(slides.update().where(slides.c.id == slide, slides.c.state == now.state).values(**values))


def _below(root: Path, path: Path) -> str:
    with suppress(ValueError):
        return as_text(path.absolute().relative_to(root).as_posix())
    return ""


def put_away_rest(engine: Engine, settings: Settings) -> list[str]:
    """Put away what was not: slides that are done, and copies of those whose stores are there. Returns their ids."""
    moving = [folder.name for folder in settings.folders if folder.move_to is not None]
    if not moving:
        return []
    other = slides.alias("other")
    here = (slides.c.put_away.is_(None), slides.c.folder.in_(moving))
    its = or_(slides.c.state == State.DONE, (slides.c.state == State.DUPLICATE) & (other.c.state == State.DONE))
    query = select(slides).outerjoin(other, other.c.id == slides.c.same_as).where(*here, its).limit(_MOST)
    with engine.connect() as connection:
        rows = [as_slide(row) for row in connection.execute(query)]
    return [row.id for row in rows if put_away_slide(engine, settings, row)]
