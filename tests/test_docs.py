"""The documents keep their word: the driver of docs/DRIVERS.md runs, and so does the README's Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import zarr

from converter.convert import Conversion, convert
from converter.errors import ConverterError
from converter.options import Options
from drivers import discovery, formats
from drivers.discovery import find_drivers, open_slide
from drivers.errors import DriverError
from drivers.model import Driver
from drivers.zarrstore.remote import Denied
from flows.cli import app, run
from flows.ledger.database import LedgerUnavailable
from flows.outcome import exit_code
from flows.service.dispatch import EngineUnavailable
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


def every_command(group: Any, *above: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def test_every_command_that_ends_takes_json() -> None:
    takes = {
        name: any("--json" in parameter.opts for parameter in command.params)
        for name, command in every_command(typer.main.get_command(app))
    }
    assert len(takes) > 15
    assert {name for name, does in takes.items() if not does} == {"up", "watch", "metrics", "worker"}


def errors(base: type[BaseException]) -> Iterator[type[BaseException]]:
    for found in base.__subclasses__():
        yield found
        yield from errors(found)


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    """Every error with its kind: code and whether a retry helps stand in a row of the table."""
    rows: set[tuple[int, str, bool]] = set()
    table = (DOCS / "docs" / "RELIABILITY.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    for line in table.splitlines():
        if re.match(r"\| \d", line):
            code, _, kinds, helps = (cell.strip() for cell in line.split("|")[1:-1])
            rows |= {(int(code), kind, helps.startswith("yes")) for kind in re.findall("`([a-z_]+)`", kinds)}
    imported = (EngineUnavailable, LedgerUnavailable, Denied)
    program = {
        (exit_code(error()), error().kind, error().retryable)
        for error in {ConverterError, *imported, *errors(ConverterError), *errors(DriverError)}
        if error.__module__.startswith(("converter.", "drivers.", "flows.service.dispatch", "flows.ledger.database"))
    }
    assert rows == program


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
