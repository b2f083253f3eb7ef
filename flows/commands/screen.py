"""What a command shows while it works: one line for all slides, one for each that is under way. Nothing where there is no
terminal. Lines that are to stay, results and notes alike, go through here, so that they end up above the live ones.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from drivers.location import Location
from flows.commands.printing import put
from flows.commands.text import cut, shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from converter.writing.run import Amount

_NAME = 40
"""Columns of a slide's name."""
_EACH_BYTES = 256 << 10
"""What a slide takes beside its bytes, opening and publishing, in bytes: else 200 tiny ones would count for nothing."""
_EARLY_S = 2.0
"""Before this nobody can say how long the rest will take."""


@dataclass(slots=True, eq=False)
class Lane:
    """A slide that is under way."""

    name: str
    bytes: int | None
    phase: str = "opening"
    amount: Amount | None = None
    since: float = field(default_factory=time.monotonic)

    def observe(self, name: str, amount: Amount) -> None:
        """Told by the conversion how far an image has come."""
        if self.phase != name:
            self.phase, self.since = name, time.monotonic()
        self.amount = amount

    def step[T](self, name: str, work: Callable[[], T], /) -> T:
        """Run a step of the conversion."""
        self.phase, self.amount, self.since = _PHASES.get(name, name.removeprefix("convert ")), None, time.monotonic()
        return work()

    @property
    def share(self) -> float:
        """How much of the image is done, 0 to 1."""
        return self.amount.done / self.amount.total if self.amount and self.amount.total else 0.0


_PHASES = {"plan": "planning", "verify": "checking", "publish": "publishing"}


@dataclass(slots=True)
class Screen:
    """The state that is shown. Any thread may call."""

    total: int = 0
    """Slides in all, 0 while they are looked for."""
    total_bytes: int = 0
    verb: str = "looking for slides"
    console: Console | None = None
    """The terminal with the live lines, None where there is none."""
    _lanes: list[Lane] = field(default_factory=list[Lane])
    _ends: Counter[str] = field(default_factory=Counter[str])
    _ended_bytes: int = 0
    _seen: int = 0
    _start: float = field(default_factory=time.monotonic)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def found(self, files: int) -> None:
        """So many files were seen in folders."""
        self._seen = files

    def expect(self, slides: int, size: int) -> None:
        """Slides are known now, and their bytes as far as they were counted."""
        self.total, self._start = slides, time.monotonic()
        self.total_bytes = size and size + slides * _EACH_BYTES

    def begin(self, slide: Location, size: int | None = None) -> Lane:
        """A slide is under way."""
        lane = Lane(shown(slide.name), size)
        with self._lock:
            self._lanes.append(lane)
        return lane

    def end(self, lane: Lane, status: str) -> None:
        """It is not any more."""
        with self._lock:
            self._lanes.remove(lane)
            self._ends[status] += 1
            self._ended_bytes += (lane.bytes or 0) + _EACH_BYTES

    def say(self, text: str, stream: TextIO) -> None:
        """A line that stays, on standard output or error."""
        if self.console is None or not stream.isatty():
            put(text, stream)
            return
        self.console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)

    def lines(self, width: int, height: int) -> list[str]:
        """What is shown, at most `height` lines."""
        with self._lock:
            lanes, ends = list(self._lanes), dict(self._ends)
            ended_bytes = self._ended_bytes
        room = max(1, height - 2)
        found = [_lane_line(lane) for lane in lanes[:room]]
        if len(lanes) > room:
            found.append(f"  and {len(lanes) - room} more")
        if self.total != 1:
            found.append(self._overall(lanes, ends, ended_bytes))
        return [cut(line, width) for line in found]

    def _overall(self, lanes: list[Lane], ends: dict[str, int], ended_bytes: int) -> str:
        if not self.total:
            return f"{self.verb} ... {self._seen or ''}".rstrip(" ")
        ended = sum(ends.values())
        words = [f"slide {min(ended + max(1, len(lanes)), self.total)} of {self.total}"]
        words += [f"{count} {status}" for status, count in sorted(ends.items()) if count]
        elapsed = time.monotonic() - self._start
        done = ended_bytes + sum(lane.share * (lane.bytes or 0) for lane in lanes)
        words.append(_clock(elapsed))
        if self.total_bytes and done and elapsed > _EARLY_S:
            words.append(f"about {_clock(elapsed * (self.total_bytes - done) / done)} left")
        return " · ".join(words)


def _lane_line(lane: Lane) -> str:
    name = cut(lane.name, _NAME)
    line = f"{name} · {lane.phase}"
    if lane.amount is None:
        return line
    seconds = time.monotonic() - lane.since
    filled = round(lane.share * 20)
    line += f" {'━' * filled}{'╌' * (20 - filled)} {lane.share:4.0%}"
    rates = speed(lane.amount, seconds)
    line += f" {rates}" if rates else ""
    if seconds > _EARLY_S and 0 < lane.share < 1:
        line += f" {_clock(seconds * (1 - lane.share) / lane.share)} left"
    return line


def _clock(seconds: float) -> str:
    whole = round(max(0.0, seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def speed(amount: Amount, seconds: float) -> str:
    """Pixels read and bytes written per second."""
    if seconds <= 0:
        return ""
    return f"{amount.done / seconds / 1e6:.0f} Mpx/s · {amount.bytes_written / seconds / 1e6:.0f} MB/s"


@contextmanager
def screen(mode: str) -> Generator[Screen]:
    """A screen for a command. `mode`: "auto" (live only on a terminal) or "none"."""
    made = Screen()
    if mode == "none" or not sys.stderr.isatty():
        yield made
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield made
        return
    made.console = console

    def live() -> RenderableType:
        from rich.text import Text

        return Text("\n".join(made.lines(console.width - 1, console.height)), no_wrap=True, overflow="crop")

    # What others print stays where they print it: rich would send standard output to the terminal, too.
    with (
        _log_above(console),
        Live(
            get_renderable=live,
            console=console,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ),
    ):
        yield made


@contextmanager
def _log_above(console: Console) -> Generator[None]:
    """Lines of the log above the live ones."""

    class Above(logging.StreamHandler[TextIO]):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(self.format(record), markup=False, highlight=False, soft_wrap=True, emoji=False)

    root = logging.getLogger()
    before = root.handlers[:]
    handler = Above(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root.handlers = [handler]
    try:
        yield
    finally:
        root.handlers = before
