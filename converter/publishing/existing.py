"""What may be in the way of a conversion: an output that is there already, too little space, an unsafe target."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from converter.checking.record import stored_receipt
from converter.checking.stored import files_of
from converter.errors import NoSpace, Refused
from converter.fingerprint import slide_fingerprint
from converter.manifest import ROOT_METADATA
from converter.objects.faults import reaching
from converter.options import Options
from converter.publishing.publish import exists_error
from converter.receipt import Receipt
from converter.version import product_version
from drivers.location import Location, Url
from drivers.model import Slide

_SPARE = 64 << 20


def refuse_early(slide: Slide, target: Location, options: Options) -> None:
    """Raise Refused where the target may not be written."""
    if isinstance(target, Url):
        _refuse_url(slide, target, options)
        return
    if any(target.resolve() == f.resolve() or f.resolve().is_relative_to(target.resolve()) for f in slide.files):
        raise Refused(f"{target}: would replace the slide itself; give another output")
    if not os.path.lexists(target):
        return
    if options.exists == "replace":
        if not _replaceable(target):
            raise Refused(f"{target}: is no Zarr store, so it is not replaced; remove it, or give another output")
        return
    raise _in_the_way(target, options)


def _in_the_way(target: Location, options: Options) -> Refused:
    if options.exists == "skip" or options.resume:
        return Refused(
            f"{target}: exists, but was made from another slide, with other options or another version; "
            "give --exists replace, or another output"
        )
    return exists_error(target)


def _refuse_url(slide: Slide, target: Url, options: Options) -> None:
    """The look before a conversion begins; the one that counts comes under the claim."""
    if isinstance(slide.path, Url) and f"{slide.path}/".startswith(f"{target}/"):
        raise Refused(f"{target}: would replace the slide itself; give another output")
    with reaching(str(target)):
        files = files_of(target)
        if options.exists != "replace" and any(files.size(name) is not None for name in ("zarr.json", ".zattrs")):
            raise _in_the_way(target, options)


def _replaceable(target: Path) -> bool:
    """Whether nothing is lost that is no store."""
    if any((target / name).is_file() for name in ROOT_METADATA):
        return True
    return target.is_dir() and not any(target.iterdir())


def finished_before(slide: Slide, target: Location, options: Options) -> Receipt | None:
    """A `skipped` receipt when the target holds this slide's conversion with the same options and version."""
    if options.exists != "skip" and not options.resume:
        return None
    with reaching(str(target)):
        record = stored_receipt(files_of(target))
    if record is None or record.get("status") != "done":
        return None
    if record.get("version") != product_version() or record.get("options") != options.for_record():
        return None
    if record.get("fingerprint") != slide_fingerprint(slide):
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


def require_space(target: Location, needed: int) -> None:
    """Raise NoSpace unless the target's disk has room for `needed` bytes and some to spare; object stores have."""
    if isinstance(target, Url):
        return
    folder = target.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise NoSpace(
            f"{target}: about {needed >> 20} MiB will be written, {free >> 20} MiB are free; make room or choose another disk"
        )
