"""`slidemill backup`: the ledger as it is at one moment, and the settings, in a new folder; the service goes on meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.service import Config, Json, show

if TYPE_CHECKING:
    from flows.settings import Settings

_SPARE = 1 << 20
LEDGER = "ledger.db"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backup)


def backup(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that is not there yet.")],
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Copy ledger and settings into a new folder, also while the service runs. With PostgreSQL 1, and what else to run."""
    from flows.ledger.database import sqlite_file
    from flows.settings import find_config, load_settings

    settings, source = load_settings(path), find_config(path)
    ledger = sqlite_file(settings.ledger_url)
    target = _new(dest, ledger)
    with _made_whole(target) as part:
        slides = None if ledger is None else _copied(ledger, part / LEDGER)
        names = _settings(settings, source, part)
        about = _about(slides, names, part)
        _write(part / "backup.json", f"{json.dumps(about, indent=1)}\n".encode())
    run = None if ledger is not None else _dump(settings.ledger_url, target)
    files = sorted(about["sha256"])
    if run is not None:
        from flows.commands.printing import put

        put(f"slidemill: the ledger is in PostgreSQL and is not in {target}; run: {run}", sys.stderr)
    words = "settings" if ledger is None else f"{slides} slides in the ledger, and settings"
    show(
        as_json,
        {"path": str(target), "slides": slides, "files": files, "run": run},
        [f"{target}: {words}: {', '.join(files)}"],
    )
    return 0 if run is None else 1


def _new(dest: Path, ledger: Path | None) -> Path:
    """Where the backup goes. Raises Refused, OptionError, NoSpace, LedgerUnavailable."""
    from converter.errors import NoSpace, OptionError, Refused
    from flows.ledger.backup import ledger_bytes

    target = dest.absolute()
    if os.path.lexists(target):
        raise Refused(f"{dest}: exists; name a folder that is not there yet")
    if not target.parent.is_dir():
        raise OptionError(f"{dest}: {target.parent} is no folder; make it first")
    if ledger is not None and not ledger.is_file():
        raise OptionError(f"ledger {ledger}: is not there yet; `slidemill up` makes it")
    needed = (0 if ledger is None else ledger_bytes(ledger)) + _SPARE
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise NoSpace(f"{dest}: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")
    return target


@contextmanager
def _made_whole(target: Path) -> Generator[Path]:
    """A folder beside the target that becomes it once it is safe on the disk, or goes away. Raises NoSpace, OutputFailed."""
    import errno

    from converter.errors import NoSpace, OutputFailed
    from flows.outcome import KNOWN

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(mode=0o700)
        yield part
        for place, _, names in os.walk(part, topdown=False):
            for name in (*names, "."):
                _sync(Path(place, name))
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        if isinstance(error, KNOWN):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{target}: the disk is full; nothing was kept") from error
        raise OutputFailed(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copied(ledger: Path, copy: Path) -> int:
    from flows.ledger.backup import copy_ledger

    return copy_ledger(ledger, copy)


def _settings(settings: Settings, source: Path | None, part: Path) -> Mapping[str, str]:
    """Copy the settings file and the profiles that it names; where each came from, by its name in the backup."""
    found = {} if source is None else {"slidemill.toml": source}
    profiles = sorted({folder.profile for folder in settings.folders if folder.profile and Path(folder.profile).is_file()})
    for number, profile in enumerate(profiles, 1):
        found[f"profile-{number}-{Path(profile).name}"] = Path(profile)
    for name, file in found.items():
        _write(part / name, file.read_bytes())
    return {name: str(file.absolute()) for name, file in found.items()}


def _about(slides: int | None, names: Mapping[str, str], part: Path) -> dict[str, Any]:
    from converter.version import product_version

    hashes: dict[str, str] = {}
    for file in sorted(part.iterdir()):
        with file.open("rb") as stream:
            hashes[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "slidemill": product_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "slides": slides,
        "sha256": hashes,
        "from": dict(names),
        "variables": sorted(name for name in os.environ if name.startswith("SLIDEMILL_")),  # names only: some are secrets
    }


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)


def _dump(url: str, target: Path) -> str:
    """The command that copies a ledger in PostgreSQL. Without its password, which is asked for or in ~/.pgpass."""
    from shlex import quote

    from sqlalchemy import URL, make_url

    plain = make_url(url)
    plain = URL.create("postgresql", plain.username, None, plain.host, plain.port, plain.database, plain.query)
    return f"pg_dump --format=custom --file={quote(str(target / 'ledger.dump'))} --dbname={quote(plain.render_as_string())}"
