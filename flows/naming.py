"""Where an output goes: the store itself, or a name in a folder that is safe on any file system."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from converter.errors import OptionError
from drivers.location import Location, Url, location

_SUFFIXES = (".ome.zarr.zip", ".zarr.zip", ".ome.zarr", ".ome.tiff", ".ome.tif", ".ome.btf", ".ome.tf8", ".ome.tf2")
_PLAIN = " !#$&'()+,-.;=@[]^_`{}~"
_LONGEST = 200
"""Bytes of a name before its suffix: most file systems take 255, and a stage adds its run."""
_ESCAPE_CUT = re.compile(r"%[0-9A-F]?$")
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")


def targets(slides: Sequence[Location], out: str) -> list[Location]:
    """One store per slide. Raises OptionError where two slides would get the same, or for outputs that cannot be."""
    require_output(out)
    folder = location(out)
    if isinstance(folder, Url):
        _require_s3(folder)
    if _is_store(folder) and len(slides) == 1:
        return [folder]
    if _is_store(folder):
        raise OptionError(f"output {out}: names one store, and there are {len(slides)} slides; give a folder")
    found = [_below(folder, store_name(slide)) for slide in slides]
    for i, target in enumerate(found):
        if target in found[:i]:
            other = slides[found.index(target)]
            raise OptionError(f"{slides[i]} and {other} would both become {target.name}; convert them to different folders")
    return found


def _is_store(place: Location) -> bool:
    """Whether the name is that of one store: a folder, or a ZIP file (RFC-9 of OME-NGFF)."""
    return place.name.lower().endswith((".zarr", ".ozx", ".zarr.zip"))


def require_output(out: str) -> None:
    """Raise OptionError for an empty output, as an unset variable of a script gives: it would mean the current folder."""
    if not out.strip():
        raise OptionError("the output is empty: name a folder, a store that ends in .zarr, or s3://bucket/prefix")


def _below(folder: Location, name: str) -> Location:
    return folder / name if isinstance(folder, Path) else Url(f"{folder}/{name}")


def _require_s3(url: Url) -> None:
    # The text is not shown: a URL may carry credentials, which belong into the environment.
    bucket, *names = url.text.partition("://")[2].split("/")
    if not url.text.startswith("s3://"):
        raise OptionError(f"outputs are local folders or s3://bucket/prefix, not {url.scheme}://")
    if not _BUCKET.fullmatch(bucket) or any(name in ("", ".", "..") or not name.isprintable() for name in names):
        raise OptionError("the output is no s3://bucket/prefix with a bucket's name and a name between all slashes")


def store_name(slide: Location) -> str:
    """`<stem>.ome.zarr`, with bytes that are not safe everywhere percent-encoded (newlines, bytes that are no UTF-8)."""
    stem = next((slide.name[: -len(s)] for s in _SUFFIXES if slide.name.lower().endswith(s)), slide.stem)
    raw = os.fsencode(stem)
    try:
        kept = "".join(ch if ch.isalnum() or ch in _PLAIN else _quoted(ch) for ch in raw.decode("utf-8"))
    except UnicodeDecodeError:
        kept = quote_from_bytes(raw, safe=_PLAIN)
    if kept.startswith(".") or kept.endswith((" ", ".")):
        kept = kept.replace(".", "%2E") if kept.startswith(".") else kept[:-1] + f"%{ord(kept[-1]):02X}"
    return f"{_shortened(kept)}.ome.zarr"


def _shortened(name: str) -> str:
    """At most _LONGEST bytes, cut between characters; what was cut is told apart by a hash of the whole."""
    encoded = name.encode()
    if len(encoded) <= _LONGEST:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
    return _ESCAPE_CUT.sub("", encoded[: _LONGEST - len(mark)].decode(errors="ignore")) + mark


def _quoted(character: str) -> str:
    return quote_from_bytes(character.encode("utf-8"), safe="")
