"""Where an output goes: the store itself, or a name in a folder that is safe on any file system."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path, PurePath
from urllib.parse import quote_from_bytes

from converter.errors import OptionError
from drivers.location import Location, Url, location

_SUFFIXES = (".ome.zarr.zip", ".zarr.zip", ".ome.zarr", ".ome.tiff", ".ome.tif", ".ome.btf", ".ome.tf8", ".ome.tf2")
UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".swp", "~")
"""Endings that copy programs give to what they still write: such a file is passed over."""
_RESERVED = '\\/:*?"<>|'
"""What Windows, and with it SMB shares and FAT, keep for themselves (Microsoft, "Naming Files, Paths, and Namespaces")."""
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)
"""Names of devices on Windows, whatever follows their first dot (the same page)."""
_SAFE_BYTES = " !#$%&'()+,-.;=@[]^_`{}~"
_LONGEST = 200
"""Bytes of a name before its suffix: most file systems take 255, and a stage adds its run."""
_ESCAPE_CUT = re.compile(r"%[0-9A-F]?$")
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")


def targets(
    slides: Sequence[Location],
    out: str,
    below: Sequence[PurePath] | None = None,
    made_from: Callable[[Location], str | None] = lambda _: None,
) -> list[Location]:
    """One store per slide, in the folders `below` the output. A name that is taken gets the slide's suffix, then a number.

    `made_from` tells the name of the slide that a store was made from: it keeps its name when others come that want it.
    Raises OptionError for outputs that cannot be.
    """
    require_output(out)
    folder = location(out)
    if isinstance(folder, Url):
        _require_s3(folder)
    if is_store_name(folder) and len(slides) == 1:
        return [folder]
    if is_store_name(folder):
        raise OptionError(f"output {out}: names one store, and there are {len(slides)} slides; give a folder")
    parents = [_folder(folder, parts) for parts in below or [PurePath()] * len(slides)]
    kept = _kept(slides, parents, made_from)
    taken, found = set(kept.values()), list[Location]()
    for i, (slide, parent) in enumerate(zip(slides, parents, strict=True)):
        place = kept.get(i) or next(place for name in _names(slide) if (place := _below(parent, name)) not in taken)
        taken.add(place)
        found.append(place)
    return found


def _folder(folder: Location, below: PurePath) -> Location:
    for part in below.parts:
        folder = _below(folder, safe_name(part))
    return folder


def _kept(
    slides: Sequence[Location], parents: Sequence[Location], made_from: Callable[[Location], str | None]
) -> dict[int, Location]:
    """Places that slides have from an earlier call, of those whose first choice is that of several."""
    wanted = Counter(_below(parent, store_name(slide)) for slide, parent in zip(slides, parents, strict=True))
    kept: dict[Location, int] = {}
    for i, (slide, parent) in enumerate(zip(slides, parents, strict=True)):
        if wanted[_below(parent, store_name(slide))] > 1:
            places = [_below(parent, name) for name in islice(_names(slide), 3)]
            mine = next((place for place in places if place not in kept and made_from(place) == slide.name), None)
            if mine is not None:
                kept[mine] = i
    return {i: place for place, i in kept.items()}


def _names(slide: Location) -> Iterator[str]:
    """Names for a slide's output, the best first, as the service chooses them."""
    plain = store_name(slide)
    stem = plain.removesuffix(".ome.zarr")
    yield plain
    if slide.suffix:
        yield f"{stem}.{safe_name(slide.suffix[1:])}.ome.zarr"
    yield from (f"{stem}-{number}.ome.zarr" for number in count(2))


def is_store_name(place: Location) -> bool:
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


def slide_stem(slide: Location) -> str:
    """The slide's name without its suffix, as its owner wrote it."""
    name = slide.name
    if isinstance(slide, Path) and name in ("", ".."):  # a folder such as `.` or `..`
        name = Path(os.path.realpath(slide)).name or "root"
    stem = next((name[: -len(s)] for s in _SUFFIXES if name.lower().endswith(s)), None)
    return stem if stem is not None else PurePath(name).stem


def store_name(slide: Location) -> str:
    """`<stem>.ome.zarr`, with the characters of the stem where they are safe everywhere."""
    return f"{safe_name(slide_stem(slide))}.ome.zarr"


def safe_name(name: str) -> str:
    """The name where every file system takes it, else with what is not safe percent-encoded and a mark of the whole.

    Not safe are control characters, line breaks and other invisible ones, bytes that are no UTF-8, what Windows reserves
    and the names of its devices (CON, NUL, COM1, ...), a dot in front (hidden), a dot or space at the end. The mark tells
    such a name from one that was written so.
    """
    raw = os.fsencode(name)
    try:
        kept = "".join(ch if ch.isprintable() and ch not in _RESERVED else _quoted(ch) for ch in raw.decode("utf-8"))
    except UnicodeDecodeError:
        kept = quote_from_bytes(raw, safe=_SAFE_BYTES)
    if kept.startswith(".") or _DEVICE.match(kept):
        kept = f"%{ord(kept[0]):02X}{kept[1:]}"
    if kept.endswith((" ", ".")):
        kept = kept[:-1] + f"%{ord(kept[-1]):02X}"
    return name if kept == name and len(raw) <= _LONGEST else _marked(kept, raw)


def _marked(kept: str, raw: bytes) -> str:
    """At most _LONGEST bytes, cut between characters, with a hash of the whole."""
    mark = f"~{hashlib.sha256(raw).hexdigest()[:8]}"
    encoded = kept.encode()
    if len(encoded) + len(mark) <= _LONGEST:
        return kept + mark
    return _ESCAPE_CUT.sub("", encoded[: _LONGEST - len(mark)].decode(errors="ignore")) + mark


def _quoted(character: str) -> str:
    return quote_from_bytes(character.encode("utf-8"), safe="")
