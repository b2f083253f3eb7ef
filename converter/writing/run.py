"""Running a plan: one pass over the stored tiles.

A job paints one box of a native level, encodes its chunks, halves it in memory and goes on with what that yields, down to
the next native level. Decoders and codecs release the GIL, so plain threads share the work. Nothing written is read back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from converter.codec import parse_codec
from converter.errors import Cancelled
from converter.halving import halve, halved_box
from converter.options import Options
from converter.pace import Spend, unlimited
from converter.planning.image import ImagePlan, LevelPlan
from converter.planning.jobs import job_shape, jobs, segments, worker_count
from converter.publishing.stage import Stage
from converter.straddlers import Straddlers
from converter.writing.regions import Regions
from converter.writing.seen import SeenWindow
from converter.writing.sharding import LevelWriter, level_writer
from drivers.discovery import translated
from drivers.errors import Damaged, DriverError
from drivers.fill import same_fill
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene
from drivers.paint import filler, paint, vacant
from drivers.tiles import Tile


@dataclass(frozen=True, slots=True)
class Amount:
    """How far an image has come: pixels read, pixels in all (of all levels read), and bytes written since it began."""

    done: int
    total: int
    bytes_written: int


Progress = Callable[[Amount], None]
"""Told after every job, one call at a time."""


def silent(amount: Amount) -> None:
    """Progress that nobody watches."""


@dataclass(slots=True)
class Damage:
    """Stored tiles that could not be read and were filled; a bounded sample of them is named."""

    count: int = 0
    named: list[str] = field(default_factory=list[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        """Count one, and name it while there is room."""
        with self._lock:
            self.count += 1
            if len(self.named) < 100:
                self.named.append(what)


@dataclass(slots=True)
class Work:
    """What the jobs of one conversion share."""

    stage: Stage
    options: Options
    stop: threading.Event = field(default_factory=threading.Event)
    damage: Damage = field(default_factory=Damage)
    progress: Progress = silent
    window: SeenWindow = field(default_factory=SeenWindow)
    spend: Spend = unlimited
    """Told of the bytes that were written, by the thread that wrote them or a later one."""


@dataclass(slots=True)
class _Output:
    writer: LevelWriter
    regions: Regions
    seen: Callable[[Box, Pixels], None] | None = None
    """Takes in the pixels of the image's last level."""


def run_image(scene: Scene, image: ImagePlan, work: Work) -> None:
    """Write all arrays of one image into the stage.

    Raises DriverError (the slide), OutputFailed (the disk), Cancelled (`work.stop` was set).
    """
    import cv2

    cv2.setNumThreads(1)  # the jobs are the parallelism; threads below them only get in their way
    parts = segments(image)
    done = _Counter(work, [scene.levels[part.native].shape for part in parts])
    for part in parts:
        level = scene.levels[part.native]
        job = job_shape(level, part.levels[0])
        outputs = [_output(plan, image, job.c, work) for plan in part.levels]
        _run_segment(_Segment(level, job, outputs), work, done)
        if not all(o.regions.finished() and o.writer.finished() for o in outputs):
            raise AssertionError("a chunk or shard was left unfinished")


class _Counter:
    def __init__(self, work: Work, shapes: Sequence[Shape]) -> None:
        self._work, self._done = work, 0
        self._channels = shapes[0].c
        self._samples = sum(Box.of(shape).pixels for shape in shapes)
        self._before = self._told = work.stage.bytes_written
        self._lock = threading.Lock()

    def add(self, samples: int) -> None:
        with self._lock:
            self._done += samples
            written = self._work.stage.bytes_written - self._before
            pixels, whole = self._done // self._channels, self._samples // self._channels
            self._work.progress(Amount(pixels, whole, written))
            fresh, self._told = written + self._before - self._told, written + self._before
        self._work.spend(fresh)


def _output(plan: LevelPlan, image: ImagePlan, group: int, work: Work) -> _Output:
    writer = level_writer(plan, image, work.stage, parse_codec(work.options.codec), work.options.ome_zarr)
    seen = work.window.add if plan is image.levels[-1] else None
    return _Output(writer, Regions(plan.shape, plan.chunk, group, image.fill), seen)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A level of the slide, the shape of the jobs it is read in, and what is made of it, finest first."""

    level: Level
    job: Shape
    outputs: list[_Output]


def _run_segment(segment: _Segment, work: Work, done: _Counter) -> None:
    level, job, outputs = segment.level, segment.job, segment.outputs
    todo, decode = _Shared(jobs(level.shape, job)), _decoder(level, work)
    # What no tile covers is not stored: a level of another background than the image's has nothing of the kind.
    plain = same_fill(level.fill, outputs[0].writer.image.fill, level.dtype)
    with closing(Straddlers(job, work.stage.folder)) as straddlers:

        def worker() -> None:
            for box in todo:
                if work.stop.is_set():
                    raise Cancelled("the conversion was interrupted")
                void = plain and vacant(level, box)
                pixels = None if void else paint(level, box, lambda tile, box=box: straddlers.read(tile, box, decode))
                _deliver(outputs, 0, box, pixels)
                done.add(box.pixels)

        _in_threads(worker, work)


def _in_threads(worker: Callable[[], None], work: Work) -> None:
    """Run `worker` on every thread to its end. Where one fails all are told to stop, and its error is raised."""
    count = worker_count(work.options)
    with ThreadPoolExecutor(count, thread_name_prefix="slidemill") as pool:
        futures = [pool.submit(worker) for _ in range(count)]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            work.stop.set()
            raise
        if any(f.exception() for f in finished):
            work.stop.set()
    errors = [e for f in futures if (e := f.exception()) is not None]
    if errors:
        raise next((e for e in errors if not isinstance(e, Cancelled)), errors[0])


class _Shared:
    """An iterator that several threads take from."""

    def __init__(self, boxes: Iterator[Box]) -> None:
        self._boxes, self._lock = boxes, threading.Lock()

    def __iter__(self) -> Iterator[Box]:
        while True:
            with self._lock:
                box = next(self._boxes, None)
            if box is None:
                return
            yield box


def _deliver(outputs: list[_Output], i: int, box: Box, pixels: Pixels | None) -> None:
    """Encode what has become whole at output `i`, and hand its half on to the next. None: nothing but background."""
    output = outputs[i]
    for whole, block in output.regions.add(box, pixels):
        output.writer.put(whole, block)
        if output.seen is not None:
            output.seen(whole, _background(output.writer.image, whole) if block is None else block)
        if i + 1 == len(outputs):
            continue
        below = halved_box(whole, output.writer.plan.shape)
        if below:
            half = None if block is None else _halved(block, outputs[i + 1], below)
            _deliver(outputs, i + 1, below, half)


def _halved(block: Pixels, output: _Output, below: Box) -> Pixels:
    half = halve(block, output.writer.plan.source.method)
    return half[..., : below.shape.y, : below.shape.x]


def _background(image: ImagePlan, box: Box) -> Pixels:
    """A pixel of background, with the channels of `box`."""
    return np.full((1, box.shape.c, 1, 1, 1), image.fill, image.dtype)


def _decoder(level: Level, work: Work) -> Callable[[Tile], Pixels]:
    def read(tile: Tile) -> Pixels:
        try:
            return level.read(tile.key)
        except Damaged as error:
            if work.options.on_damage == "fail":
                raise
            work.damage.add(str(error))
            return filler(level, tile)
        except DriverError:
            raise
        except Exception as error:
            raise translated(error, f"tile {tile.key}") from error

    return read
