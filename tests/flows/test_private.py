"""Ledger, logs and Prefect's database: readable by their owner only, whatever the umask and whatever was there before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flows.engine.private import keep_private
from flows.ledger.database import connect
from flows.ledger.migrate import migrate
from flows.settings import load_settings

MAKES = """
import sys
from flows.engine.logs import appended
from pathlib import Path
appended(Path(sys.argv[1]) / "logs" / "x.log").close()
"""


def rights(folder: Path) -> dict[str, int]:
    """Of everything below, what others and the group may."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in folder.rglob("*")}


def test_what_is_made_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        engine = connect(f"sqlite:///{tmp_path}/state/ledger.db")
        migrate(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1 FROM slides").all()
            found = rights(tmp_path)
        engine.dispose()
        subprocess.run([sys.executable, "-c", MAKES, str(tmp_path / "state")], check=True)
    finally:
        os.umask(before)
    assert {"state", "state/ledger.db", "state/ledger.db-wal", "state/ledger.db-shm"} <= found.keys()
    assert set((found | rights(tmp_path)).values()) == {0}


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640])
def test_what_was_open_is_shut(tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDEMILL_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    names = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "prefect/prefect.db", "prefect/prefect.db-wal", "logs/server.log")
    for name in names:
        path = tmp_path / "state" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        path.touch()
        path.chmod(mode)
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0o644)
    (tmp_path / "state" / "logs" / "link.log").symlink_to(outside)
    keep_private(load_settings(None))
    found = rights(tmp_path / "state")
    assert {name: found[name] for name in (*names, "logs", "prefect")} == dict.fromkeys((*names, "logs", "prefect"), 0)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
