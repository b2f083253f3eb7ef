"""A plain `pip install slidemill` is enough for one conversion, and a command of the service says what else to install.

The other packages are there when the tests run: here imports of them fail, as they would on a machine that lacks them.
"""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.made.svs import Svs, make_svs

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

absent = set(sys.argv.pop(1).split(","))
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from flows.cli import run
sys.exit(run(sys.argv[1:]))
"""
SERVICE = [["up"], ["status"], ["watch", ".", "-o", "out"], ["config", "check"], ["demo", "--service"]]


def closure(wanted: list[str]) -> set[str]:
    """Distributions that these requirements bring on this machine, names in lower case with hyphens."""
    found: set[str] = set()
    todo = [(Requirement(line), "") for line in wanted]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-").replace(".", "-")
        if name in found and not requirement.extras:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        todo += [(Requirement(line), e) for line in lines for e in ("", *requirement.extras)]
    return found


@pytest.fixture(scope="module")
def absent() -> str:
    """Top-level modules that a base install does not bring."""
    base = closure(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert len(base) <= 38, sorted(base)
    names = {m: {d.lower().replace("_", "-").replace(".", "-") for d in ds} for m, ds in packages_distributions().items()}
    others = {module for module, owners in names.items() if owners.isdisjoint(base | {"slidemill"})}
    assert {"prefect", "sqlalchemy", "ome_zarr", "rasterio"} <= others
    return ",".join(sorted(others))


def run(absent: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, absent, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_one_conversion_needs_no_extra(tmp_path: Path, absent: str) -> None:
    slide, store = tmp_path / "slide.svs", tmp_path / "slide.ome.zarr"
    make_svs(slide, Svs(size=(500, 600)))
    done = run(absent, "convert", str(slide), "-o", str(store), "--verify", "full", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    assert run(absent, "verify", str(store), "--source", str(slide), "--depth", "full").returncode == 0


def test_a_folder_needs_no_extra(tmp_path: Path, absent: str) -> None:
    """Also one with a list whose files are not all there."""
    (tmp_path / "in").mkdir()
    make_svs(tmp_path / "in" / "whole.svs", Svs(size=(200, 200), steps=()))
    make_svs(tmp_path / "in" / "part.svs", Svs(size=(200, 210), steps=()))
    images = "".join(f"<Image><Path>{name}</Path><ID>1</ID></Image>" for name in ("part.svs", "gone.svs"))
    (tmp_path / "in" / "set.afi").write_text(f"<ImageList>{images}</ImageList>")
    done = run(absent, "convert", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in found[:-1]] == ["failed", "done"], done.stderr
    assert found[0]["error"]["kind"] == "incomplete"
    assert found[-1]["total"] == found[-1]["total"] | {"slides": 2, "done": 1, "failed": 1}


@pytest.mark.parametrize(
    "arguments", [["up"], ["status"], ["watch", ".", "-o", "out"], ["config", "check"], ["demo", "--service"]]
)
def test_a_command_of_the_service_says_what_to_install(absent: str, arguments: list[str]) -> None:
    ended = run(absent, *arguments)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == "slidemill: needs the extra service, which is not installed: pip install 'slidemill[service]'\n"


def test_a_picture_says_what_to_install(tmp_path: Path, absent: str) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    ended = run(absent, "inspect", str(tmp_path / "x.png"), "--json")
    assert ended.returncode == 3
    assert "slidemill[gdal]" in json.loads(ended.stdout)["error"]["message"]
