"""Imports go one way, slidemill -> flows -> converter -> drivers; command line and face start without the heavy libraries."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "drivers": {"converter", "flows", "slidemill", "ome_zarr", "prefect", "sqlalchemy", "tensorstore", "zarr"},
    "converter": {"flows", "prefect", "slidemill", "sqlalchemy"},
    "flows": {"ome_zarr", "slidemill", "tensorstore", "zarr"},
    "slidemill": {"ome_zarr", "prefect", "sqlalchemy", "tensorstore", "zarr"},
}
ROOMS = {  # what a room may import of its own package, beside the files that lie in no room
    "drivers/metadata": {"metadata"},
    "drivers/pictures": {"pictures"},
    "drivers/members": {"members"},
    "drivers/zarrstore": {"zarrstore"},
    "converter/objects": {"objects"},
    "converter/planning": {"planning"},
    "converter/checking": {"checking", "objects"},
    "converter/publishing": {"publishing", "checking", "objects"},
    "converter/writing": {"writing", "publishing", "planning"},
    "flows/ledger": {"ledger"},
    "flows/watching": {"watching", "ledger"},
    "flows/service": {"service", "watching", "ledger"},
    "flows/reports": {"reports", "service", "ledger"},
    "flows/engine": {"engine", "reports", "service", "watching", "ledger"},
}
HEAVY = {"cv2", "imagecodecs", "numcodecs", "ome_zarr", "prefect", "sqlalchemy", "tensorstore", "tifffile", "zarr"}
SHOW_HELP = """
import sys
from flows.cli import main
sys.argv = ["slidemill", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(*sys.modules, file=sys.stderr)
"""


def imported(source: Path) -> Iterator[str]:
    """Top-level package of every import in the file, those inside functions and import_module("...") too."""
    for node in ast.walk(ast.parse(source.read_bytes(), str(source))):
        match node:
            case ast.Import(names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(ast.Attribute(attr="import_module"), [ast.Constant(str(module)), *_]):
                yield module.partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    assert not [(str(source), name) for source in sources for name in imported(source) if name in FORBIDDEN[package]]


def modules(source: Path) -> Iterator[str]:
    """Dotted name of every module that the file imports from this project."""
    for node in ast.walk(ast.parse(source.read_bytes(), str(source))):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{name.name}" for name in names)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_entered_one_way(room: str) -> None:
    package = room.partition("/")[0]
    rooms = {folder.name for folder in (ROOT / package).iterdir() if (folder / "__init__.py").is_file()}
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources
    entered = {(source.name, name) for source in sources for name in modules(source) if name.startswith(f"{package}.")}
    others = rooms - ROOMS[room]
    assert not [(source, name) for source, name in entered if name.split(".")[1] in others]


def test_command_line_starts_lean() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW_HELP], capture_output=True, text=True, check=False, cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    assert "convert" in shown.stdout
    assert HEAVY.isdisjoint(shown.stderr.split())
