"""Why LIF and OME-XML are read and written by our own code: what each costs, beside the library that could do it.

`python -m tests.bench.containers [--rounds 3] [--side 14336]` prints JSON: medians of seconds and of the highest memory in
MB, each measured by a process of its own; imports count for OME-XML, where they are most of it, and not for LIF.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tests.made.lif import Lif, make_lif

MEASURED = """
import sys, time
path, start = sys.argv[1], time.perf_counter()
{}
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss begins with the parent's
print(seconds, int(peak.split()[1]) / 1024)
"""
LIF = {
    "slidemill": """
from drivers import open_slide
open_slide(path).close()  # a driver is imported when it is first used
start = time.perf_counter()
with open_slide(path) as slide:
    part = slide.scenes[0].read_block((600, 600, 512, 512))
""",
    "liffile asarray": """
import liffile
start = time.perf_counter()
with liffile.LifFile(path) as file:
    part = file.images[0].asarray()[600:1112, 600:1112].copy()
""",
    "liffile frame": """
import liffile
start = time.perf_counter()
with liffile.LifFile(path) as file:
    part = file.images[0].frame()[600:1112, 600:1112].copy()
""",
}
"""512 x 512 pixels out of the one plane of a file."""
OME_XML = {
    "slidemill": """
import numpy as np
from converter.writing.omexml import ome_xml
from drivers.geometry import Shape
from drivers.model import Channel, Level, Scene
from drivers.tiles import Grid
shape = Shape(1, 1, 1, 300, 400)
level = Level(shape, np.dtype("u1"), Grid(shape, shape), lambda key: np.zeros(shape, "u1"), shape, 0, 1.0, "none")
scene = Scene("x", [level], False, (Channel(),))
document = ome_xml([(scene, "x")], "standard", "x")
""",
    "ome-types": """
from ome_types import model
pixels = model.Pixels(
    size_x=400, size_y=300, size_c=1, size_z=1, size_t=1, dimension_order="XYZCT", type="uint8", metadata_only=True,
    channels=[model.Channel(samples_per_pixel=1)],
)
document = model.OME(images=[model.Image(name="x", pixels=pixels)]).to_xml()
""",
}
"""The XML of one image."""


def measured(program: str, path: Path, rounds: int) -> dict[str, float]:
    """Medians of a program's seconds and peak memory."""
    command = [sys.executable, "-c", MEASURED.format(program), str(path)]
    found = [
        [float(n) for n in subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-2:]]
        for _ in range(rounds)
    ]
    return {"seconds": round(median(s for s, _ in found), 3), "mb": round(median(mb for _, mb in found))}


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--side", type=int, default=14336)
    given = arguments.parse_args()
    with TemporaryDirectory() as folder:
        pixels = np.random.default_rng(1).integers(0, 4096, (given.side, given.side), np.uint16)
        path = make_lif(Path(folder) / "large.lif", [Lif("large", "YX", pixels, bits=16)])
        print(json.dumps({name: measured(program, path, given.rounds) for name, program in LIF.items()}, indent=1))
        print(json.dumps({name: measured(program, path, given.rounds) for name, program in OME_XML.items()}, indent=1))


if __name__ == "__main__":
    main()
