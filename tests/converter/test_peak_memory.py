"""What `plan` says of memory holds: the highest that a process of its own reached, and not far above."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from converter.convert import Conversion, convert
from converter.errors import OverMemory
from converter.options import Options
from converter.planning.memory import uploaded
from converter.planning.slide import plan_slide
from drivers.location import Url
from tests.support.stores import simple_slide

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


KINDS = {
    "strips": ({"rowsperstrip": 16, "compression": "lzw"}, "a.zarr", ["--verify", "none"]),
    "tiles": ({"tile": (256, 256)}, "a.zarr", ["--verify", "none"]),
    "checked in full": ({"tile": (256, 256)}, "a.zarr", ["--verify", "full"]),
    "large shards, checked in full": ({"tile": (256, 256)}, "a.zarr", ["--verify", "full", "--shard", "8192"]),
    "one file": ({"tile": (240, 240)}, "a.ozx", ["--shard", "4096"]),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory is read from /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_is_kept(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(
        0, 255, (6000, 9000, 3), np.uint8
    )  # noise: what waits is as large as it can be
    path = tmp_path / "a.tif"
    form, name, words = KINDS[kind]
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **form)
    del pixels
    plan, _ = tool("plan", str(path), *words)
    receipt, peak = tool("convert", str(path), "-o", str(tmp_path / name), "--codec", "none", *words)
    assert receipt["bytes"] > 150 << 20
    assert peak <= plan["peak_memory_bytes"], (peak >> 20, plan["peak_memory_bytes"] >> 20)
    assert plan["peak_memory_bytes"] < 2.5 * peak, (peak >> 20, plan["peak_memory_bytes"] >> 20)


@pytest.mark.parametrize("shard", [512, 4096, None])
def test_the_plan_counts_the_check_and_the_uploads(tmp_path: Path, shard: int | None) -> None:
    """16-bit samples, 5 channels stored together: what is held at a time of boxes, and of objects on their way."""
    slide = simple_slide(tmp_path, np.zeros((1, 5, 1, 4500, 4400), np.uint16))
    quick, full = (plan_slide(slide, Options(shard=shard, workers=1, verify=verify)) for verify in ("quick", "full"))
    boxes = {512: 2 * 2048 * 2048, 4096: 2 * 4096 * 4096, None: 2 * 2048 * 2048}[shard] * 5 * 2
    assert full.peak_memory_bytes >= 4 * boxes
    assert full.peak_memory_bytes >= quick.peak_memory_bytes
    unit = full.images[0].levels[0].shard or full.images[0].levels[0].chunk
    assert uploaded(full.images) >= max(64 << 20, unit.c * unit.y * unit.x * 2)


def test_memory_that_is_not_enough_for_an_object_store_is_refused(tmp_path: Path) -> None:
    slide = simple_slide(tmp_path, np.zeros((1, 1, 1, 900, 900), np.uint8))
    needed = plan_slide(slide, Options(workers=1)).peak_memory_bytes
    options = Options(workers=1, memory=needed + (32 << 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.pace.open_slide", lambda _: slide)
        patch.setattr("converter.convert.refuse_early", lambda *_: None)
        with pytest.raises(OverMemory, match="--memory allows"):
            convert(slide.path, Url("s3://nowhere/x.zarr"), Conversion(options))
        assert convert(slide.path, tmp_path / "x.zarr", Conversion(options)).status == "done"
