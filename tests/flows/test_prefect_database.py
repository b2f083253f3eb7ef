"""Prefect's own database damaged, locked, closed or of a newer version: told in one line, before the server starts."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from flows.engine.prefect_database import database_of, require_usable
from flows.service.dispatch import EngineUnavailable

PAGE = 4096


def a_database(state: Path, version: str = "2095de406cbe") -> Path:
    """As Prefect leaves it: a version of its migrations, some rows."""
    file = database_of(state)
    file.parent.mkdir(parents=True)
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    database.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    database.execute("CREATE TABLE log (name TEXT, message TEXT)")
    database.execute("CREATE INDEX by_name ON log (name)")
    database.executemany("INSERT INTO log VALUES (?, ?)", [(f"{number}", "x" * 500) for number in range(200)])
    database.commit()
    database.execute("PRAGMA journal_mode=WAL")
    database.close()
    return file


def a_text(file: Path) -> None:
    file.write_text("milk, bread, eggs\n" * 500)


def no_header(file: Path) -> None:
    file.write_bytes(bytes(16) + file.read_bytes()[16:])


def half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // PAGE * PAGE)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def damaged_index(file: Path) -> None:
    database = sqlite3.connect(file)
    (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_name'").fetchone()
    database.close()
    with file.open("r+b") as pages:
        pages.seek((root - 1) * PAGE)
        pages.write(b"\x0a" + b"\xff" * 60)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [(a_text, "damaged"), (no_header, "damaged"), (half, "damaged"), (a_folder, "cannot be written")],
)
def test_one_line_says_it(tmp_path: Path, break_it: Callable[[Path], None], words: str) -> None:
    break_it(a_database(tmp_path))
    with pytest.raises(EngineUnavailable, match=words) as found:
        require_usable(tmp_path, whole=True)
    assert "\n" not in str(found.value)
    assert str(database_of(tmp_path)) in str(found.value)


def test_a_page_in_the_middle_is_found_where_all_is_read(tmp_path: Path) -> None:
    damaged_index(a_database(tmp_path))
    require_usable(tmp_path)
    with pytest.raises(EngineUnavailable, match="is damaged"):
        require_usable(tmp_path, whole=True)


def test_versions(tmp_path: Path) -> None:
    a_database(tmp_path / "known")
    require_usable(tmp_path / "known")
    a_database(tmp_path / "newer", "ffff00001111")
    with pytest.raises(EngineUnavailable, match=r"a newer Prefect \(version ffff00001111"):
        require_usable(tmp_path / "newer")


def test_the_versions_of_the_prefect_that_is_here_are_known(tmp_path: Path) -> None:
    prefect = find_spec("prefect")
    assert prefect is not None
    folder = Path(prefect.origin or "").parent / "server/database/_migrations/versions/sqlite"
    found = [re.search(r"^revision(?:: str)? = .(\w+).$", path.read_text(), re.MULTILINE) for path in folder.glob("*.py")]
    versions = [match[1] for match in found if match]
    assert len(versions) > 20
    file = a_database(tmp_path)
    database = sqlite3.connect(file, isolation_level=None)
    for version in versions:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
        require_usable(tmp_path)
    assert database.execute("PRAGMA user_version").fetchone() == (0,), "looking changes nothing"
    database.close()


def test_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.engine.prefect_database._BUSY_S", 0.1)
    other = sqlite3.connect(a_database(tmp_path), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EngineUnavailable, match="another program has it locked"):
        require_usable(tmp_path)
    other.execute("ROLLBACK")
    other.close()
    require_usable(tmp_path)


def test_one_that_is_not_there_is_made_by_the_server(tmp_path: Path) -> None:
    require_usable(tmp_path / "nowhere")
    database_of(tmp_path).parent.mkdir()
    database_of(tmp_path).touch()
    require_usable(tmp_path)
    assert database_of(tmp_path).stat().st_size == 0


_RIGHTS = "-dac_override,-dac_read_search"


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o600, 0o555), (0o000, 0o755), (0o600, 0o000)])
def test_rights(tmp_path: Path, file: int, folder: int) -> None:
    database = a_database(tmp_path)
    database.chmod(file)
    database.parent.chmod(folder)
    code = f"from pathlib import Path; from flows.engine.prefect_database import *; require_usable(Path({str(tmp_path)!r}))"
    root = ["setpriv", f"--bounding-set={_RIGHTS}", f"--inh-caps={_RIGHTS}", "--"] if os.getuid() == 0 else []
    done = subprocess.run([*root, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    database.parent.chmod(0o755)
    if root and "setpriv" in done.stderr:
        pytest.skip("rights cannot be taken away here")
    assert "EngineUnavailable" in done.stderr
    assert "cannot be written" in done.stderr or "Permission denied" in done.stderr
