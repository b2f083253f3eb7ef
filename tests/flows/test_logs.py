"""Logs of the service's processes stay below a bound while their processes go on writing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.engine.logs import KEPT, appended, keep_small


def test_parts(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "server.log"
    with appended(path) as output:
        for number in range(KEPT + 3):
            output.write(f"part {number}\n".encode() * 20)
            output.flush()
            keep_small([path], bound=100)
        output.write(b"the rest")
    texts = [path.with_name(name).read_text() for name in ("server.log", "server.log.1", "server.log.2")]
    assert texts == ["the rest", f"part {KEPT + 2}\n" * 20, f"part {KEPT + 1}\n" * 20]
    assert len(list(path.parent.iterdir())) == 1 + KEPT
    assert {found.stat().st_mode & 0o777 for found in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_small_ones_and_missing_ones_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "small.log"
    path.write_text("a line")
    keep_small([path, tmp_path / "none.log"], bound=100)
    assert [found.name for found in tmp_path.iterdir()] == ["small.log"]
    assert path.read_text() == "a line"


def test_the_bound_holds_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "server.log"
    path.write_text("x" * 200)

    def full(*_files: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    keep_small([path], bound=100)
    assert path.stat().st_size == 0
