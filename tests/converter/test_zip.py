"""One ZIP file as a store (RFC-9): laid out as asked, read by readers that are not ours, checked, refused when broken."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from zarr.storage import ZipStore

from converter.checking.record import stored_receipt
from converter.checking.stored import files_of
from converter.checking.verify import verify_store
from converter.convert import Conversion, convert
from converter.errors import OptionError, Refused
from converter.options import Options
from converter.publishing import zip_stage
from converter.receipt import Receipt
from drivers import open_slide
from drivers.errors import Damaged, DriverError, UnsafePath, Unsupported
from drivers.geometry import Box
from drivers.location import Url
from drivers.paint import paint
from drivers.zarrstore.zipped import open_zip
from flows.cli import run
from tests.made.svs import Svs, make_svs

pytestmark = pytest.mark.usefixtures("files_closed")


def converted(path: Path, target: Path, **options: object) -> Receipt:
    return convert(path, target, Conversion(Options(**{"verify": "full", "workers": 2} | options)))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_svs(tmp_path_factory.mktemp("zip") / "slide.svs", Svs(size=(900, 1100)))


@pytest.fixture(scope="module")
def whole(slide: Path) -> Path:
    converted(slide, slide.with_name("whole.ozx"), chunk=128, shard=256)
    return slide.with_name("whole.ozx")


@pytest.fixture
def ozx(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "slide.ozx"))


@pytest.mark.parametrize("name", ["x.ozx", "x.OZX", "x.ome.zarr.zip", "x.zarr.zip"])
def test_the_names_that_ask_for_one_file(slide: Path, tmp_path: Path, name: str) -> None:
    assert run(["convert", str(slide), "-o", str(tmp_path / name), "--verify", "full"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert zipfile.is_zipfile(tmp_path / name)
    assert run(["verify", str(tmp_path / name), "--source", str(slide), "--depth", "full"]) == 0


def test_it_is_laid_out_as_rfc_9_asks(whole: Path) -> None:
    with zipfile.ZipFile(whole) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
        assert json.loads(archive.comment) == {
            "ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}
        }
        root = json.loads(archive.read("zarr.json"))
    names = [entry.filename for entry in entries]
    documents = [name for name in names if name.endswith("zarr.json")]
    assert names[: len(documents)] == documents
    assert documents == sorted(documents, key=lambda name: (name.count("/"), name))
    assert names[len(documents) :] == sorted(names[len(documents) :])
    assert (names[0], entries[0].header_offset) == ("zarr.json", 0)
    offsets = [entry.header_offset for entry in entries[: len(documents)]]
    assert offsets == sorted(offsets)
    assert max(offsets) < min(entry.header_offset for entry in entries[len(documents) :])
    assert {(entry.compress_type, entry.compress_size - entry.file_size) for entry in entries} == {(zipfile.ZIP_STORED, 0)}
    assert root["attributes"]["ome"]["version"] == "0.5"


def test_no_byte_lies_outside_an_entry(whole: Path) -> None:
    """Readers that stream (bsdtar, unzip from a pipe) walk from header to header."""
    data = whole.read_bytes()
    position, seen = 0, 0
    while data[position : position + 4] == b"PK\x03\x04":
        name, extra = (int.from_bytes(data[position + at : position + at + 2], "little") for at in (26, 28))
        fields = data[position + 30 + name : position + 30 + name + extra]
        assert fields[:4] == b"\x01\x00\x10\x00"  # ZIP64 in every header
        position += 30 + name + extra + int.from_bytes(fields[4:12], "little")
        seen += 1
    assert data[position : position + 4] == b"PK\x01\x02"
    with zipfile.ZipFile(whole) as archive:
        assert seen == len(archive.infolist())


def test_other_readers_see_the_slide(slide: Path, whole: Path) -> None:
    with open_slide(slide) as opened:
        level = opened.scenes[0].levels[0]
        true = paint(level, Box.of(level.shape))[0, :, 0]
    with ZipStore(whole, mode="r") as store:
        np.testing.assert_array_equal(zarr.open_group(store, mode="r")["0"][:], true)
    place = {"driver": "zip", "base": f"file://{whole}", "path": "0/"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True).result()
    np.testing.assert_array_equal(array.read().result(), true)


def test_it_holds_what_the_folder_holds(slide: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slide.ome.zarr"
    receipt = converted(slide, folder, chunk=128, shard=256)
    found = stored_receipt(files_of(whole))
    assert found is not None
    assert found["manifest"] == receipt.manifest
    with zipfile.ZipFile(whole) as archive:
        for name in archive.namelist():
            if name != "zarr.json":
                assert archive.read(name) == (folder / name).read_bytes()


def test_it_is_a_slide_again(slide: Path, ozx: Path, tmp_path: Path) -> None:
    with open_slide(ozx) as again, open_slide(slide) as first:
        assert (again.driver, again.files) == ("omezarr", [ozx])
        assert again.scenes[0].pixel_size == first.scenes[0].pixel_size
        level = again.scenes[0].levels[0]
        np.testing.assert_array_equal(
            paint(level, Box.of(level.shape)), paint(first.scenes[0].levels[0], Box.of(level.shape))
        )
    assert converted(ozx, tmp_path / "again.ome.zarr").status == "done"


def test_several_scenes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=True) as writer:
        for number in range(2):
            writer.write(np.full((40 + number, 50), number, np.uint8), metadata={"axes": "YX"})
    assert converted(tmp_path / "x.ome.tif", tmp_path / "x.ozx").status == "done"
    assert verify_store(tmp_path / "x.ozx", depth="full").ok
    with open_slide(tmp_path / "x.ozx") as slide:
        assert [scene.shape.y for scene in slide.scenes] == [40, 41]


@pytest.mark.parametrize("reserve", [0, 1, 400, 5000, 9990])
def test_metadata_that_needs_more_room_than_was_kept(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: int
) -> None:
    monkeypatch.setattr(zip_stage, "_FIXED_ROOM", reserve)
    monkeypatch.setattr(zip_stage, "_ROOM_AN_ARRAY", 0)
    monkeypatch.setattr(zip_stage, "_COPY", 1000)
    converted(slide, tmp_path / "x.ozx")
    with zipfile.ZipFile(tmp_path / "x.ozx") as archive:
        assert archive.testzip() is None
    test_no_byte_lies_outside_an_entry(tmp_path / "x.ozx")


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_paddings_fill_the_room(count: int) -> None:
    most = zip_stage._MOST_PADDING
    for spare in {0, *range(8, 40), *range(most - 20, most + 40), 2 * most + 3, count * most}:
        if spare <= count * most - 8 * (count - 1):
            found = list(zip_stage._paddings(spare, count))
            assert sum(found) == spare
            assert all(taken == 0 or 8 <= taken <= most for taken in found)


def test_what_is_there_is_skipped_kept_or_replaced(slide: Path, ozx: Path) -> None:
    before = ozx.read_bytes()
    options = {"chunk": 128, "shard": 256}
    assert converted(slide, ozx, exists="skip", **options).status == "skipped"
    with pytest.raises(Refused):
        converted(slide, ozx)
    assert ozx.read_bytes() == before
    assert converted(slide, ozx, exists="replace").status == "done"
    assert ozx.read_bytes() != before
    assert [path.name for path in ozx.parent.iterdir()] == [ozx.name]


@pytest.mark.parametrize("content", [b"dear", b"PK\x03\x04 no zip", b""])
def test_a_file_that_is_no_store_is_never_replaced(slide: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "letter.ozx").write_bytes(content)
    with pytest.raises(Refused):
        converted(slide, tmp_path / "letter.ozx", exists="replace")
    assert (tmp_path / "letter.ozx").read_bytes() == content


def test_what_a_zip_cannot_be(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"0\.5"):
        converted(slide, tmp_path / "x.ozx", ome_zarr="0.4")
    with pytest.raises(OptionError, match="local"):
        convert(slide, Url("s3://bucket/x.ozx"), Conversion(Options()))
    assert run(["convert", str(slide), str(slide), "-o", str(tmp_path / "x.ozx")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversion_leaves_no_file(slide: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from converter.publishing.zip_stage import ZipStage;"
        "from converter.convert import Conversion, convert; from converter.options import Options;"
        "ZipStage.write_root = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), Conversion(Options()))"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(slide), str(tmp_path / "x.ozx")], cwd=root, check=False)
    assert not (tmp_path / "x.ozx").exists()
    converted(slide, tmp_path / "x.ozx")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ozx"]


# -- what others zip, and what is broken --


def zipped(store: Path, target: Path, prefix: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    """A folder zipped by hand, with folders as entries of their own as most programs write them."""
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(store.rglob("*")):
            archive.write(path, prefix + path.relative_to(store).as_posix())
    return target


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("prefix", "method"), [("", 0), ("", 8), ("slide.ome.zarr/", 0), ("slide.ome.zarr/", 8)])
def test_a_store_zipped_by_hand(slide: Path, tmp_path: Path, *, version: str, prefix: str, method: int) -> None:
    converted(slide, tmp_path / "slide.ome.zarr", ome_zarr=version, verify="none")
    path = zipped(tmp_path / "slide.ome.zarr", tmp_path / "hand.zip", prefix, method)
    with open_slide(path) as opened, open_slide(slide) as first:
        level = opened.scenes[0].levels[0]
        np.testing.assert_array_equal(
            paint(level, Box.of(level.shape)), paint(first.scenes[0].levels[0], Box.of(level.shape))
        )
    assert verify_store(path, depth="full").ok


def test_a_zip_that_holds_no_store_is_nobodys(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(Unsupported, match="no driver"):
        open_slide(tmp_path / "x.zip")


def rewritten(path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            change(archive, name, data)


def flipped(path: Path, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(name).header_offset
    data = bytearray(path.read_bytes())
    at = start + 30 + int.from_bytes(data[start + 26 : start + 28], "little")
    at += int.from_bytes(data[start + 28 : start + 30], "little")
    data[at + 3] ^= 0x40
    path.write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], object], type[DriverError]]] = {
    "cut by one": (lambda path: os.truncate(path, path.stat().st_size - 1), Damaged),
    "cut in the directory": (lambda path: os.truncate(path, path.stat().st_size - 200), Damaged),
    "cut in the middle": (lambda path: os.truncate(path, path.stat().st_size // 2), Damaged),
    "front missing": (lambda path: path.write_bytes(path.read_bytes()[1000:]), DriverError),
    "root flipped": (lambda path: flipped(path, "zarr.json"), Damaged),
    "slip": (lambda path: rewritten(path, lambda a, n, d: a.writestr(n.replace("0/c", "../c"), d)), UnsafePath),
    "absolute": (lambda path: rewritten(path, lambda a, n, d: a.writestr("/" + n, d)), UnsafePath),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_zip(ozx: Path, kind: str) -> None:
    spoil, error = BROKEN[kind]
    spoil(ozx)
    with pytest.raises(error, match=r"slide\.ozx"):
        open_slide(ozx)
    assert run(["verify", str(ozx)]) == 4


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice(ozx: Path) -> None:
    with zipfile.ZipFile(ozx, "a") as archive:
        archive.writestr("0/c/0/0/0", b"another")
    with pytest.raises(Damaged, match="two entries"):
        open_zip(ozx)


def test_a_missing_entry_and_a_flipped_one_are_found(ozx: Path) -> None:
    rewritten(ozx, lambda archive, name, data: None if name == "0/c/0/1/1" else archive.writestr(name, data))
    assert any("0/c/0/1/1: is missing" in found for found in verify_store(ozx).violations)
    flipped(ozx, "0/c/0/0/0")
    assert any("SHA-256" in found for found in verify_store(ozx, depth="full").violations)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.ozx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", b"[" * (100 << 20))
    with pytest.raises(DriverError, match="limit"):
        open_slide(tmp_path / "bomb.ozx")
