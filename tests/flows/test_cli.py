"""The command line: the JSON of every command, exit codes, bad input, names, profiles, and what it does not import."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.errors import OptionError
from converter.options import Options
from converter.planning.slide import choose_scenes
from drivers.model import Slide
from flows.cli import run
from flows.commands.listing import driver_lines
from flows.naming import store_name
from tests.made.broken import BROKEN, NO_FILES
from tests.made.svs import Svs, make_svs, replace_tile
from tests.support.memory_driver import memory_level, memory_scene

Made = Callable[[str, Callable[[Path], object]], Path]
FAST = ["--chunk", "64", "--shard", "128", "--codec", "blosc-lz4-5"]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


@pytest.fixture(autouse=True)
def signals_restored() -> Iterator[None]:
    """`convert` takes over SIGTERM, which in a process of its own is nobody else's."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide with levels 1/4 and associated images; not to be changed."""
    return made("cli.svs", lambda path: make_svs(path, Svs(size=(300, 401), steps=(4,))))


class Cli:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        code = run([str(a) for a in arguments])
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *arguments: object) -> tuple[int, Any]:
        """Standard output as JSON: one object, and nothing else there or on standard error."""
        code, out, err = self(arguments[0], "--json", *arguments[1:])
        assert out.count("\n") == 1, out
        assert err == ""
        return code, json.loads(out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line."""
    return Cli(capsys)


def real(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment, **more)


def shape_of(value: Any, shape: Any, where: str = "") -> None:
    """Assert that `value` has the keys and types of `shape`; lists hold elements like the first one of the shape."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert set(shape) <= set(value), f"{where}: lacks {set(shape) - set(value)}"
        for key, inner in shape.items():
            shape_of(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, element in enumerate(value):
            shape_of(element, shape[0], f"{where}[{i}]")
    elif isinstance(shape, tuple):
        assert value is None or isinstance(value, shape), f"{where}: {value!r}"
    else:
        allowed = (int, float) if shape is float else shape
        assert isinstance(value, allowed), f"{where}: {value!r}"
        assert not (isinstance(value, bool) and shape is not bool), f"{where}: {value!r}"


NUMBER = (int, float)
INSPECT = {
    "path": str, "driver": str, "files": [str], "bytes": int,
    "scenes": [{
        "index": int, "name": str, "dtype": str, "rgb": bool,
        "shape": {"t": int, "c": int, "z": int, "y": int, "x": int},
        "pixel_size": {"z": NUMBER, "y": NUMBER, "x": NUMBER, "unit": (str,)}, "time_step_s": NUMBER,
        "magnification": NUMBER, "channels": [{"name": (str,), "color": (str,)}],
        "levels": [{"y": int, "x": int, "scale": float, "tile": {"y": int, "x": int}, "compression": str}],
    }],
    "associated": [{"role": str, "y": int, "x": int}], "acquired": (str,),
}  # fmt: skip
PLAN = {
    "path": str, "driver": str, "ome_zarr": str, "layout": str,
    "scenes": [{
        "index": int,
        "levels": [{"path": str, "y": int, "x": int, "scale": float, "source": str, "chunk": [int], "shard": (list,)}],
        "refused_native": [{"level": int, "reason": str}],
    }],
    "raw_bytes": int, "estimated_bytes": int, "objects": int, "peak_memory_bytes": int,
}  # fmt: skip
RECEIPT = {
    "path": str, "output": str, "status": str, "seconds": float, "fingerprint": str, "manifest": str,
    "scenes": [{"index": int, "group": str, "levels": [{"path": str, "source": str, "shape": [int]}]}],
    "bytes": int, "objects": int, "warnings": [str], "damage": [str], "removed": [str], "peak_memory_bytes": (int,),
}  # fmt: skip
REPORT = {"store": str, "ok": bool, "depth": str, "checks": int, "violations": [str], "source": (dict,)}
DRIVERS = {"drivers": [{"name": str, "suffixes": [str], "library": (str,), "version": (str,), "error": (str,)}]}
ERROR = {"error": {"kind": str, "message": str, "retryable": bool}}


# -- the shapes of CLI.md --


def test_inspect(cli: Cli, slide: Path) -> None:
    code, found = cli.json("inspect", slide)
    assert code == 0
    shape_of(found, INSPECT)
    scene = found["scenes"][0]
    assert found["driver"] == "aperio"
    assert found["files"] == [str(slide)]
    assert found["bytes"] == slide.stat().st_size
    assert scene["shape"] == {"t": 1, "c": 3, "z": 1, "y": 300, "x": 401}
    assert scene["pixel_size"] == {"z": None, "y": 0.252, "x": 0.252, "unit": "micrometer"}
    assert [c["color"] for c in scene["channels"]] == ["FF0000", "00FF00", "0000FF"]
    assert [(level["y"], level["x"], level["scale"]) for level in scene["levels"]] == [(300, 401, 1.0), (75, 100, 4.0)]
    assert {a["role"] for a in found["associated"]} == {"thumbnail", "label", "macro"}
    assert found["acquired"] == "2024-03-28T14:05:09"
    code, out, err = cli("inspect", slide)
    assert (code, err) == (0, "")
    assert "401 x 300" in out


def test_inspect_says_null_for_what_is_not_stated(cli: Cli, made: Made) -> None:
    bare = Svs(size=(100, 100), steps=(), fields=("Filename = x",), icc=None, associated=())
    path = made("bare.svs", lambda p: make_svs(p, bare))
    _, found = cli.json("inspect", path)
    scene = found["scenes"][0]
    assert scene["pixel_size"] == {"z": None, "y": None, "x": None, "unit": None}
    assert scene["magnification"] is None
    assert scene["position"] is None
    assert found["icc"] is None
    assert found["acquired"] is None


def test_plan(cli: Cli, slide: Path, tmp_path: Path) -> None:
    before = sorted(slide.parent.iterdir())
    code, found = cli.json("plan", slide, *FAST)
    assert code == 0
    shape_of(found, PLAN)
    sources = [level["source"] for level in found["scenes"][0]["levels"]]
    assert sources == ["native:0", "mean:0", "native:1", "mean:2"]
    assert [level["scale"] for level in found["scenes"][0]["levels"]] == [1.0, 2.0, 4.0, 8.0]
    assert found["scenes"][0]["levels"][0]["chunk"] == [1, 64, 64]
    assert found["scenes"][0]["levels"][0]["shard"] == [3, 128, 128]
    assert found["scenes"][0]["levels"][-1]["shard"] is None
    assert sorted(slide.parent.iterdir()) == before
    assert cli("plan", slide)[0] == 0


def test_plan_is_what_convert_writes(cli: Cli, slide: Path, tmp_path: Path) -> None:
    _, planned = cli.json("plan", slide, *FAST)
    _, receipt = cli.json("convert", slide, "-o", tmp_path / "x.zarr", *FAST)
    wanted = [(e["path"], e["source"], [3, e["y"], e["x"]]) for e in planned["scenes"][0]["levels"]]
    assert [(e["path"], e["source"], e["shape"]) for e in receipt["scenes"][0]["levels"]] == wanted
    assert receipt["objects"] <= planned["objects"] + 10


def test_convert_and_verify(cli: Cli, slide: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.ome.zarr"
    code, found = cli.json("convert", slide, "-o", store, *FAST)
    assert code == 0
    shape_of(found, RECEIPT)
    assert found["status"] == "done"
    assert found["peak_memory_bytes"] > 1 << 20
    assert found["output"] == str(store)
    assert found["removed"][:2] == ["label", "macro"]
    files = [path for path in store.rglob("*") if path.is_file()]
    assert found["objects"] == len(files) - 1  # all but the root's metadata, which holds the receipt
    inside = json.loads((store / "zarr.json").read_text())["attributes"]["slidemill"]
    assert inside["manifest"] == found["manifest"]
    assert inside["path"] == slide.name

    for depth in ("quick", "full"):
        code, report = cli.json("verify", store, "--source", slide, "--depth", depth)
        assert code == 0
        shape_of(report, REPORT)
        assert report["ok"]
        assert report["depth"] == depth
        assert report["source"]["different"] == 0
        if depth == "full":
            assert report["source"]["compared_pixels"] >= 300 * 401
    code, report = cli.json("verify", store)
    assert (code, report["source"]) == (0, None)
    code, out, _ = cli("verify", store)
    assert code == 0
    assert "ok" in out


def test_convert_for_people(cli: Cli, slide: Path, tmp_path: Path) -> None:
    code, out, err = cli("convert", slide, "-o", tmp_path / "x.zarr", *FAST)
    assert code == 0
    assert out.count("\n") == 1
    assert out.startswith("done: ")
    assert "\x1b" not in out + err  # no terminal, no colours and no progress
    assert "%" not in err


def test_drivers(cli: Cli) -> None:
    code, found = cli.json("drivers")
    assert code == 0
    shape_of(found, DRIVERS)
    assert {"aperio", "ometiff", "tiff"} <= {entry["name"] for entry in found["drivers"]}
    assert all(entry["error"] is None for entry in found["drivers"])
    code, out, _ = cli("drivers")
    assert code == 0
    assert "aperio" in out


def test_skipped(cli: Cli, slide: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    assert cli.json("convert", slide, "-o", store, *FAST)[0] == 0
    for words in (["--exists", "skip"], ["--resume"]):
        code, found = cli.json("convert", slide, "-o", store, *FAST, *words)
        assert (code, found["status"]) == (0, "skipped")
        shape_of(found, RECEIPT)


# -- several slides --


def test_several_slides_to_a_folder(cli: Cli, slide: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.svs"
    shutil.copy(slide, second)
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide")
    out_folder = tmp_path / "out"
    code, out, err = cli("convert", slide, bad, second, "-o", out_folder, *FAST, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert err == ""
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    shape_of(rows[0], RECEIPT)
    shape_of(rows[1], ERROR)
    assert rows[1]["path"] == str(bad)
    assert rows[1]["error"]["kind"] == "unsupported"
    assert sorted(path.name for path in out_folder.iterdir()) == ["cli.ome.zarr", "second.ome.zarr"]


@pytest.mark.parametrize("out", ["", " "])
def test_an_empty_output_is_no_folder(cli: Cli, slide: Path, out: str) -> None:
    code, found = cli.json("convert", slide, "-o", out)
    assert (code, found["error"]["kind"]) == (2, "usage")
    assert "output is empty" in found["error"]["message"]


UNNAMED = [
    *(["inspect"], ["plan"], ["verify"], ["convert", "-o", "out"], ["watch", "-o", "out"], ["verify", "x.zarr", "--source"]),
]


@pytest.mark.parametrize("word", ["", " ", "\n"])
@pytest.mark.parametrize("words", UNNAMED)
def test_an_empty_slide_is_not_the_current_folder(
    cli: Cli, slide: Path, monkeypatch: pytest.MonkeyPatch, *, words: list[str], word: str
) -> None:
    monkeypatch.chdir(slide.parent)
    code, _, err = cli(*words, word)
    assert code == 2
    assert "empty" in err
    assert not (slide.parent / "out").exists()


@pytest.mark.parametrize("command", ["inspect", "plan", "verify", "convert"])
@pytest.mark.parametrize("suffix", [".svs", ".ome.zarr", ".ozx"])
def test_a_name_too_long_for_any_file(cli: Cli, tmp_path: Path, command: str, suffix: str) -> None:
    out = ["-o", tmp_path / "out"] if command == "convert" else []
    code, said, err = cli(command, tmp_path / f"{'x' * 300}{suffix}", *out)
    assert code != 0
    assert "cannot be" in said + err
    assert "report it" not in err


def test_slides_that_would_get_one_name_get_their_suffix(cli: Cli, slide: Path, tmp_path: Path) -> None:
    twin = tmp_path / "cli.tif"
    shutil.copy(slide, twin)
    code, _, _ = cli("convert", slide, twin, slide, "-o", tmp_path / "out", *FAST)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cli.ome.zarr", "cli.tif.ome.zarr"]


NAMES = [
    "line\nbreak.svs",
    "-dash.svs",
    "emoji \U0001f52c.svs",
    "a'b\"c$(x);*.svs",
    " .svs",
    "%41.svs",
    "é.svs",
    "x" * 240 + ".svs",
]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"not-utf8-\xff\xfe.svs")], ids=ascii)
def test_names(cli: Cli, made: Made, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(made("tiny.svs", lambda p: make_svs(p, Svs(size=(60, 61), steps=(), associated=()))), path)
    code, out, err = cli("convert", *FAST, "-o", tmp_path / "out", "--json", "--", path)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["status"] == "done"
    (store,) = (tmp_path / "out").iterdir()
    assert store.name == store_name(path)
    assert store.name.isprintable()
    assert store.name.encode("utf-8")
    assert cli.json("verify", store, "--source", path)[1]["ok"]
    assert cli.json("inspect", "--", path)[0] == 0
    code, out, err = cli("convert", *FAST, "-o", tmp_path / "out", "--", path)
    assert code == 5
    assert err.count("\n") == 1


def test_names_do_not_collide() -> None:
    names = ["a.svs", "a%.svs", "a%25.svs", "a\n.svs", "a%0A.svs", "a .svs", ".a.svs", "%2Ea.svs", "A.svs"]
    assert len({store_name(Path(name)) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["CON", "nul", "Aux.x", "prn ", "com1", "LPT9.a.b", "COM²", "conin$", "CONOUT$"])
def test_devices_of_windows_are_no_names(name: str) -> None:
    assert store_name(Path(f"{name}.svs")).startswith(f"%{ord(name[0]):02X}")


@pytest.mark.parametrize("name", ["CONTROL", "nulls", "com", "com10", "lpt", "auxiliary.com1", "a.con"])
def test_names_that_only_begin_as_devices_are_kept(name: str) -> None:
    assert store_name(Path(f"{name}.svs")) == f"{name}.ome.zarr"


# -- usage --


@pytest.mark.parametrize(
    "words",
    [
        ["convert"], ["convert", "x.svs"], ["nothing"], ["inspect"], ["verify", "x", "--depth", "deep"],
        ["inspect", "x", "--no-such-option"], ["plan", "SLIDE", "--chunk", "500"], ["plan", "SLIDE", "--chunk", "zero"],
        ["plan", "SLIDE", "--codec", "jpeg"], ["plan", "SLIDE", "--codec", "zstd-23"], ["plan", "SLIDE", "--shard", "256"],
        ["plan", "SLIDE", "--ome-zarr", "0.6"], ["plan", "SLIDE", "--scenes", "7"], ["plan", "SLIDE", "--scenes", ","],
        ["plan", "SLIDE", "--associated", "nobody"], ["plan", "SLIDE", "--profile", "nothing"],
        ["plan", "SLIDE", "--privacy", "strict", "--associated", "label"], ["plan", "SLIDE", "--memory", "lots"],
        ["plan", "SLIDE", "--workers", "0"], ["convert", "SLIDE", "-o", "gs://bucket/x.zarr"],
        ["convert", "SLIDE", "SLIDE", "-o", "one.zarr"], ["convert", "SLIDE", "-o", "x.zarr", "--progress", "loud"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_usage(cli: Cli, slide: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(slide) if word == "SLIDE" else word for word in words]
    code, found = cli.json(*words)
    assert code == 2
    shape_of(found, ERROR)
    assert found["error"]["kind"] == "usage"
    assert not found["error"]["retryable"]
    assert "\n" not in found["error"]["message"]
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert err.strip()
    assert list(tmp_path.iterdir()) == []


# -- profiles --


def test_profiles(cli: Cli, slide: Path, tmp_path: Path) -> None:
    _, found = cli.json("plan", slide, "--profile", "qupath")
    assert found["ome_zarr"] == "0.4"
    _, found = cli.json("plan", slide, "--profile", "omero", "--ome-zarr", "0.5")
    assert (found["ome_zarr"], found["layout"]) == ("0.5", "bioformats2raw")
    mine = tmp_path / "mine.toml"
    mine.write_text('chunk = 64\nnative-levels = "never"\nassociated = ["macro"]\n')
    _, found = cli.json("plan", slide, "--profile", mine)
    assert found["scenes"][0]["levels"][0]["chunk"] == [1, 64, 64]
    assert found["scenes"][0]["levels"][2]["source"] == "mean:1"
    assert found["associated"] == ["macro"]


def test_profile_holds_the_words_of_the_command_line(cli: Cli, slide: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('shard = "none"\nassociated = "macro,label"\nscenes = "0"\nmemory = "1GiB"\nome-zarr = "0.5"\n')
    code, found = cli.json("plan", slide, "--profile", mine)
    assert code == 0, found
    assert found["scenes"][0]["levels"][0]["shard"] is None
    assert sorted(found["associated"]) == ["label", "macro"]


@pytest.mark.parametrize("text", ["colour = 3", "chunk = 100", "chunk = ", 'levels = "all"', "[table]\nchunk = 512"])
def test_bad_profile(cli: Cli, slide: Path, tmp_path: Path, text: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    code, found = cli.json("plan", slide, "--profile", mine)
    assert (code, found["error"]["kind"]) == (2, "usage")
    assert cli.json("plan", slide, "--profile", tmp_path / "absent.toml")[0] == 2


def test_profiles_are_listed(cli: Cli) -> None:
    code, found = cli.json("profiles")
    assert code == 0
    shape_of(found, {"profiles": [{"name": str, "about": str, "options": dict}]})
    assert {entry["name"]: entry["options"] for entry in found["profiles"]}["qupath"] == {"ome_zarr": "0.4"}
    code, out, err = cli("profiles")
    assert (code, err) == (0, "")
    assert all(entry["name"] in out for entry in found["profiles"])


def test_version_and_short_help(cli: Cli) -> None:
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    assert out.startswith("slidemill ")
    for words in (["-h"], ["convert", "-h"], ["quarantine", "list", "-h"]):
        code, out, _ = cli(*words)
        assert code == 0
        assert "Usage" in out


def test_completion() -> None:
    """What `--install-completion` puts into a shell asks the program in this way."""
    environment = {"_SLIDEMILL_COMPLETE": "complete_bash", "COMP_WORDS": "slidemill insp", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['slidemill']; from flows.cli import main; main()"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment, cwd=ROOT)
    assert done.stdout.split() == ["inspect"]


def scenes_of(words: str, names: str) -> list[int]:
    array = np.zeros((1, 1, 1, 8, 8), np.uint8)
    scenes = [memory_scene([memory_level(array, (8, 8))], name=name) for name in names.split()]
    return choose_scenes(Slide(Path("x"), "memory", [], scenes, {}, lambda: None), Options.model_validate({"scenes": words}))


@pytest.mark.parametrize(
    ("words", "chosen"),
    [("1-2", [1, 2]), ("2-", [2, 3]), ("0,2-3,3", [0, 2, 3]), ("1", [1]), ("3,0-", [3, 0, 1, 2]), ("2-2,a", [2, 0])],
)
def test_scene_ranges(words: str, chosen: list[int]) -> None:
    assert scenes_of(words, "a b c d") == chosen
    assert scenes_of("0-1", "a b 0-1") == [2]  # a scene's name is its name


@pytest.mark.parametrize("words", ["2-1", "1-4", "4-", "-1", "1-2-3", "a-b"])
def test_scene_ranges_that_are_none(words: str) -> None:
    with pytest.raises(OptionError, match="x"):
        scenes_of(words, "a b c d")


# -- bad input --


def nothing_left(folder: Path) -> None:
    """No store, no stage."""
    assert [p.name for p in folder.rglob("*") if p.name == ".stage" or p.suffix == ".zarr"] == []


def refused(cli: Cli, path: Path, out: Path) -> dict[str, Any]:
    """Convert a bad slide, for programs and for people; the error."""
    code, found = cli.json("convert", "-o", out / "x.ome.zarr", *FAST, "--", path)
    shape_of(found, ERROR)
    assert found["status"] == "failed"
    assert found["path"] == str(path)
    message = found["error"]["message"]
    assert message.isprintable()
    assert path.name in message
    nothing_left(out)
    again, printed, err = cli("convert", "-o", out / "x.ome.zarr", *FAST, "--", path)
    assert (again, printed) == (code, "")
    assert err.count("\n") == 1
    assert path.name in err
    nothing_left(out)
    return {"code": code, **found["error"]}


CODES = {"unsupported": 3, "damaged": 4, "incomplete": 4, "unreadable": 4, "limit": 5, "unsafe_path": 5}
CHOSEN = {
    "B25-empty.svs", "B25-one-byte.svs", "B25-text.tif", "B25-zeros.svs", "B25-magic-only.tif",
    "cut-svs-10.svs", "cut-svs-30.svs", "cut-svs-50.svs", "cut-svs-75.svs",
    "cut-tiles-10.tif", "cut-tiles-30.tif", "cut-tiles-50.tif", "cut-tiles-75.tif", "cut-tiles-99.tif",
    "cut-strips-50.tif", "cut-pages-75.tif", "B6-header-only.tif", "B7-huge.tif", "B7-huge-aperio.svs", "B9-huge-tile.tif",
    "B11-offset-past-the-end.tif", "B11-offset-past-the-end-aperio.svs", "B11-strip-past-the-end.tif",
    "B12-count-of-4-gb-aperio.svs", "B1-next-is-itself.tif", "B14-compression-unknown.tif", "B21-garbage-in-a-jpeg-tile.tif",
    "folder.svs", "fifo.svs", "socket.svs", "null.svs", "dangling.svs", "circle.svs",
}  # fmt: skip
CASES = [case for case in BROKEN + NO_FILES if case[0] in CHOSEN]


@pytest.mark.parametrize(("name", "maker", "kinds"), CASES, ids=[name for name, _, _ in CASES])
def test_bad_input(cli: Cli, tmp_path: Path, name: str, maker: Callable[[Path], object], kinds: frozenset[str]) -> None:
    maker(tmp_path / name)
    found = refused(cli, tmp_path / name, tmp_path)
    assert found["kind"] in kinds
    assert found["code"] == CODES[found["kind"]]


def test_all_chosen_cases_exist() -> None:
    assert {name for name, _, _ in CASES} == CHOSEN


def test_absent(cli: Cli, tmp_path: Path) -> None:
    found = refused(cli, tmp_path / "absent.svs", tmp_path)
    assert (found["code"], found["kind"], found["retryable"]) == (4, "incomplete", True)


@pytest.mark.parametrize("command", ["inspect", "plan"])
def test_reading_commands_refuse_alike(cli: Cli, tmp_path: Path, command: str) -> None:
    path = tmp_path / "text.svs"
    path.write_text("no slide")
    code, found = cli.json(command, path)
    assert (code, found["error"]["kind"], found["path"]) == (3, "unsupported", str(path))
    code, out, err = cli(command, path)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "text.svs" in err


def test_wrong_suffix_is_read_all_the_same(cli: Cli, slide: Path, tmp_path: Path) -> None:
    shutil.copy(slide, tmp_path / "slide.jpg")
    assert cli.json("convert", tmp_path / "slide.jpg", "-o", tmp_path / "out", *FAST)[1]["status"] == "done"


def test_damaged_tile(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "torn.svs"
    make_svs(path, Svs(size=(500, 600), steps=()))
    replace_tile(path, 0, 3, b"\xff\xd8 torn")
    found = refused(cli, path, tmp_path)
    assert (found["code"], found["kind"]) == (4, "damaged")

    code, receipt = cli.json("convert", path, "-o", tmp_path / "x.zarr", "--on-damage", "fill", *FAST)
    assert (code, receipt["status"]) == (0, "done")
    assert len(receipt["damage"]) >= 1
    assert any("filled" in warning for warning in receipt["warnings"])
    inside = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())["attributes"]["slidemill"]
    assert inside["damage"] == receipt["damage"]
    assert cli.json("verify", tmp_path / "x.zarr", "--depth", "full")[0] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not read")
def test_unreadable(slide: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    path = place / "secret.svs"
    shutil.copy(slide, path)
    path.chmod(0o600)
    child = os.fork()
    if child == 0:  # the interpreter itself may lie where nobody may look: stay in it
        code = 99
        try:
            for folder in (*tmp_path.parents, tmp_path, place):
                if folder.stat().st_uid == 0 and folder != Path("/"):
                    folder.chmod(folder.stat().st_mode | 0o011)
            place.chmod(0o777)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            error = os.open(place / "err", os.O_WRONLY | os.O_CREAT)
            os.dup2(error, 2)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - until the process ends
            code = run(["convert", str(path), "-o", str(place / "x.zarr")])
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    said = (place / "err").read_text()
    assert os.waitstatus_to_exitcode(status) == 4, said
    assert said.count("\n") == 1
    assert "secret.svs" in said
    assert "ermission" in said
    nothing_left(place)


def test_no_driver_sees_a_fifo_that_replaces_a_slide(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    for command in ("inspect", "plan"):
        assert cli.json(command, tmp_path / "pipe.svs")[0] == 5


# -- limits --


def test_memory_limit(cli: Cli, made: Made, tmp_path: Path) -> None:
    path = made("wide.svs", lambda p: make_svs(p, Svs(size=(1030, 1301))))
    words = ["--memory", "64MiB", "--workers", "2"]
    code, found = cli.json("convert", path, "-o", tmp_path / "x.zarr", *words)
    assert (code, found["error"]["kind"]) == (5, "limit")
    assert list(tmp_path.iterdir()) == []


# -- verify --


def test_verify_of_what_is_no_store(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("absent", "folder", "file"):
        code, found = cli.json("verify", tmp_path / name)
        assert code == 4
        shape_of(found, REPORT)
        assert not found["ok"]
        assert found["violations"]


def test_verify_with_a_source_that_is_no_slide(cli: Cli, slide: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    assert cli.json("convert", slide, "-o", store, *FAST)[0] == 0
    (tmp_path / "text.svs").write_text("no slide")
    code, found = cli.json("verify", store, "--source", tmp_path / "text.svs")
    assert (code, found["error"]["kind"]) == (3, "unsupported")


def test_verify_with_another_slide(cli: Cli, slide: Path, made: Made, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    assert cli.json("convert", slide, "-o", store, *FAST)[0] == 0
    same_size = made("other.svs", lambda p: make_svs(p, Svs(size=(300, 401), steps=(4,), seed=99)))
    no_thumbnail = made("poor.svs", lambda p: make_svs(p, Svs(size=(120, 130), steps=(), associated=())))
    for other in (same_size, no_thumbnail):
        code, found = cli.json("verify", store, "--source", other)
        assert code == 4
        shape_of(found, REPORT)
        assert not found["ok"]


# -- real processes --


def test_lean_start() -> None:
    heavy = {"prefect", "zarr", "cv2", "fastapi", "sqlalchemy", "ome_types", "tensorstore", "numcodecs", "rich.progress"}
    script = "import sys\nfrom flows.cli import run\ncode = run(sys.argv[1:])\nprint('\\0'.join(sys.modules))\nsys.exit(code)"
    for words, also in ((["--help"], {"tifffile", "numpy", "imagecodecs"}), (["drivers", "--help"], {"tifffile", "numpy"})):
        assert not _imported(script, words) & (heavy | also), words


def test_inspect_is_lean(slide: Path) -> None:
    script = "import sys\nfrom flows.cli import run\ncode = run(sys.argv[1:])\nprint('\\0'.join(sys.modules))\nsys.exit(code)"
    loaded = _imported(script, ["inspect", str(slide)])
    assert "tifffile" in loaded
    assert not loaded & {"prefect", "zarr", "cv2", "fastapi", "ome_types", "tensorstore", "converter.writing.run"}


def _imported(script: str, words: list[str]) -> set[str]:
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=True)
    return set(done.stdout.splitlines()[-1].split("\0"))


def test_as_a_process(slide: Path, tmp_path: Path) -> None:
    done = real("convert", slide, "-o", tmp_path / "x.zarr", *FAST, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shape_of(json.loads(done.stdout), RECEIPT)
    again = real("convert", slide, "-o", tmp_path / "x.zarr", *FAST)
    assert (again.returncode, again.stdout) == (5, "")
    assert again.stderr.count("\n") == 1
    assert real().returncode in (0, 2)
    assert real("--help").returncode == 0


def test_output_that_nobody_reads(slide: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "inspect", str(slide), "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=240, check=False, env=environment
        )
    finally:
        os.close(writer)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_a_library_that_is_not_there_is_told() -> None:
    entry = {"name": "x", "suffixes": [".x"], "library": "some-library", "version": None, "error": None}
    assert next(driver_lines([entry])).endswith("some-library is not installed")


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr("flows.commands.demo._SIZE", 1200)
    code, out, _ = cli("demo", "--folder", tmp_path)
    assert code == 0
    assert (tmp_path / "demo.ome.zarr" / "zarr.json").exists()
    assert "ok" in out
    code, out, _ = cli("demo", "--folder", tmp_path, "--json")  # a second time too
    found = json.loads(out)
    assert code == 0
    assert found["report"]["ok"] is True
    assert found["receipt"]["output"] == str(tmp_path / "demo.ome.zarr")


@pytest.mark.parametrize(("loaded", "ends"), [("obstore", False), ("json", True)])
def test_the_interpreter_is_not_ended_under_threads_that_use_it(loaded: str, ends: bool) -> None:
    """Those of obstore do, and would abort the process after its work."""
    program = (
        f"import {loaded}, atexit, sys; atexit.register(print, 'the interpreter ends');"
        "sys.argv = ['slidemill', 'drivers', '--json']; from flows.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("the interpreter ends" in done.stdout) == ends
    assert '"aperio"' in done.stdout


def test_what_cannot_be_printed_is_told_by_the_exit_code() -> None:
    program = "import obstore, sys; sys.argv = ['slidemill', 'drivers', '--json']; from flows.cli import main; main()"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", program], check=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode != 0
