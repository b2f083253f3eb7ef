"""The account of a folder: every file that `os.walk` finds has one row, which says what it is and why; as CSV and as JSON."""

from __future__ import annotations

import csv
import errno
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from flows.cli import run
from flows.ledger.tables import State
from flows.reports.table import cell_text, time_text
from flows.service.attempt import Watch, run_attempt
from flows.watching.account import accounts
from tests.flows.parts import Bench, bench, submitted, touch
from tests.made.omezarr import STORES

FOLDER = """
exclude = ["old/*", "*.bak"]
pattern = ["*.svs", "*.afi", "*.zarr", "*.txt", "*.ndpi", "*.bin"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose settings the command line finds; its output and state lie in the watched folder."""
    found = bench(tmp_path, folder=FOLDER)
    text = (tmp_path / "slidemill.toml").read_text().replace(f'output = "{tmp_path}/out"', f'output = "{tmp_path}/in/out"')
    (tmp_path / "slidemill.toml").write_text(text)
    found.close()
    found = bench(tmp_path, folder=FOLDER)
    (tmp_path / "slidemill.toml").write_text(text)
    from flows.settings import load_settings

    found.settings = load_settings(tmp_path / "slidemill.toml")
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    yield found
    found.close()


def walked(root: Path) -> set[str]:
    """Every file below, and every link to a folder, by a program that is not ours."""
    found = set[str]()
    for place, folders, names in os.walk(root):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found |= {os.path.relpath(os.path.join(place, name), root) for name in (*names, *links)}  # noqa: PTH118 - as it is
    return found


def real(cell: str) -> str:
    """What a cell stands for."""
    plain = cell.removeprefix("'")
    return os.fsdecode(unquote_to_bytes(plain[len("%bytes:") :])) if plain.startswith("%bytes:") else plain


def rows(here: Bench, target: Path) -> dict[str, dict[str, str]]:
    assert run(["report", "in", "--csv", str(target)]) in (0, 1)
    with target.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert len({row["path"] for row in found}) == len(found)
    return {real(row["path"]): row for row in found}


def everything(here: Bench, slide: Path, made_store: Path | None = None) -> None:
    """A folder that holds every kind of file there is."""
    root = here.folder
    ticket = submitted(here, slide, "done.svs")
    assert run_attempt(here.engine, here.settings, ticket, Watch()) == State.DONE
    copy = submitted(here, slide, "copy.svs")
    assert run_attempt(here.engine, here.settings, copy, Watch()) == State.DUPLICATE
    (root / "damaged.svs").write_bytes(slide.read_bytes()[:300])
    (root / "set").mkdir()
    (root / "set" / "one.svs").write_bytes(slide.read_bytes() + b"1")
    (root / "set" / "all.afi").write_text("<ImageList><Image><Path>one.svs</Path><ID>DAPI</ID></Image></ImageList>")
    (root / "lacks.afi").write_text("<ImageList><Image><Path>absent.svs</Path><ID>DAPI</ID></Image></ImageList>")
    (root / "notes.txt").write_text("hello")
    (root / "empty.bin").write_bytes(b"")
    (root / "table.xlsx").write_bytes(b"PK")
    (root / "x.svs.part").write_bytes(b"half")
    (root / ".hidden").write_bytes(b"x")
    (root / ".folder" / "deep").mkdir(parents=True)
    (root / ".folder" / "deep" / "a.svs").write_bytes(b"x")
    (root / "old" / "more").mkdir(parents=True)
    (root / "old" / "more" / "b.svs").write_bytes(b"x")
    (root / "c.svs.bak").write_bytes(b"x")
    (root / "link.svs").symlink_to("done.svs")
    (root / "folder-link").symlink_to("set")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo.svs")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(root / "s"))
    for name in ODD:
        (root / name).write_text("x")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")).write_text("x")
    here.scan(3)
    (root / "new.svs").write_bytes(slide.read_bytes() + b"2")


ODD = ("=1+1.txt", "+a.txt", "@b.txt", "-c.txt", "'d.txt", 'q"u,o;te.txt', "new\nline.txt", "ü–×.txt", "\x1b[31m.txt")
EXPECTED = {  # role, state, some words of the reason
    "done.svs": ("slide", "done", ""),
    "copy.svs": ("slide", "duplicate", "same content"),
    "damaged.svs": ("slide", "quarantined", "damaged:"),
    "set/all.afi": ("slide", "ready", ""),
    "set/one.svs": ("companion", "ready", ""),
    "lacks.afi": ("waiting", "waiting", "absent.svs"),
    "notes.txt": ("unknown", "", "no driver knows it"),
    "empty.bin": ("slide", "quarantined", "damaged:"),
    "table.xlsx": ("excluded", "", "fits no pattern"),
    "x.svs.part": ("excluded", "", "*.part"),
    ".hidden": ("excluded", "", "hidden"),
    ".folder/deep/a.svs": ("excluded", "", "lies in .folder: hidden"),
    "old/more/b.svs": ("excluded", "", "exclude = old/*"),
    "c.svs.bak": ("excluded", "", "exclude = *.bak"),
    "link.svs": ("excluded", "", "symbolic link"),
    "folder-link": ("excluded", "", "symbolic link"),
    "dangling": ("excluded", "", "symbolic link"),
    "fifo.svs": ("excluded", "", "a FIFO"),
    "s": ("excluded", "", "a socket"),
    "new.svs": ("waiting", "", "nobody has looked since it came"),
    "=1+1.txt": ("unknown", "", "no driver"),
    os.fsdecode(b"caf\xe9.txt"): ("unknown", "", "no driver"),
    "new\nline.txt": ("unknown", "", "no driver"),
    "out/done.ome.zarr/zarr.json": ("excluded", "", "the output of in"),
}


def test_every_file_has_one_row(here: Bench, slide: Path, tmp_path: Path) -> None:
    everything(here, slide)
    found = rows(here, tmp_path / "report.csv")
    assert found.keys() == walked(here.folder)
    told = {path: (found[path]["role"], found[path]["state"], found[path]["reason"]) for path in EXPECTED}
    assert {path: (*told[path][:2], words in told[path][2]) for path, (_, _, words) in EXPECTED.items()} == {
        path: (role, state, True) for path, (role, state, _) in EXPECTED.items()
    }
    done, copy = found["done.svs"], found["copy.svs"]
    assert done["output"] == f"{here.folder}/out/done.ome.zarr"
    assert copy["same_as"] == done["id"]
    assert copy["output"] == ""
    assert found["set/one.svs"]["slide"] == "set/all.afi"
    for path, row in found.items():
        info = (here.folder / path).lstat()
        assert row["size"] == str(info.st_size)
        assert row["mtime"] == time_text(info.st_mtime)


def test_the_file_is_for_its_owner_and_safe_in_a_spreadsheet(here: Bench, slide: Path, tmp_path: Path) -> None:
    everything(here, slide)
    target = tmp_path / "report.csv"
    rows(here, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    raw = target.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    lines = raw.decode("utf-8-sig").split("\r\n")
    assert lines.pop() == ""
    assert len(lines) == len(walked(here.folder)) + 1
    assert not any(ord(ch) < 32 for line in lines for ch in line)
    with target.open(encoding="utf-8-sig", newline="") as file:
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in csv.reader(file) for cell in row)
    assert [path.name for path in tmp_path.glob(".report*")] == []


def test_json_is_an_object_a_file_and_a_total(here: Bench, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything(here, slide)
    assert run(["report", str(here.folder), "--json"]) == 0
    *objects, total = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(objects) == total["total"]["files"] == len(walked(here.folder))
    assert total["total"]["bytes"] == sum((here.folder / path).lstat().st_size for path in walked(here.folder))
    assert sum(total["total"]["roles"].values()) == len(objects)


def test_on_standard_output_and_for_people(here: Bench, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here.folder / "a.svs").write_bytes(slide.read_bytes())
    assert run(["report", "--csv", "-"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.startswith('"folder","path","size","mtime","role"')
    assert row.startswith('"in","a.svs"')
    assert run(["report"]) == 0
    assert "waiting            1 files" in capsys.readouterr().out


def test_what_changes_and_what_goes(here: Bench, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("changes.svs", "goes.svs"):
        (here.folder / name).write_bytes(slide.read_bytes() + name.encode())
    here.scan(2)
    touch(here.folder / "changes.svs")
    (here.folder / "goes.svs").unlink()
    found = rows(here, tmp_path / "x.csv")
    assert found.keys() == {"changes.svs"}
    assert found["changes.svs"]["role"] == "waiting"
    assert "changed" in found["changes.svs"]["reason"]
    capsys.readouterr()
    assert run(["report", "in", "--gone", "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["path"], one["state"]) for one in objects if one.get("role") == "gone"] == [("goes.svs", "ready")]
    assert objects[-1]["total"]["files"] == 1


def test_files_of_a_store_are_the_slide(here: Bench, tmp_path: Path) -> None:
    name, maker, _ = STORES[0]
    maker(here.folder / "x.zarr")
    here.scan(3)
    found = rows(here, tmp_path / "x.csv")
    assert found.keys() == walked(here.folder)
    assert {(row["role"], row["slide"]) for row in found.values()} == {("slide", "x.zarr")}, name


@pytest.mark.parametrize("marker", ["{name}.done"])
def test_a_marker_and_quiet(tmp_path: Path, slide: Path, marker: str) -> None:
    here = bench(tmp_path, folder=f'marker = "{marker}"')
    (here.folder / "a.svs").write_bytes(slide.read_bytes())
    (here.folder / "b.svs.done").write_bytes(b"")
    here.scan(2)
    told = {one.path: (one.role, one.reason or "") for one in accounts(here.engine, here.settings, here.settings.folders[0])}
    assert told["a.svs"] == ("waiting", "a.svs.done is still to come")
    assert told["b.svs.done"][0] == "excluded"
    here.close()
    here = bench(tmp_path, folder="quiet_seconds = 500")
    here.scan(1)
    told = {one.path: (one.role, one.reason or "") for one in accounts(here.engine, here.settings, here.settings.folders[0])}
    assert told["a.svs"] == ("waiting", "is taken once it has stayed the same for 500 s")
    here.close()


def test_what_may_not_be_read(here: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything: so the system's answers are given here."""
    (here.folder / "shut").mkdir()
    (here.folder / "a.svs").touch()
    really = os.scandir

    def scandir(path: str) -> object:
        if path.rstrip("/").endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path)

    def may_read(path: Path, _mode: int) -> bool:
        return path.name != "a.svs"

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "access", may_read)
    assert run(["report", "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(one["path"], one["role"]) for one in found[:-1]} == {("shut/", "unreadable"), ("a.svs", "unreadable")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "is no watched folder"),
        (["--csv", "-", "--json"], "both want standard output"),
        (["--csv", "{}/none/x.csv"], "its folder is not there"),
        (["--csv", "{}"], "is a folder"),
        (["--csv", "{}/in/x.csv"], "lies in the watched folder in"),
    ],
)
def test_what_is_wrong_is_said(here: Bench, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["report", *(word.format(here.place) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert said in out + err


def test_a_disk_that_is_full_is_told(here: Bench, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here.folder / "a.svs").write_bytes(slide.read_bytes())
    (here.place / "x.csv").symlink_to("/dev/full")
    assert run(["report", "--csv", str(here.place / "x.csv")]) == 6
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a b.svs", "a b.svs"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("＝1", "'＝1"),
        ("'a", "''a"),
        ("a\tb", "%bytes:a%09b"),
        ("\r=1", "%bytes:%0D=1"),
        ("a\u2028b", "%bytes:a%E2%80%A8b"),
        (os.fsdecode(b"\xff=1"), "%bytes:%FF=1"),
    ],
)
def test_cells(text: str, cell: str) -> None:
    assert cell_text(text) == cell


def test_times() -> None:
    assert time_text(0.9) == "1970-01-01T00:00:00Z"
    assert time_text(-1.5) == "1969-12-31T23:59:58Z"
    assert time_text(1e300) == "1e+300"
    assert time_text(None) is None


def test_a_hundred_thousand_pages_of_it(here: Bench) -> None:
    """More than a page: 1,000 files, of which the ledger is asked some times, not once each."""
    for number in range(1000):
        (here.folder / f"{number}.txt").touch()
    found = list(accounts(here.engine, here.settings, here.settings.folders[0]))
    assert len({one.path for one in found}) == 1000
