"""The manifest: path, size and SHA-256 of every file of a store but the root's metadata, which names its hash.

Zarr takes an absent chunk for background, so only such a list can tell a whole store from a store with holes. Same slide,
options and version give the same manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drivers.zarrstore.files import Files

MANIFEST = "OME/manifest.json"
FORMAT = 1
_MOST_BYTES = 1 << 30
ROOT_METADATA = frozenset({"zarr.json", ".zattrs", ".zgroup"})


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One written file: path in the store, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


def manifest_bytes(entries: Sequence[Entry]) -> bytes:
    """The manifest as stored: one file a line, sorted by path."""
    rows = ",\n".join(json.dumps([e.path, e.size, e.sha256]) for e in sorted(entries))
    return f'{{"format": {FORMAT}, "files": [\n{rows}\n]}}\n'.encode()


def read_manifest(files: Files) -> tuple[list[Entry], str]:
    """Entries, and the manifest's own hash. Raises FileNotFoundError, ValueError."""
    data = files.whole(MANIFEST, _MOST_BYTES)
    if data is None:
        raise FileNotFoundError("there is none")
    found: dict[str, Any] = json.loads(data)
    if found.get("format") != FORMAT:
        raise ValueError(f"manifest format {found.get('format')!r} is not known to this version")
    entries = [Entry(str(path), int(size), str(digest)) for path, size, digest in found["files"]]
    return entries, f"sha256:{hashlib.sha256(data).hexdigest()}"
