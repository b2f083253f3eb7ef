"""Finding drivers and the one that reads a file; errors that name the file in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.discovery import driver_for, find_drivers, open_slide, translated
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, Unreadable, UnsafePath, Unsupported
from drivers.model import Driver, Slide
from tests.support.memory_driver import memory_slide

pytestmark = pytest.mark.usefixtures("files_closed")


def driver(name: str, *, claims: bool = True, specific: bool = True, opens: Callable[[Path], Slide] | None = None) -> Driver:
    """A driver that claims every file or none."""
    return Driver(name, (".x",), lambda _path, _head: claims, opens or (lambda _: memory_slide([])), specific)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Some file."""
    path = tmp_path / "some.x"
    path.write_bytes(b"content")
    return path


def test_own_drivers_are_found_and_load() -> None:
    found = find_drivers()
    assert [f.name for f in found] == sorted(f.name for f in found)
    assert "aperio" in [f.name for f in found]
    for entry in found:
        assert entry.error is None
        assert entry.driver is not None
        assert entry.driver.suffixes
        assert all(suffix.startswith(".") for suffix in entry.driver.suffixes)


def test_drivers_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found.name for found in find_drivers()].count("aperio") == 1
    installed = tmp_path / "others-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[slidemill.drivers]\n"
        "good = drivers.formats.aperio:DRIVER\n"
        "absent = no_such_module_anywhere:DRIVER\n"
        "nothing = drivers.formats.aperio:NOTHING\n"
        "other = drivers.formats.aperio:matches\n"
        "[console_scripts]\n"
        "else = drivers.formats.aperio:NOTHING\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    errors = {found.name: found.error for found in find_drivers() if found.error}
    assert set(errors) == {"absent", "nothing", "other"}
    assert errors["absent"].startswith("ModuleNotFoundError")
    assert errors["nothing"].startswith("AttributeError")
    assert "is function, not a Driver" in errors["other"]
    assert [found.name for found in find_drivers()].count("aperio") == 2


def test_the_specific_driver_wins(file: Path) -> None:
    general, special = driver("general", specific=False), driver("special")
    assert driver_for(file, [general, special]) is special
    assert driver_for(file, [special, general]) is special
    assert driver_for(file, [general, driver("special", claims=False)]) is general


@pytest.mark.parametrize("specific", [True, False])
def test_two_equal_claims_are_an_error_in_any_order(file: Path, specific: bool) -> None:
    both = [driver("one", specific=specific), driver("two", specific=specific)]
    for order in (both, both[::-1]):
        with pytest.raises(Unsupported, match=r"some\.x: claimed by several drivers \(one, two\)"):
            driver_for(file, order)


def test_no_claim_is_unsupported(file: Path) -> None:
    with pytest.raises(Unsupported, match=r"some\.x: no driver recognises this file"):
        driver_for(file, [driver("one", claims=False)])
    with pytest.raises(Unsupported, match=r"some\.x"):
        open_slide(file, [])
    with pytest.raises(Unsupported, match=r"some\.x"):
        open_slide(str(file))


def test_drivers_see_the_head_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.x"
    path.write_bytes(bytes(range(256)) * 40)
    seen: list[bytes] = []
    watching = Driver("watching", (), lambda _path, head: bool(seen.append(head)), lambda _: memory_slide([]))
    with pytest.raises(Unsupported):
        driver_for(path, [watching])
    assert seen == [path.read_bytes()[:4096]]


def test_open_slide_opens_with_the_driver_found(file: Path) -> None:
    slide = memory_slide([])
    assert open_slide(file, [driver("one", opens=lambda _: slide)]) is slide


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyError("tag"), Damaged),
        (ZeroDivisionError("division by zero"), Damaged),
        (RecursionError("too deep"), Damaged),
        (OSError("no number"), Damaged),
        (OSError(errno.EINVAL, "Invalid argument"), Damaged),
        (OSError(errno.EIO, "Input/output error"), Unreadable),
        (PermissionError(errno.EACCES, "Permission denied"), Unreadable),
        (MemoryError(), LimitExceeded),
        (ValueError("two\nlines\n" + "x" * 5000), Damaged),
        (Incomplete("some.x: a companion is missing"), Incomplete),
    ],
)
def test_whatever_a_library_raises_becomes_a_driver_error(file: Path, raised: Exception, expected: type[DriverError]) -> None:
    def opens(_: Path) -> Slide:
        raise raised

    with pytest.raises(DriverError, match=r"some\.x") as caught:
        open_slide(file, [driver("one", opens=opens)])
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert type(translated(raised, "some.x")) is expected


def test_an_interrupt_is_not_translated(file: Path) -> None:
    def opens(_: Path) -> Slide:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_slide(file, [driver("one", opens=opens)])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match=r"none\.svs: no such file") as caught:
        open_slide(tmp_path / "none.svs")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.retryable


def test_a_path_that_is_none() -> None:
    with pytest.raises(UnsafePath, match="null"):
        open_slide("a\0b.svs")


@pytest.mark.parametrize(
    "name", ["two\nlines.svs", "tab\t.svs", "\x1b[31mred.svs", "\u202egpj.svs", os.fsdecode(b"\xff.svs")]
)
def test_messages_stay_one_printable_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    with pytest.raises(Unsupported) as caught:
        open_slide(path)
    assert str(caught.value).isprintable()
    assert ".svs" in str(caught.value)


def test_kinds_are_distinct_words() -> None:
    classes = [Unsupported, Damaged, Incomplete, Unreadable, LimitExceeded, UnsafePath]
    assert len({c.kind for c in classes}) == len(classes)
    assert {c for c in classes if c.retryable} == {Incomplete, Unreadable}
