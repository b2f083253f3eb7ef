"""DICOM instances that claim one place, against known values written by pydicom: told apart, dropped as copies, refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from drivers import open_slide, paint
from drivers.errors import DriverError, Unsupported
from drivers.geometry import Box
from drivers.model import Scene, Slide
from tests.made.dicom import WHOLE_SLIDE, write

pytestmark = pytest.mark.usefixtures("files_closed")
SERIES, STUDY, REFERENCE = (generate_uid(entropy_srcs=[word]) for word in ("series", "study", "reference"))


@dataclass(frozen=True, slots=True)
class One:
    """An instance of one tile for each focal plane, each of one value."""

    values: Sequence[int]
    size: int = 64
    facts: tuple[tuple[str, Any], ...] = ()
    path: tuple[tuple[str, Any], ...] = (("OpticalPathIdentifier", "1"),)
    sparse: Sequence[tuple[int, int, float | None]] = ()
    """(top, left, focus in micrometres) of each frame."""


def instance(place: Path, one: One, codec: str = "none") -> Path:
    """Write it."""
    data, measures, groups, optical = Dataset(), Dataset(), Dataset(), Dataset()
    data.SOPClassUID, data.Modality, data.ImageType = WHOLE_SLIDE, "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), STUDY, SERIES
    data.FrameOfReferenceUID, data.ExtendedDepthOfField = REFERENCE, "NO"
    data.TotalPixelMatrixRows = data.TotalPixelMatrixColumns = 64 if not one.sparse else 128
    data.TotalPixelMatrixFocalPlanes = 1 if one.sparse else len(one.values)
    data.DimensionOrganizationType = "TILED_SPARSE" if one.sparse else "TILED_FULL"
    measures.PixelSpacing = ["0.0005", "0.0005"]
    measures.SpacingBetweenSlices = "0.001"
    groups.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [groups]
    for name, value in one.path:
        setattr(optical, name, value)
    data.OpticalPathSequence, data.NumberOfOpticalPaths = [optical], 1
    if one.sparse:
        data.PerFrameFunctionalGroupsSequence = [_placed(*at) for at in one.sparse]
    for name, value in one.facts:
        setattr(data, name, value)
    return write(place, data, [np.full((64, 64, 1), value, "u1") for value in one.values], codec)


def _placed(top: int, left: int, focus: float | None) -> Dataset:
    groups, position = Dataset(), Dataset()
    position.RowPositionInTotalImagePixelMatrix, position.ColumnPositionInTotalImagePixelMatrix = top + 1, left + 1
    if focus is not None:
        position.ZOffsetInSlideCoordinateSystem = f"{focus:g}"
    groups.PlanePositionSlideSequence = [position]
    return groups


def code(value: str) -> Dataset:
    """An item of a sequence of codes."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", f"meaning {value}"
    return item


def filter_of(nanometres: int) -> tuple[tuple[str, Any], ...]:
    """An optical path of identifier 1 that differs by the light it lets through."""
    return (("OpticalPathIdentifier", "1"), ("LightPathFilterPassThroughWavelength", nanometres))


def values(scene: Scene) -> list[list[int]]:
    """The upper left value by channel and focal plane; the level is of one value each."""
    level = scene.levels[0]
    pixels = paint(level, Box.of(level.shape))[0]
    assert (pixels == pixels[:, :, :1, :1]).all()
    return pixels[:, :, 0, 0].tolist()


def shown(slide: Slide) -> list[list[list[int]]]:
    """`values` of every scene."""
    return [values(scene) for scene in slide.scenes]


def origin(x: float, focus: str = "") -> tuple[tuple[str, Any], ...]:
    """Where the matrix lies on the slide."""
    item = Dataset()
    item.XOffsetInSlideCoordinateSystem, item.YOffsetInSlideCoordinateSystem = f"{x:g}", "5"
    if focus:
        item.ZOffsetInSlideCoordinateSystem = focus
    return (("TotalPixelMatrixOriginSequence", [item]),)


def described(word: str) -> tuple[tuple[str, Any], ...]:
    """An optical path of identifier 1 with a description."""
    return (("OpticalPathIdentifier", "1"), ("OpticalPathDescription", word))


def lit(word: str) -> tuple[tuple[str, Any], ...]:
    """An optical path of identifier 1 of a kind of illumination."""
    return (("OpticalPathIdentifier", "1"), ("IlluminationTypeCodeSequence", [code(word)]))


EDF = (("ExtendedDepthOfField", "YES"),)
TOLD_APART: dict[str, tuple[list[One], list[list[list[int]]]]] = {
    "edf": ([One([10, 20, 30]), One([200], facts=EDF)], [[[10, 20, 30]], [[200]]]),
    "edf beside one plane": ([One([10]), One([200], facts=EDF)], [[[10]], [[200]]]),
    "description": ([One([10 * i], path=described(f"Dye{i}")) for i in (1, 2, 3)], [[[10], [20], [30]]]),
    "illumination": ([One([10], path=lit("111741")), One([20], path=lit("111744"))], [[[10], [20]]]),
    "wavelength": ([One([10], path=filter_of(488)), One([20], path=filter_of(561))], [[[10], [20]]]),
    "dyes with planes": ([One([10, 11], path=described("a")), One([20, 21], path=described("b"))], [[[10, 11], [20, 21]]]),
    "focus of the matrix": ([One([10], facts=origin(3, "0")), One([20], facts=origin(3, "1.5"))], [[[10, 20]]]),
    "pyramid": (
        [One([10], facts=(("PyramidUID", generate_uid()),)), One([20], facts=(("PyramidUID", generate_uid()),))],
        [[[10]], [[20]]],
    ),
    "frame of reference": ([One([10]), One([20], facts=(("FrameOfReferenceUID", generate_uid()),))], [[[10]], [[20]]]),
    "place": ([One([10], facts=origin(3)), One([20], facts=origin(30))], [[[10]], [[20]]]),
    "one instance UID, other dyes": (
        [One([i], facts=(("SOPInstanceUID", "1.2.3"),), path=described(f"{i}")) for i in (1, 2)],
        [[[1], [2]]],
    ),
}


@pytest.mark.parametrize("given", ["folder", "first", "last"])
@pytest.mark.parametrize("name", TOLD_APART)
def test_what_the_file_tells_apart_is_shown(tmp_path: Path, name: str, given: str) -> None:
    ones, expected = TOLD_APART[name]
    paths = [instance(tmp_path / f"{i}.dcm", one) for i, one in enumerate(ones)]
    asked = {"folder": tmp_path, "first": paths[0], "last": paths[-1]}[given]
    with open_slide(asked) as slide:
        found = shown(slide)
        assert sorted(found) == sorted(expected) if len(expected) > 1 else sorted(found[0]) == sorted(expected[0])
        if given == "last" and len(expected) > 1:
            assert found[0] == expected[-1]  # the scene of the file that was asked for comes first


REFUSED: dict[str, list[One]] = {
    "planes without focus": [One([10 * i]) for i in (1, 2, 3)],
    "times": [One([10], facts=(("AcquisitionDateTime", "20240101"),)), One([20])],
    "one instance UID": [One([i], facts=(("SOPInstanceUID", "1.2.3"),)) for i in (1, 2)],
    "one dye described twice": [One([10], path=described("a")), One([20], path=described("a"))],
    "edf twice": [One([10], facts=EDF), One([20], facts=EDF)],
    "sparse and sparse": [One([10], sparse=[(0, 0, 1)]), One([20], sparse=[(0, 0, 1)])],
    "concatenation": [
        One([i], facts=(("ConcatenationUID", "1.9"), ("InConcatenationNumber", 1), ("InConcatenationTotalNumber", 1)))
        for i in (1, 2)
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_tells_apart_is_refused_with_both_names(tmp_path: Path, name: str) -> None:
    paths = [instance(tmp_path / f"{i}.dcm", one) for i, one in enumerate(REFUSED[name])]
    for asked in (tmp_path, *paths):
        with pytest.raises(Unsupported) as caught:
            open_slide(asked)
        assert sum(path.name in str(caught.value) for path in paths) >= 2


@pytest.mark.parametrize(
    ("places", "pixels", "error"),
    [
        ([(0, 0, 0), (0, 0, 0)], [1, 2], "frame 1.*frame 2"),
        ([(0, 0, 0), (0, 0, 1)], [1, 2], None),
        ([(0, 0, 0), (0, 0, 0)], [1, 1], None),
        ([(0, 0, 0), (10, 20, 0)], [1, 2], "frame 1.*frame 2.*overlap"),
        ([(0, 0, 0), (10, 20, 0)], [1, 1], None),
        ([(20, 30, 0), (0, 0, 0)], [1, 2], "overlap"),
        ([(0, 0, 0), (64, 0, 0), (1, 64, 0)], [1, 2, 3], None),
    ],
)
def test_frames_of_one_instance(tmp_path: Path, places: list[Any], pixels: list[int], error: str | None) -> None:
    path = instance(tmp_path / "a.dcm", One(pixels, sparse=places))
    if error is not None:
        with pytest.raises(Unsupported, match=error):
            open_slide(path)
        return
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        drawn = paint(level, Box.of(level.shape))[0, 0]
        depths = sorted({place[2] for place in places})
        for (top, left, focus), value in zip(places, pixels, strict=True):
            assert drawn[depths.index(focus), top, left] == value


CROWD = [(0, 3 * i, 0) for i in range(14)]
"""Frames of which each overlaps each other one."""


def test_every_overlap_is_compared(tmp_path: Path) -> None:
    path = instance(tmp_path / "a.dcm", One([1] * 13 + [2], sparse=CROWD))  # the 79th pair is the first that differs
    with pytest.raises(Unsupported, match=r"a\.dcm \(frame 1\) and a\.dcm \(frame 14\) overlap and differ there"):
        open_slide(path)


def test_overlaps_that_show_the_same_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = instance(tmp_path / "a.dcm", One([1] * 14, sparse=CROWD))
    with open_slide(path) as slide:
        told = [warning for warning in slide.warnings if "overlap and show the same pixels there" in warning]
        assert told[0] == "a.dcm (frame 1) and a.dcm (frame 2) overlap and show the same pixels there"
        assert told[5:] == ["86 more pairs of frames overlap and show the same pixels there"]
        level = slide.scenes[0].levels[0]
        assert (paint(level, Box.of(level.shape))[0, 0, 0, :64, : 39 + 64] == 1).all()
    monkeypatch.setattr("drivers.dicom.claims.COMPARED_PIXELS", 3 * 64 * 64)
    with pytest.raises(Unsupported, match=r"a\.dcm \(frame \d+\) overlap, and so do more than are compared"):
        open_slide(path)


@pytest.mark.parametrize("copy", ["a (1).dcm", "0.dcm", "z"])
def test_a_copy_is_left_out_with_a_word_and_never_the_file_asked_for(tmp_path: Path, copy: str) -> None:
    path = instance(tmp_path / "a.dcm", One([7]))
    shutil.copy(path, tmp_path / copy)
    for asked, other in ((path, copy), (tmp_path / copy, path.name)):
        with open_slide(asked) as slide:
            assert shown(slide) == [[[7]]]
            assert [file.name for file in slide.files] == [asked.name]
            assert any(other in warning and asked.name in warning for warning in slide.warnings)


def test_the_same_pixels_under_another_uid_count_once(tmp_path: Path) -> None:
    paths = [instance(tmp_path / f"{name}.dcm", One([7, 8])) for name in "ab"]
    for asked in paths:
        with open_slide(asked) as slide:
            assert shown(slide) == [[[7, 8]]]
            assert any("a.dcm" in warning and "b.dcm" in warning for warning in slide.warnings)


@pytest.mark.parametrize("name", ["ContainerIdentifier", "StudyInstanceUID", "PatientID"])
def test_two_slides_of_one_series_are_not_merged(tmp_path: Path, name: str) -> None:
    paths = [instance(tmp_path / f"{i}.dcm", One([i], facts=((name, f"1.2.{i}"),))) for i in (1, 2)]
    for i, path in enumerate(paths):
        with open_slide(path) as slide:
            assert shown(slide) == [[[i + 1]]]
            assert [file.name for file in slide.files] == [path.name]
            assert any(name in warning and paths[1 - i].name in warning for warning in slide.warnings)
    with open_slide(tmp_path) as slide:
        assert shown(slide) == [[[1]], [[2]]]


def test_levels_with_frames_of_reference_of_their_own_are_one_pyramid(tmp_path: Path) -> None:
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = ["0.0005", "0.0005"]
    groups.PixelMeasuresSequence = [measures]
    fine = One([5] * 4, sparse=[(0, 0, 0), (0, 64, 0), (64, 0, 0), (64, 64, 0)])
    path = instance(tmp_path / "0.dcm", fine)
    coarse = Dataset()
    coarse.PixelSpacing = ["0.001", "0.001"]
    shared = Dataset()
    shared.PixelMeasuresSequence = [coarse]
    facts = (("SharedFunctionalGroupsSequence", [shared]), ("FrameOfReferenceUID", generate_uid()))
    instance(tmp_path / "1.dcm", One([5], facts=facts))
    with open_slide(path) as slide:
        assert len(slide.scenes) == 1
        assert [level.shape.x for level in slide.scenes[0].levels] == [128, 64]


def _without_series(path: Path) -> None:
    data = pydicom.dcmread(path)
    whole, at = path.read_bytes(), data.get_item("StudyInstanceUID").value_tell  # type: ignore[union-attr]
    path.write_bytes(whole[: at - 8])


CUTS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "preamble": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "within the magic": lambda path: path.write_bytes(path.read_bytes()[:131]),
    "magic": lambda path: path.write_bytes(path.read_bytes()[:132]),
    "meta": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "before the series": _without_series,
    "header": lambda path: path.write_bytes(path.read_bytes()[:900]),
    "pixels": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_file_cut_to_a_stub_never_vanishes_without_a_word(tmp_path: Path, name: str) -> None:
    path = instance(tmp_path / "a.dcm", One([5]))
    CUTS[name](instance(tmp_path / "b.dcm", One([6], facts=origin(30))))
    for asked in (path, tmp_path):
        assert "b.dcm" in _told(asked)


@pytest.mark.parametrize("size", [1, 128, 129, 130, 131])
def test_a_stub_without_a_suffix_is_told_too(tmp_path: Path, size: int) -> None:
    path = instance(tmp_path / "a", One([5]))
    stub = instance(tmp_path / "b.1", One([6], facts=origin(30)))
    stub.write_bytes(stub.read_bytes()[:size])
    for asked in (path, tmp_path):
        assert "b.1" in _told(asked)


def _linked(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


GONE = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "link": _linked,
    "link to nothing": lambda path: (path.unlink(), path.symlink_to("absent")),
    "FIFO": _piped,
}


@pytest.mark.parametrize("change", GONE)
@pytest.mark.parametrize(
    ("one", "other"), [("a.dcm", "b.DCM"), ("IM1", "IM2"), ("1.2.840.5", "1.2.840.6"), ("a.ima", "b.ima")]
)
def test_a_file_that_is_none_any_more_is_told(tmp_path: Path, change: str, one: str, other: str) -> None:
    """Instances are often named by their UID, which ends in a number and not in a suffix."""
    (tmp_path / "slide").mkdir()
    path = instance(tmp_path / "slide" / one, One([5]))
    GONE[change](instance(tmp_path / "slide" / other, One([6], facts=origin(30))))  # type: ignore[no-untyped-call]
    for asked in (path, path.parent):
        assert other in _told(asked)


@pytest.mark.parametrize("content", [b"", b"notes of a pathologist", b"notes" * 100])
def test_other_files_beside_a_slide_are_no_matter(tmp_path: Path, content: bytes) -> None:
    path = instance(tmp_path / "a.dcm", One([5]))
    (tmp_path / "notes.txt").write_bytes(content)
    (tmp_path / "LICENSE").write_bytes(content)
    (tmp_path / "thumbnails").mkdir()
    assert not _told(path)


def _told(asked: Path) -> str:
    try:
        with open_slide(asked) as slide:
            return " ".join(slide.warnings)
    except DriverError as error:
        return str(error)


@pytest.mark.parametrize("codec", ["rle", "j2k", "ljpeg", "jpegls", "htj2k", "deflated", "big"])
@pytest.mark.parametrize("last", [20, 21])
@pytest.mark.parametrize("asked", ["a.dcm", "b.dcm"])
def test_the_same_pixels_in_two_codings(tmp_path: Path, *, codec: str, last: int, asked: str) -> None:
    instance(tmp_path / "a.dcm", One([10, 20]))
    instance(tmp_path / "b.dcm", One([10, last]), codec)
    if last != 20:
        with pytest.raises(
            Unsupported, match=r"[ab]\.dcm \(frame 2\) and [ab]\.dcm \(frame 2\) claim the same place and differ"
        ):
            open_slide(tmp_path / asked)
        return
    with open_slide(tmp_path / asked) as slide:
        assert shown(slide) == [[[10, 20]]]
        other = "b.dcm" if asked == "a.dcm" else "a.dcm"
        assert any(w.startswith(f"{other}: frames that repeat those of {asked}") for w in slide.warnings)
