"""The files of a store against its manifest: each there, with its size, and in full with its SHA-256; and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from converter.checking.record import root_document, root_name
from converter.checking.report import Report, line_of, malformed, raise_unreachable
from converter.manifest import MANIFEST, ROOT_METADATA, Entry, read_manifest
from converter.receipt import SEAL, seal
from drivers.errors import Damaged
from drivers.zarrstore.files import Files

_BLOCK = 8 << 20


def check_files(report: Report, record: dict[str, Any] | None, present: frozenset[str] | None) -> None:
    """The manifest against the files. A store that slidemill did not write has none, and nothing to compare with."""
    files = report.files
    if record is None and files.size(MANIFEST) is None and MANIFEST not in (present or ()):
        return
    try:
        entries, own = read_manifest(files)
    except Exception as error:  # noqa: BLE001 - see `malformed`
        raise_unreachable(report, error)
        report.check(False, MANIFEST, f"cannot be read: {line_of(error)}")
        return
    report.check(record is not None and record.get("manifest") == own, MANIFEST, "is not the one the receipt names")
    root = root_name(files)
    with malformed(report, root, "cannot be read"):
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
