"""OME-Zarr behind http and s3 URLs: real servers on this machine; what a folder shows is what its URL shows."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converter.convert import Conversion, convert
from converter.errors import SourceChanged
from converter.fingerprint import slide_fingerprint
from converter.inspection import inspection
from converter.options import Options
from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, Unreadable, UnsafePath, Unsupported
from drivers.geometry import Box
from drivers.location import Url, location
from drivers.model import Level, Pixels, Scene, Slide
from drivers.zarrstore import remote
from flows.naming import store_name
from tests.drivers import test_conformance as contract
from tests.drivers.test_omezarr import XML
from tests.flows.test_cli import Cli, cli, signals_restored  # noqa: F401 - fixtures
from tests.made.omezarr import STORES, Store, make_layout, make_plate, make_store, picture
from tests.support.stores import SMALL, violations
from tests.support.web_server import WebServer, serving

if TYPE_CHECKING:
    from tests.support.object_server import ObjectServer

pytest_plugins = ["tests.support.object_server"]
pytestmark = pytest.mark.usefixtures("files_closed")
OLD = Store(version="0.4", size=(2, 90, 101), chunk=(1, 32, 48), levels=2)
SHARDED = Store(size=(2, 90, 101), chunk=(1, 32, 48), shard=(2, 64, 96), levels=1)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server of the test's folder."""
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as server:
        yield server


@pytest.fixture(params=["http", "s3"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], str]:
    """`served(folder)`: its URL, once on a web server and once in a bucket."""
    if request.param == "http":
        server = request.getfixturevalue("web")

        def on_web(folder: Path) -> str:
            if not (server.folder / folder.name).exists():
                (server.folder / folder.name).symlink_to(folder)
            return server.url(folder.name)

        return on_web
    objects, prefix = request.getfixturevalue("object_server"), request.getfixturevalue("prefix")

    def in_bucket(folder: Path) -> str:
        objects.upload(folder, f"{prefix}/{folder.name}")
        return f"{prefix}/{folder.name}"

    return in_bucket


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def told(scene: Scene) -> tuple[Any, ...]:
    """What a scene says of itself."""
    shapes = [(level.shape, level.scale, level.tile, level.dtype, level.compression, level.fill) for level in scene.levels]
    return scene.name, shapes, scene.channels, scene.pixel_size, scene.rgb, scene.facts, scene.magnification


def same(slide: Slide, other: Slide) -> None:
    """Two slides tell and show the same."""
    assert [told(scene) for scene in slide.scenes] == [told(scene) for scene in other.scenes]
    assert list(slide.associated) == list(other.associated)
    for scene, there in zip(slide.scenes, other.scenes, strict=True):
        for level, expected in zip(scene.levels, there.levels, strict=True):
            np.testing.assert_array_equal(whole(level), whole(expected))


@pytest.mark.parametrize("name", [name for name, _, _ in STORES])
def test_every_made_store(name: str, made: Callable[..., Path], served: Callable[[Path], str]) -> None:
    path = made(name, {n: maker for n, maker, _ in STORES}[name])
    url = served(path)
    with open_slide(path) as here, open_slide(url) as there:
        same(there, here)
        assert there.path == Url(url)
        assert not there.files
        contract.test_eight_threads_read_what_one_reads(there)


@pytest.mark.parametrize("series", [True, False])
def test_bioformats2raw_layout(tmp_path: Path, served: Callable[[Path], str], series: bool) -> None:
    path = make_layout(tmp_path / "a.zarr", [("0", OLD), ("1", replace(OLD, levels=1))], XML, series=series)
    with open_slide(path) as here, open_slide(served(path)) as there:
        same(there, here)
        assert there.scenes[0].facts.ome_xml == XML


def test_plates_and_labels(tmp_path: Path, served: Callable[[Path], str]) -> None:
    path = make_plate(tmp_path / "plate.zarr", replace(OLD, name=None))
    with open_slide(path) as here, open_slide(served(path)) as there:
        same(there, here)
        assert len(there.scenes) == 3


def test_nested_chunks_of_0_1(tmp_path: Path, served: Callable[[Path], str]) -> None:
    store = Store(version="0.1", separator="/", axes="tczyx", size=(1, 2, 1, 90, 101), chunk=(1, 1, 1, 32, 48), levels=1)
    path = make_store(tmp_path / "a.zarr", store)
    with open_slide(served(path)) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), picture(store)[0])


def test_a_store_of_our_own_comes_back_with_what_is_beside_the_image(
    tmp_path: Path, made: Callable[..., Path], served: Callable[[Path], str]
) -> None:
    from tests.made.svs import Svs, make_svs

    svs = made("carried.svs", lambda path: make_svs(path, Svs(size=(300, 260), steps=())))
    convert(svs, tmp_path / "own.ome.zarr", Conversion(Options(**SMALL)))
    with open_slide(tmp_path / "own.ome.zarr") as here, open_slide(served(tmp_path / "own.ome.zarr")) as there:
        same(there, here)
        assert list(there.associated) == ["thumbnail"]
        assert there.scenes[0].icc == here.scenes[0].icc is not None


# -- the commands --


@pytest.mark.usefixtures("signals_restored")
def test_commands(tmp_path: Path, served: Callable[[Path], str], cli: Cli) -> None:  # noqa: F811
    store = Store(version="0.4", codec="blosc", size=(3, 300, 290), chunk=(1, 64, 64))
    path = make_store(tmp_path / "old.ome.zarr", store)
    url = served(path)
    _, here = cli.json("inspect", path)
    code, found = cli.json("inspect", url)
    assert code == 0
    assert found["path"] == url
    assert found["scenes"] == here["scenes"]
    assert f"{url}/0/.zarray" in found["files"]
    assert found["bytes"] == (here["bytes"] if url.startswith("s3") else None)
    code, found = cli.json("plan", url)
    assert code == 0
    assert [level["source"] for level in found["scenes"][0]["levels"]] == ["native:0", "native:1", "native:2"]
    words = ["--chunk", "64", "--shard", "128", "--verify", "full", "-o", tmp_path / "out"]
    code, receipt = cli.json("convert", url, *words)
    assert (code, receipt["status"], receipt["path"]) == (0, "done", url)
    new = tmp_path / "out" / "old.ome.zarr"
    assert violations(new) == []
    with open_slide(path) as before, open_slide(new) as after:
        for old, level in zip(before.scenes[0].levels, after.scenes[0].levels, strict=False):  # there is one more
            np.testing.assert_array_equal(whole(level), whole(old))
    assert json.loads((new / "zarr.json").read_text())["attributes"]["slidemill"]["path"] == "old.ome.zarr"
    assert cli.json("convert", url, *words, "--exists", "skip")[1]["status"] == "skipped"
    assert cli.json("verify", new, "--source", url, "--depth", "full")[1]["source"]["different"] == 0


def test_sharded_stores_convert_alike(tmp_path: Path, served: Callable[[Path], str]) -> None:
    path = make_store(tmp_path / "a.zarr", replace(SHARDED, dtype="u2"))
    local, remote = tmp_path / "local.zarr", tmp_path / "remote.zarr"
    convert(path, local, Conversion(Options(**SMALL)))
    convert(location(served(path)), remote, Conversion(Options(**SMALL)))
    with open_slide(local) as here, open_slide(remote) as there:
        same(there, here)


# -- what is asked --


def test_each_chunk_is_one_request(tmp_path: Path, web: WebServer) -> None:
    make_store(web.folder / "a.zarr", OLD)
    with open_slide(web.url("a.zarr")) as slide:
        web.asked.clear()
        whole(slide.scenes[0].levels[0])
        assert sorted(web.asked) == sorted(set(web.asked))
        assert len(web.asked) == 2 * 3 * 3
        assert {method for method, _ in web.asked} == {"GET"}


def test_the_index_of_a_shard_is_asked_for_once(tmp_path: Path, web: WebServer) -> None:
    make_store(web.folder / "a.zarr", SHARDED)
    with open_slide(web.url("a.zarr")) as slide:
        web.asked.clear()
        whole(slide.scenes[0].levels[0])
        shards, chunks = 4, 2 * 3 * 3
        assert [method for method, _ in web.asked].count("HEAD") == shards
        assert [method for method, _ in web.asked].count("GET") == shards + chunks


def test_what_the_listing_does_not_have_is_not_asked_for(prefix: str, object_server: ObjectServer, tmp_path: Path) -> None:
    store = replace(OLD, blank=True, fill=9, levels=1)
    path = make_store(tmp_path / "a.zarr", store)
    object_server.upload(path, f"{prefix}/a.zarr")
    with open_slide(f"{prefix}/a.zarr") as slide:
        level = slide.scenes[0].levels[0]
        assert len(level.index.gaps()) == 6
        np.testing.assert_array_equal(whole(level)[0, :, 0], picture(store)[0])


# -- identity --


def test_the_fingerprint_is_of_the_listing(prefix: str, object_server: ObjectServer, tmp_path: Path) -> None:
    import obstore

    path = make_store(tmp_path / "a.zarr", replace(OLD, codec="none"))
    object_server.upload(path, f"{prefix}/a.zarr")
    with open_slide(f"{prefix}/a.zarr") as slide:
        before = slide_fingerprint(slide)
        assert slide_fingerprint(slide) == before
        assert not any("lists no files" in warning for warning in slide.warnings)
        data = bytearray((path / "0/0/0/0").read_bytes())
        data[7] ^= 1  # the size stays
        obstore.put(object_server.client(prefix.rpartition("/")[2]), "a.zarr/0/0/0/0", bytes(data))
        assert slide_fingerprint(slide) != before


def test_the_fingerprint_of_a_web_server_is_of_the_metadata(web: WebServer) -> None:
    path = make_store(web.folder / "a.zarr", OLD)
    with open_slide(web.url("a.zarr")) as slide:
        before = slide_fingerprint(slide)
        assert any("the fingerprint covers the metadata" in warning for warning in slide.warnings)
        document = json.loads((path / ".zattrs").read_text())
        (path / ".zattrs").write_text(json.dumps({**document, "more": 1}))
        assert slide_fingerprint(slide) != before
        (path / ".zattrs").unlink()
        with pytest.raises(Unreadable, match=r"a\.zarr: \.zattrs is not there any more"):
            slide_fingerprint(slide)


def test_a_store_that_changes_meanwhile_is_discarded(tmp_path: Path, web: WebServer) -> None:
    path = make_store(web.folder / "a.zarr", OLD)

    def observe(_name: str, _amount: object) -> None:
        document = json.loads((path / ".zattrs").read_text())
        (path / ".zattrs").write_text(json.dumps({**document, "more": 1}))

    with pytest.raises(SourceChanged, match=r"a\.zarr"):
        convert(Url(web.url("a.zarr")), tmp_path / "out.zarr", Conversion(Options(**SMALL), observe=observe))
    assert not (tmp_path / "out.zarr").exists()


# -- what is wrong --


def test_nothing_there(served: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(Incomplete, match=r"empty\.zarr: no Zarr group is there; check the URL"):
        open_slide(served(tmp_path / "empty.zarr"))


def test_an_array_is_no_image(served: Callable[[Path], str], tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", OLD)
    with pytest.raises(Unsupported, match=r"0: is a Zarr array"):
        open_slide(served(path / "0"))


def test_a_slide_of_another_format(web: WebServer) -> None:
    (web.folder / "x.svs").write_bytes(b"II*\0")
    with pytest.raises(Incomplete, match=r"x\.svs: .*only OME-Zarr is read from URLs"):
        open_slide(web.url("x.svs"))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote._RETRIES, "max_retries", 1)  # ten take their time
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unreadable, match=r"a\.zarr: zarr\.json: .*error sending request") as caught:
        open_slide(f"http://127.0.0.1:{port}/a.zarr")
    assert caught.value.retryable
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("ftp://host/a.zarr", Unsupported, "scheme 'ftp'"),
        ("gs://bucket/a.zarr", Unsupported, "http, https, s3"),
        ("file:///etc/a.zarr", Unsupported, "scheme 'file'"),
        ("http://me:word@host/a.zarr", UnsafePath, "environment"),
        ("s3://key:word@bucket/a.zarr", UnsafePath, "environment"),
        ("https://host/a.zarr?X-Amz-Signature=1234", Unsupported, "signed"),
        ("http:///a.zarr", UnsafePath, "is no URL"),
        ("http://host:99999/a.zarr", UnsafePath, "is no URL"),
        ("http://host/a\n.zarr", UnsafePath, "is no URL"),
    ],
)
def test_urls_that_are_not_opened(url: str, error: type[DriverError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        open_slide(url)
    assert "word@" not in str(caught.value)
    assert "1234" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_access_refused(web: WebServer) -> None:
    make_store(web.folder / "a.zarr", OLD)
    web.answer = lambda _: (403, b"no")
    with pytest.raises(Unreadable, match=r"a\.zarr: the server refuses access"):
        open_slide(web.url("a.zarr"))


def test_a_server_that_answers_403_for_what_is_absent(web: WebServer) -> None:
    make_store(web.folder / "a.zarr", replace(OLD, blank=True, fill=9))
    web.answer = lambda path: None if (web.folder / path[1:]).is_file() else (403, b"no")
    words = r"a\.zarr: array 0, chunk 0/0/0: .*refuses"  # blank, or not for us? Never blank without being sure
    with open_slide(web.url("a.zarr")) as slide, pytest.raises(Unreadable, match=words):
        whole(slide.scenes[0].levels[0])


def test_wrong_credentials(prefix: str, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    object_server.upload(make_store(tmp_path / "a.zarr", OLD), f"{prefix}/a.zarr")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(Unreadable, match=r"a\.zarr: access is refused; .*AWS_ACCESS_KEY_ID") as caught:
        open_slide(f"{prefix}/a.zarr")
    assert "not-the-secret" not in str(caught.value)
    assert not caught.value.retryable


def test_an_endpoint_that_is_no_url(prefix: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(Unreadable, match=r"a\.zarr: .*AWS_ENDPOINT_URL"):
        open_slide(f"{prefix}/a.zarr")
    capfd.readouterr()  # obstore writes to standard error by itself


@pytest.mark.slow  # the last of several ways to find them takes its time
def test_without_credentials(prefix: str, monkeypatch: pytest.MonkeyPatch, web: WebServer) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", web.url("").rstrip("/"))  # the machine tells no credentials
    monkeypatch.setattr("drivers.zarrstore.remote._CREDENTIAL_HOSTS", ("latest/api/token", "latest/meta-data"))
    with pytest.raises(Unreadable, match=r"a\.zarr: access is refused; .*AWS_ACCESS_KEY_ID"):
        open_slide(f"{prefix}/a.zarr")


def test_no_such_bucket(prefix: str) -> None:
    _ = prefix
    with pytest.raises((Incomplete, Unreadable), match=r"a\.zarr"):
        open_slide("s3://no-such-bucket/a.zarr")


def broken(path: str, answer: tuple[int, bytes]) -> Callable[[str], tuple[int, bytes] | None]:
    """An answer for one path."""
    return lambda asked: answer if asked.endswith(path) else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "answer", "error", "words"),
    [
        ("/.zattrs", (200, b"<html>welcome</html>"), Damaged, r"a\.zarr/\.zattrs: is no JSON"),
        ("/.zattrs", (500, b"<!DOCTYPE html>"), Unreadable, r"\.zattrs: .*500"),
        ("/0/.zarray", (404, b""), Incomplete, r"the array '0' is not there"),
        ("/0/0/0/0", (200, b"short"), Damaged, r"array 0, chunk 0/0/0: "),
        ("/0/0/0/0", (503, b"busy"), Unreadable, r"array 0, chunk 0/0/0: .*503"),
    ],
)
def test_answers_that_are_wrong(
    web: WebServer, path: str, answer: tuple[int, bytes], error: type[DriverError], words: str
) -> None:
    make_store(web.folder / "a.zarr", OLD)
    web.answer = broken(path, answer)
    with pytest.raises(error, match=words) as caught, open_slide(web.url("a.zarr")) as slide:
        whole(slide.scenes[0].levels[0])
    assert str(caught.value).startswith("a.zarr: ")
    assert len(str(caught.value)) < 400


def test_a_damaged_index_is_told(web: WebServer) -> None:
    path = make_store(web.folder / "a.zarr", SHARDED)
    shard = next(p for p in sorted((path / "0" / "c").rglob("*")) if p.is_file())
    data = bytearray(shard.read_bytes())
    data[-5] ^= 0x55
    shard.write_bytes(data)
    with open_slide(web.url("a.zarr")) as slide, pytest.raises(Damaged, match=r"a\.zarr: array 0, chunk .*checksum"):
        whole(slide.scenes[0].levels[0])
    shard.write_bytes(data[:40])
    with open_slide(web.url("a.zarr")) as slide, pytest.raises(Damaged, match=r"a\.zarr: array 0, chunk .*truncated"):
        whole(slide.scenes[0].levels[0])


def test_a_server_without_ranges_has_no_shards(web: WebServer) -> None:
    make_store(web.folder / "a.zarr", SHARDED)
    web.ranges = False
    with open_slide(web.url("a.zarr")) as slide, pytest.raises(Unsupported, match=r"a\.zarr: .*range requests"):
        whole(slide.scenes[0].levels[0])


def test_huge_documents_are_not_fetched(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers import limits

    make_store(web.folder / "a.zarr", OLD)
    monkeypatch.setattr("drivers.zarrstore.node.LIMITS", replace(limits.LIMITS, metadata_bytes=20))
    with pytest.raises(LimitExceeded, match=r"a\.zarr: the size of \.zattrs is"):
        open_slide(web.url("a.zarr"))


# -- names --


def test_names_of_urls() -> None:
    assert location("x/y.zarr") == Path("x/y.zarr")
    url = location("https://host/folder/my%20slide.ome.zarr/")
    assert isinstance(url, Url)
    assert str(url) == "https://host/folder/my%20slide.ome.zarr"
    assert (url.name, url.stem, url.suffix) == ("my slide.ome.zarr", "my slide.ome", ".zarr")
    assert store_name(url) == "my slide.ome.zarr"
    assert Url("s3://bucket/a%20b").name == "a%20b"  # a key is no URL path: nothing to decode
    assert store_name(Path("a.zarr")) == "a.ome.zarr"


def test_names_that_need_encoding(web: WebServer) -> None:
    make_store(web.folder / "a b#ü.zarr", OLD)
    with open_slide(web.url("a%20b%23%C3%BC.zarr")) as slide:
        assert slide.path.name == "a b#ü.zarr"
        whole(slide.scenes[0].levels[0])
        assert inspection(slide)["path"] == web.url("a%20b%23%C3%BC.zarr")
