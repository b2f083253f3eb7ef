"""What becomes of an original after its conversion: nothing, or a move to a folder. It is never deleted.

What came to its name meanwhile is another file: it stays where it is, and the next scan finds it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from flows.ledger.rows import SlideRow
from flows.settings import Settings
from flows.watching.look import Look, as_path, look


def home(row: SlideRow, settings: Settings) -> Path:
    """The folder below which a slide's files are: the watched one, or that to which they were moved."""
    folder = settings.folder(row.folder)
    moved = None if folder is None else folder.move_to
    places = [Path(row.put_away) if row.put_away else None, Path(row.root), moved]
    found = (place for place in places if place is not None and os.path.lexists(place / as_path(row.path)))
    return next(found, Path(row.root))


def put_away(members: Mapping[Path, Look | None], root: Path, destination: Path) -> list[Path]:
    """Move files below `root` to the same place below `destination`, which is on the same file system.

    `members`: how each looked when it was converted, None where nobody knows. Nothing there is replaced, and what does not
    look so any more is not moved. May be begun again where it was interrupted. Raises OSError; what was moved already is
    moved back then.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for source, seen in members.items():
            target = destination / source.absolute().relative_to(root)
            _link(source, target, seen)
            moved.append((source, target))
        for source, target in moved:
            _leave(source, target)
    except OSError:
        for source, target in moved:
            if _is_same(source, target):
                target.unlink()
        raise
    return [target for _, target in moved]


def _link(source: Path, target: Path, seen: Look | None) -> None:
    """Give a file its second name. A rename would replace what has that name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not _is_same(source, target):
            raise
    except FileNotFoundError:
        if seen is None or not target.is_file() or look(target.stat()) != seen:
            raise
        return  # it was moved, and nobody could say so
    if seen is not None and look(target.stat(follow_symlinks=False)) != seen:
        target.unlink()
        raise FileNotFoundError(0, "it is another file now")


def _leave(source: Path, target: Path) -> None:
    """Take the first name away, if it still is that of the same file: another one may have come to it this moment."""
    between = source.with_name(f".{uuid4().hex[:12]}.part")
    try:
        source.rename(between)
    except FileNotFoundError:
        return
    if _is_same(between, target):
        between.unlink()
        return
    try:
        os.link(between, source, follow_symlinks=False)
    except FileExistsError:  # a third one
        between.rename(source.with_name(f"{between.name[1:-5]}-{source.name}"))
        return
    between.unlink()


def _is_same(one: Path, other: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(one.lstat(), other.lstat())
    return False


def files_below(root: Path, names: Mapping[str, Look]) -> dict[Path, Look | None]:
    """Files of a slide by the names that the ledger has of them; an entry that is a folder stands for all files in it."""
    found: dict[Path, Look | None] = {}
    for name, seen in names.items():
        path = root / as_path(name)
        if path.is_dir():
            found |= dict.fromkeys(_files_in(path))
        else:
            found[path] = seen
    return found


def _files_in(folder: Path) -> Sequence[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
