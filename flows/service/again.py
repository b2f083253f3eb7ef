"""A slide that is done, converted once more because somebody asked. Its store is renamed before, never overwritten."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, and_

from converter.errors import Refused
from flows.ledger.checks import Finding, Wrong
from flows.ledger.database import clock, writing
from flows.ledger.rows import SlideRow
from flows.ledger.tables import State, contents, slides
from flows.service.originals import home
from flows.settings import Settings
from flows.watching.members import changed_files
from flows.watching.register import rule_of

_STATES = (State.DONE, State.DUPLICATE)


def repair(engine: Engine, settings: Settings, row: SlideRow, finding: Finding) -> str | None:
    """Have a store that is not as it was made, made again with the options it had. Returns the name that it got.

    Raises Refused where that cannot be: in an object store nothing can be renamed, and what cannot be told is left alone.
    """
    if finding.wrong == Wrong.UNKNOWN:
        raise Refused(f"{row.output}: {finding.reason}; nothing is done before that can be told")
    return _again(engine, replace(row, root=str(home(row, settings))), str(finding.wrong), {})


def convert_again(engine: Engine, settings: Settings, row: SlideRow) -> str | None:
    """Convert a slide that is done, or a copy of one, with the options that its folder has now.

    Returns the name that the store got which is there. Raises Refused.
    """
    folder, values = settings.folder(row.folder), dict[str, Any]()
    if folder is not None:
        rule = rule_of(folder)
        values = {"options": rule.options, "options_hash": rule.options_hash}
        values |= {"queue": folder.queue, "priority": folder.priority}
    return _again(engine, replace(row, root=str(home(row, settings))), "before", values)


def _again(engine: Engine, row: SlideRow, word: str, values: dict[str, Any]) -> str | None:
    if row.state not in _STATES:
        raise Refused(f"slide {row.id} is {row.state}, not done; `slidemill retry` is for what failed")
    changed = changed_files(engine, row)
    if changed is not None:
        raise Refused(f"slide {row.id} cannot be converted again: {changed}; `slidemill list` shows what stands for it now")
    with writing(engine) as connection:
        now = {"state": State.READY, "failures": 0, "not_before": None, "ready": clock(connection), "same_as": None}
        cleared = {"reason": None, "kind": None, "cancel": False, "told": False}
        here = (slides.c.id == row.id, slides.c.attempt == row.attempt, slides.c.state == row.state)
        if connection.execute(slides.update().where(*here).values(**now, **cleared, **values)).rowcount == 0:
            raise Refused(f"slide {row.id} changed meanwhile; look again")
        _own(connection, row, str(values.get("options_hash", row.options_hash)))
        return _put_aside(row, word)  # within the transaction: where it fails, nothing is changed


def _own(connection: Connection, row: SlideRow, options_hash: str) -> None:
    """Let the slide itself stand for its content: else it would be a copy of one that was converted in its place."""
    if row.fingerprint is None:
        return
    content = contents.c.fingerprint == row.fingerprint
    if options_hash != row.options_hash:  # with what it had, it stands for nothing any more
        connection.execute(contents.delete().where(content, contents.c.slide == row.id))
    here = and_(content, contents.c.options_hash == options_hash)
    connection.execute(contents.update().where(here).values(slide=row.id))


def _put_aside(row: SlideRow, word: str) -> str | None:
    if row.output is None or row.state == State.DUPLICATE:
        return None
    if "://" in row.output:
        if word == str(Wrong.GONE):
            return None
        raise Refused(f"{row.output}: is in the way and cannot be renamed in an object store; remove it, then ask again")
    place = Path(row.output)
    if not os.path.lexists(place):
        return None
    number = 1
    while os.path.lexists(aside := place.with_name(f"{place.name}.{word}-{number}")):
        number += 1
    try:
        place.rename(aside)
    except OSError as error:
        raise Refused(f"{place}: cannot be renamed: {error.strerror or error}") from error
    return aside.name
