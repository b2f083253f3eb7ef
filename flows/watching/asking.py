"""Asking drivers about files that are complete as far as one can see from outside, and deciding by what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Engine, select

from flows.ledger.database import alone, clock
from flows.ledger.rows import SlideRow
from flows.ledger.tables import NOT_A_SLIDE, State, slides
from flows.pace import Pace
from flows.watching.batch import Batch
from flows.watching.companions import Lists, is_list
from flows.watching.compare import Known, quiet
from flows.watching.grown import ENDED, earlier, ended_beside, look_again
from flows.watching.look import Look, as_path, as_text
from flows.watching.probe import Probed, Prober, ReaderCrashed
from flows.watching.register import FoundSlide, Rule, decide, is_undecided, register, signature, waiting_row

_AGAIN_S = 15.0
_MOMENT_S = 0.1
_SOON_S = 5.0
"""How long a pass waits for a share, before each file: whoever wants to end it cannot wait for longer."""
_PAGE = 1000
"""Files that are decided in one transaction."""


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
class Ledgered:
    """What the ledger knows of a folder at one moment."""

    known: Mapping[str, Known]
    undecided: Mapping[str, Known]
    now: float


class Asking:
    """One pass over the undecided files of a folder. Decisions are written together: at the latest when `decide` returns."""

    def __init__(self, engine: Engine, rule: Rule, prober: Prober, found: Found, pace: Pace | None = None) -> None:
        self._engine, self._rule, self._prober, self._found = engine, rule, prober, found
        self._pace = pace
        self._folder = rule.folder
        self._batch = Batch(engine)
        self._none: list[str] = []
        """Files found now to be no slides of their own."""

    def decide(self, ledger: Ledgered, deadline: float) -> None:
        """Decide what can be; nothing is asked about after the deadline, seconds by the monotonic clock."""
        decided: set[str] = set()
        self._none = [path for path in ledger.undecided if not self._wanted(path)]
        waits, lists, outputs = self._waits(), self._lists(ledger), _Outputs(self._engine)
        for path in self._candidates(ledger):
            if path in decided:
                continue
            if time.monotonic() > deadline or not self._in_time(deadline):
                self._found.unasked += 1
                continue
            if (waits.get(path) or 0.0) > ledger.now or (not is_list(path) and lists.name(path)):
                self._found.waiting += 1  # in the second case it belongs to a slide whose other files are still to come
                continue
            is_output = path.endswith(".zarr") and outputs.has(self._folder.path / as_path(path))
            for one in self._no_slide(path) if is_output else self._one(path, ledger):
                decided.add(one)
                lists.decided(one)
        self._batch.flush()
        self._settle(ledger)

    def _in_time(self, deadline: float) -> bool:
        """Whether the share that the folder lies on lets somebody read, soon and before the deadline; waits until it does."""
        busy = 0.0 if self._pace is None else self._pace.busy_s()
        if busy > _SOON_S or time.monotonic() + busy > deadline:
            return False
        if busy > _MOMENT_S:
            self._batch.flush()
        time.sleep(busy)
        return True

    def _ask(self, path: str, meanwhile: Callable[[], None] | None = None) -> Probed:
        """What the driver says of a file. Raises ReaderCrashed."""
        probed = self._prober.ask(self._folder.path, self._folder.path / as_path(path), meanwhile)
        if self._pace is not None:
            self._pace.book(probed.read)
        return probed

    def _wanted(self, path: str) -> bool:
        name = PurePosixPath(as_path(path)).name
        marker = self._folder.marker
        if marker is not None and fnmatch(name, marker.format(name="*", stem="*")):
            return False
        return any(fnmatch(name, pattern) for pattern in self._folder.pattern)

    def _waits(self) -> Mapping[str, float | None]:
        """Until when slides wait that are not complete."""
        here = (slides.c.folder == self._folder.name, slides.c.state == State.WAITING)
        with self._engine.connect() as connection:
            return dict(connection.execute(select(slides.c.path, slides.c.not_before).where(*here)).tuples().all())

    def _lists(self, ledger: Ledgered) -> Lists:
        """Files that name others and are not decided; one that waits in vain holds nothing up any more."""
        undecided = [path for path in ledger.undecided if is_list(path)]
        if undecided:
            here = (slides.c.folder == self._folder.name, slides.c.state == State.WAITING, slides.c.kind == "stuck")
            with self._engine.connect() as connection:
                stuck = set(connection.execute(select(slides.c.path).where(*here)).scalars())
            undecided = [path for path in undecided if path not in stuck]
        return Lists(self._folder.path, undecided)

    def _candidates(self, ledger: Ledgered) -> list[str]:
        """Undecided files that are complete as far as one can see from outside; those that name others come first."""
        none = set(self._none)
        wanted = ((path, found) for path, found in ledger.undecided.items() if path not in none)
        ready = [path for path, found in wanted if self._complete(path, found, ledger)]
        return sorted(ready, key=lambda path: (not is_list(path), path))

    def _complete(self, path: str, found: Known, ledger: Ledgered) -> bool:
        folder = self._folder
        if folder.marker is None:
            return quiet(found, ledger.now, folder.quiet_seconds)
        source = PurePosixPath(as_path(path))
        return as_text(str(source.parent / folder.marker.format(name=source.name, stem=source.stem))) in ledger.known

    def _one(self, path: str, ledger: Ledgered) -> set[str]:
        """Ask about one file and decide by the answer. Returns the files that are decided by it."""
        members = {path: ledger.known[path].look}
        try:
            probed = self._ask(path, self._batch.flush)
        except ReaderCrashed as error:
            return self._refuse(FoundSlide(path, None, members), error.kind, str(error))
        if probed.kind is None:
            return self._accept(path, probed, ledger)
        if probed.kind == "unsupported" and not probed.known_suffix:
            return self._no_slide(path)
        if probed.kind in ("incomplete", "unreadable"):
            self._wait(FoundSlide(path, probed.driver, members), ledger.now, (probed.kind, probed.message or ""))
            return set()
        return self._refuse(FoundSlide(path, probed.driver, members), probed.kind, probed.message or "")

    def _no_slide(self, path: str) -> set[str]:
        self._none.append(path)
        return {path}

    def _accept(self, asked: str, probed: Probed, ledger: Ledgered) -> set[str]:
        folder, known = self._folder, ledger.known
        members = members_of(folder.path, probed, known, asked)
        slide = FoundSlide(below(folder.path, probed.path), probed.driver, members)
        moving = [p for p in members if folder.marker is None and not self._still(known.get(p), ledger.now)]
        if moving:
            self._wait(slide, ledger.now, ("incomplete", f"{len(moving)} of its files changed a moment ago"))
        elif (known_as := self._known_as(slide, ledger)) is None:
            self._batch.add(partial(self._register, asked, slide, State.READY))
        elif known_as.state in ENDED:
            self._batch.add(partial(self._regrown, asked, slide, known_as))
        else:
            self._found.waiting += 1  # its conversion, which is under way, finds out itself
        return {asked, *members}

    def _known_as(self, slide: FoundSlide, ledger: Ledgered) -> SlideRow | None:
        """The slide that this one is, by another of its files, which was found before this file came."""
        if len(slide.members) < 2:
            return None
        with self._engine.connect() as connection:
            rows = earlier(connection, self._folder.name, slide)
        for row in rows:
            try:
                probed = self._ask(row.path, self._batch.flush)
            except ReaderCrashed:
                continue
            if probed.kind is None and members_of(self._folder.path, probed, ledger.known, row.path) == slide.members:
                return row
        return None

    def _regrown(self, asked: str, slide: FoundSlide, known_as: SlideRow, connection: Connection) -> None:
        """More files came of a slide that was done or refused: it is converted anew under the name that it has."""
        if is_undecided(connection, self._folder.name, asked):
            look_again(connection, known_as)
            whole, now = replace(slide, path=known_as.path), clock(connection)
            self._found.ready.append(register(connection, self._rule, whole, State.READY, now, not_before=None))

    def _still(self, found: Known | None, now: float) -> bool:
        # Of a file that is decided, looks are not counted any more.
        if found is None:
            return False
        if found.slide is not None and found.since > now:
            return True  # decided before the clock was set back
        return now - found.since >= self._folder.quiet_seconds and (found.slide is not None or found.looks >= 2)

    def _refuse(self, slide: FoundSlide, kind: str, reason: str) -> set[str]:
        self._batch.add(partial(self._register, slide.path, slide, State.QUARANTINED, kind=kind, reason=reason))
        return set(slide.members)

    def _register(self, asked: str, slide: FoundSlide, state: State, connection: Connection, **said: Any) -> None:
        """Write a slide down where nobody else has decided about the file meanwhile."""
        if not is_undecided(connection, self._folder.name, asked):
            return
        now, refused = clock(connection), state == State.QUARANTINED
        more = {"finished": now} if refused else {"not_before": None}
        identity = register(connection, self._rule, slide, state, now, **said, **more)
        if asked not in slide.members:
            decide(connection, self._folder.name, [asked], NOT_A_SLIDE)
        (self._found.refused if refused else self._found.ready).append(identity)

    def _wait(self, slide: FoundSlide, now: float, why: tuple[str, str]) -> None:
        self._found.waiting += 1
        self._batch.add(partial(self._put_off, slide, now, why))

    def _put_off(self, slide: FoundSlide, now: float, why: tuple[str, str], connection: Connection) -> None:
        kind, reason = why
        row = waiting_row(connection, self._folder.name, slide.path)
        late = row is not None and now - row.seen > self._folder.incomplete_hours * 3600
        said: dict[str, Any] = {"kind": "stuck" if late else kind, "reason": reason}
        again = clock(connection) + min(_AGAIN_S, self._folder.quiet_seconds)
        if row is not None:
            connection.execute(slides.update().where(slides.c.id == row.id).values(not_before=again, **said))
        else:
            register(connection, self._rule, slide, State.WAITING, now, not_before=again, **said)

    def _settle(self, ledger: Ledgered) -> None:
        """Decide what is no slide, after slides beside it have been looked at again: ended between, nothing is lost."""
        if not self._none:
            return
        with self._engine.connect() as connection:
            beside = ended_beside(connection, self._folder.name, self._none)
        for slide in beside:
            if slide.path not in ledger.known:
                continue  # it was moved away after its conversion
            try:
                probed = self._ask(slide.path)
            except ReaderCrashed:
                continue
            members = members_of(self._folder.path, probed, ledger.known, slide.path)
            same = probed.driver == slide.driver and signature(members) == slide.signature
            if probed.kind is None and not same:
                self._batch.add(partial(look_again, slide=slide))
        self._batch.flush()
        for first in range(0, len(self._none), _PAGE):
            with alone(self._engine) as connection:
                decide(connection, self._folder.name, self._none[first : first + _PAGE], NOT_A_SLIDE)


class _Outputs:
    """The stores that slides were converted to: two folders may show one place. Read when first asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_name: dict[str, list[str]] | None = None

    def has(self, store: Path) -> bool:
        """Whether this store is what some slide was converted to."""
        if self._by_name is None:
            self._by_name = {}
            with self._engine.connect() as connection:
                for output in connection.execute(select(slides.c.output)).scalars():
                    if output and "://" not in output:
                        self._by_name.setdefault(output.rpartition("/")[2].lower(), []).append(output)
        return any(_same(Path(output), store) for output in self._by_name.get(store.name.lower(), ()))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def members_of(root: Path, probed: Probed, known: Mapping[str, Known], asked: str) -> dict[str, Look]:
    """Files of the slide as the ledger has them; one that the walk does not show (hidden) stands for itself."""
    if probed.path.suffix == ".zarr":
        return {asked: known[asked].look}
    found: dict[str, Look] = {}
    for file in probed.files:
        path = below(root, file)
        if path in known:
            found[path] = known[path].look
    return found or {asked: known[asked].look}


def below(root: Path, path: Path) -> str:
    """The path below the folder, as text."""
    return as_text(path.relative_to(root).as_posix())
