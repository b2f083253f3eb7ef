"""Is a store whole, valid, and true to its slide? Reads it with zarr-python, which did not write it, or with our own reader
of OME-Zarr, which shares nothing with the writer and starts faster.

quick: every file of the manifest is there with its size, metadata holds, some chunks of each level decode and equal the
source. full: every file has its SHA-256, every chunk decodes, level 0 and reused levels equal the source pixel for pixel,
and every level that slidemill made is what it makes of the level above it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converter.alpha import shown
from converter.checking.record import root_document, root_name, stored_receipt
from converter.checking.reference import reference_findings
from converter.checking.remade import made_levels, remade_findings
from converter.checking.rules import Group, image_groups, image_rules, tree_rules
from converter.checking.stored import files_of, open_with_zarr
from converter.manifest import MANIFEST, ROOT_METADATA, Entry, read_manifest
from converter.objects.faults import reaching
from converter.receipt import SEAL, seal
from converter.straddlers import Straddlers
from drivers.errors import Damaged, DriverError, Unreadable
from drivers.geometry import Box, Shape
from drivers.location import Location
from drivers.model import Level, Pixels, Scene, Slide
from drivers.paint import filler, paint
from drivers.tiles import Tile
from drivers.zarrstore.files import Files, LocalFiles

_QUICK_BOXES = 3
_QUICK_SIDE = 256
_FULL_SIDE = 2048
_MOST = 100
_READERS = 2
_FINDINGS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
_BLOCK = 8 << 20


Opener = Callable[[Files, str], Any]


@dataclass(slots=True)
class Report:
    """What was checked and what did not hold. `compared` and `different` count samples against the source."""

    store: Location
    files: Files
    depth: str
    opener: Opener = open_with_zarr
    checks: int = 0
    violations: list[str] = field(default_factory=list[str])
    compared: int | None = None
    different: int = 0
    filled: bool = False
    """Whether tiles of the slide that cannot be read are compared as background: the receipt says they were filled."""

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def check(self, held: bool, where: str, what: str) -> bool:
        """Count a check, and note the violation unless it held."""
        self.checks += 1
        if not held and len(self.violations) < _MOST:
            self.violations.append(f"{where}: {what}")
        return held

    def as_json(self) -> dict[str, Any]:
        """The shape of CLI.md."""
        found: dict[str, Any] = {
            "store": str(self.store),
            "ok": self.ok,
            "depth": self.depth,
            "checks": self.checks,
            "violations": list(self.violations),
        }
        source = None
        if self.compared is not None:
            source = {"compared_pixels": self.compared, "different": self.different}
        return {**found, "source": source}


def verify_store(
    store: Location,
    *,
    slide: Slide | None = None,
    depth: str = "quick",
    opener: Opener = open_with_zarr,
    files: Files | None = None,
) -> Report:
    """Check a store; `files`: as they are now, where they are not published yet.

    Whatever is wrong with it ends up in the report. Only a broken `slide` raises DriverError, and an object store that
    does not answer, or refuses, OutputFailed.
    """
    with reaching(str(store)):
        try:
            found = files_of(store) if files is None else files
        except DriverError as error:  # a ZIP file that is broken
            if not isinstance(store, Path):
                raise
            report = Report(store, LocalFiles(store), depth, opener)
            report.check(False, ".", _line(error))
            return report
        report = Report(store, found, depth, opener)
        _verify(report, slide)
        return report


def _verify(report: Report, slide: Slide | None) -> None:
    files = report.files
    present = _present(report)
    if report.violations:
        return  # nothing is opened where there may be a FIFO: a reader of it waits for ever
    record = stored_receipt(files)
    slide = None if slide is None else shown(slide, _alpha_option(record))
    report.filled = bool(record and record.get("damage"))
    _check_files(report, record, present)
    groups: list[Group] = []
    with _malformed(report, ".", "is no OME-Zarr store"):
        groups = image_groups(files)
        for where, what in tree_rules(files, groups):
            report.check(not what, where, what or "")
    for group in groups:
        with _malformed(report, group.path or ".", "its metadata is malformed"):
            _check_image(report, group, record, slide)
        if report.depth == "full":
            with _malformed(report, group.path or ".", "ome-zarr-py cannot read it"):
                for where, what in reference_findings(files, group):
                    report.check(not what, where, what or "")


def _alpha_option(record: dict[str, Any] | None) -> str:
    """`--alpha` of the conversion."""
    options: Any = (record or {}).get("options")
    return str(options.get("alpha", "drop")) if isinstance(options, dict) else "drop"


def _present(report: Report) -> frozenset[str] | None:
    """Every file, None where they cannot be listed."""
    with _malformed(report, ".", "cannot be listed"):
        return report.files.keys()
    return None


@contextmanager
def _malformed(report: Report, where: str, what: str) -> Generator[None]:
    """Metadata may hold anything: what stumbles over it is a finding."""
    try:
        yield
    except Exception as error:
        _raise_unreachable(report, error)
        if not isinstance(error, _FINDINGS):
            raise
        report.check(False, where, f"{what}: {type(error).__name__}: {_line(error)}")


def _raise_unreachable(report: Report, error: Exception) -> None:
    """That a server does not answer says nothing of the store."""
    if isinstance(error, Unreadable) and not report.files.local:
        raise error


def _check_files(report: Report, record: dict[str, Any] | None, present: frozenset[str] | None) -> None:
    """The manifest against the files. A store that slidemill did not write has none, and nothing to compare with."""
    files = report.files
    if record is None and files.size(MANIFEST) is None and MANIFEST not in (present or ()):
        return
    try:
        entries, own = read_manifest(files)
    except Exception as error:  # noqa: BLE001 - see _malformed
        _raise_unreachable(report, error)
        report.check(False, MANIFEST, f"cannot be read: {type(error).__name__}: {error}")
        return
    report.check(record is not None and record.get("manifest") == own, MANIFEST, "is not the one the receipt names")
    root = root_name(files)
    with _malformed(report, root, "cannot be read"):
        held = record is not None and record.get(SEAL) == seal(root_document(files))
        report.check(held, root, "is not as it was written")
    whole: list[Entry] = []
    for entry in entries:
        size = files.size(entry.path)
        if report.check(size is not None, entry.path, "is missing"):
            report.check(size == entry.size, entry.path, f"has {size} bytes, the manifest says {entry.size}")
            whole.append(Entry(entry.path, size or 0, entry.sha256))
    known = {entry.path for entry in entries} | ROOT_METADATA | {MANIFEST}
    for extra in sorted((present or frozenset()) - known):
        report.check(False, extra, "is not in the manifest")
    if report.depth == "full":
        _check_digests(report, whole)


def _check_digests(report: Report, entries: Sequence[Entry]) -> None:
    def digest(entry: Entry) -> str:
        try:
            return _sha256(report.files, entry)
        except Damaged:
            return "became shorter"

    with ThreadPoolExecutor() as pool:
        for entry, found in zip(entries, pool.map(digest, entries), strict=True):
            report.check(found == entry.sha256, entry.path, "does not have the SHA-256 of the manifest")


def _sha256(files: Files, entry: Entry) -> str:
    digest = hashlib.sha256()
    for start in range(0, entry.size, _BLOCK):
        digest.update(files.part(entry.path, start, min(_BLOCK, entry.size - start)))
    return digest.hexdigest()


def _check_image(report: Report, group: Group, record: dict[str, Any] | None, slide: Slide | None) -> None:
    arrays: list[Any] = []
    for level in group.levels:
        try:
            arrays.append(report.opener(report.files, group.at(level)))
        except Exception as error:  # noqa: BLE001 - whatever the reader raises on a broken array is the finding
            _raise_unreachable(report, error)
            report.check(False, group.at(level), f"cannot be opened: {type(error).__name__}: {_line(error)}")
            return
    for where, what in image_rules(group, arrays):
        report.check(not what, where, what or "")
    sources: dict[str, Level] = {}
    with _malformed(report, group.path or ".", "the receipt does not fit the slide"):
        sources = _sources(record, group, slide)
    for level, array in zip(group.levels, arrays, strict=True):
        _check_pixels(report, group, (level, array), sources.get(level))
    if report.depth == "full" and report.ok:  # what cannot be read or was changed has been found already
        with _malformed(report, group.path or ".", "its made levels cannot be computed again"):
            for where, what in remade_findings(made_levels(record, group.path), group, arrays, read_box):
                report.check(not what, where, what or "")


def _sources(record: dict[str, Any] | None, group: Group, slide: Slide | None) -> dict[str, Level]:
    """The slide's level behind each output level that was taken over as it is."""
    if record is None or slide is None:
        return {}
    found: dict[str, Level] = {}
    for image in [*record.get("scenes", []), *record.get("associated", [])]:
        if image.get("group") != group.path:
            continue
        scene: Scene = slide.associated[image["role"]] if "role" in image else slide.scenes[image["index"]]
        for level in image["levels"]:
            method, _, origin = level["source"].partition(":")
            if method == "native":
                found[level["path"]] = scene.levels[int(origin)]
    return found


@dataclass(frozen=True, slots=True)
class _Compared:
    """One box: samples compared with the source and how many differ, or what went wrong."""

    box: Box
    samples: int = 0
    different: int = 0
    fault: str | None = None


def _check_pixels(report: Report, group: Group, level: tuple[str, Any], source: Level | None) -> None:
    path, array = level
    where, shape = group.at(path), _five(array.shape, group.axes)
    if source is not None and not report.check(shape == source.shape, where, "does not have the shape of the slide's level"):
        return
    full = report.depth == "full"
    boxes = list(_tiling(shape, array, group.axes)) if full else list(_sample(shape))
    kept = Straddlers(boxes[0].shape) if full else None

    def compare(box: Box) -> _Compared:
        try:
            stored = read_box(array, group.axes, box)
        except Exception as error:  # noqa: BLE001 - see above
            _raise_unreachable(report, error)
            return _Compared(box, fault=f"cannot be read: {type(error).__name__}: {_line(error)}")
        if source is None:
            return _Compared(box)
        return _against(source, box, stored, kept, _decoder(source, report.filled))

    with ThreadPoolExecutor(_READERS) as pool:
        for found in pool.map(compare, boxes):
            _count(report, where, found)


def _count(report: Report, where: str, found: _Compared) -> None:
    report.check(found.fault is None, where, found.fault or "")
    if found.samples:
        report.compared = (report.compared or 0) + found.samples
        report.different += found.different
        what = f"{found.different} samples differ from the slide near {tuple(found.box.start)}"
        report.check(found.different == 0, where, what)


_Decoder = Callable[[Tile], Pixels]


def _decoder(source: Level, filled: bool) -> _Decoder:
    def decode(tile: Tile) -> Pixels:
        try:
            return source.read(tile.key)
        except Damaged:
            if not filled:
                raise
            return filler(source, tile)

    return decode


def _against(source: Level, box: Box, pixels: Pixels, kept: Straddlers | None, decode: _Decoder) -> _Compared:
    try:
        true = paint(source, box, decode if kept is None else lambda tile: kept.read(tile, box, decode))
    except DriverError as error:
        return _Compared(box, fault=f"cannot be compared: {error}")
    unequal = pixels != true
    if true.dtype.kind == "f":
        unequal &= ~(np.isnan(pixels) & np.isnan(true))
    return _Compared(box, pixels.size, int(np.count_nonzero(unequal)))


def read_box(array: Any, axes: str, box: Box) -> Pixels:
    """Five-axis pixels of a box of a zarr array with the given axes."""
    full = dict(zip("tczyx", box.slices(), strict=True))
    values = np.asarray(array[tuple(full[a] for a in axes)])
    return values.reshape(box.shape)


def _five(shape: tuple[int, ...], axes: str) -> Shape:
    known = dict(zip(axes, shape, strict=True))
    return Shape(*(int(known.get(a, 1)) for a in "tczyx"))


def _tiling(shape: Shape, array: Any, axes: str) -> Iterator[Box]:
    unit = _five(array.shards or array.chunks, axes)
    y, x = (-(-_FULL_SIDE // n) * n for n in (unit.y, unit.x))
    for t, z in np.ndindex(shape.t, shape.z):
        for top in range(0, shape.y, y):
            for left in range(0, shape.x, x):
                stop = Shape(t + 1, shape.c, z + 1, min(top + y, shape.y), min(left + x, shape.x))
                yield Box(Shape(t, 0, z, top, left), stop)


def _sample(shape: Shape) -> Iterator[Box]:
    """A few boxes: both ends of the image, and its middle."""
    last = Shape(shape.t - 1, 0, shape.z - 1, 0, 0)
    for i in range(_QUICK_BOXES):
        part = i / (_QUICK_BOXES - 1)
        h, w = min(_QUICK_SIDE, shape.y), min(_QUICK_SIDE, shape.x)
        top, left = int((shape.y - h) * part), int((shape.x - w) * part)
        start = Shape(round(last.t * part), 0, round(last.z * part), top, left)
        yield Box(start, Shape(start.t + 1, shape.c, start.z + 1, top + h, left + w))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
