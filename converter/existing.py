"""What may be in the way of a conversion: an output that is there already, too little space, an unsafe target."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from converter.errors import NoSpace, Refused
from converter.fingerprint import fingerprint
from converter.manifest import ROOT_METADATA
from converter.options import Options
from converter.publish import exists_error
from converter.receipt import KEY, Receipt
from converter.version import product_version
from drivers.model import Slide

_SPARE = 64 << 20


def refuse_early(slide: Slide, target: Path, options: Options) -> None:
    """Raise Refused where the target may not be written."""
    if any(target.resolve() == f.resolve() or f.resolve().is_relative_to(target.resolve()) for f in slide.files):
        raise Refused(f"{target}: would replace the slide itself; give another output")
    if not os.path.lexists(target):
        return
    if options.exists == "replace":
        if not _replaceable(target):
            raise Refused(f"{target}: is no Zarr store, so it is not replaced; remove it, or give another output")
        return
    if options.exists == "skip" or options.resume:
        raise Refused(
            f"{target}: exists, but was made from another slide, with other options or another version; "
            "give --exists replace, or another output"
        )
    raise exists_error(target)


def _replaceable(target: Path) -> bool:
    """Whether nothing is lost that is no store."""
    if any((target / name).is_file() for name in ROOT_METADATA):
        return True
    return target.is_dir() and not any(target.iterdir())


def stored_receipt(store: Path) -> dict[str, Any] | None:
    """The receipt a store carries, None where it carries none."""
    try:
        found = json.loads(root_file(store).read_text())
    except (OSError, ValueError):
        return None
    attributes = found.get("attributes", found) if isinstance(found, dict) else None
    record = attributes.get(KEY) if isinstance(attributes, dict) else None
    return record if isinstance(record, dict) else None


def root_file(store: Path) -> Path:
    """The file that holds the attributes of a store's root."""
    v3 = store / "zarr.json"
    return v3 if v3.exists() else store / ".zattrs"


def finished_before(slide: Slide, target: Path, options: Options) -> Receipt | None:
    """A `skipped` receipt when the target holds this slide's conversion with the same options and version."""
    if options.exists != "skip" and not options.resume:
        return None
    record = stored_receipt(target)
    if record is None or record.get("status") != "done":
        return None
    if record.get("version") != product_version() or record.get("options") != options.for_record():
        return None
    if record.get("fingerprint") != fingerprint(slide.files):
        return None
    return Receipt(
        path=str(slide.path),
        output=str(target),
        status="skipped",
        seconds=0.0,
        version=product_version(),
        options=options,
        fingerprint=record["fingerprint"],
        manifest=record.get("manifest"),
        bytes=record.get("bytes", 0),
        objects=record.get("objects", 0),
    )


def require_space(target: Path, needed: int) -> None:
    """Raise NoSpace unless the target's disk has room for `needed` bytes and some to spare."""
    folder = target.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise NoSpace(
            f"{target}: about {needed >> 20} MiB will be written, {free >> 20} MiB are free; make room or choose another disk"
        )
