"""Converting slides: each gets a receipt, and one that fails does not stop the others.

A slide that is large takes all threads, one at a time, on the thread that asked. Of small slides several are under way at
a time: opening, planning, checking and publishing them is work for one thread each.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from converter.convert import Conversion, convert
from converter.errors import Cancelled
from converter.options import Options
from converter.planning.jobs import worker_count
from converter.receipt import Failure, Receipt
from converter.version import product_version
from drivers.errors import DriverError
from drivers.location import Location
from flows.commands.screen import Screen
from flows.outcome import KNOWN, error_json, exit_code, interrupted, unexpected

SMALL_BYTES = 50 << 20
"""Slides up to this size share the threads; the service's `small_bytes` is the same."""
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A slide and where it goes."""

    slide: Location
    target: Location
    bytes: int | None = None
    """Of the slide's files, None where they were not counted."""
    fault: DriverError | None = None
    """Why there is nothing to convert."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receipt and the exit code it means."""

    receipt: Receipt
    code: int

    @property
    def interrupted(self) -> bool:
        """Whether the slide was under way when the batch was told to stop."""
        return self.receipt.failure is not None and self.receipt.failure.kind == "interrupted"


def convert_all(work: Sequence[Job], options: Options, screen: Screen, report: Callable[[Outcome], None]) -> list[Outcome]:
    """Convert all; `report` gets the outcomes in the order of the work, each as soon as it can.

    An interrupt ends the batch.
    """
    batch = _Batch(work, options, screen, report)
    with ThreadPoolExecutor(batch.threads, thread_name_prefix="slidemill-slide") as pool:
        batch.run(pool)
    return batch.told


@dataclass(slots=True)
class _Batch:
    work: Sequence[Job]
    options: Options
    screen: Screen
    report: Callable[[Outcome], None]
    threads: int = field(init=False)
    told: list[Outcome] = field(default_factory=list[Outcome], init=False)
    _ended: dict[int, Outcome] = field(default_factory=dict[int, Outcome], init=False)
    _running: dict[Future[Outcome], tuple[int, int]] = field(
        default_factory=dict[Future[Outcome], tuple[int, int]], init=False
    )
    """Index and threads of what runs."""
    _stops: dict[int, threading.Event] = field(default_factory=dict[int, threading.Event], init=False)
    """One for each slide that runs: a conversion sets its own when it fails."""
    _stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.threads = worker_count(self.options)

    def run(self, pool: ThreadPoolExecutor) -> None:
        """Convert until all is done or somebody interrupts; then what runs is told to stop, and its end is waited for."""
        try:
            for i in range(len(self.work)):
                threads = self._share(i)
                while self._running and self._free() < threads:
                    self._wait()
                if threads == self.threads:
                    self._end(i, self._one(i, threads))
                else:
                    with _whole():
                        self._stops[i] = threading.Event()
                        self._running[pool.submit(self._one, i, threads)] = (i, threads)
                if self._stopped:
                    break
            while self._running:
                self._wait()
        except KeyboardInterrupt:
            for stop in list(self._stops.values()):
                stop.set()
            while self._running:
                try:
                    self._wait()
                except KeyboardInterrupt:
                    continue  # they are told already
        self._tell(everything=True)

    def _share(self, i: int) -> int:
        """Threads for a slide: all where it is large, else its part of those that are free, as more small slides follow."""
        if self.options.memory is not None or not _is_small(self.work[i]):
            return self.threads
        following = 0
        for job in self.work[i : i + self.threads]:
            if not _is_small(job):
                break
            following += 1
        return max(1, min(self._free() or 1, self.threads) // following)

    def _free(self) -> int:
        return self.threads - sum(threads for _, threads in self._running.values())

    def _wait(self) -> None:
        # Not for ever: a signal that another thread was given does not wake this one, which is to see it.
        done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        with _whole():
            for future in done:
                outcome = future.result()
                self._end(self._running.pop(future)[0], outcome)

    def _end(self, i: int, outcome: Outcome) -> None:
        self._ended[i] = outcome
        if outcome.interrupted:
            self._stopped = True
        self._tell()

    def _tell(self, *, everything: bool = False) -> None:
        """Report what has ended, up to the first that has not; in the end, everything."""
        for i in sorted(self._ended):
            if not everything and i != len(self.told):
                return
            outcome = self._ended.pop(i)
            self.told.append(outcome)
            self.report(outcome)

    def _one(self, i: int, threads: int) -> Outcome:
        job = self.work[i]
        options = self.options.model_copy(update={"workers": threads})
        lane = self.screen.begin(job.slide, job.bytes)
        stop = self._stops.setdefault(i, threading.Event())
        outcome = _outcome(job, Conversion(options, stop, lane.observe, step=lane.step))
        del self._stops[i]
        self.screen.end(lane, "stopped" if outcome.interrupted else outcome.receipt.status)
        return outcome


@contextmanager
def _whole() -> Generator[None]:
    """Around what belongs together: an interrupt that comes between is raised behind it, so that no slide is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda found, _frame: came.append(found)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if came:
        raise KeyboardInterrupt


def _is_small(job: Job) -> bool:
    return job.fault is not None or (job.bytes is not None and job.bytes <= SMALL_BYTES)


def _converted(job: Job, conversion: Conversion) -> Receipt:
    if job.fault is not None:
        raise job.fault
    return convert(job.slide, job.target, conversion)


def _outcome(job: Job, conversion: Conversion) -> Outcome:
    start = time.perf_counter()
    try:
        return Outcome(_converted(job, conversion), 0)
    except KeyboardInterrupt:
        error: BaseException = interrupted(job.slide.name)
    except Cancelled:
        error = interrupted(job.slide.name)
    except KNOWN as known:
        error = known
    except Exception as unknown:  # noqa: BLE001 - whatever went wrong with one slide, the next one is converted
        error = unexpected(unknown)
    receipt = Receipt(
        path=str(job.slide),
        output=None,
        status="failed",
        seconds=time.perf_counter() - start,
        version=product_version(),
        options=conversion.options,
        failure=Failure(**error_json(error)),
    )
    return Outcome(receipt, exit_code(error))
