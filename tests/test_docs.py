"""The documents keep their word: the driver of docs/DRIVERS.md runs, and so does the README's Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import discovery, formats
from drivers.discovery import find_drivers, open_slide
from drivers.model import Driver
from flows.cli import run
from tests.made.svs import Svs, make_svs

DOCS = Path(__file__).resolve().parents[1]


def code_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture
def npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """The page's driver, found as a new file among the formats."""
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "npy.py").write_text(code_of("docs/DRIVERS.md")[0])
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    found = {f.name: f.driver for f in find_drivers()}
    driver = found["npy"]
    assert driver is not None
    return driver


@pytest.mark.parametrize("shape", [(700, 900), (1300, 600, 3)])
def test_the_driver_of_the_page_converts(npy: Driver, tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert npy.suffixes == (".npy",)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    slide, store = tmp_path / "x.npy", tmp_path / "x.ome.zarr"
    np.save(slide, pixels)
    with open_slide(slide) as opened:
        assert opened.driver == "npy"
    receipt = convert(slide, store, Conversion(Options(verify="full")))
    assert receipt.status == "done"
    stored: Any = zarr.open_array(str(store / "0"), mode="r")[...]
    expected = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    assert np.array_equal(stored, expected)


def test_a_driver_that_cannot_be_loaded_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    broken = next(f for f in discovery.find_drivers() if f.name == "broken")
    assert broken.driver is None
    assert "no_such_library" in (broken.error or "")


def test_the_readme_reads_a_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_svs(tmp_path / "slide.svs", Svs(size=(1600, 1600)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code_of("README.md")[0], "README.md", "exec"), names)
    assert names["pixels"].shape == (500, 500, 3)
    assert capsys.readouterr().out.startswith("(1600, 1600)")


COMMANDS = re.findall(r"^slidemill .*$", (DOCS / "README.md").read_text(), re.MULTILINE)


# `watch` runs until it is stopped: tests/service does that.
@pytest.mark.parametrize("line", [line for line in COMMANDS if " watch " not in line])
def test_the_readme_shows_commands_that_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_svs(tmp_path / "slide.svs", Svs(size=(300, 300), steps=()))
    (tmp_path / "slides").mkdir()
    make_svs(tmp_path / "slides" / "one.svs", Svs(size=(300, 300), steps=()))
    monkeypatch.chdir(tmp_path)
    if " verify " in line:
        assert run(["convert", "slide.svs", "-o", "slide.ome.zarr"]) == 0
    words = line.partition("#")[0].replace("*.svs", "slide.svs").split()[1:]
    assert run(words) == 0
