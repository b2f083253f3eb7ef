"""Whether a slide is still what a scan found complete: its files, and how they look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, select

from flows.ledger.rows import SlideRow
from flows.ledger.tables import files
from flows.watching.look import FolderUnavailable, Look, as_path, as_text, look
from flows.watching.register import signature

_PAGE = 1000


def own_files(engine: Engine, slide: SlideRow) -> dict[str, Look]:
    """The slide's own files as the ledger has them; none where they became another slide's since."""
    query = select(files.c.path, files.c.size, files.c.mtime_ns, files.c.inode).where(files.c.slide == slide.id)
    with engine.connect() as connection:
        return {name: Look(*found) for name, *found in connection.execute(query).tuples()}


def changed_files(engine: Engine, slide: SlideRow) -> str | None:
    """Why the slide's own files are not as they were found, None where they are."""
    found = own_files(engine, slide)
    if not found:
        return "files of it changed since it was found complete"
    for name, seen in found.items():
        changed = _change(Path(slide.root) / as_path(name), seen)
        if changed is not None:
            return changed
    return None


def other_files(engine: Engine, slide: SlideRow, members: Sequence[Path]) -> str | None:
    """Why the files that the driver names now are not those of the scan, None where they are.

    Files may belong to other slides, too: a list of channels names files that are slides themselves.
    """
    if slide.path.endswith(".zarr"):
        return None  # one entry stands for all of its files
    root = Path(slide.root)
    names = [as_text(file.relative_to(root).as_posix()) for file in members if file.is_relative_to(root)]
    c, found = files.c, dict[str, Look]()
    with engine.connect() as connection:
        for first in range(0, len(names), _PAGE):
            page = c.path.in_(names[first : first + _PAGE])
            here = page & ((c.folder == slide.folder) | (c.slide == slide.id))
            rows = connection.execute(select(c.path, c.size, c.mtime_ns, c.inode).where(here)).tuples()
            found |= {path: Look(*rest) for path, *rest in rows}
    if found and signature(found) != slide.signature:
        return "its files are not those that were found complete"
    changes = (_change(root / as_path(name), seen) for name, seen in found.items())
    return next((change for change in changes if change is not None), None)


def _change(path: Path, seen: Look) -> str | None:
    if path.is_dir():
        return None
    try:
        now = look(path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return f"{path.name} went away since it was found complete"
    except OSError as error:
        raise FolderUnavailable(f"{path}: cannot be looked at: {error.strerror or error}") from error
    return None if now == seen else f"{path.name} changed since it was found complete"
