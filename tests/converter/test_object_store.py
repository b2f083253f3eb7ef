"""Stores in an object store: the same as local ones, published once, by one of several, and never half."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest

from converter.checking.verify import verify_store
from converter.convert import Conversion, convert
from converter.errors import NotTrue, OutputFailed, Refused
from converter.objects.client import Client
from converter.options import Options
from converter.publishing.object_stage import open_object_stage
from converter.writing.contents import write_manifest
from drivers.location import Url
from drivers.model import Slide
from flows.cli import run
from flows.outcome import error_json, exit_code
from tests.made.svs import Svs, make_svs
from tests.support.object_server import ADMIN, WRITER, ObjectServer, folder_of
from tests.support.object_stores import OPTIONS, ROOT, command, contents, opens, slide_in
from tests.support.stores import converted, texture

pytest_plugins = ["tests.support.object_server", "tests.support.object_stores"]
Made = Callable[[str, Callable[[Path], object]], Path]
ROOTS = {"zarr.json", ".zattrs", ".zgroup"}


def local(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- the same as a local store --


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_equals_the_local_store(object_server: ObjectServer, target: Url, slide: Slide, tmp_path: Path, version: str) -> None:
    there = converted(slide, target, ome_zarr=version)
    here = converted(slide, tmp_path / "x.zarr", ome_zarr=version)
    assert there.manifest == here.manifest
    assert (there.status, there.objects) == (here.status, here.objects)
    ours, theirs = local(tmp_path / "x.zarr"), contents(object_server, target.text)
    assert set(ours) == set(theirs)
    assert {name for name in ours if ours[name] != theirs[name]} <= ROOTS
    report = verify_store(target, slide=slide, depth="full")
    assert report.violations == []
    assert report.compared
    assert set(object_server.objects(target.text.rpartition("/")[0])) == {f"x.zarr/{name}" for name in theirs}


def test_command_line(object_server: ObjectServer, prefix: str, svs: Path) -> None:
    process = command("convert", svs, "-o", f"{prefix}/deep er/x.ome.zarr", "--json", *OPTIONS)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    receipt = json.loads(out)
    assert receipt["output"] == f"{prefix}/deep er/x.ome.zarr"
    process = command("verify", f"{prefix}/deep er/x.ome.zarr", "--depth", "full", "--source", svs, "--json")
    found = json.loads(process.communicate(timeout=240)[0])
    assert process.returncode == 0
    assert found["store"] == receipt["output"]
    assert found["ok"]
    assert found["source"]["compared_pixels"] > 700 * 800
    assert found["source"]["different"] == 0


def test_local_conversions_do_not_pay(svs: Path, tmp_path: Path) -> None:
    words = ["convert", str(svs), "-o", str(tmp_path / "x.zarr"), "--json"]
    script = f"import sys; from flows.cli import run; run({words!r}); print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_folder_of_several(object_server: ObjectServer, prefix: str, svs: Path, made: Made, capfd: Any) -> None:
    second = made("second one#?.svs", lambda path: make_svs(path, Svs(size=(200, 210), steps=())))
    assert run(["convert", str(svs), str(second), "-o", f"{prefix}/", "--json", *OPTIONS]) == 0
    receipts = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    names = ["object.ome.zarr", "second one#%3F~31e94215.ome.zarr"]  # the mark: SHA-256 of the name as it was
    assert [receipt["output"] for receipt in receipts] == [f"{prefix}/{name}" for name in names]
    assert {name.partition("/")[0] for name in object_server.objects(prefix)} == set(names)
    assert run(["convert", str(svs), str(second), "-o", f"{prefix}/", "--json", "--exists", "skip", *OPTIONS]) == 0
    assert {json.loads(line)["status"] for line in capfd.readouterr().out.splitlines()} == {"skipped"}


@pytest.mark.parametrize(
    "out", ["gs://bucket/x", "s3:///x", "s3://bucket//x", "s3://bucket/../x", "s3://key:secret@bucket/x", "S3://bucket/x"]
)
def test_no_output(svs: Path, capfd: Any, out: str) -> None:
    assert run(["convert", str(svs), "-o", out, "--json"]) == 2
    said = capfd.readouterr()
    assert "secret" not in said.out + said.err


def test_more_keys_than_a_page(object_server: ObjectServer, target: Url) -> None:
    stage = open_object_stage(target, replace=False, stopped=lambda: False)
    for number in range(1100):
        stage.write(f"0/c/{number}", [b"chunk %d" % number])
    write_manifest(stage)
    stage.write_root("zarr.json", b"{}")
    stage.sync()
    stage.publish()
    stage.discard()
    assert len(object_server.objects(target.text)) == 1102
    assert not [v for v in verify_store(target, depth="full").violations if v.startswith("0/c/")]
    obstore.delete(object_server.client(folder_of(target.text)), "0/c/999")
    assert [v for v in verify_store(target).violations if v.startswith("0/c/")] == ["0/c/999: is missing"]


@pytest.mark.slow
def test_replacing_more_keys_than_a_page(object_server: ObjectServer, target: Url, tmp_path: Path) -> None:
    slide = slide_in(tmp_path / "in", size=(400, 420))
    for _ in range(2):
        receipt = converted(slide, target, chunk=16, shard=None, ome_zarr="0.4", exists="replace")
        assert len(object_server.objects(target.text)) == receipt.objects + 2 > 2000
        assert verify_store(target, slide=slide, depth="full").ok


# -- what is there already --


def test_exists(object_server: ObjectServer, target: Url, slide: Slide, tmp_path: Path) -> None:
    converted(slide, target)
    before = contents(object_server, target.text)
    with pytest.raises(Refused, match="exists already") as caught:
        converted(slide, target)
    assert exit_code(caught.value) == 5
    for words in ({"exists": "skip"}, {"resume": True}):
        assert converted(slide, target, **words).status == "skipped"
        with pytest.raises(Refused, match="another slide"):
            converted(slide, target, codec="zstd-1", **words)
    assert contents(object_server, target.text) == before


@pytest.mark.parametrize("versions", [("0.5", "0.4"), ("0.4", "0.5"), ("0.5", "0.5")])
def test_replace(object_server: ObjectServer, target: Url, tmp_path: Path, versions: tuple[str, str]) -> None:
    converted(slide_in(tmp_path / "in", 1, (500, 400)), target, ome_zarr=versions[0])
    other = slide_in(tmp_path / "in", 2)
    receipt = converted(other, target, ome_zarr=versions[1], exists="replace")
    assert verify_store(target, slide=other, depth="full").violations == []
    names = object_server.objects(target.text.rpartition("/")[0])
    assert len(names) == receipt.objects + (2 if versions[1] == "0.4" else 1)
    assert not [name for name in names if not name.startswith("x.zarr/")]


def test_a_replacement_that_fails_leaves_the_old_store(
    object_server: ObjectServer, target: Url, slide: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted(slide, target)
    before = contents(object_server, target.text.rpartition("/")[0])

    def lying(_store: object, **_: object) -> Any:
        assert opens(target)
        raise NotTrue("no")

    monkeypatch.setattr("converter.checking.verify.verify_store", lying)
    with pytest.raises(NotTrue):
        converted(slide_in(tmp_path / "in", 2), target, exists="replace")
    assert contents(object_server, target.text.rpartition("/")[0]) == before


@pytest.mark.parametrize("exists", ["fail", "skip", "replace"])
@pytest.mark.parametrize("key", ["x.zarr/letter.txt", "x.zarr/0/c/0/0/0", "x.zarr"])
def test_what_is_no_store_is_left(object_server: ObjectServer, target: Url, slide: Slide, key: str, exists: str) -> None:
    prefix = target.text.rpartition("/")[0]
    obstore.put(object_server.client(folder_of(prefix)), key, b"dear")
    if key == "x.zarr":  # an object, not a folder: a store beside it is possible in S3, and no harm to it
        assert verify_store(target).violations
        return
    with pytest.raises(Refused, match="no store"):
        converted(slide, target, exists=exists)
    assert contents(object_server, prefix) == {key: b"dear"}


def test_neighbours_are_left(object_server: ObjectServer, target: Url, slide: Slide) -> None:
    client = object_server.client(folder_of(target.text.rpartition("/")[0]))
    names = ["x.zarr.old/0/c/0", "x.zar", "y.zarr/zarr.json", ".stage/y.zarr/claim.json", ".stage/x.zarr2/a"]
    for name in names:
        obstore.put(client, name, b"theirs")
    converted(slide, target)
    converted(slide, target, exists="replace")
    found = object_server.objects(target.text.rpartition("/")[0])
    assert {name for name in found if not name.startswith("x.zarr/")} == set(names)


def test_a_store_cannot_replace_itself(object_server: ObjectServer, target: Url, slide: Slide) -> None:
    converted(slide, target)
    with pytest.raises(Refused, match="itself"):
        convert(target, target, Conversion(Options(exists="replace")))
    assert opens(target)


# -- verifying --


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_damage_is_named(object_server: ObjectServer, target: Url, slide: Slide, version: str) -> None:
    converted(slide, target, ome_zarr=version)
    client = object_server.client(folder_of(target.text))
    good = contents(object_server, target.text)
    chunks = sorted(name for name in good if name.startswith("0/") and not name.endswith(("zarr.json", ".zarray")))
    first, second = chunks[0], chunks[1]
    flipped = bytes([good[first][0] ^ 1]) + good[first][1:]
    for name, data, depth in (
        (first, None, "quick"), (second, b"", "quick"), (second, good[second][:-1], "quick"), (first, flipped, "full"),
        ("0/c/9/9/9", b"extra", "quick"), ("OME/manifest.json", good["OME/manifest.json"] + b" ", "quick"),
        ("OME/METADATA.ome.xml", good["OME/METADATA.ome.xml"].replace(b"OME", b"OMF", 1), "full"),
    ):  # fmt: skip
        obstore.delete(client, name) if data is None else obstore.put(client, name, data)
        report = verify_store(target, depth=depth)
        assert any(v.startswith(f"{name}:") for v in report.violations), (name, report.violations)
        obstore.put(client, name, good[name]) if name in good else obstore.delete(client, name)
    assert verify_store(target, slide=slide, depth="full").violations == []


def test_verify_of_nothing(object_server: ObjectServer, prefix: str, capfd: Any) -> None:
    assert run(["verify", f"{prefix}/none.zarr", "--json"]) == 4
    assert not json.loads(capfd.readouterr().out)["ok"]


# -- credentials --


@pytest.mark.parametrize(
    ("credentials", "exists"), [(("NOBODYNOBODY", "a-secret-of-nobody"), "fail"), ((WRITER[0], "a-wrong-secret"), "skip")]
)
def test_wrong_credentials(
    object_server: ObjectServer, target: Url, svs: Path, monkeypatch: pytest.MonkeyPatch, *, credentials: Any, exists: str
) -> None:
    for name, value in object_server.environment(credentials=credentials).items():
        monkeypatch.setenv(name, value)
    process = command("convert", svs, "-o", target, "--json", "--exists", exists, *OPTIONS)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 6, out + err
    error = json.loads(out)["error"]
    assert (error["kind"], error["retryable"]) == ("auth", False)
    assert "AWS_SECRET_ACCESS_KEY" in error["message"]
    for secret in (*credentials, *ADMIN):
        assert secret not in out + err
    assert object_server.objects(target.text) == {}


def test_verify_with_wrong_credentials(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    converted(slide, target)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    assert run(["verify", str(target), "--json"]) == 6
    said = capfd.readouterr()
    assert json.loads(said.out)["error"]["kind"] == "auth"
    assert "a-wrong-secret" not in said.out + said.err


@pytest.mark.slow
def test_nobody_listens(target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    from converter.objects.client import Patience

    monkeypatch.setattr("converter.publishing.object_stage.Client", lambda url: Client(url, Patience(request_s=0.5)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(OutputFailed) as caught:
        converted(slide, target)
    found = error_json(caught.value)
    assert (found["kind"], found["retryable"], exit_code(caught.value)) == ("network", True, 6)
    assert run(["verify", str(target), "--json"]) == 6
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "network"


def test_pixels(object_server: ObjectServer, target: Url, slide: Slide) -> None:
    """An independent reader: zarr-python on obstore."""
    import zarr
    from zarr.storage import ObjectStore

    converted(slide, target)
    store = ObjectStore(object_server.client(folder_of(target.text)), read_only=True)
    array = zarr.open_array(store=store, path="0", mode="r")
    np.testing.assert_array_equal(np.asarray(array[...]), texture((1, 3, 1, 200, 190))[0, :, 0])
