"""Names that are too long, disks that cannot be written, and stores that hold what is no file: told before any work."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.checking.verify import verify_store
from converter.convert import Conversion, convert
from converter.errors import NoSpace, OutputFailed, Refused
from converter.options import Options
from converter.publishing.existing import require_space
from converter.publishing.stage import open_stage
from drivers import open_slide
from drivers.errors import UnsafePath
from flows.naming import store_name
from tests.made.svs import Svs, make_svs

ROOT = Path(__file__).resolve().parents[2]
LONG = ["é" * 125, "a" * 251, "漢" * 83, "x" + "é" * 124, "\U0001f52c" * 62, "%" * 250, "é" * 60 + "\n" * 60]


def converted(path: Path, folder: Path, target: str = "x.ome.zarr") -> Path:
    convert(path, folder / target, Conversion(Options(verify="none", workers=1)))
    return folder / target


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_svs(tmp_path_factory.mktemp("places") / "s.svs", Svs(size=(60, 61), steps=(), associated=()))


@pytest.mark.parametrize("stem", LONG, ids=ascii)
def test_a_name_as_long_as_the_file_system_allows(slide: Path, tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.svs"
    shutil.copy(slide, path)
    store = converted(path, tmp_path / "out", target=store_name(path))
    assert len(os.fsencode(store.name)) <= 255
    assert store.name.isprintable()
    assert verify_store(store).ok


def test_cut_names_do_not_collide() -> None:
    names = [store_name(Path(f"{'é' * 120}{end}.svs")) for end in ("a", "b", "é")]
    assert len(set(names)) == 3
    assert all(name.encode().decode() == name for name in names)


def test_no_escape_is_cut() -> None:
    for count in range(60, 70):
        kept = store_name(Path("a" * (count % 3) + "\n" * count + ".svs")).removesuffix(".ome.zarr").partition("~")[0]
        assert kept.removeprefix("a" * (count % 3)).replace("%0A", "") == ""


@pytest.mark.parametrize("name", ["é" * 128 + ".zarr", "a" * 300 + ".ome.zarr", "a" * 300 + "/x.zarr"], ids=ascii)
def test_an_output_whose_name_does_not_fit(slide: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="bytes"):
        converted(slide, tmp_path, target=name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_does_not_fit(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="more than"):
        converted(slide, tmp_path, target="/".join(["a" * 200] * 20) + "/x.zarr")
    assert list(tmp_path.iterdir()) == []


def test_the_stage_of_a_long_name(tmp_path: Path) -> None:
    stage = open_stage(tmp_path / ("\U0001f52c" * 60 + ".zarr"))
    assert len(os.fsencode(stage.folder.name)) < 130
    assert stage.folder.name.encode("utf-8")
    stage.discard()


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Mount a small disk with these options."""

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.getuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        request.addfinalizer(lambda: subprocess.run(["umount", str(place)], check=True))
        return place

    return mount


def test_the_reserve_is_named(disk: Callable[[str], Path]) -> None:
    with pytest.raises(NoSpace, match="13 MiB will be written and 64 MiB stay in reserve, 20 MiB are free"):
        require_space(disk("size=20m") / "x.zarr", 13 << 20)


def test_a_read_only_disk_is_not_called_full(disk: Callable[[str], Path]) -> None:
    with pytest.raises(OutputFailed, match="read-only"):
        require_space(disk("size=500m,ro") / "new" / "x.zarr", 1)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o20600, os.makedev(5, 0))
    except PermissionError:
        pytest.skip("no device can be made here")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("make", [fifo, device, unix_socket])
@pytest.mark.parametrize("key", ["0/c/0/0/0", "zarr.json", "0/zarr.json", "OME/METADATA.ome.xml", "extra"])
def test_what_is_no_file_is_not_opened(
    slide: Path, tmp_path: Path, *, key: str, make: Callable[[Path], None], depth: str
) -> None:
    store = converted(slide, tmp_path)
    (store / key).unlink(missing_ok=True)
    make(store / key)
    report = verify_store(store, depth=depth)
    assert any("no regular file" in found for found in report.violations), report.violations
    with pytest.raises(UnsafePath):
        open_slide(store)


@pytest.mark.parametrize("key", ["0/c/0/0/0", "extra"])
def test_a_link_to_itself_is_named(slide: Path, tmp_path: Path, key: str) -> None:
    store = converted(slide, tmp_path)
    (store / key).unlink(missing_ok=True)
    (store / key).symlink_to((store / key).name)
    report = verify_store(store)
    assert any(f"{key!r} is a link that leads back to itself" in found for found in report.violations), report.violations
    with pytest.raises(UnsafePath, match=key):
        open_slide(store)
