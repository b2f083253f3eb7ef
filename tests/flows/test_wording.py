"""What is wrong with options, profile files and pictures is said in words of slidemill, not of the libraries it uses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from flows.cli import run
from tests.made.svs import Svs, make_svs

FOREIGN = re.compile(
    r"Input should|pydantic|unable to parse|byte string|Errno|codec can't|type=|JP2OpenJPEG|rasterio|GDAL|not recogni"
)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "a.svs"
    make_svs(path, Svs(size=(40, 41), steps=(), associated=()))
    return path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--chunk abc", "'--chunk': a whole number is needed"),
        ("--workers 1.5", "'--workers': a whole number is needed"),
        ("--workers 0", "workers: is 0, at least 1 is needed"),
        ("--workers 5000", "workers: is 5000, at most 1024 is possible"),
        ("--ome-zarr 0.6", "ome-zarr: is '0.6'; choose '0.5' or '0.4'"),
        ("--layout no", "layout: is 'no'; choose 'auto', 'image' or 'bioformats2raw'"),
        ("--memory lots", "memory: is 'lots', a number of bytes such as 4GiB is needed"),
        ("--memory 1XB", "memory: is '1XB', a number of bytes such as 4GiB is needed"),
        ("--memory 1MiB", "memory: is 1.0MiB, at least 64MiB is needed"),
        ("--shard x", "shard: is 'x', a whole number is needed"),
        ("--scenes ,", "scenes: names no scene"),
    ],
)
def test_options(slide: Path, words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(slide), *words.split()]) == 2
    found = capsys.readouterr().err
    assert told in found
    assert FOREIGN.search(found) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"chunk = 12.5", "chunk: is 12.5, a whole number is needed"),
        (b"resume = 'x'", "resume: is 'x'; write true or false"),
        (b"codecc = 1", "codecc: no setting has this name"),
        (b"shard = [", "p.toml: is no TOML: "),
        (b"\xff", "p.toml: is no text in UTF-8"),
        (None, "p.toml: no such file"),
    ],
)
def test_profile_files(
    slide: Path, tmp_path: Path, text: bytes | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "p.toml").write_bytes(text)
    assert run(["plan", str(slide), "--profile", str(tmp_path / "p.toml")]) == 2
    found = capsys.readouterr().err
    assert told in found
    assert FOREIGN.search(found) is None


@pytest.mark.parametrize("words", ["status --free x", "audit --rate x", "list --most 0", "watch in -o out --quiet 0"])
def test_numbers_of_the_service(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    found = capsys.readouterr().err
    assert " is needed" in found
    assert FOREIGN.search(found) is None


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("convert --profile", "default qupath omero fast small strict"),
        ("plan x --layout", "auto image bioformats2raw"),
        ("verify --depth", "quick full"),
        ("convert --profile q", "qupath"),
        ("prof", "profiles"),
    ],
)
def test_completion_offers_values(words: str, offered: str) -> None:
    given = words.split()
    last = len(given) - (given[-1] in ("q", "prof")) + 1
    environment = {
        "_SLIDEMILL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"slidemill {words}{'' if given[-1] in ('q', 'prof') else ' '}",
        "COMP_CWORD": str(last),
    }
    program = "import sys; sys.argv = ['slidemill']; from flows.cli import app; app(prog_name='slidemill')"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == offered.split()


def test_verify_names_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(tmp_path)]) == 4
    found = capsys.readouterr().out
    assert "is no OME-Zarr store: neither zarr.json nor .zgroup is there" in found
    assert "1 check (quick)" in found


@pytest.mark.parametrize("command", ["inspect", "plan"])
def test_a_name_with_a_line_break_stays_on_its_line(
    slide: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "line\nbreak.svs"
    path.write_bytes(slide.read_bytes())
    assert run([command, str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/line\\nbreak.svs: ")


def test_output_that_cannot_be_printed(slide: Path, tmp_path: Path) -> None:
    """The disk of a log is full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no such device here")
    command = [sys.executable, "-m", "flows.cli", "inspect", str(slide)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 6
    assert "cannot be written: No space left on device" in ended.stderr
    assert "report it" not in ended.stderr


def test_what_is_queued_by_hand_is_checked_as_what_is_converted(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text(f'state = "{tmp_path}/state"\n')
    more = ["--submit", "--config", str(tmp_path / "s.toml")]
    assert run(["convert", str(slide), "-o", "x.tiff", *more]) == 2
    assert "name of another file" in capsys.readouterr().err
    assert run(["convert", str(slide), str(tmp_path / "none.svs"), "-o", str(tmp_path / "out"), *more]) == 1
    out, err = capsys.readouterr()
    assert (out.count("queued as"), len(out.splitlines())) == (1, 1)
    assert "none.svs: failed: no such file" in err


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jp2", "jpg", "png"])
def test_pictures_that_are_cut_short(tmp_path: Path, suffix: str, keep: float, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8)
    encode = {"jp2": imagecodecs.jpeg2k_encode, "jpg": imagecodecs.jpeg8_encode, "png": imagecodecs.png_encode}[suffix]
    data = bytes(encode(pixels, codecformat="jp2")) if suffix == "jp2" else bytes(encode(pixels))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data[: int(len(data) * keep)])
    assert run(["convert", str(path), "-o", str(tmp_path / "out")]) == 4
    found = capsys.readouterr().err
    assert re.search(
        r"it is damaged or cut short.*copy the file again|the file is damaged or cut short; copy it again", found
    )
    assert FOREIGN.search(found) is None
