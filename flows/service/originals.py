"""What becomes of an original after its conversion: nothing, or a move to a folder. It is never deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def put_away(members: Sequence[Path], root: Path, destination: Path) -> list[Path]:
    """Move files below `root` to the same place below `destination`, which is on the same file system.

    Nothing there is replaced. Raises OSError; what was moved already is moved back then.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for source in members:
            target = destination / source.absolute().relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target, follow_symlinks=False)  # fails where a file has that name: a rename would replace it
            moved.append((source, target))
        for source, _ in moved:
            source.unlink()
    except OSError:
        for source, target in moved:
            if source.exists():
                target.unlink(missing_ok=True)
        raise
    return [target for _, target in moved]
