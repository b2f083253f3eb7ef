"""What a slideio user writes: driver IDs, scenes and associated images by name, short words; against slideio itself."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import slideio

from drivers import open_slide
from drivers.discovery import find_drivers
from drivers.errors import DriverError, Incomplete, Unsupported
from drivers.geometry import Box
from drivers.paint import paint
from drivers.slideio_names import DRIVERS, driver_ids, named
from tests.conftest import open_files
from tests.made.lif import STACK, make_lif
from tests.made.svs import Svs, make_svs

REAL = [
    ("SVS", "svs/CMU-1-Small-Region.svs"),
    ("SVS", "svs/openslide-small.svs"),
    ("CZI", "czi/czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"),
    ("CZI", "czi/czitools-CellDivision_T3_Z5_CH2_X240_Y170.czi"),
    ("QPTIFF", "qptiff/small_vectra.qptiff"),
    ("OMETIFF", "ometiff/4D-series.ome.tiff"),
    ("VSI", "vsi/vsi-ets-test-jpg2k.vsi"),
    ("DCM", "dicom/notwsi-OT-MONO2-8-colon.dcm"),
    ("GDAL", "tiff/qupath-cells.tif"),
    ("GDAL", "ometiff/qupath-cells.ome.tif"),
    ("GDAL", "raster/large_image-test_L_16.png"),
]


@pytest.fixture
def svs(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    return made("vocabulary.svs", lambda path: make_svs(path, Svs(size=(300, 400), steps=(4,))))


@pytest.mark.parametrize(("word", "name"), REAL)
def test_shapes_are_those_of_slideio(shared_samples: Path, word: str, name: str) -> None:
    path = str(shared_samples / name)
    theirs = slideio.open_slide(path, word)
    with open_slide(path, word) as ours:
        assert ours.num_scenes == theirs.num_scenes
        assert ours.file_path == path
        assert sorted(role.casefold() for role in theirs.get_aux_image_names()) == sorted(ours.get_aux_image_names())
        assert ours.num_aux_images == theirs.num_aux_images
        for role in theirs.get_aux_image_names():
            assert ours.get_aux_image(role).size == theirs.get_aux_image(role).size
            assert ours.get_aux_image_raster(role, (50, 0)).shape == theirs.get_aux_image_raster(role, (50, 0)).shape
        for number in range(ours.num_scenes):
            here, there = ours.get_scene(number), theirs.get_scene(number)
            assert (here.size, here.num_channels) == (there.size, there.num_channels)
            assert (here.num_z_slices, here.num_t_frames) == (there.num_z_slices, there.num_t_frames)
            assert here.get_channel_data_type(0) == there.get_channel_data_type(0)
            assert here.file_path == path
            wide, high = here.size
            whole = {"slices": (0, here.num_z_slices), "frames": (0, here.num_t_frames)}
            part = {"rect": (1, 2, wide // 2, high // 3), "size": (7, 0)}
            for wanted in ({"size": (64, 0)}, {"size": (0, 33)}, part, whole):
                assert here.read_block(**wanted).shape == there.read_block(**wanted).shape, wanted  # type: ignore[arg-type]
    del here, there, theirs  # slideio closes its files when its objects go


@pytest.mark.parametrize("name", ["czi/czitools-CellDivision_T3_Z5_CH2_X240_Y170.czi", "ometiff/4D-series.ome.tiff"])
def test_pixels_of_five_axes_are_those_of_slideio(shared_samples: Path, name: str) -> None:
    path = str(shared_samples / name)
    theirs = slideio.open_slide(path, "AUTO").get_scene(0)
    wanted = {"rect": (3, 5, 60, 40), "slices": (1, 4), "frames": (1, 3)}
    with open_slide(path, "AUTO") as slide:
        np.testing.assert_array_equal(slide.get_scene(0).read_block(**wanted), theirs.read_block(**wanted))


def test_every_id_of_slideio_is_known() -> None:
    drivers = [found.driver for found in find_drivers() if found.driver is not None]
    assert set(slideio.get_driver_ids()) == set(DRIVERS)
    for word in [*slideio.get_driver_ids(), "PKE", "svs", "Auto", *(driver.name for driver in drivers)]:
        assert named(word, drivers), word
    ids = driver_ids(driver.name for driver in drivers)
    assert set(slideio.get_driver_ids()) <= set(ids)
    assert {"LIF", "ND2", "OMEZARR"} <= set(ids)
    assert {"APERIO", "DICOM", "TIFF"}.isdisjoint(ids)


@pytest.mark.parametrize("word", ["SVS", "svs", "aperio", "AUTO", "GDAL", None])
def test_a_driver_by_name(svs: Path, word: str | None) -> None:
    with open_slide(svs, word) as slide:
        assert slide.driver == ("tiff" if word == "GDAL" else "aperio")
        assert slide.get_scene(0).size == (400, 300)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("CZI", r"vocabulary\.svs: is none of CZI; the driver aperio reads it: name that, or AUTO"),
        ("PHTIFF", r"vocabulary\.svs: is none of PHTIFF; the driver aperio reads it"),
        ("FOO", r"no driver is called 'FOO'; name one of AUTO, AFI, .*, ZVI"),
    ],
)
def test_a_driver_that_does_not_fit(svs: Path, word: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        open_slide(svs, word)


def test_what_is_wrong_with_the_file_comes_first(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="no such file"):
        open_slide(tmp_path / "a.svs", "SVS")
    (tmp_path / "b.svs").write_text("no slide at all")
    with pytest.raises(Unsupported, match="no driver recognises this file"):
        open_slide(tmp_path / "b.svs", "SVS")
    with pytest.raises(DriverError, match="no driver reads URLs"):
        open_slide("https://example.org/a.zarr", "SVS")


def test_scenes_and_associated_images_by_name(svs: Path) -> None:
    with open_slide(svs, "SVS") as slide:
        assert slide.get_aux_image_names() == ["thumbnail", "label", "macro"]
        for name in ("label", "Label", "LABEL"):
            assert slide.get_aux_image(name) is slide.associated["label"]
        raster = slide.get_aux_image_raster("Macro", size=(20, 0), channel_indices=[0])
        assert raster.ndim == 2
        with pytest.raises(KeyError, match="no associated image 'Map'; it has: thumbnail, label, macro"):
            slide.get_aux_image("Map")
        scene = slide.get_scene(0)
        assert slide.get_scene_by_name(scene.name) is scene
        with pytest.raises(KeyError, match="has no scene 'x'"):
            slide.get_scene_by_name("x")
        for number in (1, -1):
            with pytest.raises(IndexError, match=f"scene {number}: there are 1, counted from 0"):
                slide.get_scene(number)


def test_the_preview_of_zen_by_its_own_name(svs: Path) -> None:
    from drivers.slideio_names import associated_named

    with open_slide(svs) as slide:
        scene = slide.get_aux_image("macro")
        assert associated_named({"preview": scene}, "SlidePreview", svs) is scene


def test_representations_are_short(shared_samples: Path) -> None:
    """All of the sample with the most (a DICOM set of eight levels, 162,946 characters before), and of one with OME-XML."""
    for name in ("dicom/wg26-FluorCell_4", "ometiff/4D-series.ome.tiff", "czi/czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"):
        with open_slide(shared_samples / name) as slide:
            shown = [slide, *slide.scenes, *slide.associated.values(), *(level for s in slide.scenes for level in s.levels)]
            assert max(len(repr(one)) for one in shown) < 200
            assert len(repr(slide.scenes[0].facts)) < 500
    with open_slide(shared_samples / "svs/CMU-1-Small-Region.svs") as slide:
        assert repr(slide) == "<Slide 'CMU-1-Small-Region.svs': aperio, 1 scene, thumbnail, label, macro>"
        assert repr(slide.scenes[0]) == "<Scene 'CMU-1-Small-Region': 2220 x 2967 uint8, 3 channels, 1 level>"
        words = "<Level 1/1: t 1, c 3, z 1, y 2967, x 2220, uint8, tiles of 240 x 240, jpeg>"
        assert repr(slide.scenes[0].levels[0]) == words


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    path = make_svs(tmp_path / f"{'x' * 200}.svs", Svs(size=(50, 60), steps=(), associated=()))
    with open_slide(path) as slide:
        assert len(repr(slide)) < 120
        assert len(repr(slide.scenes[0])) < 160


# What tifffile opens is a file of Python's, which says so when it is closed in this way.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["svs", "lif"])
def test_a_scene_keeps_its_slide_open_and_its_end_closes_it(svs: Path, tmp_path: Path, kind: str) -> None:
    """As with slideio, whose tutorial closes nothing: a list of scenes is read after their slides are gone."""
    path = svs if kind == "svs" else make_lif(tmp_path / "a.lif", [STACK])
    before = open_files()
    scenes = [open_slide(str(path)).get_scene(0) for _ in range(3)]
    gc.collect()
    assert len(open_files()) == len(before) + 3
    level = scenes[0].levels[-1]
    blocks = [scene.read_block((0, 0, 30, 20)) for scene in scenes]
    np.testing.assert_array_equal(blocks[0], blocks[2])
    del scenes, blocks
    gc.collect()
    assert len(open_files()) == len(before) + 1
    assert paint(level, Box.of(level.shape)).any()
    del level
    gc.collect()
    assert open_files() == before


def test_closing_twice_closes_once(svs: Path) -> None:
    slide = open_slide(svs)
    slide.close()
    with svs.open("rb") as other:  # takes the number of the descriptor that was closed
        slide.close()
        del slide
        assert other.read(2) == b"II"
