"""`slidemill demo`: a made slide, converted and verified, so that a newcomer sees the whole way in a few seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flows.commands.printing import print_json, put
from flows.commands.text import plan_lines, receipt_line, report_lines

_SIZE = 6000
_FACTORS = (1, 4, 16)
_HEAD = (
    "Aperio Image Library v12.0.0 \r\n{0}x{0} (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = 0.5|Date = 01/02/24|Time = 09:30:00"
)


def narrator(as_json: bool) -> Callable[[str], None]:
    """What tells people how a demonstration goes: with JSON on standard output, which is for a program, nothing does."""
    return (lambda _text: None) if as_json else put


def run_demo(folder: Path | None, as_json: bool = False) -> int:
    """Make, convert, verify; prints what happens, or one object at the end, and returns 0 when the store is right."""
    from converter.checking.verify import verify_store
    from converter.convert import Conversion, convert
    from converter.options import Options
    from converter.planning.slide import plan_slide
    from drivers import open_slide
    from flows.commands.screen import screen

    say = narrator(as_json)
    place = folder or Path(tempfile.mkdtemp(prefix="slidemill-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    slide, store = place / "demo.svs", place / "demo.ome.zarr"
    say(f"1. a made slide of {_SIZE} x {_SIZE} pixels: {slide}")
    make_slide(slide, _SIZE)
    options = Options(exists="replace")
    with open_slide(slide) as opened:
        plan = plan_slide(opened, options).as_json()
    say("2. the plan")
    say("\n".join(f"   {line}" for line in plan_lines(plan)))
    with screen("none" if as_json else "auto") as shown:
        shown.expect(1, slide.stat().st_size)
        lane = shown.begin(slide)
        receipt = convert(slide, store, Conversion(options, observe=lane.observe, step=lane.step)).as_json()
    say(f"3. {receipt_line(receipt)}")
    with open_slide(slide) as opened:
        report = verify_store(store, slide=opened, depth="full").as_json()
    say("4. every chunk read back and compared")
    say("\n".join(f"   {line}" for line in report_lines(report)))
    say(f"5. look at it:  napari --plugin napari-ome-zarr {store}")
    say(f"   what it holds:  {store / 'zarr.json'}  and  {store / 'OME' / 'METADATA.ome.xml'}")
    say(f"   again, with your own:  slidemill convert SLIDE -o {place}")
    if as_json:
        print_json({"slide": str(slide), "plan": plan, "receipt": receipt, "report": report})
    return 0 if report["ok"] else 1


def make_slide(path: Path, size: int) -> None:
    """Write a small Aperio-like SVS: drawn tissue, JPEG tiles, levels 1/4/16, thumbnail and label."""
    import cv2
    import tifffile

    full = _tissue(size)
    head = _HEAD.format(size)
    jpeg: dict[str, Any] = {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": 80, "outcolorspace": "rgb"},
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as writer:
        for factor in _FACTORS:
            side = size // factor
            image = full if factor == 1 else cv2.resize(full, (side, side), interpolation=cv2.INTER_AREA)
            writer.write(image, tile=(256, 256), description=head, **jpeg)
            if factor == 1:
                small = cv2.resize(full, (768, 768), interpolation=cv2.INTER_AREA)
                writer.write(small, description=head, rowsperstrip=16, **jpeg)
        label = np.full((200, 300, 3), 240, np.uint8)
        cv2.putText(label, "DEMO", (60, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (40, 40, 40), 3)
        writer.write(label, description="Aperio\r\nlabel 300x200", subfiletype=1, photometric="rgb", metadata=None)


def _tissue(size: int) -> np.ndarray[Any, Any]:
    """Something that looks like stained tissue on glass, always the same."""
    import cv2

    random = np.random.default_rng(7)
    field = cv2.resize(random.random((24, 24), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    inside = (field > 0.35) & (x**2 + 1.4 * y**2 < 0.7)
    image = np.full((size, size, 3), (244, 242, 245), np.uint8)
    image[inside] = (226, 160, 200)
    image[inside & (field > 0.6)] = (205, 120, 176)
    for cy, cx in random.integers(0, size, (size // 2, 2)):
        if inside[cy, cx]:
            cv2.circle(image, (int(cx), int(cy)), int(random.integers(5, 14)), (92, 58, 140), -1, cv2.LINE_AA)
    noise = random.integers(-6, 7, (size, size, 1), np.int16)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
