"""A look into a store within a budget, a part of it at a time: names and sizes of all files, then contents of some.

Nothing is decoded: that every file has the SHA-256 that it was written with says more, and needs no codec.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converter.checking.listed import check_files
from converter.checking.record import stored_receipt
from converter.checking.report import Report, line_of, malformed
from converter.checking.stored import files_of, open_directly
from converter.manifest import Entry, read_manifest
from converter.objects.faults import reaching
from drivers.errors import Damaged, DriverError
from drivers.location import Location
from drivers.zarrstore.files import Files

_BLOCK = 1 << 20
_A_FILE = 4096
"""What it costs to look at a file's size."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a look found: the first thing that does not hold, the manifest that the receipt names, and the last file whose
    content was read where others are left."""

    wrong: str | None
    manifest: str | None = None
    goes_on: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a look may read: `most` bytes of contents, but at least one file. `spend` is told of bytes before they are
    read, and waits; what it raises ends the look. `reached` is told of each file whose content held."""

    most: int
    spend: Callable[[int], None]
    reached: Callable[[str], None]


def look_into(store: Location, after: str | None, budget: Budget) -> Part:
    """Look at all files' names and sizes, and into the contents of those that come after one, in the manifest's order.

    A store in an object store is looked at by name and size only: to read there is to pay. Raises OutputFailed, DriverError
    where a server does not answer.
    """
    with reaching(str(store)):
        try:
            files = files_of(store)
        except DriverError as error:
            if not isinstance(store, Path):
                raise
            return Part(line_of(error))
        report = Report(store, files, "quick", open_directly)
        present: frozenset[str] | None = None
        with malformed(report, ".", "cannot be listed"):
            present = files.keys()
        record = None
        if report.ok:
            budget.spend(_A_FILE * len(present or ()))
            record = stored_receipt(files)
            check_files(report, record, present)
        if not report.ok:
            more = len(report.violations) - 1
            return Part(report.violations[0] + (f" (and {more} more)" if more else ""), goes_on=after)
        manifest = None if record is None else record.get("manifest")
        if not files.local or manifest is None:
            return Part(None, manifest)
        return _contents(files, str(manifest), after, budget)


def _contents(files: Files, manifest: str, after: str | None, budget: Budget) -> Part:
    left = [entry for entry in sorted(read_manifest(files)[0]) if after is None or entry.path > after]
    read = 0
    for entry in left:
        if read and read + entry.size > budget.most:
            return Part(None, manifest, after)
        wrong = _differs(files, entry, budget.spend)
        if wrong is not None:
            return Part(f"{entry.path}: {wrong}", manifest, after)
        read, after = read + entry.size, entry.path
        budget.reached(entry.path)
    return Part(None, manifest)


def _differs(files: Files, entry: Entry, spend: Callable[[int], None]) -> str | None:
    digest = hashlib.sha256()
    try:
        for start in range(0, entry.size, _BLOCK):
            count = min(_BLOCK, entry.size - start)
            spend(count)
            digest.update(files.part(entry.path, start, count))
    except (OSError, Damaged) as error:
        return f"cannot be read: {line_of(error)}"
    return None if digest.hexdigest() == entry.sha256 else "does not have the SHA-256 of the manifest"
