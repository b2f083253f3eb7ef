"""A command line that is given folders: which slides it finds below them, where they go, and what it tells of many."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from converter.options import Options
from converter.planning.duration import estimated_seconds
from converter.planning.slide import plan_slide
from flows.cli import run
from flows.commands.tree import slides_of
from flows.commands.walking import Choice
from flows.naming import store_name, targets
from tests.made.afi import Afi, make_afi
from tests.made.dicom import Wsi, make_wsi
from tests.made.openslide import Mrxs, make_mrxs
from tests.made.svs import Svs, make_svs
from tests.made.vsi import Vsi, make_vsi
from tests.support.memory_driver import memory_level, memory_scene, memory_slide

FAST = ["--chunk", "64", "--shard", "128", "--codec", "blosc-lz4-5"]
Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def tiny(made: Made) -> Path:
    """A slide of one level; not to be changed."""
    return made("tree.svs", lambda path: make_svs(path, Svs(size=(60, 61), steps=(), associated=())))


def put(slide: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(slide, place)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))


def found(root: Path, choice: Choice | None = None) -> list[str]:
    """Slides below a folder, as paths below it."""
    return sorted(
        Path(str(item.place)).relative_to(root).as_posix() for item in slides_of([str(root)], choice or Choice()).items
    )


def rows(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[dict[str, Any]]]:
    code = run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert err == ""
    return code, [json.loads(line) for line in out.splitlines()]


# -- which slides there are --


def test_structure_is_kept(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    put(tiny, root / "a.svs", root / "x" / "a.svs", root / "x" / "y" / "ä b.svs")
    (root / "x" / "notes.txt").write_text("no slide")
    code, lines = rows(capsys, "convert", root, "-o", out, *FAST, "--json")
    assert code == 0
    assert [row["status"] for row in lines[:-1]] == ["done"] * 3
    total = lines[-1]["total"]
    assert (total["slides"], total["done"], total["failed"], total["not_done"]) == (3, 3, 0, 0)
    assert total["bytes"] == sum(row["bytes"] for row in lines[:-1])
    assert total["objects"] == sum(row["objects"] for row in lines[:-1])
    stores = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.ome.zarr"))
    assert stores == ["a.ome.zarr", "x/a.ome.zarr", "x/y/ä b.ome.zarr"]
    code, lines = rows(capsys, "verify", out, "--source", root, "--json")
    assert (code, len(lines)) == (0, 4)
    assert all(row["ok"] and row["source"]["different"] == 0 for row in lines[:-1])
    assert lines[-1]["total"]["ok"] == 3
    code, lines = rows(capsys, "convert", root, "-o", out, *FAST, "--resume", "--json")
    assert (code, lines[-1]["total"]["skipped"]) == (0, 3)


def test_several_folders_are_kept_apart(tiny: Path, tmp_path: Path) -> None:
    for name in ("p/one", "q/one", "two"):
        put(tiny, tmp_path / name / "s.svs")
    named = slides_of([str(tmp_path / name) for name in ("p/one", "q/one", "two")], Choice())
    assert [str(item.below) for item in named.items] == ["one", "one-2", "two"]
    assert (named.trees, len(named.items)) == (3, 3)


def test_pattern_and_exclude(tiny: Path, tmp_path: Path) -> None:
    put(tiny, tmp_path / "a.svs", tmp_path / "b.tif", tmp_path / "old" / "c.svs", tmp_path / "x" / "old" / "d.svs")
    assert found(tmp_path, Choice(pattern=("*.svs",))) == ["a.svs", "old/c.svs", "x/old/d.svs"]
    assert found(tmp_path, Choice(pattern=("a*", "b*"))) == ["a.svs", "b.tif"]
    assert found(tmp_path, Choice(exclude=("old",))) == ["a.svs", "b.tif"]
    assert found(tmp_path, Choice(exclude=("x/",))) == ["a.svs", "b.tif", "old/c.svs"]
    assert found(tmp_path, Choice(exclude=("*/c.svs", "*.tif"))) == ["a.svs", "x/old/d.svs"]


def test_what_is_passed_over(tiny: Path, tmp_path: Path) -> None:
    put(tiny, tmp_path / "a.svs", tmp_path / ".hidden.svs", tmp_path / ".cache" / "b.svs", tmp_path / "c.svs.part")
    (tmp_path / "empty").mkdir()
    (tmp_path / "marker").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.svs")
    assert found(tmp_path) == ["a.svs"]
    named = slides_of([str(tmp_path)], Choice())
    assert [(path.name, why) for path, why in named.passed] == [("marker", "the file is empty; copy it again")]


def test_a_damaged_slide_is_told_of(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "in"
    put(tiny, root / "a.svs", root / "c.svs")
    (root / "b.svs").write_bytes(b"no slide at all")
    code, lines = rows(capsys, "convert", root, "-o", tmp_path / "out", *FAST, "--json")
    assert code == 1
    assert [row["status"] for row in lines[:-1]] == ["done", "failed", "done"]
    assert lines[-1]["total"]["failed"] == 1
    code, lines = rows(capsys, "inspect", root, "--json")
    assert code == 1
    assert [row.get("driver") for row in lines[:-1]] == ["aperio", None, "aperio"]
    assert lines[-1]["total"]["slides"] == 3


@pytest.mark.parametrize("command", ["convert", "inspect", "plan"])
def test_a_folder_without_slides(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "notes.txt").write_text("no slide")
    words = ["-o", tmp_path / "out"] if command == "convert" else []
    code, lines = rows(capsys, command, tmp_path / "in", *words, "--json")
    assert code == 5
    assert lines[0]["error"]["kind"] == "unsafe_path"
    assert "no slide is below it" in lines[0]["error"]["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_a_failure(tiny: Path, tmp_path: Path) -> None:
    put(tiny, tmp_path / "a.svs", tmp_path / "secret" / "b.svs")
    (tmp_path / "secret").chmod(0)
    faults = [item.fault for item in slides_of([str(tmp_path)], Choice()).items]
    (tmp_path / "secret").chmod(0o700)
    assert [fault.kind for fault in faults if fault is not None] == ["unreadable"]


# -- links --


def test_links_are_not_followed_and_loops_end(tiny: Path, tmp_path: Path) -> None:
    put(tiny, tmp_path / "in" / "a.svs", tmp_path / "other" / "b.svs")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "in" / "again.svs").symlink_to("a.svs")
    (tmp_path / "in" / "circle").symlink_to("circle")
    assert found(tmp_path / "in") == ["a.svs"]
    assert slides_of([str(tmp_path / "in")], Choice()).unfollowed == 4
    followed = found(tmp_path / "in", Choice(links=True))
    assert len(followed) == 2
    assert "other/b.svs" in followed
    (tmp_path / "to-in").symlink_to("in")
    assert found(tmp_path / "to-in") == ["a.svs"]


def test_a_slide_that_is_named_twice_is_one(tiny: Path, tmp_path: Path) -> None:
    put(tiny, tmp_path / "in" / "a.svs", tmp_path / "in" / "b.svs")
    root = str(tmp_path / "in")
    assert len(slides_of([root, f"{root}/a.svs", f"{root}/../in/b.svs"], Choice()).items) == 2


# -- slides of several files --


def test_dicom_files_of_a_folder_are_one_slide(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in" / "case").mkdir(parents=True)
    make_wsi(tmp_path / "in" / "case" / "one.dcm", Wsi(size=(64, 64), tile=(32, 32), steps=(2,)))
    put(tiny, tmp_path / "in" / "a.svs")
    assert found(tmp_path / "in") == ["a.svs", "case"]
    _, lines = rows(capsys, "inspect", tmp_path / "in" / "case", "--json")
    assert [row["driver"] for row in lines] == ["dicom"]  # as ever: one object, and no total
    out = tmp_path / "out"
    assert rows(capsys, "convert", tmp_path / "in", "-o", out, *FAST, "--json")[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.ome.zarr", "case.ome.zarr"]


COMPANIONS: dict[str, Callable[[Path], object]] = {
    "x.mrxs": lambda path: make_mrxs(path, Mrxs()),
    "x.afi": lambda path: make_afi(path, Afi()),
    "x.vsi": lambda path: make_vsi(path, Vsi()),
}


@pytest.mark.parametrize("name", COMPANIONS)
def test_companions_belong_to_their_slide(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / "sub"):
        folder.mkdir(exist_ok=True)
        COMPANIONS[name](folder / name)
    assert found(tmp_path) == [f"sub/{name}", name]


def test_what_belongs_to_a_list_that_is_not_whole_is_no_slide(tmp_path: Path) -> None:
    for name in ("x-0-0.jpg", "other.jpg"):
        picture(tmp_path / name)
    text = "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=2\n"
    (tmp_path / "x.vms").write_text(f"{text}ImageFile=x-0-0.jpg\nImageFile(0,1)=x-0-1.jpg\nMapFile=map.jpg\n")
    assert found(tmp_path) == ["other.jpg", "x.vms"]


def test_an_ome_tiff_of_several_files_is_one_slide(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 32), np.uint8)
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(2)]
    names = ["a.ome.tif", "b.ome.tif"]
    data = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="{names[i]}">{uuids[i]}</UUID></TiffData>'
        for i in range(2)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[i]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="32" '
            f'SizeY="32" SizeZ="1" SizeC="2" SizeT="1"><Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>{data}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, pixels[i], description=xml, metadata=None, photometric="minisblack")
    picture(tmp_path / "c.tif")
    assert found(tmp_path) == ["a.ome.tif", "c.tif"]


def test_stores_are_not_entered(tiny: Path, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "plain", mode="w", zarr_format=2)
    group.create_array("0", shape=(4, 4), dtype="u1")
    put(tiny, tmp_path / "plain" / "inside.svs", tmp_path / "a.svs")
    assert found(tmp_path) == ["a.svs", "plain"]


@pytest.mark.parametrize("below", ["", "out"])
def test_outputs_in_the_folder_are_no_slides(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    put(tiny, tmp_path / "a.svs", tmp_path / "x" / "b.svs")
    for words in ([], ["--exists", "skip"]):
        code, lines = rows(capsys, "convert", tmp_path, "-o", tmp_path / below, *FAST, "--json", *words)
        assert code == 0
        assert lines[-1]["total"]["slides"] == 2


# -- names --


def test_names_that_collide() -> None:
    slides = [Path(name) for name in ("q/a.bmp", "r/a.png", "s/a.bmp", "t/a.bmp", "u/a.ome.tif", "v/a")]
    names = [Path(str(place)).name for place in targets(slides, "out")]
    plain, png, bmp, second, third, fourth = names
    assert (plain, png, bmp, second) == ("a.ome.zarr", "a.png.ome.zarr", "a.bmp.ome.zarr", "a-2.ome.zarr")
    assert len({third, fourth, *names}) == 6


def test_a_slide_keeps_its_name_when_another_comes_that_wants_it(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the service does: what was converted is not converted again, nor in the way."""
    root, out = tmp_path / "in", tmp_path / "out"
    put(tiny, root / "b.svs")
    assert rows(capsys, "convert", root, "-o", out, *FAST, "--json")[0] == 0
    picture(root / "b.ome.tif")
    code, lines = rows(capsys, "convert", root, "-o", out, *FAST, "--resume", "--json")
    told = {Path(row["path"]).name: (Path(row["output"]).name, row["status"]) for row in lines[:-1]}
    assert (code, told["b.svs"]) == (0, ("b.ome.zarr", "skipped"))
    assert told["b.ome.tif"] == ("b.tif.ome.zarr", "done")


KEPT = ["50 % – 20× at 37 °C … ok", "a%20b", "a%0A", "e\u0301", "x, y; (z) [1] {2} ~ ' & $ ^ ` ! # @ + =", "漢字 \U0001f52c"]


@pytest.mark.parametrize("stem", KEPT, ids=ascii)
def test_output_names_keep_the_characters(tiny: Path, tmp_path: Path, stem: str) -> None:
    put(tiny, tmp_path / "in" / f"{stem}.svs")
    out = tmp_path / "out"
    assert run(["convert", "-o", str(out), "--json", *FAST, str(tmp_path / "in" / f"{stem}.svs")]) == 0
    assert [path.name for path in out.iterdir()] == [f"{stem}.ome.zarr"]
    assert run(["verify", str(out / f"{stem}.ome.zarr"), "--depth", "full"]) == 0


def test_names_that_cannot_be_kept_are_told(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tiny, tmp_path / "in" / "a:b.svs", tmp_path / "in" / os.fsdecode(b"d\xff") / os.fsdecode(b"\xfe.svs"))
    out = tmp_path / "out"
    assert run(["convert", "-o", str(out), *FAST, str(tmp_path / "in")]) == 0
    err = capsys.readouterr().err
    assert "a:b.svs: note: its output is named a%3Ab~" in err
    for path in out.rglob("*.ome.zarr"):
        assert str(path).isprintable()
    assert store_name(Path("a:b.svs")) != store_name(Path("a%3Ab.svs"))


# -- the output --


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x.tiff", "this is the name of another file"),
        ("x.SVS", "this is the name of another file"),
        ("file", "is a file, not a folder"),
        ("file/below", "is a file, not a folder"),
        ("file/x.ome.zarr", "is a file, not a folder"),
        ("one.zarr", "names one store"),
    ],
)
def test_an_output_that_cannot_be(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, said: str
) -> None:
    put(tiny, tmp_path / "in" / "a.svs")
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    assert run(["convert", str(tmp_path / "in"), "-o", str(tmp_path / out)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_parent_is_told(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", str(tiny), "-o", str(tmp_path / "no" / "such"), *FAST]) == 0
    assert f"{tmp_path / 'no'} is not there, and is made" in capsys.readouterr().err
    (tmp_path / "is.tif").mkdir()  # a folder that is there may have any name
    assert run(["convert", str(tiny), "-o", str(tmp_path / "is.tif"), *FAST]) == 0


# -- what is told --


def test_plan_of_many_gives_totals(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tiny, tmp_path / "a.svs", tmp_path / "x" / "b.svs")
    for words in ([tmp_path], [tmp_path / "a.svs", tmp_path / "x" / "b.svs"]):
        code, lines = rows(capsys, "plan", *words, "--json")
        assert (code, len(lines)) == (0, 3)
        total = lines[-1]["total"]
        for key in ("raw_bytes", "estimated_bytes", "objects"):
            assert total[key] == sum(row[key] for row in lines[:-1]) > 0
        assert total["estimated_seconds"] > 0
    assert run(["plan", str(tmp_path)]) == 0
    assert "2 slides: " in capsys.readouterr().out


def test_people_see_a_table_and_a_summary(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "in"
    put(tiny, root / "a.svs", root / "b.svs")
    (root / "c.svs").write_bytes(b"no slide at all")
    assert run(["convert", str(root), "-o", str(tmp_path / "out"), *FAST]) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["done", "done"]
    assert [line.split()[0] for line in lines[3:6]] == ["done", "done", "failed"]
    assert lines[6].startswith("3 slides: 2 done, 1 failed; ")
    assert printed.err.startswith(f"slidemill: {root / 'c.svs'}: failed: no driver")
    assert printed.err.count("\n") == 1
    assert run(["convert", "-q", str(root), "-o", str(tmp_path / "again"), *FAST]) == 1
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == ("", printed.err)


def test_the_time_of_a_plan_grows_with_the_work_and_shrinks_with_the_threads(tmp_path: Path) -> None:
    """What it is on a machine nobody knows; how it stands to the work is known."""
    array = np.zeros((1, 1, 1, 2048, 2048), np.uint8)
    slides = {
        kind: memory_slide([memory_scene([replace(memory_level(array, (256, 256)), compression=kind)])])
        for kind in ("none", "jpeg", "jpeg2000")
    }

    def seconds(kind: str, **options: Any) -> float:
        return estimated_seconds(slides[kind], plan_slide(slides[kind], Options(**options)))

    assert seconds("none", workers=1) < seconds("jpeg", workers=1) < seconds("jpeg2000", workers=1)
    assert seconds("jpeg", workers=4) == pytest.approx(seconds("jpeg", workers=1) / 4)
    assert seconds("jpeg", workers=1, codec="blosc-zstd-9") > seconds("jpeg", workers=1)


@pytest.mark.parametrize("command", ["convert", "inspect", "plan", "verify"])
def test_an_interrupt_before_the_first_slide_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.commands.walking.Walk.entries", interrupted)
    words = ["-o", str(tmp_path / "out")] if command == "convert" else []
    assert run([command, str(tmp_path), *words]) == 130
    assert capsys.readouterr().err == "slidemill: interrupted\n"


@pytest.mark.parametrize("name", ["x" * 300, "y" * 300 + ".zarr"], ids=len)
def test_an_output_that_no_file_system_takes(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["convert", str(tiny), "-o", str(tmp_path / name)]) in (5, 6)
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_folder_one_is_in(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tiny, tmp_path / "in" / "a.svs", tmp_path / "in" / "x" / "b.svs")
    monkeypatch.chdir(tmp_path / "in")
    code, lines = rows(capsys, "convert", ".", "-o", "../out", *FAST, "--json")
    assert (code, lines[-1]["total"]["done"]) == (0, 2)
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.ome.zarr")) == [
        "a.ome.zarr", "x/b.ome.zarr",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[]", "{", '{"attributes": []}', "\xff"])
def test_a_store_inside_the_output_that_says_nothing_of_itself_is_a_slide(tiny: Path, tmp_path: Path, text: str) -> None:
    store = tmp_path / "in" / "a.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_bytes(text.encode("latin-1"))
    assert found(tmp_path / "in", Choice(out=str(tmp_path / "in"))) == ["a.zarr"]
