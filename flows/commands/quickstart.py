"""Settings out of a command line, and what is wrong with settings as they stand on this machine."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.errors import OptionError
from flows.naming import require_output
from flows.settings import Settings, checked, load_settings


@dataclass(frozen=True, slots=True)
class QuickSettings:
    """Settings that a command line amounts to, and the file in which workers are to read them."""

    settings: Settings
    path: Path
    text: str

    def write(self) -> None:
        """Write the file, all at once: workers that run may be reading the one before."""
        part = self.path.with_name(f".{self.path.name}.part")
        part.write_text(self.text)
        part.replace(self.path)


def folders_of(words: Sequence[str]) -> list[Path]:
    """The folders to watch. Raises OptionError for an empty word, which would mean the current folder."""
    if not all(word.strip() for word in words):
        raise OptionError("watch: a folder's name is empty; `.` is the current one")
    return [Path(word) for word in words]


def quick_settings(folders: Sequence[Path], out: str, state: Path | None, quiet: float, profile: str | None) -> QuickSettings:
    """The settings of `slidemill watch`; nothing is written. Raises OptionError."""
    place = (state or load_settings(None).state).absolute()
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(f"{folder}: is no folder; make it first")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise OptionError("watch: a folder is named twice")
    if place.exists() and not place.is_dir():
        raise OptionError(f"--state {place}: is a file, not a folder")
    require_output(out)
    output = out if "://" in out else str(Path(out).absolute())
    lines = [f"state = {_quoted(str(place))}"]
    names: list[str] = []
    for folder in folders:
        names.append(_name(folder, names))
        below = output if len(folders) == 1 else f"{output}/{names[-1]}"
        lines += ["", "[[folders]]", f"name = {_quoted(names[-1])}", f"path = {_quoted(str(folder.absolute()))}"]
        lines += [f"output = {_quoted(below)}", f"quiet_seconds = {float(quiet)}"]
        lines += [] if profile is None else [f"profile = {_quoted(profile)}"]
    text = "\n".join(lines) + "\n"
    return QuickSettings(checked(tomllib.loads(text), "watch"), place / "watch.toml", text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string


def _name(folder: Path, taken: Sequence[str]) -> str:
    plain = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-_")[:40] or "folder"
    found, number = plain, 2
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    return found


def findings(settings: Settings) -> list[str]:
    """What keeps these settings from working here: folders that are not there, or cannot be written."""
    found: list[str] = []
    if not settings.folders:
        found.append("folders: none is watched; add a [[folders]] table")
    for folder in settings.folders:
        if not folder.path.is_dir():
            found.append(f"folders.{folder.name}.path: {folder.path} is no folder")
        elif not os.access(folder.path, os.R_OK | os.X_OK):
            found.append(f"folders.{folder.name}.path: {folder.path} cannot be read")
    return [*found, *unusable(settings)]


def idle_shares(settings: Settings) -> list[str]:
    """Limits that limit nothing, as a wrong path does."""
    used = [place for folder in settings.folders for place in (str(folder.path), folder.output)]
    idle = [share.path[0] for share in settings.shares if not any(share.holds(place) for place in used)]
    return [f"shares: nothing that is watched or written lies on {path}: its limit does nothing" for path in idle]


def unusable(settings: Settings) -> list[str]:
    """Places for what comes out that cannot be written: no slide could be converted."""
    found: list[str] = []
    for folder in settings.folders:
        if "://" not in folder.output and not _can_be_written(Path(folder.output)):
            found.append(f"folders.{folder.name}.output: {folder.output} is no folder that can be written")
        if folder.move_to is not None and not _can_be_written(folder.move_to):
            found.append(f"folders.{folder.name}.move_to: {folder.move_to} is no folder that can be written")
    return found


def _can_be_written(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
