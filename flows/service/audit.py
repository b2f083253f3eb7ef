"""Whether the stores that were made are still there and whole: a look at each, noted in the ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from converter.checking.record import stored_receipt
from converter.checking.verify import verify_store
from converter.errors import ConverterError
from drivers.errors import DriverError
from drivers.location import location
from flows.ledger import checks
from flows.ledger.checks import Finding, Look, Wrong
from flows.ledger.database import writing
from flows.ledger.rows import SlideRow, slide_by_id
from flows.ledger.tables import State, slides
from flows.service.places import missing, root_of
from flows.settings import Settings

_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Audited:
    """A slide that is done, and its store as it is now."""

    row: SlideRow
    finding: Finding


@dataclass(frozen=True, slots=True)
class Scope:
    """Which stores are looked at, and how: all, or those of a folder; `found`: only those that were found wrong before.

    `depth` as in `verify`: `quick` looks at every file's size and some chunks, `full` reads all. `rate`: bytes of slides a
    second, for disks that others use.
    """

    folder: str | None = None
    found: bool = False
    depth: str = "quick"
    rate: float | None = None


def audit(engine: Engine, settings: Settings, scope: Scope) -> Generator[Audited]:
    """Look at every store, the one that was made first first."""
    for slide in _done(engine, scope):
        start = time.monotonic()
        with engine.connect() as connection:
            row = slide_by_id(connection, slide)
            known = checks.known(connection, slide)
        if row is None or row.state != State.DONE or row.output is None:
            continue  # something happened to it meanwhile
        # What was found by reading everything is not taken back by a look at some of it.
        depth = "full" if known.finding.wrong == Wrong.DAMAGED else scope.depth
        found = _look(engine, settings, (row, row.output), depth)
        with writing(engine) as connection:
            checks.note(connection, Look(row.id, row.attempt, found, inside=depth == "full"))
        yield Audited(row, found)
        if scope.rate:
            time.sleep(max(0.0, row.bytes / scope.rate - (time.monotonic() - start)))


def _done(engine: Engine, scope: Scope) -> Sequence[str]:
    with engine.connect() as connection:
        if scope.found:
            return checks.wrong(connection, _MOST, scope.folder)
        here = [slides.c.state == State.DONE] + ([] if scope.folder is None else [slides.c.folder == scope.folder])
        query = select(slides.c.id).where(*here).order_by(slides.c.finished, slides.c.id)
        return connection.execute(query).scalars().all()


def _look(engine: Engine, settings: Settings, slide: tuple[SlideRow, str], depth: str) -> Finding:
    row, output = slide
    if "://" not in output and not os.path.lexists(output):
        with engine.connect() as connection:
            return missing(connection, root_of(settings, row.folder, output), output)
    try:
        report = verify_store(location(output), depth=depth)
        if not report.ok:
            more = len(report.violations) - 1
            return Finding(Wrong.DAMAGED, report.violations[0] + (f" (and {more} more)" if more else ""))
        found = stored_receipt(report.files) or {}
    except (ConverterError, DriverError) as error:
        return Finding(Wrong.UNKNOWN, str(error))
    if found.get("manifest") != (row.receipt or {}).get("manifest"):
        return Finding(Wrong.OTHER, "it is another store than the one that was made")
    return Finding()
