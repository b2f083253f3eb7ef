"""The documented face: every example of docs/PYTHON.md holds, and `import slidemill` imports nothing heavy."""

from __future__ import annotations

import doctest
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

import slidemill
from converter.options import Options
from slidemill.calls import ConvertOptions
from tests.made.svs import Svs, make_svs

ROOT = Path(__file__).resolve().parent.parent
LEAN = """
import sys, slidemill
print(*sys.modules)
assert "open_slide" in dir(slidemill)
slidemill.open_slide
print(*sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the slide of the page."""
    make_svs(tmp_path / "slide.svs", Svs(size=(1200, 1600), steps=(4,)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder", "files_closed")
def test_the_page_says_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/PYTHON.md").read_text()
    examples = doctest.DocTestParser().get_doctest(page.replace("```", ""), {}, "PYTHON.md", "docs/PYTHON.md", 0)
    assert len(examples.examples) > 25
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed
    assert not failed, capsys.readouterr().out


def test_importing_is_lazy() -> None:
    ran = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    at_once, used = (line.split() for line in ran.stdout.splitlines())
    foreign = {"numpy", "pydantic", "zarr", "tifffile", "cv2", "prefect", "sqlalchemy", "typer", "imagecodecs", "numcodecs"}
    assert foreign.isdisjoint(at_once)
    assert not [name for name in at_once if name.partition(".")[0] in ("drivers", "converter", "flows")]
    assert {"prefect", "sqlalchemy", "zarr", "typer", "pydantic"}.isdisjoint(used)


def test_every_name_is_there() -> None:
    for name in slidemill.__all__:
        assert getattr(slidemill, name) is not None
    assert set(slidemill.__all__) <= set(dir(slidemill))
    assert slidemill.get_version() == slidemill.__version__
    with pytest.raises(AttributeError, match="has no attribute 'convert_scene'"):
        _ = slidemill.convert_scene  # type: ignore[attr-defined]


def test_the_options_are_those_of_the_converter() -> None:
    assert set(ConvertOptions.__annotations__) == set(Options.model_fields)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"colour": 1}, "colour"), ({"codec": "zip"}, "codec"), ({"profile": "none"}, "profile 'none'")],
)
def test_a_wrong_option_is_one_line(folder: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(slidemill.ConverterError, match=message) as caught:
        slidemill.convert(folder / "slide.svs", folder / "out.zarr", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (folder / "out.zarr").exists()


def test_paths_of_all_sorts(folder: Path) -> None:
    source, store = folder / "slide.svs", folder / "deep" / "a.ome.zarr"
    receipt = slidemill.convert(source, store, scenes=[0], shard=None, workers=1, memory="2GiB", associated=())
    assert (receipt.status, Path(receipt.output or "")) == ("done", store)
    assert slidemill.verify(store, source).ok
    assert slidemill.verify(str(store)).ok
    assert slidemill.inspect(source) == slidemill.inspect(str(source))
    assert len(repr(receipt)) < 250
    assert len(repr(slidemill.verify(store))) < 200
    with pytest.raises(slidemill.ConverterError, match="depth is quick or full"):
        slidemill.verify(store, depth="deep")  # type: ignore[arg-type]
    with pytest.raises(slidemill.DriverError, match="no such file"):
        slidemill.convert(folder / "none.svs", folder / "none.zarr")


def test_what_is_stored_is_what_is_read(folder: Path) -> None:
    """Truth: the pixels that tifffile decodes."""
    slidemill.convert("slide.svs", "slide.ome.zarr", native_levels="never")
    truth = tifffile.imread("slide.svs", key=0)
    for path in ("slide.svs", "slide.ome.zarr"):
        with slidemill.open_slide(path) as slide:
            np.testing.assert_array_equal(slide.get_scene(0).read_block(), truth)


def test_a_damaged_store_is_told_of(folder: Path) -> None:
    slidemill.convert("slide.svs", "slide.ozx")
    assert slidemill.verify("slide.ozx").ok
    with zipfile.ZipFile("slide.ozx") as whole:
        assert whole.namelist()
    slidemill.convert("slide.svs", "slide.ome.zarr")
    (folder / "slide.ome.zarr" / "zarr.json").write_text("{}")
    report = slidemill.verify("slide.ome.zarr")
    assert not report.ok
    assert repr(report).startswith("<Report ")
    assert "violation" in repr(report)


def test_every_package_is_packed_and_typed() -> None:
    """Truth: the folders that hold a package, but for the tests."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packed) == sorted({path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"})
    image = (ROOT / "deploy/Dockerfile").read_text()
    for package in packed:
        assert (ROOT / package / "py.typed").is_file()
        assert f"COPY {package} {package}\n" in image
