"""Ledger, logs and Prefect's database are their owner's only: they name files, and files may name patients."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from flows.ledger.database import sqlite_file
from flows.settings import Settings

log = logging.getLogger("slidemill.up")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private(settings: Settings) -> None:
    """Take the rights of group and others away, where an earlier version, a copy or an administrator left some."""
    for path in _ours(settings):
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode & _OTHERS and not path.is_symlink():
                path.chmod(mode & ~_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s: others may read it, and that cannot be changed: %s", path, error.strerror)


def _ours(settings: Settings) -> Iterator[Path]:
    ledger = sqlite_file(settings.ledger_url)
    if ledger is not None:
        yield from (ledger.with_name(f"{ledger.name}{end}") for end in ("", "-wal", "-shm", "-journal"))
    for folder in (settings.state / "logs", settings.state / "prefect", settings.state / "run"):
        if folder.is_dir() and not folder.is_symlink():
            yield folder
            yield from (path for path in folder.iterdir() if path.is_file())
