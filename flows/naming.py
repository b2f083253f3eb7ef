"""Where an output goes: the store itself, or a name in a folder that is safe on any file system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from converter.errors import OptionError

_SUFFIXES = (".ome.tiff", ".ome.tif", ".ome.btf", ".ome.tf8", ".ome.tf2")
_PLAIN = " !#$&'()+,-.;=@[]^_`{}~"
_LONGEST = 200


def targets(slides: Sequence[Path], out: str) -> list[Path]:
    """One store per slide. Raises OptionError where two slides would get the same, or for outputs that cannot be."""
    if "://" in out:
        raise OptionError(f"output {out}: only local folders can be written so far")
    folder = Path(out)
    if folder.suffix == ".zarr" and len(slides) == 1:
        return [folder]
    if folder.suffix == ".zarr":
        raise OptionError(f"output {out}: names one store, and there are {len(slides)} slides; give a folder")
    found = [folder / store_name(slide) for slide in slides]
    for i, target in enumerate(found):
        if target in found[:i]:
            other = slides[found.index(target)]
            raise OptionError(f"{slides[i]} and {other} would both become {target.name}; convert them to different folders")
    return found


def store_name(slide: Path) -> str:
    """`<stem>.ome.zarr`, with bytes that are not safe everywhere percent-encoded (newlines, bytes that are no UTF-8)."""
    stem = next((slide.name[: -len(s)] for s in _SUFFIXES if slide.name.lower().endswith(s)), slide.stem)
    raw = os.fsencode(stem)
    try:
        kept = "".join(ch if ch.isalnum() or ch in _PLAIN else _quoted(ch) for ch in raw.decode("utf-8"))
    except UnicodeDecodeError:
        kept = quote_from_bytes(raw, safe=_PLAIN)
    if kept.startswith(".") or kept.endswith((" ", ".")):
        kept = kept.replace(".", "%2E") if kept.startswith(".") else kept[:-1] + f"%{ord(kept[-1]):02X}"
    return f"{kept[:_LONGEST]}.ome.zarr"


def _quoted(character: str) -> str:
    return quote_from_bytes(character.encode("utf-8"), safe="")
