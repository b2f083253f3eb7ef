"""One slide in, one verified store out: open, plan, stage, run, verify, publish."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from converter.alpha import shown
from converter.checking.stored import open_directly, open_with_zarr
from converter.errors import NotTrue, OverMemory, SourceChanged
from converter.fingerprint import Look, slide_fingerprint, slide_look
from converter.options import Options
from converter.pace import Spend, open_paced, unlimited
from converter.planning.image import ImagePlan
from converter.planning.memory import uploaded
from converter.planning.privacy import left_out
from converter.planning.slide import SlidePlan, plan_slide
from converter.publishing.existing import finished_before, is_zip, refuse_early, require_space
from converter.publishing.publish import LocalPublishing
from converter.publishing.stage import Stage, open_stage
from converter.receipt import Receipt
from converter.version import product_version
from converter.writing.contents import (
    scenes_of,
    write_groups,
    write_icc,
    write_image,
    write_manifest,
    write_ome_xml,
    write_root,
)
from converter.writing.run import Amount, Damage, Work, run_image
from drivers.errors import Unreadable
from drivers.location import Location
from drivers.model import Slide

Observer = Callable[[str, Amount], None]
"""Told of progress: name of the image, and how far it has come."""


def unobserved(name: str, amount: Amount) -> None:
    """An observer that does nothing."""


def directly[T](_name: str, work: Callable[[], T]) -> T:
    """Run a step of a conversion as it is; its name is for those who watch steps."""
    return work()


class Step(Protocol):
    """How a step of a conversion is run."""

    def __call__[T](self, name: str, work: Callable[[], T], /) -> T:
        """Run `work` and return what it returns."""
        ...


@dataclass(slots=True)
class Conversion:
    """What one conversion carries along. `stop` may be set from any thread or signal handler."""

    options: Options
    stop: threading.Event = field(default_factory=threading.Event)
    observe: Observer = unobserved
    timings: dict[str, float] = field(default_factory=dict[str, float])
    step: Step = directly
    """Runs the steps plan, convert (one an image), verify, publish: a workflow engine makes tasks of them."""
    fence: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered around the rename that publishes, and around nothing else; raises where this run may not publish any more.

    Others wait while it is held. So where publishing takes its time (an object store, which has a fence of its own) it is
    entered around nothing, before each step that cannot be taken back.
    """
    identity: str | None = None
    """Fingerprint of the slide where the caller has taken it already."""
    reading: Spend = unlimited
    """Told of each part of the slide that was read."""
    writing: Spend = unlimited
    """Told of each part of the store that was written."""

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        """Add the wall time of a block to `timings`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start


class Publishing(Protocol):
    """From a finished stage to its target. What takes long is done in `swap` and `settle`, outside of the fence."""

    @property
    def fenced(self) -> bool:
        """Whether `publish` finds no place by itself once another run has begun; and takes longer than a moment."""
        ...

    @property
    def swaps(self) -> bool:
        """Whether `swap` removes an old store before this one is there."""
        ...

    def swap(self) -> None:
        """Make room for the store."""
        ...

    def publish(self) -> None:
        """Make the stage the target."""
        ...

    def settle(self) -> list[str]:
        """Make it last, and see to what was replaced; what there is to warn of."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a conversion writes, and what its source looked like when it began."""

    stage: Stage
    target: Location
    publishing: Publishing
    before: Look
    identity: Future[str]
    """The source's fingerprint, being taken."""


@dataclass(frozen=True, slots=True)
class _Written:
    damage: Damage
    removed: list[str]
    icc: Mapping[str, Any] | None
    manifest: str
    fingerprint: str


def convert(path: Location, target: Location, conversion: Conversion) -> Receipt:
    """Convert `path` into the store `target` (a path, or an s3 URL), published only when it is whole and verified.

    Raises DriverError or ConverterError; then nothing is published and no stage is left behind.
    """
    start = time.perf_counter()
    options = conversion.options
    with conversion.timed("open"):
        slide = open_paced(path, conversion.reading)
    with slide, _aside(conversion) as aside:
        before = slide_look(slide)
        old = finished_before(slide, target, options)
        if old is not None:
            return replace(old, seconds=time.perf_counter() - start)
        refuse_early(slide, target, options)
        identity = aside.submit(_identity, slide, conversion)
        with conversion.timed("plan"):
            plan = conversion.step("plan", lambda: plan_slide(slide, options))
        written = shown(slide, options.alpha)
        _require_memory(plan, target)
        require_space(target, plan.estimated_bytes)
        if options.verify == "full":
            aside.submit(_warm_reader)
        stage, publishing = _stage_for(target, plan, conversion)
        try:
            receipt = _staged(written, plan, _Place(stage, target, publishing, before, identity), conversion)
        finally:
            stage.discard()
    return replace(receipt, seconds=time.perf_counter() - start, timings=dict(conversion.timings))


def _identity(slide: Slide, conversion: Conversion) -> str:
    return conversion.identity or slide_fingerprint(slide, conversion.stop.is_set, conversion.reading)


def _stage_for(target: Location, plan: SlidePlan, conversion: Conversion) -> tuple[Stage, Publishing]:
    """A new stage, and what makes it the target."""
    replacing = conversion.options.exists == "replace"
    if isinstance(target, Path):
        local = open_stage(target)
        if is_zip(target):
            from converter.publishing.zip_stage import open_zip_stage

            local = open_zip_stage(local, sum(len(image.levels) + 1 for image in plan.images))
        return local, LocalPublishing(local, target, replacing)
    from converter.publishing.object_stage import open_object_stage

    remote = open_object_stage(target, replace=replacing, stopped=conversion.stop.is_set)
    return remote, remote


@contextmanager
def _aside(conversion: Conversion) -> Generator[ThreadPoolExecutor]:
    """Threads for what goes on beside the pixels; told to stop when the conversion ends in an error."""
    with ThreadPoolExecutor(2, thread_name_prefix="slidemill-aside") as pool:
        try:
            yield pool
        except BaseException:
            conversion.stop.set()
            raise


def _require_memory(plan: SlidePlan, target: Location) -> None:
    allowed = plan.options.memory
    needed = plan.peak_memory_bytes + (0 if isinstance(target, Path) else uploaded(plan.images))
    if allowed is not None and needed > allowed:
        raise OverMemory(
            f"{plan.path}: needs about {needed >> 20} MiB, --memory allows {allowed >> 20} MiB; "
            "use fewer --workers or a smaller --shard"
        )


def _staged(slide: Slide, plan: SlidePlan, place: _Place, conversion: Conversion) -> Receipt:
    stage, start = place.stage, time.perf_counter()
    written = _write(slide, plan, place, conversion)
    with conversion.timed("sync"):
        stage.sync()
    receipt = _receipt(slide, plan, place, written, time.perf_counter() - start)
    write_root(plan, slide, stage, receipt)
    with conversion.timed("verify"):
        conversion.step("verify", lambda: _verify(stage, slide, conversion.options))
    if not _as_before(slide, place.before):
        raise SourceChanged(f"{slide.path.name}: changed while it was converted; let its writer finish and convert again")
    with conversion.timed("publish"):
        stage.sync()
        told = conversion.step("publish", lambda: _publish(place.publishing, conversion))
    return replace(receipt, warnings=[*receipt.warnings, *told])


def _publish(publishing: Publishing, conversion: Conversion) -> list[str]:
    if publishing.swaps:
        with conversion.fence():
            pass
        publishing.swap()
    if publishing.fenced:
        with conversion.fence():
            pass
        publishing.publish()
    else:
        with conversion.fence():
            publishing.publish()
    return publishing.settle()


def _as_before(slide: Slide, before: Look) -> bool:
    try:
        return slide_look(slide) == before
    except OSError:
        return False


def _write(slide: Slide, plan: SlidePlan, place: _Place, conversion: Conversion) -> _Written:
    """Everything but the root's metadata."""
    stage = place.stage
    work = Work(stage, conversion.options, conversion.stop, spend=conversion.writing)
    with conversion.timed("write"):
        for scene, image in scenes_of(slide, plan):
            work.progress = _named(conversion.observe, image)
            work.window.begin(scene.shape.c)
            conversion.step(f"convert {image.name}", partial(run_image, scene, image, work))
            write_image(scene, image, work, plan)
        identity = _result(place.identity, slide)
    from_xml = write_ome_xml(slide, plan, stage)
    icc = write_icc(slide, plan, stage)
    write_groups(plan, stage)
    removed = left_out(plan.dropped_roles, slide, conversion.options, from_xml)
    return _Written(work.damage, removed, icc, write_manifest(stage), identity)


def _result(identity: Future[str], slide: Slide) -> str:
    try:
        return identity.result()
    except OSError as error:
        raise Unreadable(f"{slide.path.name}: cannot be hashed: {error.strerror or error}") from error


def _warm_reader() -> None:
    # A full verification reads the store with zarr, whose import overlaps with the writing.
    import zarr  # noqa: F401 # pyright: ignore[reportUnusedImport]


def _named(observe: Observer, image: ImagePlan) -> Callable[[Amount], None]:
    return lambda amount: observe(image.name, amount)


def _receipt(slide: Slide, plan: SlidePlan, place: _Place, written: _Written, seconds: float) -> Receipt:
    stage = place.stage
    warnings = [*slide.warnings, *plan.warnings]
    if written.damage.count:
        warnings.append(f"{written.damage.count} stored tiles could not be read and were filled")
    return Receipt(
        path=str(slide.path),
        output=str(place.target),
        status="done",
        seconds=seconds,
        version=product_version(),
        options=plan.options,
        fingerprint=written.fingerprint,
        manifest=written.manifest,
        images=plan.images,
        bytes=stage.bytes_written,
        objects=len(stage.entries) + 1,
        warnings=warnings,
        damage=written.damage.named,
        removed=written.removed,
        peak_memory_bytes=peak_memory(),
        icc=written.icc,
    )


def _verify(stage: Stage, slide: Slide, options: Options) -> None:
    if options.verify == "none":
        return
    from converter.checking.verify import verify_store

    opener = open_with_zarr if options.verify == "full" else open_directly
    report = verify_store(stage.store, slide=slide, depth=options.verify, opener=opener, files=stage.files)
    if not report.ok:
        raise NotTrue(f"{slide.path.name}: the store failed its own check and is not published: {report.violations[0]}")


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
