"""What a converter wrote: bytes, files, levels, and whether level 0 is the slide's.

`python -m tests.bench.stores FOLDER SLIDE` prints it as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import run

_LARGE_CHUNK = 1 << 28
"""From this many bytes a chunk, one place is compared instead of nine: each comparison decodes a whole chunk."""


@dataclass(frozen=True, slots=True)
class Store:
    """Facts of the largest image below a folder; `bytes` and `files` count all that the folder holds."""

    bytes: int
    files: int
    factors: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    same: int
    """Places of level 0 that equal the slide, of `compared`; none is compared where the slide has no tiles."""
    compared: int


def examine(folder: Path, slide: Path, timeout_s: float) -> Store | str:
    """Facts of what `folder` holds, or why there are none. Done in a process of its own, since it may take much memory."""
    done = run([sys.executable, "-m", "tests.bench.stores", str(folder), str(slide)], timeout_s)
    if done.trouble:
        return f"not readable: {done.trouble}"
    found: dict[str, Any] = json.loads(done.stdout)
    found.update({key: tuple(found[key]) for key in ("factors", "chunk", "shard")})
    return Store(**found)


def written(folder: Path) -> tuple[int, int]:
    """Bytes and number of files below a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def _images(folder: Path, depth: int = 4) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Groups that are images, with their `multiscales` entry; none lies deeper than `depth`."""
    for name in ("zarr.json", ".zattrs"):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_bytes())
            attributes = found.get("attributes", found)
            for image in attributes.get("ome", attributes).get("multiscales", [])[:1]:
                yield folder, image
                return
    if depth:
        for child in sorted(folder.iterdir()):
            if child.is_dir():
                yield from _images(child, depth - 1)


def _facts(folder: Path, slide: Path) -> Store:
    import tifffile
    import zarr

    images: list[tuple[Mapping[str, Any], list[Any]]] = []
    for group, image in _images(folder):
        images.append((image, [zarr.open_array(group / one["path"], mode="r") for one in image["datasets"]]))
    if not images:
        raise SystemExit("no multiscale image found")
    image, levels = max(images, key=lambda found: found[1][0].size)
    # Versions before 0.4 name no axes; from 0.4 on each is an object.
    axes = "".join(axis if isinstance(axis, str) else axis["name"] for axis in image.get("axes", "tczyx"))
    finest = levels[0]
    x = axes.index("x")
    with tifffile.TiffFile(slide) as source:
        results = list(_comparisons(finest, axes, source.pages[0]))
    size, files = written(folder)
    return Store(
        bytes=size,
        files=files,
        factors=tuple(round(finest.shape[x] / level.shape[x]) for level in levels),
        dtype=str(finest.dtype),
        chunk=finest.chunks,
        shard=finest.shards or (),
        same=sum(results),
        compared=len(results),
    )


def _comparisons(array: Any, axes: str, page: Any) -> Iterator[bool]:
    """Whether stored tiles from all over the slide are in the array as they are."""
    import numpy as np

    if (array.shape[axes.index("y")], array.shape[axes.index("x")]) != (page.imagelength, page.imagewidth):
        yield False
        return
    if not page.is_tiled:
        return
    down, across = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
    large = np.prod(array.chunks, dtype=np.int64) * array.dtype.itemsize >= _LARGE_CHUNK
    steps = (0.5,) if large else (0.0, 0.45, 1.0)
    for j, i in ((round((down - 1) * v), round((across - 1) * h)) for v in steps for h in steps):
        wanted, place, _ = page.decode(_stored(page, j * across + i), j * across + i, jpegtables=page.jpegtables)
        y, x = place[-3], place[-2]
        height, width = min(wanted.shape[1], page.imagelength - y), min(wanted.shape[2], page.imagewidth - x)
        at = {"y": slice(y, y + height), "x": slice(x, x + width), "c": slice(None)}
        found = np.asarray(array[tuple(at.get(axis, 0) for axis in axes)])
        kept = [axis for axis in axes if axis in at]
        if "c" not in kept:
            found, kept = found[..., None], [*kept, "c"]
        yield np.array_equal(found.transpose([kept.index(axis) for axis in "yxc"]), wanted[0, :height, :width])


def _stored(page: Any, k: int) -> bytes:
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[k])
    return handle.read(page.databytecounts[k])


if __name__ == "__main__":
    print(json.dumps(asdict(_facts(Path(sys.argv[1]), Path(sys.argv[2])))))
