"""`slidemill` in a process that stands still once it has written so many files, so that a signal or a kill finds it there.

Run as `python -m tests.support.held FILES MARKER ARGUMENTS...`. MARKER appears when it stands; it goes on when MARKER goes,
or, slowly, when it is interrupted.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from converter.publishing.object_stage import ObjectStage
from converter.publishing.stage import LocalStage
from flows import cli
from flows.commands import converting


def main() -> None:
    """Run the command line that is named."""
    files, marker = int(sys.argv[1]), Path(sys.argv[2])
    # No event: a handler that sets one while this thread looks at it would wait for itself.
    interrupted, lock, counted = list[bool](), threading.Lock(), [0]

    def standing(write: Any) -> Any:
        def held(*arguments: Any, **named: Any) -> Any:
            with lock:
                counted[0] += 1
                stands = counted[0] == files
            if stands:
                marker.touch()
            if counted[0] >= files:
                while marker.exists() and not interrupted:
                    time.sleep(0.01)
                # Or all would be written before anyone looks at the interrupt.
                time.sleep(0.02 if interrupted else 0)
            return write(*arguments, **named)

        return held

    def interrupt(_signal: int, _frame: object) -> None:
        interrupted.append(True)
        raise KeyboardInterrupt

    for stage in (LocalStage, ObjectStage):
        setattr(stage, "write", standing(stage.write))  # noqa: B010
    setattr(converting, "_as_interrupt", interrupt)  # noqa: B010 - a private name
    signal.signal(signal.SIGINT, interrupt)
    sys.argv[1:] = sys.argv[3:]
    cli.main()


if __name__ == "__main__":
    main()
