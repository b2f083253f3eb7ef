"""Is a store whole, valid, and true to its slide? Reads it with zarr-python, which did not write it, or with our own reader
of OME-Zarr, which shares nothing with the writer and starts faster.

quick: every file of the manifest is there with its size, metadata holds, some chunks of each level decode and equal the
source. full: every file has its SHA-256, every chunk decodes, level 0 and reused levels equal the source pixel for pixel,
and every level that slidemill made is what it makes of the level above it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.alpha import shown
from converter.checking.listed import check_files
from converter.checking.pixels import check_pixels, read_box
from converter.checking.record import stored_receipt
from converter.checking.reference import reference_findings
from converter.checking.remade import made_levels, remade_findings
from converter.checking.report import Opener, Report, line_of, malformed, raise_unreachable
from converter.checking.rules import Group, image_groups, image_rules, tree_rules
from converter.checking.stored import files_of, open_with_zarr
from converter.objects.faults import reaching
from drivers.errors import DriverError
from drivers.location import Location
from drivers.model import Level, Scene, Slide
from drivers.zarrstore.files import Files, LocalFiles


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
            report.check(False, ".", line_of(error))
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
    check_files(report, record, present)
    groups: list[Group] = []
    with malformed(report, ".", "is no OME-Zarr store"):
        groups = image_groups(files)
        for where, what in tree_rules(files, groups):
            report.check(not what, where, what or "")
    for group in groups:
        with malformed(report, group.path or ".", "its metadata is malformed"):
            _check_image(report, group, record, slide)
        if report.depth == "full":
            with malformed(report, group.path or ".", "ome-zarr-py cannot read it"):
                for where, what in reference_findings(files, group):
                    report.check(not what, where, what or "")


def _alpha_option(record: dict[str, Any] | None) -> str:
    """`--alpha` of the conversion."""
    options: Any = (record or {}).get("options")
    return str(options.get("alpha", "drop")) if isinstance(options, dict) else "drop"


def _present(report: Report) -> frozenset[str] | None:
    """Every file, None where they cannot be listed."""
    with malformed(report, ".", "cannot be listed"):
        return report.files.keys()
    return None


def _check_image(report: Report, group: Group, record: dict[str, Any] | None, slide: Slide | None) -> None:
    arrays: list[Any] = []
    for level in group.levels:
        try:
            arrays.append(report.opener(report.files, group.at(level)))
        except Exception as error:  # noqa: BLE001 - whatever the reader raises on a broken array is the finding
            raise_unreachable(report, error)
            report.check(False, group.at(level), f"cannot be opened: {line_of(error)}")
            return
    for where, what in image_rules(group, arrays):
        report.check(not what, where, what or "")
    sources: dict[str, Level] = {}
    with malformed(report, group.path or ".", "the receipt does not fit the slide"):
        sources = _sources(record, group, slide)
    for level, array in zip(group.levels, arrays, strict=True):
        check_pixels(report, group, (level, array), sources.get(level))
    if report.depth == "full" and report.ok:  # what cannot be read or was changed has been found already
        with malformed(report, group.path or ".", "its made levels cannot be computed again"):
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
