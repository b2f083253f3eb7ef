"""What may be in the way of a conversion: an output that is there already, too little space, an unsafe target."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from converter.checking.record import stored_receipt
from converter.checking.stored import files_of
from converter.errors import NoSpace, OptionError, OutputFailed, Refused
from converter.fingerprint import slide_fingerprint
from converter.objects.faults import reaching
from converter.options import Options
from converter.publishing.publish import exists_error, is_replaceable, no_store
from converter.publishing.seal import LONGEST, is_seal
from converter.receipt import Receipt
from converter.version import product_version
from drivers.location import Location, Url
from drivers.model import Slide
from drivers.zarrstore.files import Files
from drivers.zarrstore.zipped import holds_store

_SPARE = 64 << 20
_BELOW = 400
"""Bytes of the longest path below a store, and of the stage that it is written in."""


def is_zip(target: Location) -> bool:
    """Whether the target is to be one ZIP file: `x.ozx`, `x.zarr.zip`."""
    return target.name.lower().endswith((".ozx", ".zarr.zip"))


def _require_zip(target: Location, options: Options) -> None:
    if isinstance(target, Url):
        raise OptionError(f"{target}: ZIP files are written to local folders only; give a folder, or a store without .zip")
    if options.ome_zarr != "0.5":
        raise OptionError(f"{target}: a ZIP file holds OME-Zarr 0.5 (Zarr v3); leave out --ome-zarr {options.ome_zarr}")


def refuse_early(slide: Slide, target: Location, options: Options) -> None:
    """Raise Refused where the target may not be written."""
    if is_zip(target):
        _require_zip(target, options)
    if isinstance(target, Url):
        _refuse_url(slide, target, options)
        return
    _require_name(target)
    if any(target.resolve() == f.resolve() or f.resolve().is_relative_to(target.resolve()) for f in slide.files):
        raise Refused(f"{target}: would replace the slide itself; give another output")
    if not os.path.lexists(target):
        return
    if options.exists == "replace":
        if not is_replaceable(target) or (target.is_file() and not is_zip(target)):
            raise no_store(target)
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
        if options.exists != "replace" and any(_is_root(files, name) for name in ("zarr.json", ".zattrs")):
            raise _in_the_way(target, options)


def _is_root(files: Files, name: str) -> bool:
    """Whether a root lies there; the seal of a run that is dead, or just about to publish, is none."""
    size = files.size(name)
    return size is not None and not (size <= LONGEST and is_seal(files.whole(name, LONGEST) or b""))


def finished_before(slide: Slide, target: Location, options: Options) -> Receipt | None:
    """A `skipped` receipt when the target holds this slide's conversion with the same options and version."""
    if options.exists != "skip" and not options.resume:
        return None
    if is_zip(target) and isinstance(target, Path) and not holds_store(target):
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
    """Raise NoSpace unless the target's disk has room for `needed` bytes and a reserve; object stores have.

    Raises OutputFailed where it is read-only: such a disk says it has no room, and that is not what is wrong.
    """
    if isinstance(target, Url):
        return
    folder = _nearest(target.parent)
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY:
        raise OutputFailed(errno.EROFS, f"{folder}: is on a read-only file system; choose another output")
    if not found.f_blocks:  # it counts no room: /proc, /sys, and some servers
        return
    free = found.f_bavail * found.f_frsize
    if free < needed + _SPARE:
        raise NoSpace(
            f"{target}: about {_mib(needed)} MiB will be written and {_mib(_SPARE)} MiB stay in reserve, "
            f"{free >> 20} MiB are free; make room or choose another disk"
        )


def _mib(count: int) -> int:
    return -(-count >> 20)


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    while not os.path.lexists(folder) and folder != folder.parent:  # of a name too long it says no, Path.exists raises
        folder = folder.parent
    return folder


def _require_name(target: Path) -> None:
    """File systems count bytes: a name that does not fit is refused before any work, not after all of it."""
    folder = _nearest(target.absolute().parent)
    longest, room = os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX") - _BELOW
    for name in target.absolute().relative_to(folder).parts:
        if len(os.fsencode(name)) > longest:
            raise Refused(
                f"{name}: has {len(os.fsencode(name))} bytes, a name has {longest} at most there; give a shorter one"
            )
    if len(os.fsencode(target.absolute())) > room:
        raise Refused(f"{target}: the path has more than {room} bytes; give a shorter output")
