"""The codec floor: the time that no converter can beat, because tiles must be decoded and chunks encoded.

Every stored tile of level 0 is decoded once; every chunk of level 0, and a third more for the coarser levels, is encoded
once; on so many threads, with nothing between them. The shared yardstick measures it where that is here, else this file:

    python -m tests.bench.floor SLIDE [--codec blosc-zstd-1] [--threads 2]

With `--store`, a finished store of the slide, the chunks that it holds are encoded, neither fewer nor more; the slide may
then be a CZI or a folder of DICOM as tests/bench/formats.py makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

from tests.bench.measure import run
from tests.bench.slide import SHARED_TOOLS

_CHUNK = 512
_SAMPLE = 300
"""Chunks encoded; the time is scaled to all of them."""
_BATCH = 256
"""Chunks of a store that are held at once."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds, of the wall and of all processors."""

    floor_s: float
    cpu_s: float


def floor(slide: Path, codec: str, threads: int, timeout_s: float, store: Path | None = None) -> Floor:
    """Measure it in a process of its own. Raises RuntimeError when that fails."""
    shared = SHARED_TOOLS / "codec_floor.py"
    if store is not None:
        command = [sys.executable, "-m", "tests.bench.floor", str(slide), "--codec", codec, "--store", str(store)]
    elif shared.is_file() and codec.startswith("blosc-"):
        _, name, level = codec.split("-")
        command = [sys.executable, str(shared), str(slide), "--codec", f"{name},{level},bitshuffle"]
    else:
        command = [sys.executable, "-m", "tests.bench.floor", str(slide), "--codec", codec]
    done = run([*command, "--threads", str(threads), "--chunk", str(_CHUNK)], timeout_s)
    if done.trouble:
        raise RuntimeError(f"the codec floor of {codec} could not be measured: {done.trouble}")
    found = json.loads(done.stdout)
    return Floor(found["floor_s"], found["cpu_s"])


class _Pool:
    """Threads that take an item each until none is left, and the time that took."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def timed(self, work: Callable[[Any], object], items: Sequence[Any]) -> tuple[float, float]:
        """Wall and CPU seconds of `work` on all items."""
        shares = [items[i :: self._threads] for i in range(self._threads)]

        def take(share: Sequence[Any]) -> None:
            for item in share:
                work(item)

        wall, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(take, shares))
        return time.perf_counter() - wall, time.process_time() - cpu


class _Tiles:
    """Level 0 of a TIFF, tile by tile."""

    def __init__(self, path: Path) -> None:
        import tifffile

        self._tiff = tifffile.TiffFile(path)
        self.page: Any = self._tiff.pages[0]
        if not self.page.is_tiled:
            raise SystemExit(f"{path.name}: level 0 is not tiled; the floor is defined for tiled slides")
        self._file = os.open(path, os.O_RDONLY)
        self.across = -(-self.page.imagewidth // self.page.tilewidth)
        self.stored = [k for k, size in enumerate(self.page.databytecounts) if size]

    def close(self) -> None:
        os.close(self._file)
        self._tiff.close()

    def decode(self, k: int) -> Any:
        """Tile `k`, as (y, x, channel)."""
        page = self.page
        data = os.pread(self._file, page.databytecounts[k], page.dataoffsets[k])
        return page.decode(data, k, jpegtables=page.jpegtables, _fullsize=True)[0][0]

    def square(self, y: int, x: int) -> list[Any]:
        """The chunks, one a channel, whose corner is at (y, x)."""
        import numpy as np

        height, width = self.page.tilelength, self.page.tilewidth
        top, left = y // height, x // width
        bottom, right = -(-(y + _CHUNK) // height), -(-(x + _CHUNK) // width)
        rows = [
            np.concatenate([self.decode(j * self.across + i) for i in range(left, right)], axis=1) for j in range(top, bottom)
        ]
        y, x = y - top * height, x - left * width
        pixels = np.concatenate(rows, axis=0)[y : y + _CHUNK, x : x + _CHUNK]
        return [np.ascontiguousarray(pixels[..., c]) for c in range(pixels.shape[-1])]


def _encoder(codec: str) -> Callable[[Any], object]:
    import numcodecs
    import numcodecs.blosc

    family, *settings = codec.split("-")
    if family == "blosc":
        numcodecs.blosc.use_threads = False  # the pool's threads are the threads
        return numcodecs.Blosc(settings[0], int(settings[1]), numcodecs.Blosc.BITSHUFFLE).encode
    if family == "zstd":
        return numcodecs.Zstd(int(settings[0])).encode
    if family == "gzip":
        return numcodecs.GZip(int(settings[0])).encode
    return lambda chunk: chunk.tobytes()


def _measure(path: Path, codec: str, threads: int) -> dict[str, float | str]:
    pool, tiles = _Pool(threads), _Tiles(path)
    try:
        decode_s, decode_cpu_s = pool.timed(tiles.decode, tiles.stored)
        page = tiles.page
        # Corners all over the slide: glass packs better than tissue, so one corner would not do.
        steps = max(2, round((_SAMPLE / page.samplesperpixel) ** 0.5))
        inside = [max(0, side - _CHUNK) for side in (page.imagelength, page.imagewidth)]
        corners = [(inside[0] * j // (steps - 1), inside[1] * i // (steps - 1)) for j in range(steps) for i in range(steps)]
        chunks = [chunk for y, x in corners for chunk in tiles.square(y, x)]
    finally:
        tiles.close()
    encode_s, encode_cpu_s = pool.timed(_encoder(codec), chunks)
    samples = page.imagelength * page.imagewidth * page.samplesperpixel
    scale = samples * 4 / 3 / sum(chunk.size for chunk in chunks)
    return {
        "codec": codec,
        "decode_s": round(decode_s, 3),
        "encode_s": round(encode_s * scale, 3),
        "floor_s": round(decode_s + encode_s * scale, 3),
        "cpu_s": round(decode_cpu_s + encode_cpu_s * scale, 3),
    }


def _measure_exactly(path: Path, store: Path, codec: str, threads: int) -> dict[str, float | str]:
    """The floor of the very chunks of a store."""
    from tests.bench.blocks import decodings

    pool, encode = _Pool(threads), _encoder(codec)
    decode_s, decode_cpu_s = pool.timed(lambda decode: decode(), decodings(path))
    encode_s = encode_cpu_s = 0.0
    for chunks in batched(_chunks(store), _BATCH):
        wall, cpu = pool.timed(encode, chunks)
        encode_s, encode_cpu_s = encode_s + wall, encode_cpu_s + cpu
    return {
        "codec": codec,
        "decode_s": round(decode_s, 3),
        "encode_s": round(encode_s, 3),
        "floor_s": round(decode_s + encode_s, 3),
        "cpu_s": round(decode_cpu_s + encode_cpu_s, 3),
    }


def _chunks(store: Path) -> Iterator[Any]:
    """Every chunk of every array of a store, padded as it is stored; none that is all background, which is not."""
    import numpy as np
    import zarr

    for file in sorted(store.rglob("zarr.json")):
        array = zarr.open(file.parent, mode="r")
        if not isinstance(array, zarr.Array):
            continue
        for place in np.ndindex(*(-(-n // k) for n, k in zip(array.shape, array.chunks, strict=True))):
            box = tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, array.chunks, strict=True))
            part: Any = array[box]
            if not (part == array.fill_value).all():
                whole = np.full(array.chunks, array.fill_value, array.dtype)
                whole[tuple(slice(0, n) for n in part.shape)] = part
                yield whole


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floor", description="The codec floor of a slide, as JSON.")
    parser.add_argument("slide", type=Path)
    parser.add_argument("--codec", default="blosc-zstd-1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=_CHUNK, choices=[_CHUNK])
    parser.add_argument("--store", type=Path, help="a finished store, whose chunks are encoded")
    given = parser.parse_args()
    if given.store is None:
        print(json.dumps(_measure(given.slide, given.codec, given.threads)))
    else:
        print(json.dumps(_measure_exactly(given.slide, given.store, given.codec, given.threads)))


if __name__ == "__main__":
    _main()
