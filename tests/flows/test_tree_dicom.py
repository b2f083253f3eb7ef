"""Folders with DICOM files on a command line: which are one slide, and which hold several."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset

from drivers import open_slide
from flows.cli import run
from flows.commands.tree import slides_of
from flows.commands.walking import Choice
from tests.drivers.test_dicom import dicomdir
from tests.made.dicom import Wsi, make_wsi, noise, ordinary, write

WSI = Wsi(size=(64, 64), tile=(32, 32), steps=(2,), roles=())


def found(root: Path) -> list[str]:
    """Slides below a folder, as paths below it."""
    places = [Path(str(item.place)) for item in slides_of([str(root)], Choice()).items]
    return sorted(place.relative_to(root).as_posix() for place in places)


def without_preamble(path: Path) -> Path:
    """Write the file again as a data set alone, as was done before part 10 of the standard."""
    data = pydicom.dcmread(path)
    data.preamble, data.file_meta = None, FileMetaDataset()
    pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=True)
    assert path.read_bytes()[:2] == b"\x08\x00"
    return path


def test_folders_of_dicom_files_are_slides_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A study: a folder a series. Files beside the folders stand for themselves; what a DICOMDIR names belongs to it."""
    root = tmp_path / "in"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        make_wsi(root / name / f"{name}.dcm", WSI)
    assert found(root) == ["a", "b"]
    make_wsi(root / "top.dcm", WSI)
    assert found(root) == ["a", "b", "top.dcm"]
    dicomdir(root / "DICOMDIR", [f"{name}/{name}.dcm{end}" for name in "ab" for end in ("", ".1.0")])
    assert found(root) == ["DICOMDIR", "top.dcm"]
    assert found(tmp_path) == ["in", "in/top.dcm"]
    assert run(["convert", str(root), "-o", str(tmp_path / "out"), "--chunk", "64", "--shard", "none", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["status"], len(line["scenes"])) for line in lines[:-1]] == [("done", 2), ("done", 1)]


def test_files_without_preamble_are_scenes_of_their_folder(tmp_path: Path) -> None:
    """None of them is passed over, beside files with one or not; truth: plain numpy."""
    folder = tmp_path / "in" / "old"
    folder.mkdir(parents=True)
    images = [noise((9, 11 + i, 1), "u1") for i in range(3)]
    for name, image in zip("abc", images, strict=True):
        without_preamble(write(folder / name, ordinary([image]), [image]))
    assert found(tmp_path / "in") == ["old"]
    write(folder / "d.dcm", ordinary(images[:1]), images[:1])
    assert found(tmp_path / "in") == ["old"]
    with open_slide(folder) as slide:
        assert [scene.name for scene in slide.scenes] == ["a", "b", "c", "d.dcm"]
        for scene, image in zip(slide.scenes, [*images, images[0]], strict=True):
            np.testing.assert_array_equal(scene.read_block(), image[..., 0])
