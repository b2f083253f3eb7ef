"""What `plan` says of memory holds: the highest that a process of its own reached, and not far above."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from flows.cli import run
code = run(sys.argv[1:])
peak = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(peak * 1024, file=sys.stderr)
sys.exit(code)
"""


def tool(*arguments: str) -> tuple[dict[str, int], int]:
    """(JSON, highest resident memory of that process)."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, "--json", "--workers", "2"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    return json.loads(done.stdout), int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory is read from /proc")
@pytest.mark.parametrize("kind", ["strips", "tiles"])
def test_the_plan_is_kept(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(
        0, 255, (6000, 9000, 3), np.uint8
    )  # noise: what waits is as large as it can be
    path = tmp_path / "a.tif"
    form = {"rowsperstrip": 16} if kind == "strips" else {"tile": (256, 256)}
    tifffile.imwrite(path, pixels, photometric="rgb", compression="lzw" if kind == "strips" else None, metadata=None, **form)
    del pixels
    plan, _ = tool("plan", str(path))
    receipt, peak = tool("convert", str(path), "-o", str(tmp_path / "a.zarr"), "--codec", "none", "--verify", "none")
    assert receipt["bytes"] > 150 << 20
    assert peak <= plan["peak_memory_bytes"], (peak >> 20, plan["peak_memory_bytes"] >> 20)
    assert plan["peak_memory_bytes"] < 2.5 * peak, (peak >> 20, plan["peak_memory_bytes"] >> 20)
