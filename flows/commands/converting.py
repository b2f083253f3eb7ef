"""`slidemill convert`: from what is named to slides, from slides to stores, and what is told of it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converter.errors import OptionError, OutputFailed
from converter.options import Options
from drivers.discovery import find_drivers
from drivers.errors import DriverError
from drivers.location import Location, location
from flows.commands.batch import Job, Outcome, convert_all
from flows.commands.printing import Manner, print_json, put
from flows.commands.screen import Screen, screen
from flows.commands.summary import batch_total, counts, summary_line, table_lines
from flows.commands.text import failure_line, links_line, note_line, passed_line, receipt_line
from flows.commands.tree import Named, slides_of
from flows.commands.walking import Choice, is_folder
from flows.naming import is_store_name, require_output, safe_name, slide_stem, targets
from flows.outcome import INTERRUPTED, batch_code

_NO_FOLDERS = (".zip", ".h5", ".hdf5", ".n5", ".nc", ".dzi", ".json", ".xml", ".csv")
"""Suffixes of files that no folder for outputs has, beside those that drivers read."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a command line says on converting."""

    options: Options
    choice: Choice
    manner: Manner
    progress: str = "auto"


def convert_command(words: Sequence[str], out: str, call: Call) -> int:
    """Convert all that the words name; the exit code. Raises OptionError and OutputFailed before any work."""
    start = time.monotonic()
    check_output(out)
    manner = call.manner
    hidden = manner.quiet or (manner.as_json and not sys.stderr.isatty())
    signal.signal(signal.SIGTERM, _as_interrupt)
    with screen("none" if hidden else call.progress) as shown_screen:
        named = slides_of(words, replace(call.choice, found=shown_screen.found, out=_real(out)))
        work = jobs_of(named, out, words)
        teller = _Teller(manner, shown_screen)
        teller.before(named, out)
        shown_screen.expect(len(work), sum(job.bytes or 0 for job in work))
        outcomes = convert_all(work, call.options, shown_screen, teller.report)
    total = batch_total(outcomes, len(work), time.monotonic() - start)
    teller.after(outcomes, total, named)
    codes = [outcome.code for outcome in outcomes]
    return INTERRUPTED if total["not_done"] else batch_code(codes)


def submit_command(words: Sequence[str], out: str, call: Call, config: Path | None) -> int:
    """Queue all that the words name to the service; the exit code."""
    from flows.commands.service import submit

    _check_name(out)
    named = slides_of(words, replace(call.choice, out=_real(out)))
    codes = submit(jobs_of(named, out, words), (call.options, config), call.manner.as_json)
    if call.manner.as_json and named.trees:
        print_json({"total": {"slides": len(codes), "queued": codes.count(0), "failed": len(codes) - codes.count(0)}})
    return batch_code(codes)


def jobs_of(named: Named, out: str, words: Sequence[str]) -> list[Job]:
    """What is to be done for the slides that were named. Raises OptionError."""
    if is_store_name(location(out)) and (named.trees or len(words) > 1):
        given = "a folder of slides is given" if named.trees else f"there are {len(words)} slides"
        raise OptionError(f"output {out}: names one store, and {given}; give a folder")
    places = targets([item.place for item in named.items], out, [item.below for item in named.items], _made_from)
    return [Job(i.place, target, i.bytes, i.fault) for i, target in zip(named.items, places, strict=True)]


def _made_from(store: Location) -> str | None:
    """Name of the slide that a local store was made from, where there is one that says so."""
    from converter.checking.record import stored_receipt
    from converter.checking.stored import files_of

    if not isinstance(store, Path) or not store.exists():
        return None
    try:
        path = (stored_receipt(files_of(store)) or {}).get("path")
    except DriverError:
        return None
    return Path(path).name if isinstance(path, str) else None


def _real(out: str) -> str | None:
    place = location(out)
    return os.path.realpath(place) if isinstance(place, Path) else None


def check_output(out: str) -> None:
    """Raises OptionError where the output is none, before any slide is opened; OutputFailed where it cannot be written."""
    _check_name(out)
    place = location(out)
    if not isinstance(place, Path):
        return
    above = place.parent if is_store_name(place) else place
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if not is_folder(above):
        raise OptionError(f"output {out}: {above} is a file, not a folder; give a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputFailed(f"output {out}: {above} cannot be written; check its permissions")


def _check_name(out: str) -> None:
    """Raises OptionError for a name that is none of an output, wherever it would be written."""
    require_output(out)
    place = location(out)
    if not isinstance(place, Path):
        return
    if not is_store_name(place) and not is_folder(place) and place.name.lower().endswith(_file_suffixes()):
        store = place.name.partition(".")[0] or "x"
        raise OptionError(
            f"output {out}: outputs are OME-Zarr, and this is the name of another file; "
            f"give a folder, or a store such as {store}.ome.zarr"
        )


def _file_suffixes() -> tuple[str, ...]:
    found = {suffix.lower() for found in find_drivers() if found.driver is not None for suffix in found.driver.suffixes}
    return (*_NO_FOLDERS, *found)


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


@dataclass(slots=True)
class _Teller:
    """Results on standard output, errors and notes on standard error; each names its slide."""

    manner: Manner
    screen: Screen

    def before(self, named: Named, out: str) -> None:
        """What there is to say before work begins."""
        if self.manner.quiet or self.manner.as_json:
            return
        place = location(out)
        if isinstance(place, Path) and not is_folder(place.parent):
            self._note(out, f"its folder {place.parent} is not there, and is made")
        if named.unfollowed:
            self._note(out, links_line(named.unfollowed), whose="links")
        if self.manner.verbose:
            for path, why in named.passed:
                self._note(str(path), f"no slide: {why}")

    def _note(self, path: str, text: str, whose: str | None = None) -> None:
        self.screen.say(note_line(whose or path, text), sys.stderr)

    def report(self, outcome: Outcome) -> None:
        """A slide's outcome."""
        found, path = outcome.receipt.as_json(), outcome.receipt.path
        if self.manner.as_json:
            print_json(found)
        elif outcome.interrupted:
            pass  # the end of the batch tells
        elif outcome.receipt.failure is not None:
            self.screen.say(failure_line(path, outcome.receipt.failure.message), sys.stderr)
        elif not self.manner.quiet:
            self.screen.say(receipt_line(found), sys.stdout)
            for warning in [*found["warnings"], *_renamed(path, str(outcome.receipt.output))]:
                self._note(path, warning)

    def after(self, outcomes: Sequence[Outcome], total: dict[str, object], named: Named) -> None:
        """The end of it."""
        if self.manner.as_json:
            if named.trees:
                print_json({"total": total})
            return
        if named.many and not total["not_done"] and not self.manner.quiet:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            put("\n".join(table_lines(outcomes, width)))
            put(summary_line(total))
            if named.passed:
                put(passed_line(len(named.passed)))
        if total["not_done"]:
            put(f"slidemill: interrupted: {counts(total)}; run again with --resume", sys.stderr)


def _renamed(path: str, output: str) -> list[str]:
    """A note where the slide's own name could not be kept."""
    stem, name = slide_stem(location(path)), location(output).name
    kept = safe_name(stem)
    moved = kept != stem and name.startswith(kept)
    return [f"its output is named {name}: not every file system takes the slide's own name"] if moved else []
