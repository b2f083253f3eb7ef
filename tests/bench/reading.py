"""Does reading scale? The time to decode every stored tile of a slide's finest levels by one thread and by several.

`python -m tests.bench.reading SLIDE [--threads 2] [--rounds 7]` prints JSON: median seconds, and how many times as fast the
threads are together, once through the driver and once by the codec alone, which tells what the machine gives. In each round
everything has its turn; the time in which other programs had the processors is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from drivers.discovery import open_slide
from drivers.geometry import Box
from drivers.model import Slide
from tests.bench.blocks import Decode, decodings

_LEAST_S = 0.4
"""Small slides are read so often that one thread has this much to do."""


def decode_all(work: Sequence[Decode], threads: int) -> float:
    """Seconds until the last of `threads` has done its share of `work`."""

    def take(share: Sequence[Decode]) -> float:
        start = time.perf_counter() - _kept_waiting()
        for decode in share:
            decode()
        return time.perf_counter() - _kept_waiting() - start

    with ThreadPoolExecutor(threads) as pool:
        return max(pool.map(take, [work[i::threads] for i in range(threads)]))


def _kept_waiting() -> float:
    """Seconds that this thread was ready and had no processor, which other programs had; 0 where Linux does not tell.

    They are left out: on a busy machine two threads are no faster than one. Waiting for locks and for the disk counts.
    """
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e9


def through_driver(slide: Slide) -> list[Decode]:
    """A call of `Level.read` for every tile of level 0 of all scenes."""
    levels = [scene.levels[0] for scene in slide.scenes]
    return [partial(level.read, tile.key) for level in levels for tile in level.index.tiles(Box.of(level.shape))]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading", description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with open_slide(given.slide) as slide:
        ways = {"driver": through_driver(slide), "codec": decodings(given.slide)}
        times = math.ceil(_LEAST_S / decode_all(ways["codec"], 1))
        ways = {way: work * times for way, work in ways.items()}
        rounds = [_round(ways, (1, given.threads)) for _ in range(given.rounds + 1)][1:]  # the first warms up
    found: dict[str, object] = {"threads": given.threads}
    for way in ways:
        found[way] = {
            "seconds": [round(median(one[way, n] for one in rounds) / times, 4) for n in (1, given.threads)],
            "times_as_fast": round(median(one[way, 1] / one[way, given.threads] for one in rounds), 3),
        }
    print(json.dumps(found))


def _round(ways: Mapping[str, Sequence[Decode]], counts: Sequence[int]) -> dict[tuple[str, int], float]:
    return {(way, n): decode_all(work, n) for n in counts for way, work in ways.items()}


if __name__ == "__main__":
    _main()
