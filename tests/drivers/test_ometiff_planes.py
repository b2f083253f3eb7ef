"""TiffData that covers a part, renamed files of a set, and pyramids in the main chain: the right page or a clear word."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged, Incomplete
from drivers.geometry import Box
from drivers.model import Level
from tests.made.tiff import PLAIN, noise, ome_image, ome_xml, write_ome

pytestmark = pytest.mark.usefixtures("files_closed")
PAGES = [noise((8, 9), seed=i) // 2 + 1 for i in range(4)]
SIZES = {"X": 9, "Y": 8, "Z": 4, "C": 1, "T": 1}


def whole(level: Level) -> Any:
    """All pixels of a level of one time and channel, [z, y, x]."""
    return paint(level, Box.of(level.shape))[0, 0]


FILL, ONE_BY_ONE = np.zeros((8, 9), "u1"), "does not say how many planes"
Z = ["", *(f'FirstZ="{z}"' for z in range(1, 5))]


@pytest.mark.parametrize(
    ("inner", "pages", "shown", "word"),
    [
        ('<TiffData IFD="0" PlaneCount="4"/>', 4, [0, 1, 2, 3], None),
        ('<TiffData PlaneCount="4"/>', 4, [0, 1, 2, 3], None),
        ('<TiffData IFD="0" NumPlanes="4"/>', 4, [0, 1, 2, 3], None),
        ('<TiffData IFD="0"/>', 4, [0, 1, 2, 3], ONE_BY_ONE),
        ('<TiffData IFD="1" FirstZ="1"/><TiffData IFD="0"/>', 4, [0, 1, 2, 3], ONE_BY_ONE),
        ("".join(f'<TiffData IFD="{3 - z}" {Z[z]}/>' for z in range(4)), 4, [3, 2, 1, 0], None),
        ('<TiffData IFD="0" PlaneCount="2"/><TiffData IFD="2" FirstZ="2" PlaneCount="2"/>', 4, [0, 1, 2, 3], None),
        ('<TiffData IFD="2" PlaneCount="2"/><TiffData IFD="0" FirstZ="2" PlaneCount="2"/>', 4, [2, 3, 0, 1], None),
        ('<TiffData IFD="0" PlaneCount="2"/>', 4, [0, 1, None, None], "2 of 4 planes are not stored .* z 2; t 0, c 0, z 3"),
        ('<TiffData IFD="0"/><TiffData IFD="1" FirstZ="2" PlaneCount="1"/>', 2, [0, None, 1, None], "2 of 4 .* z 1; .* z 3"),
        ('<TiffData IFD="0"/>', 2, [0, 1, None, None], "2 of 4 planes are not stored"),
        ('<TiffData IFD="1" PlaneCount="9" FirstZ="1"/>', 4, [None, 1, 2, 3], "speaks of 9 planes, 3 have a place"),
        ("".join(f'<TiffData IFD="{z}" FirstZ="{z + 1}" PlaneCount="1"/>' for z in range(4)), 4, [0, 1, 2, 3], "from one"),
        ('<TiffData IFD="0" PlaneCount="4"/><TiffData IFD="0" FirstZ="7"/>', 4, [0, 1, 2, 3], "lies outside"),
        ("<TiffData/>", 3, [0, 1, 2, None], "1 of 4 planes are not stored"),
    ],
)
def test_what_tiffdata_covers(tmp_path: Path, inner: str, pages: int, shown: list[int | None], word: str | None) -> None:
    path = write_ome(tmp_path / "a.ome.tif", ome_xml(ome_image(SIZES, inner)), PAGES[:pages])
    with open_slide(path) as slide:
        want = [FILL if number is None else PAGES[number] for number in shown]
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), want)
        text = "\n".join(slide.warnings)
        assert re.search(word, text) if word else not text, text


@pytest.mark.parametrize(
    ("inner", "word"),
    [
        ('<TiffData IFD="0" PlaneCount="4"/>', "page 2 of a.ome.tif, which has 2"),
        ('<TiffData IFD="7"/>', "page 7 of a.ome.tif, which has 2"),
        ('<TiffData IFD="0"/><TiffData IFD="1"/>', "t 0, c 0, z 0 to page 0 .* and to page 1"),
        ('<TiffData IFD="0" PlaneCount="2"/><TiffData IFD="0" FirstZ="1" PlaneCount="1"/>', "z 1 to page 1 .* page 0"),
        ("", "4 planes, the file holds 2"),
    ],
)
def test_what_tiffdata_cannot_mean(tmp_path: Path, inner: str, word: str) -> None:
    with pytest.raises(Damaged, match=word):
        open_slide(write_ome(tmp_path / "a.ome.tif", ome_xml(ome_image(SIZES, inner)), PAGES[:2]))


# -- renamed files --


def write_set(folder: Path, names: tuple[str, ...] = ("a.ome.tif", "b.ome.tif")) -> None:
    """Two files with a slice each, that know each other as a.ome.tif and b.ome.tif."""
    inner = "".join(
        f'<TiffData IFD="0" PlaneCount="1" FirstZ="{i}"><UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(("a.ome.tif", "b.ome.tif"))
    )
    for i, name in enumerate(names):
        write_ome(folder / name, ome_xml(ome_image(SIZES | {"Z": 2}, inner), uuid=f"urn:uuid:{i}"), [PAGES[i]])


@pytest.mark.parametrize("names", [("a.ome.tif", "x.tif"), ("x.ome.tiff", "y.OME.TIF"), ("b.ome.tif", "a.ome.tif")])
@pytest.mark.parametrize("opened", [0, 1])
def test_renamed_files_are_known_by_their_uuid(tmp_path: Path, names: tuple[str, str], opened: int) -> None:
    write_set(tmp_path, names)
    write_ome(tmp_path / "other.ome.tif", ome_xml(ome_image(SIZES | {"Z": 1}, ""), uuid="urn:uuid:7"), [PAGES[3]])
    (tmp_path / "broken.tif").write_bytes(b"II*\0\xff\xff")
    with open_slide(tmp_path / names[opened]) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), PAGES[:2])
        assert {file.name for file in slide.files} == set(names)
        other = names[1 - opened]
        renamed = other != ("a.ome.tif", "b.ome.tif")[1 - opened]
        assert any(other in warning and "by its UUID" in warning for warning in slide.warnings) is renamed


def test_two_files_of_one_uuid_are_not_chosen_from(tmp_path: Path) -> None:
    write_set(tmp_path, ("a.ome.tif", "x.ome.tif"))
    shutil.copy(tmp_path / "x.ome.tif", tmp_path / "y.ome.tif")
    with pytest.raises(Incomplete, match=r"x\.ome\.tif, y\.ome\.tif"):
        open_slide(tmp_path / "a.ome.tif")


def test_a_file_of_the_name_and_another_uuid_is_used_with_a_word(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_ome(tmp_path / "b.ome.tif", ome_xml("", uuid="urn:uuid:9"), [PAGES[1]])
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert list(slide.warnings) == ["b.ome.tif has another UUID than the one this file asks for"]


@pytest.mark.parametrize("name", ["gone.ome.tif", ""])
def test_the_only_file_of_a_set_is_not_taken_for_one_of_another_uuid(tmp_path: Path, name: str) -> None:
    named = f' FileName="{name}"' if name else ""
    inner = f'<TiffData IFD="0" PlaneCount="1"><UUID{named}>urn:uuid:1</UUID></TiffData>'
    xml = ome_xml(ome_image(SIZES | {"Z": 1}, inner), uuid="urn:uuid:0")
    with pytest.raises(Incomplete, match=name or "urn:uuid:1"):
        open_slide(write_ome(tmp_path / "a.ome.tif", xml, PAGES[:1]))


# -- pyramids in the main chain --


@pytest.mark.parametrize("inner", ["", "<TiffData/>", '<TiffData IFD="0"/>'])
@pytest.mark.parametrize("by_plane", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_levels_in_the_main_chain_are_no_planes(tmp_path: Path, inner: str, *, by_plane: bool, channels: int) -> None:
    images = [noise((64, 96), seed=i) for i in range(3 * channels)]
    order = [(i, level) for i in range(len(images)) for level in range(3)]
    if not by_plane:
        order.sort(key=lambda pair: pair[1])
    sizes = {"X": 96, "Y": 64, "Z": 3, "C": channels, "T": 1}
    xml = ome_xml(ome_image(sizes, inner))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for number, (i, level) in enumerate(order):
            step = 2**level
            options = PLAIN | {"photometric": "minisblack", "subfiletype": int(level > 0)}
            text = xml.encode() if number == 0 else None
            writer.write(np.ascontiguousarray(images[i][::step, ::step]), description=text, **options)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        (scene,) = slide.scenes
        assert [level.scale for level in scene.levels] == [1, 2, 4]
        for level, step in zip(scene.levels, (1, 2, 4), strict=True):
            got = paint(level, Box.of(level.shape))
            want = np.stack(images).reshape(channels, 3, 64, 96)[..., ::step, ::step]
            np.testing.assert_array_equal(got[0], want)
        assert not any("left out" in warning for warning in slide.warnings)
