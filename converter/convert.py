"""One slide in, one verified store out: open, plan, stage, run, verify, publish."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter import ngff
from converter.codec import parse_codec
from converter.errors import NotTrue, OverMemory, SourceChanged
from converter.existing import finished_before, refuse_early, require_space
from converter.fingerprint import Look, fingerprint, look
from converter.manifest import MANIFEST, manifest_bytes
from converter.omexml import ome_xml
from converter.options import Options
from converter.plan import ImagePlan
from converter.planning import SlidePlan, plan_slide
from converter.privacy import left_out
from converter.publish import publish
from converter.receipt import KEY, SEAL, Receipt, seal
from converter.run import Amount, Damage, Work, run_image
from converter.sharding import joined
from converter.stage import Stage, open_stage
from converter.version import product_version
from drivers import open_slide
from drivers.errors import Unreadable
from drivers.model import Scene, Slide

Observer = Callable[[str, Amount], None]
"""Told of progress: name of the image, and how far it has come."""


def unobserved(name: str, amount: Amount) -> None:
    """An observer that does nothing."""


@dataclass(slots=True)
class Conversion:
    """What one conversion carries along. `stop` may be set from any thread or signal handler."""

    options: Options
    stop: threading.Event = field(default_factory=threading.Event)
    observe: Observer = unobserved
    timings: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        """Add the wall time of a block to `timings`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class _Written:
    images: list[ImagePlan]
    damage: Damage
    removed: list[str]
    icc: Mapping[str, Any] | None
    manifest: str
    fingerprint: str


def convert(path: Path, target: Path, conversion: Conversion) -> Receipt:
    """Convert `path` into the store `target`, published only when it is whole and verified.

    Raises DriverError or ConverterError; then nothing is published and no stage is left behind.
    """
    start = time.perf_counter()
    options = conversion.options
    with conversion.timed("open"):
        slide = open_slide(path)
    with slide:
        before = look(slide.files)
        old = finished_before(slide, target, options)
        if old is not None:
            return replace(old, seconds=time.perf_counter() - start)
        refuse_early(slide, target, options)
        with conversion.timed("plan"):
            plan = plan_slide(slide, options)
        _require_memory(plan, options)
        require_space(target, plan.estimated_bytes)
        stage = open_stage(target)
        try:
            receipt = _staged(slide, plan, (stage, target, before), conversion)
        finally:
            stage.discard()
    return replace(receipt, seconds=time.perf_counter() - start, timings=dict(conversion.timings))


def _require_memory(plan: SlidePlan, options: Options) -> None:
    if options.memory is not None and plan.peak_memory_bytes > options.memory:
        raise OverMemory(
            f"{plan.path}: needs about {plan.peak_memory_bytes >> 20} MiB, --memory allows {options.memory >> 20} MiB; "
            "use fewer --workers or a smaller --shard"
        )


def _staged(slide: Slide, plan: SlidePlan, place: tuple[Stage, Path, Any], conversion: Conversion) -> Receipt:
    stage, target, before = place
    start = time.perf_counter()
    written = _write(slide, plan, stage, conversion)
    with conversion.timed("sync"):
        stage.sync()
    receipt = _receipt(slide, plan, target, (written, stage, time.perf_counter() - start))
    _write_root(plan, slide, (stage, receipt))
    with conversion.timed("verify"):
        _verify(stage, slide, conversion.options)
    if not _as_before(slide, before):
        raise SourceChanged(f"{slide.path.name}: changed while it was converted; let its writer finish and convert again")
    with conversion.timed("publish"):
        stage.sync()
        publish(stage, target, replace=conversion.options.exists == "replace")
    return receipt


def _as_before(slide: Slide, before: Look) -> bool:
    try:
        return look(slide.files) == before
    except OSError:
        return False


def _write(slide: Slide, plan: SlidePlan, stage: Stage, conversion: Conversion) -> _Written:
    """Everything but the root's metadata: arrays, OME-XML, ICC profiles, groups below the root, manifest."""
    options = conversion.options
    work = Work(stage, options, conversion.stop)
    with ThreadPoolExecutor(2, thread_name_prefix="slidemill-aside") as aside:
        identity = aside.submit(fingerprint, slide.files, conversion.stop.is_set)
        if options.verify != "none":
            aside.submit(_warm_reader)
        with conversion.timed("write"):
            try:
                for scene, image in _pairs(slide, plan):
                    work.progress = _named(conversion.observe, image)
                    work.window.begin(scene.shape.c)
                    run_image(scene, image, work)
                    _write_image(scene, image, (stage, work, plan))
                digest = _result(identity, slide)
            except BaseException:
                conversion.stop.set()
                raise
    scenes = [(slide.scenes[i.index], i.name) for i in plan.images if i.index is not None]
    document = ome_xml(scenes, options.privacy, f"slidemill {product_version()}")
    stage.write("OME/METADATA.ome.xml", [document.text.encode()], early=False)
    if options.privacy == "keep" and slide.raw_metadata:
        stage.write("OME/raw/metadata.txt", [slide.raw_metadata.encode("utf-8", "replace")], early=False)
    icc = _write_icc(slide, plan, stage)
    _write_groups(plan, stage)
    data = manifest_bytes(stage.entries)
    stage.write(MANIFEST, [data], listed=False, early=False)
    removed = left_out(plan.dropped_roles, slide, options, document.removed)
    own = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return _Written(list(plan.images), work.damage, removed, icc, own, digest)


def _result(identity: Future[str], slide: Slide) -> str:
    try:
        return identity.result()
    except OSError as error:
        raise Unreadable(f"{slide.path.name}: cannot be hashed: {error.strerror or error}") from error


def _warm_reader() -> None:
    # Verifying reads the store with zarr, whose import takes longer than the verification: it overlaps with the writing.
    import zarr  # noqa: F401 # pyright: ignore[reportUnusedImport]


def _named(observe: Observer, image: ImagePlan) -> Callable[[Amount], None]:
    return lambda amount: observe(image.name, amount)


def _pairs(slide: Slide, plan: SlidePlan) -> Iterator[tuple[Scene, ImagePlan]]:
    for image in plan.images:
        yield (slide.associated[image.name] if image.index is None else slide.scenes[image.index]), image


def _write_image(scene: Scene, image: ImagePlan, context: tuple[Stage, Work, SlidePlan]) -> None:
    """Metadata of an image's arrays, and of its group unless that is the root."""
    stage, work, plan = context
    codec = parse_codec(work.options.codec)
    for level in image.levels:
        for name, data in ngff.array_files(plan.ome_zarr, level, image, codec).items():
            stage.write(joined(image.group, level.path, name), [data], early=False)
    settings = (plan.ome_zarr, work.options.downsample, product_version())
    attributes = ngff.image_attributes(scene, image, work.window.seen(), settings)
    if image.group:
        for name, data in ngff.group_files(plan.ome_zarr, attributes, {}).items():
            stage.write(joined(image.group, name), [data], early=False)
    else:
        plan.root_attributes.update(attributes)


def _write_groups(plan: SlidePlan, stage: Stage) -> None:
    """Groups that hold no image."""
    groups: dict[str, dict[str, Any]] = {}
    if plan.layout == "bioformats2raw":
        groups["OME"] = {"series": [i.group for i in plan.images if i.index is not None]}
        plan.root_attributes.update({"bioformats2raw.layout": 3})
    if any(image.index is None for image in plan.images):
        groups["associated"] = {}
    for group, attributes in groups.items():
        for name, data in ngff.group_files(plan.ome_zarr, attributes, {}).items():
            stage.write(joined(group, name), [data], early=False)


def _write_icc(slide: Slide, plan: SlidePlan, stage: Stage) -> Mapping[str, Any] | None:
    """Profiles as stored, one file per scene that has one. Returns the attribute that describes them."""
    found: dict[str, Any] = {}
    for image in plan.images:
        profile = slide.scenes[image.index].icc if image.index is not None else None
        if profile is None:
            continue
        entry = stage.write(f"OME/icc/{image.index}.icc", [profile], early=False)
        found[str(image.index)] = {
            "file": entry.path,
            "size": entry.size,
            "sha256": entry.sha256,
            "description": icc_description(profile),
            "applied": False,
        }
    return found or None


def icc_description(profile: bytes) -> str | None:
    """The profile's own description (ICC.1 tag `desc`), None where it cannot be read."""
    count = int.from_bytes(profile[128:132], "big")
    for i in range(min(count, 100)):
        at = 132 + 12 * i
        if profile[at : at + 4] == b"desc":
            offset = int.from_bytes(profile[at + 4 : at + 8], "big")
            block = profile[offset : offset + int.from_bytes(profile[at + 8 : at + 12], "big")]
            if block[:4] == b"mluc" and len(block) >= 28:
                length, start = int.from_bytes(block[20:24], "big"), int.from_bytes(block[24:28], "big")
                return block[start : start + length].decode("utf-16-be", "replace").strip("\0") or None
            return block[12 : 12 + int.from_bytes(block[8:12], "big")].decode("latin-1").strip("\0") or None
    return None


def _receipt(slide: Slide, plan: SlidePlan, target: Path, done: tuple[_Written, Stage, float]) -> Receipt:
    written, stage, seconds = done
    warnings = [*slide.warnings, *plan.warnings]
    if written.damage.count:
        warnings.append(f"{written.damage.count} stored tiles could not be read and were filled")
    return Receipt(
        path=str(slide.path),
        output=str(target),
        status="done",
        seconds=seconds,
        version=product_version(),
        options=plan.options,
        fingerprint=written.fingerprint,
        manifest=written.manifest,
        images=written.images,
        bytes=stage.bytes_written,
        objects=len(stage.entries) + 1,
        warnings=warnings,
        damage=written.damage.named,
        removed=written.removed,
        peak_memory_bytes=peak_memory(),
        icc=written.icc,
    )


def _write_root(plan: SlidePlan, slide: Slide, done: tuple[Stage, Receipt]) -> None:
    """The root's metadata, last: before it is there, no reader takes the folder for a store."""
    stage, receipt = done
    record = receipt.as_json()
    # Folder names may tell as much of a patient as a label: the store keeps file names only.
    record["path"], record["output"] = slide.path.name, Path(receipt.output or "").name
    files = ngff.group_files(plan.ome_zarr, plan.root_attributes, {KEY: record})
    record[SEAL] = seal(json.loads(files.get("zarr.json") or files[".zattrs"]))
    for name, data in ngff.group_files(plan.ome_zarr, plan.root_attributes, {KEY: record}).items():
        stage.write(name, [data], listed=False, early=False)


def _verify(stage: Stage, slide: Slide, options: Options) -> None:
    if options.verify == "none":
        return
    from converter.verify import verify_store

    report = verify_store(stage.store, slide=slide, depth=options.verify)
    if not report.ok:
        raise NotTrue(f"{slide.path.name}: the store failed its own check and is not published: {report.violations[0]}")


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
