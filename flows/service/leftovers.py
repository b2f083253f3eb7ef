"""What an attempt that ended without a word left on the disk: its stage. Removed by whoever settles the attempt."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from converter.process import same_process
from converter.publishing.stage import OWNER, STAGES, is_removable
from flows.ledger.rows import SlideRow
from flows.service.process import parsed, pid_here

_DYING_S = 3.0


def remove_stages(row: SlideRow) -> list[Path]:
    """Remove the stages of the process that the row names, which may not publish any more. Returns what was removed.

    A process of another machine may still be alive: it finds its stage gone, and ends. Stages in object stores have claims
    of their own.
    """
    process = parsed(row.process)
    if process is None or row.output is None or "://" in row.output:
        return []
    end = time.monotonic() + _DYING_S
    while pid_here(row.process) is not None and time.monotonic() < end:
        time.sleep(0.05)  # killed a moment ago
    stages = Path(row.output).parent / STAGES
    removed = [stage for stage in _stages(stages) if _is_of(stage, process)]
    for stage in removed:
        shutil.rmtree(stage, ignore_errors=True)
    with suppress(OSError):
        stages.rmdir()
    return removed


def _stages(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(folder.iterdir())


def _is_of(stage: Path, process: Mapping[str, Any]) -> bool:
    try:
        owner = json.loads((stage / OWNER).read_text())
        return same_process(owner, process) and is_removable(stage, owner)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
