"""A terminal whose locale is not UTF-8: outputs keep the bytes of their slides' names all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made.svs import Svs, make_svs


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a locale in Latin-1."""
    place = tmp_path_factory.mktemp("locale")
    tool = shutil.which("localedef")
    made = tool and subprocess.run(
        [tool, "-i", "de_DE", "-f", "ISO-8859-1", str(place / "de_DE.ISO-8859-1")], capture_output=True, check=False
    )
    if not made or not (place / "de_DE.ISO-8859-1").exists():
        pytest.skip("no such locale can be made here")
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    return kept | {"LOCPATH": str(place), "LC_ALL": "de_DE.ISO-8859-1"}


def test_names_keep_their_bytes_in_a_locale_of_latin_1(tmp_path: Path, latin: dict[str, str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_svs(folder / "a–b×c°…ß.svs", Svs(size=(40, 41), steps=(), associated=()))
    command = [sys.executable, "-m", "flows.cli", "convert", str(folder), "-o", str(tmp_path / "out")]
    ended = subprocess.run(command, env=latin, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a–b×c°…ß.ome.zarr"]
    shown = ended.stdout.decode("latin-1")
    assert "a\\u2013b×c°\\u2026ß.svs" in shown
