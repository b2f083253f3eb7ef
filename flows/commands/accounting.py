"""`slidemill report`: every file of the watched folders, what it is and what became of it; as CSV, JSON or a summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.service import Config, Json, opened, show

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from flows.reports.table import Table
    from flows.settings import Folder, Settings
    from flows.watching.account import Account

_HEAD = ("folder", "path", "size", "mtime", "role", "state", "slide", "id", "output", "same_as", "reason")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    folder: Annotated[str | None, typer.Argument(help="Name or path of a watched folder; default: all of them.")] = None,
    csv: Annotated[str | None, typer.Option("--csv", metavar="PATH|-", help="A row a file; -: printed.")] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Also slides whose originals are not there any more.")] = False,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Account for every file of the watched folders: slide, part of one, unknown, excluded, ... 1: not all could be seen."""
    from converter.errors import OptionError

    if as_json and csv == "-":
        raise OptionError("report: --json and --csv - both want standard output; choose one, or name a file")
    with opened(path, looks=True) as (settings, engine):
        chosen = _chosen(settings, folder)
        target = None if csv in (None, "-") else _target(str(csv), settings)
        total = _Total()
        with _table(csv, target) as table:
            for one in _all(engine, settings, chosen, gone=gone):
                total.add(one)
                if table is not None:
                    table.add(_cells(one))
                if as_json:
                    show(True, _object(one), ())
    if csv != "-":
        show(as_json, {"total": total.as_json()}, total.lines())
    return 1 if total.unseen else 0


def _chosen(settings: Settings, named: str | None) -> list[Folder]:
    from converter.errors import OptionError

    if named is None:
        if not settings.folders:
            raise OptionError("report: no folder is watched; name the settings with --config")
        return list(settings.folders)
    real = os.path.realpath(named)
    found = [one for one in settings.folders if one.name == named or os.path.realpath(one.path) == real]
    if not found:
        names = ", ".join(one.name for one in settings.folders) or "none"
        raise OptionError(f"report: {named} is no watched folder; those of the settings: {names}")
    return found[:1]


def _all(engine: Engine, settings: Settings, folders: Iterable[Folder], *, gone: bool) -> Iterator[Account]:
    from flows.watching.account import accounts
    from flows.watching.account import gone as gone_ones

    for folder in folders:
        yield from accounts(engine, settings, folder)
        if gone:
            yield from gone_ones(engine, folder)


def _cells(one: Account) -> list[str | int | float | None]:
    from flows.reports.table import time_text

    found = _object(one) | {"mtime": time_text(one.mtime)}
    return [found[name] for name in _HEAD]


def _object(one: Account) -> dict[str, Any]:
    from flows.ledger.tables import State

    slide = one.slide
    made = slide is not None and slide.state in (State.DONE, State.PUBLISHED)
    return {
        "folder": one.folder,
        "path": one.path,
        "size": one.size,
        "mtime": one.mtime,
        "role": str(one.role),
        "state": None if slide is None else str(slide.state),
        "slide": None if slide is None else slide.path,
        "id": None if slide is None else slide.id,
        "output": slide.output if slide is not None and made else None,
        "same_as": None if slide is None else slide.same_as,
        "reason": one.reason,
    }


@dataclass(slots=True)
class _Total:
    """Files and bytes by role. A folder that cannot be listed is no file, and there is no telling what is in it."""

    files: dict[str, int] = field(default_factory=dict[str, int])
    size: dict[str, int] = field(default_factory=dict[str, int])
    unlisted: int = 0

    def add(self, one: Account) -> None:
        if one.path.endswith("/"):
            self.unlisted += 1
            return
        self.files[one.role] = self.files.get(one.role, 0) + 1
        self.size[one.role] = self.size.get(one.role, 0) + (one.size or 0)

    @property
    def unseen(self) -> bool:
        return bool(self.unlisted or self.files.get("unreadable"))

    def as_json(self) -> dict[str, Any]:
        here = {role: count for role, count in self.files.items() if role != "gone"}
        size = sum(count for role, count in self.size.items() if role != "gone")
        return {"files": sum(here.values()), "bytes": size, "roles": self.files, "unlisted_folders": self.unlisted}

    def lines(self) -> Iterator[str]:
        from flows.commands.text import size

        for role in ("slide", "companion", "waiting", "unknown", "excluded", "unreadable", "gone"):
            if self.files.get(role):
                yield f"{role:11} {self.files[role]:8} files  {size(self.size[role]):>10}"
        if self.unlisted:
            yield f"{self.unlisted} folders cannot be listed: what is in them is not counted"
        yield f"{self.as_json()['files']} files in all; --csv PATH names each"


def _target(text: str, settings: Settings) -> Path:
    from converter.errors import OptionError

    target = Path(text).absolute()
    if target.is_dir() or not target.parent.is_dir():
        raise OptionError(f"--csv {text}: {'is a folder' if target.is_dir() else 'its folder is not there'}; name a file")
    inside = next((one for one in settings.folders if Path(os.path.realpath(target.parent)).is_relative_to(one.path)), None)
    if inside is not None:
        raise OptionError(f"--csv {text}: lies in the watched folder {inside.name}; write it elsewhere")
    return target


def _table(csv: str | None, target: Path | None) -> AbstractContextManager[Table | None]:
    from flows.reports.table import Table

    if target is not None:
        return _file(target)
    if csv is None:
        return nullcontext(None)
    sys.stdout.reconfigure(newline="", encoding="utf-8")  # pyright: ignore # rows end as those of a file do
    return nullcontext(Table(sys.stdout, _HEAD))


@contextmanager
def _file(target: Path) -> Generator[Table]:
    """A table that is there once it is whole; with the mark by which Excel knows UTF-8. Names may be patients': mode 0600.

    What is no regular file, such as a FIFO, is written into.
    """
    from converter.errors import OutputFailed
    from flows.reports.table import Table

    special = target.exists() and not target.is_file()
    part = target if special else target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8-sig", newline="", opener=_for_owner) as stream:
            yield Table(stream, _HEAD)
            stream.flush()
            if not special:
                os.fsync(stream.fileno())
        if not special:
            part.replace(target)
    except OSError as error:
        if not isinstance(error, _ours()):
            raise OutputFailed(f"--csv {target}: cannot be written: {error.strerror or error}") from error
        raise
    finally:
        if not special:
            part.unlink(missing_ok=True)


def _ours() -> tuple[type[Exception], ...]:
    from flows.outcome import KNOWN

    return KNOWN


def _for_owner(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
