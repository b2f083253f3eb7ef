"""Whether the stores that were made are still there and whole, and what to do about those that are not.

Nothing is deleted: a store that is damaged, or another one than was made, is renamed before its slide is converted anew.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Engine, select

from converter.checking.record import stored_receipt
from converter.checking.verify import verify_store
from converter.errors import ConverterError, Refused
from drivers.errors import DriverError
from drivers.location import location
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State, slides
from flows.service.orders import is_removed, retry


class Wrong(StrEnum):
    """What is wrong with a store."""

    GONE = "gone"
    DAMAGED = "damaged"
    OTHER = "other"
    """Whole, but not the one that was made."""
    UNKNOWN = "unknown"
    """It cannot be told: its folder is not there, its server does not answer."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A slide that is done, and its store as it is now. `wrong` is None where it is as it was made."""

    row: SlideRow
    wrong: Wrong | None
    reason: str | None = None


def audit(engine: Engine, folder: str | None, depth: str, rate: float | None = None) -> Generator[Audited]:
    """Look at every store, the one that was made first first. `rate`: bytes of slides a second, for disks that others use.

    `depth` as in `verify`: `quick` looks at every file's size and some chunks, `full` reads all.
    """
    for slide in _done(engine, folder):
        start = time.monotonic()
        with engine.connect() as connection:
            row = slide_by_id(connection, slide)
        if row is None or row.state != State.DONE or row.output is None:
            continue  # something happened to it meanwhile
        yield _look(row, row.output, depth)
        if rate:
            time.sleep(max(0.0, row.bytes / rate - (time.monotonic() - start)))


def _done(engine: Engine, folder: str | None) -> Iterator[str]:
    here = [slides.c.state == State.DONE] + ([] if folder is None else [slides.c.folder == folder])
    with engine.connect() as connection:
        ids = connection.execute(select(slides.c.id).where(*here).order_by(slides.c.finished, slides.c.id)).scalars().all()
    yield from ids


def _look(row: SlideRow, output: str, depth: str) -> Audited:
    place = location(output)
    if is_removed(output):
        return Audited(row, Wrong.GONE, "it is not there any more")
    if isinstance(place, Path) and not place.exists():
        return Audited(row, Wrong.UNKNOWN, f"{place.parent} is not there: is it mounted?")
    try:
        report = verify_store(place, depth=depth)
        if not report.ok:
            more = len(report.violations) - 1
            return Audited(row, Wrong.DAMAGED, report.violations[0] + (f" (and {more} more)" if more else ""))
        found = stored_receipt(report.files) or {}
    except (ConverterError, DriverError) as error:
        return Audited(row, Wrong.UNKNOWN, str(error))
    if found.get("manifest") != (row.receipt or {}).get("manifest"):
        return Audited(row, Wrong.OTHER, "it is another store than the one that was made")
    return Audited(row, None)


def again(engine: Engine, found: Audited) -> str | None:
    """Have the slide converted anew. Returns the name that a store got which was in the way.

    Raises Refused where that cannot be: in an object store nothing can be renamed, and what cannot be told is left alone.
    """
    output = str(found.row.output)
    if found.wrong == Wrong.UNKNOWN:
        raise Refused(f"{output}: {found.reason}; nothing is done before that can be told")
    aside = None
    if found.wrong != Wrong.GONE:
        if "://" in output:
            raise Refused(
                f"{output}: is in the way and cannot be renamed in an object store; copy or remove it, then audit again"
            )
        place = Path(output)
        aside = _free(place, str(found.wrong))
        place.rename(aside)
    if not retry(engine, found.row):
        raise Refused(f"slide {found.row.id} changed meanwhile; look again")
    return None if aside is None else aside.name


def _free(place: Path, word: str) -> Path:
    number = 1
    while (aside := place.with_name(f"{place.name}.{word}-{number}")).exists():
        number += 1
    return aside
