"""Copies of a Zarr store that lack files or have links in them: what is absent must not pass for fill without a word."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, UnsafePath
from drivers.geometry import Box
from tests.support.stores import SMALL

PIXELS = np.arange(256 * 256, dtype="u2").reshape(256, 256)
AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def store(path: Path, version: int = 3, shards: tuple[int, int] | None = None, blank: int = 0) -> Path:
    """Two levels in chunks of 32; the upper `blank` rows of the finer one hold the fill value, and are not stored."""
    group = zarr.open_group(path, mode="w", zarr_format=version)  # type: ignore[arg-type]
    fine = PIXELS.copy()
    fine[:blank] = 9
    for name, pixels in (("0", fine), ("1", fine[::2, ::2])):
        array: Any = group.create_array(name, shape=pixels.shape, chunks=(32, 32), shards=shards, dtype="u2", fill_value=9)
        array[:] = pixels
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [2.0**i, 2.0**i]}]} for i in range(2)
    ]
    multiscales = [{"version": "0.4", "axes": AXES, "datasets": datasets, "name": "a"}]
    old = {"multiscales": multiscales}
    group.attrs.update(old if version == 2 else {"ome": {"version": "0.5", **old}})
    return path


def whole(path: Path) -> Any:
    """Level 0."""
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        return paint(level, Box.of(level.shape))[0, 0, 0]


def told(path: Path) -> list[str]:
    with open_slide(path) as slide:
        return list(slide.warnings)


def renamed(path: Path, key: str, new: str) -> None:
    (path / new).parent.mkdir(parents=True, exist_ok=True)
    (path / key).rename(path / new)


def nested(path: Path) -> None:
    """As a copy by a program that takes the separator for granted."""
    for file in [file for file in (path / "0").iterdir() if not file.name.startswith(".")]:
        renamed(path, f"0/{file.name}", f"0/{file.name.replace('.', '/')}")


def stated_otherwise(path: Path) -> None:
    document = json.loads((path / "0" / ".zarray").read_text())
    (path / "0" / ".zarray").write_text(json.dumps(document | {"dimension_separator": "/"}))


@pytest.mark.parametrize(
    ("version", "change"),
    [
        (2, nested),
        (2, stated_otherwise),
        (3, lambda path: renamed(path, "0/c", "0/C")),
        (3, lambda path: renamed(path, "0/c", "0/d")),
    ],
    ids=["nested", "stated otherwise", "upper case", "another folder"],
)
def test_chunks_under_other_names_are_not_fill(tmp_path: Path, version: int, change: Callable[[Path], None]) -> None:
    path = store(tmp_path / "a.zarr", version)
    change(path)
    if (path / "0" / "d").exists():
        assert any("files of level 0 may be missing" in warning for warning in told(path))
        return
    with pytest.raises(Damaged, match="named as its metadata say"):
        open_slide(path)


@pytest.mark.parametrize(("version", "shards"), [(2, None), (3, None), (3, (64, 64))])
@pytest.mark.parametrize("rows", [128, 256])
def test_what_only_a_coarser_level_has_is_told(
    tmp_path: Path, version: int, shards: tuple[int, int] | None, rows: int
) -> None:
    path = store(tmp_path / "a.zarr", version, shards)
    assert not told(path)
    size = 64 if shards else 32
    for file in [file for file in (path / "0").rglob("*") if file.is_file() and file.name[0].isdecimal()]:
        y = int(file.name.split(".")[0]) if version == 2 else int(file.parent.name)
        if y * size < rows:
            file.unlink()
    assert any("files of level 0 may be missing" in warning for warning in told(path))


@pytest.mark.parametrize("shards", [None, (64, 64)])
@pytest.mark.parametrize("blank", [32, 100, 200, 256])
def test_blank_parts_of_a_whole_store_are_no_matter(tmp_path: Path, shards: tuple[int, int] | None, blank: int) -> None:
    path = store(tmp_path / "a.zarr", 3, shards, blank)
    assert not told(path)
    convert(path, tmp_path / "o.ome.zarr", Conversion(Options(**SMALL)))
    assert not told(tmp_path / "o.ome.zarr")


def test_links_to_folders_within_the_store_are_followed(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    renamed(path, "0/c/3", "elsewhere/3")
    (path / "0" / "c" / "3").symlink_to(path / "elsewhere" / "3")
    renamed(path, "0/c/2", "0/two")
    (path / "0" / "c" / "2").symlink_to("../two")
    np.testing.assert_array_equal(whole(path), PIXELS)


@pytest.mark.parametrize("circle", ["itself", "each other", "the store"])
def test_links_in_circles_end(tmp_path: Path, circle: str) -> None:
    path = store(tmp_path / "a.zarr")
    for name, other in {
        "itself": [("x", ".")],
        "each other": [("0/x", "../1"), ("1/x", "../0")],
        "the store": [("1/x", "..")],
    }[circle]:
        (path / name).symlink_to(other)
    np.testing.assert_array_equal(whole(path), PIXELS)


def dangling(path: Path, key: str) -> None:
    (path / key).unlink()
    (path / key).symlink_to("absent")


def loop(path: Path, key: str) -> None:
    (path / key).unlink()
    (path / key).symlink_to((path / key).name)


def piped(path: Path, key: str) -> None:
    (path / key).unlink()
    os.mkfifo(path / key)


def outside(path: Path, key: str) -> None:
    (path / key).rename(path.parent / "secret")
    (path / key).symlink_to(path.parent / "secret")


@pytest.mark.parametrize("key", ["0/c/1/1", "1/c/0/0", "notes"])
@pytest.mark.parametrize(
    ("change", "error"), [(dangling, Incomplete), (loop, UnsafePath), (piped, UnsafePath), (outside, UnsafePath)]
)
def test_what_is_no_file_of_the_store(
    tmp_path: Path, key: str, change: Callable[[Path, str], None], error: type[DriverError]
) -> None:
    path = store(tmp_path / "a.zarr")
    (path / "notes").touch()
    change(path, key)
    with pytest.raises(error, match=rf"a\.zarr: '{key}' is a"):
        open_slide(path)


def test_a_store_without_its_beginning_waits(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    (path / "zarr.json").unlink()
    with pytest.raises(Incomplete, match=r"is a Zarr store without its zarr\.json"):
        open_slide(path)
    shutil.rmtree(path / "0")
    with pytest.raises(Incomplete):
        open_slide(path)
