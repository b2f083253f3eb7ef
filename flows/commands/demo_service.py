"""`slidemill demo --service`: the service for real in a temporary place. Three slides are dropped in: one whole, one that
arrives slowly, one that is broken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.commands.demo import make_slide, narrator
from flows.commands.printing import print_json

Say = Callable[[str], None]

_LONGEST_S = 240.0
_SIZE = 3000
_SLOW_S = 8.0
_SETTINGS = """\
state = "{place}/state"
port = 4210

[schedule]
scan_seconds = 2
scan_run_seconds = 30
reconcile_seconds = 20

[limits]
slides_at_once = 1
heartbeat_seconds = 1
lease_seconds = 30

[[folders]]
name = "scanner"
path = "{place}/in"
output = "{place}/out"
quiet_seconds = 2
"""


def run_service_demo(folder: Path | None, as_json: bool = False) -> int:
    """Start the service, drop slides in, watch, show the end. Returns 0 when all three came out as they should."""
    from flows.commands.status_text import status_lines
    from flows.ledger.database import connect
    from flows.ledger.migrate import migrate
    from flows.reports.status import status
    from flows.settings import load_settings

    start, say = time.monotonic(), narrator(as_json)
    place = (folder or Path(tempfile.mkdtemp(prefix="slidemill-demo-"))).absolute()
    (place / "in").mkdir(parents=True, exist_ok=True)
    config = place / "slidemill.toml"
    config.write_text(_SETTINGS.format(place=place))
    say(f"1. a folder to watch: {place / 'in'}, settings: {config}")
    settings = load_settings(config)
    with _service(config, say):
        engine = connect(settings.ledger_url)
        migrate(engine)

        def looked() -> bool:
            return status(engine, settings)["last_scan_s"] is not None

        slides = threading.Thread(target=_drop, args=(place, looked, say), daemon=True)
        slides.start()
        found = _watch(lambda: status(engine, settings), start, say)
        slides.join()
        say(f"6. the status after {time.monotonic() - start:.0f} s (slidemill status --config {config})")
        say("\n".join(f"   {line}" for line in status_lines(found)))
        engine.dispose()
    right = found["counts"]["done"] == 2 and found["counts"]["quarantined"] == 1
    stores = sorted((place / "out").glob("*.ome.zarr"))
    if as_json:
        print_json({"ok": right, "settings": str(config), "stores": [str(store) for store in stores], "status": found})
    for store in stores:
        say(f"7. a store: {store}")
    say(f"   exit code {0 if right else 1}, after {time.monotonic() - start:.0f} s")
    return 0 if right else 1


@contextmanager
def _service(config: Path, say: Say) -> Generator[None]:
    say("2. the service: slidemill up")
    command = [sys.executable, "-m", "flows.cli", "up", "--config", str(config)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield
    finally:
        with _undisturbed():
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def _undisturbed() -> Generator[None]:
    """A second Ctrl-C must not leave the service behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _drop(place: Path, looked: Callable[[], bool], say: Say) -> None:
    made = place / "made.svs"
    make_slide(made, _SIZE)
    shutil.copyfile(made, place / "in" / "whole.svs")
    say("3. dropped in: whole.svs")
    (place / "in" / "broken.svs").write_bytes(made.read_bytes()[: made.stat().st_size // 3])
    say("4. dropped in: broken.svs, the first third of a slide")
    end = time.monotonic() + _LONGEST_S
    while not looked() and time.monotonic() < end:  # what arrives slowly is to be seen doing so
        time.sleep(0.5)
    data = bytearray(made.read_bytes())
    data[-1:] = b"\0\0"  # another content, or it would be known as a copy
    steps = 8
    with (place / "in" / "slow.svs").open("wb", buffering=0) as file:
        for i in range(steps):
            file.write(data[i * len(data) // steps : (i + 1) * len(data) // steps])
            os.fsync(file.fileno())
            time.sleep(_SLOW_S / steps)
    say(f"5. dropped in: slow.svs, over {_SLOW_S:.0f} s")


def _watch(look: Callable[[], dict[str, Any]], start: float, say: Say) -> dict[str, Any]:
    """Show what changes until all three slides have ended."""
    shown = ""
    while True:
        found = look()
        counts = found["counts"]
        running = ", ".join(f"{row['path']} {row['progress']:.0%}" for row in found["running"])
        words = ", ".join(f"{n} {state}" for state, n in counts.items() if n) + (f" ({running})" if running else "")
        if words and words != shown:
            say(f"   {time.monotonic() - start:4.0f} s  {words}")
            shown = words
        ended = counts["done"] + counts["quarantined"] + counts["duplicate"]
        if ended >= 3 or time.monotonic() - start > _LONGEST_S:
            return found
        time.sleep(0.5)
