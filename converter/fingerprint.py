"""The identity of a slide: a hash over all its files, and a cheap look that tells whether one of them changed.

Of a slide behind a URL it is a hash over the listing (size, ETag, key of every object); where the server lists nothing,
over size, SHA-256 and key of every metadata document.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from converter.errors import Cancelled
from converter.pace import Spend, unlimited
from drivers.location import Remote, RemoteObject
from drivers.model import Slide

_BLOCK = 4 << 20
Look = tuple[tuple[int, int, int, int], ...] | tuple[RemoteObject, ...]


def slide_fingerprint(slide: Slide, stopped: Callable[[], bool] = lambda: False, spend: Spend = unlimited) -> str:
    """The fingerprint of an open slide. Raises OSError (DriverError for a URL), and Cancelled when `stopped` says so."""
    return fingerprint(slide.files, stopped, spend) if slide.remote is None else _of_objects(slide.remote)


def slide_look(slide: Slide) -> Look:
    """What `look` tells of its files; of a slide behind a URL, what the server tells now. Raises OSError."""
    return look(slide.files) if slide.remote is None else tuple(slide.remote.objects())


def _of_objects(remote: Remote) -> str:
    lines = "".join(f"{found.version}  {found.size}  {found.key}\n" for found in remote.objects())
    return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"


def fingerprint(files: Sequence[Path], stopped: Callable[[], bool] = lambda: False, spend: Spend = unlimited) -> str:
    """`sha256:` over the files, read at the pace of `spend`. One file: its own SHA-256; several: over the sorted SHA-256 of
    each with its path below the folder they share.

    Raises OSError, and Cancelled when `stopped` says so.
    """
    if len(files) == 1:
        return f"sha256:{_sha256(files[0], stopped, spend)}"
    root = os.path.commonpath([path.resolve().parent for path in files])
    hashes = [(path.resolve().relative_to(root).as_posix(), _sha256(path, stopped, spend)) for path in files]
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes))
    return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _sha256(path: Path, stopped: Callable[[], bool], spend: Spend) -> str:
    digest, buffer = hashlib.sha256(), bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(view):
            digest.update(view[:count])
            spend(count)
            if stopped():
                raise Cancelled("the conversion was interrupted")
    return digest.hexdigest()


def look(files: Sequence[Path]) -> Look:
    """Device, inode, size and modification time of each file. Raises OSError."""
    stats = [path.stat() for path in files]
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)
