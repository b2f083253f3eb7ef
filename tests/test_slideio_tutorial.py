"""Programs written for slideio run with one changed import, and read the same.

The programs make the calls of slideio's Quick Tutorial (docs of 2.10) and of its notebooks general, zoom-levels, dicom and
ometiff. Each is run by slideio and by slidemill, on files that slideio reads: what they keep in `seen` must be equal.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from tests.conftest import SHARED_SAMPLES
from tests.made.svs import Svs, make_svs

STACK = SHARED_SAMPLES / "czi/czitools-CellDivision_T3_Z5_CH2_X240_Y170.czi"
SCENES = SHARED_SAMPLES / "czi/czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"
DICOM = SHARED_SAMPLES / "dicom/notwsi-OT-MONO2-8-colon.dcm"
PROGRAMS = {
    "whole image": (
        "png",
        """
slide = slideio.open_slide(path, "GDAL")
scene = slide.get_scene(0)
seen["image"] = scene.read_block()
seen["channel"] = scene.read_block(channel_indices=[0])
seen["reversed"] = scene.read_block(channel_indices=[2, 1, 0])
""",
    ),
    "blocks": (
        "svs",
        """
slide = slideio.open_slide(path, "SVS")
scene = slide.get_scene(0)
seen["block"] = scene.read_block((0, 0, 200, 200))
seen["at"] = scene.read_block((31, 47, 100, 60))
over = scene.read_block((1250, 1000, 100, 100))
seen["over the edge"] = over.shape, over[:30, :51].tobytes()  # beyond it, slideio shows what pads the JPEG tiles
seen["shape"] = scene.read_block((0, 0, 1000, 1000), (500, 500)).shape
seen["aspect"] = scene.read_block(size=(500, 0)).shape
seen["part"] = scene.read_block((100, 100, 500, 500), size=(250, 0)).shape
seen["gray"] = scene.read_block((100, 100, 500, 500), size=(250, 0), channel_indices=[0]).shape
""",
    ),
    "slide": (
        "svs",
        """
slide = slideio.open_slide(path, driver="SVS")
seen["path"] = slide.file_path
seen["fields"] = [part.strip() for part in slide.raw_metadata.split("|")][1:]
seen["count"] = slide.num_aux_images, slide.num_scenes
for name in slide.get_aux_image_names():
    image = slide.get_aux_image_raster(name)
    seen[name.lower()] = image
    rect = slide.get_aux_image(name).rect
    assert image.shape[:2] == (rect[3], rect[2])
seen["macro at 40"] = slide.get_aux_image_raster("Macro", size=(40, 0), channel_indices=[2, 1, 0]).shape
""",
    ),
    "facts": (
        "svs",
        """
with slideio.open_slide(path) as slide:
    scene = slide.get_scene(0)
    seen["facts"] = (
        scene.file_path, scene.rect, scene.size, scene.origin, scene.num_channels, scene.num_z_slices,
        scene.num_t_frames, scene.magnification, str(scene.get_channel_data_type(0)), scene.num_zoom_levels,
        scene.num_aux_images, scene.get_aux_image_names(), scene.get_color_profile(),
    )
    seen["resolution"] = [round(1e9 * value, 6) for value in scene.resolution]
    seen["compression"] = str(scene.compression).replace("Compression.", "").lower()
    for text in (repr(slide), repr(scene), str(scene.z_resolution), str(scene.t_resolution), str(scene.get_channel_name(0))):
        assert len(text) < 1000
""",
    ),
    "levels": (
        "svs",
        """
slide = slideio.open_slide(path)
scene = slide.get_scene(0)
for index in range(scene.num_zoom_levels):
    info = scene.get_zoom_level_info(index)
    seen[index] = (info.level, info.size.width, info.size.height, info.tile_size.width, info.tile_size.height)
    seen["tiles", index] = info.tile_count
    assert abs(info.scale * 4**index - 1) < 0.01
    assert str(info)
seen["level"] = scene.read_block_from_level(2)
seen["region"] = scene.read_block_from_level(1, (10, 20, 100, 60))
seen["scaled"] = scene.read_block_from_level(1, (0, 0, 100, 60), size=(50, 0)).shape
info = scene.get_zoom_level_info(1)
for tile in range(info.tile_count):
    rect = info.get_tile_rect(tile)
    block = scene.read_block_from_level(1, (rect.x, rect.y, rect.width, rect.height))
    seen["tile", tile] = block.shape, block[: info.size.height - rect.y, : info.size.width - rect.x].tobytes()
""",
    ),
    "slices": (
        "stack",
        """
slide = slideio.open_slide(path, "CZI")
scene = slide.get_scene(0)
seen["counts"] = scene.num_channels, scene.num_z_slices, scene.num_t_frames
seen["slices"] = scene.read_block((0, 0, 100, 80), slices=(0, 5))
seen["frames"] = scene.read_block((0, 0, 100, 80), frames=(0, 3))
seen["both"] = scene.read_block((10, 20, 50, 40), slices=(1, 4), frames=(1, 3))
seen["one channel"] = scene.read_block((10, 20, 50, 40), channel_indices=[1], slices=(1, 4))
seen["scaled"] = scene.read_block((0, 0, 100, 100), (50, 50), slices=(0, 5)).shape
seen["first"] = scene.read_block(slices=(0, 0))
""",
    ),
    "scenes": (
        "scenes",
        """
slide = slideio.open_slide(path, "CZI")
seen["count"] = slide.num_scenes
for index in range(0, slide.num_scenes):
    scene = slide.get_scene(index)
    assert scene.name
    assert slide.get_scene_by_name(scene.name).size == scene.size
    seen[index] = scene.size, scene.read_block(size=(100, 0)).shape
""",
    ),
    "dicom": (
        "dicom",
        """
import json
scenes = [slideio.open_slide(path, "DCM").get_scene(0) for _ in range(3)]  # nothing else holds the slides
for scene in scenes:
    text = scene.get_raw_metadata()
    if text and len(text) > 0:
        json.loads(text)
    seen["image"] = scene.read_block()
    seen["facts"] = scene.num_channels, scene.size, scene.num_z_slices, scene.num_t_frames
""",
    ),
    "arrays": (
        "stack",
        """
import numpy as np
slide = slideio.open_slide(path, "CZI")
with slide.get_scene(0) as scene:
    seen["channels"] = scene.read_block(np.array([10, 20, 50, 40]), channel_indices=np.array([1, 0]))
    seen["channel 0"] = scene.read_block([10, 20, 50, 40], channel_indices=np.array([0]))
    seen["slices"] = scene.read_block(slices=np.array([1, 4]), frames=[0, 2], channel_indices=range(1, 2))
    try:
        scene.read_block(channel_indices=0)
    except TypeError:
        seen["a number is no list"] = True
seen["after"] = slide.get_scene(np.int64(0)).size
""",
    ),
    "ome": (
        "ome",
        """
slide = slideio.open_slide(path, "OMETIFF")
scene = slide.get_scene(0)
seen["counts"] = scene.num_channels, scene.num_z_slices, scene.num_t_frames
seen["whole"] = scene.read_block(slices=(0, scene.num_z_slices), frames=(0, scene.num_t_frames))
seen["type"] = str(scene.get_channel_data_type(0))
assert slide.raw_metadata.startswith("<?xml") or "<OME" in slide.raw_metadata
""",
    ),
}


def png(path: Path) -> None:
    cv2.imwrite(str(path), np.random.default_rng(3).integers(0, 256, (90, 130, 3), np.uint8))


def ome(path: Path) -> None:
    pixels = np.random.default_rng(4).integers(0, 60000, (2, 3, 64, 80), np.uint16)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "TZYX"}, photometric="minisblack")


MAKERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "png": ("a.png", png),
    "svs": ("a.svs", lambda path: make_svs(path, Svs(icc=None))),
    "ome": ("a.ome.tif", ome),
}
REAL = {"stack": STACK, "scenes": SCENES, "dicom": DICOM}


def run(program: str, path: Path, module: str) -> dict[Any, Any]:
    names: dict[str, Any] = {"path": str(path), "seen": {}}
    exec(compile(f"import {module} as slideio\n{program}", "program", "exec"), names)
    return names["seen"]


# The programs close nothing, as those of slideio do not.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_for_slideio_runs(name: str, made: Callable[[str, Callable[[Path], object]], Path]) -> None:
    kind, program = PROGRAMS[name]
    if kind in MAKERS:
        file, maker = MAKERS[kind]
        path = made(f"tutorial-{file}", maker)
    else:
        path = REAL[kind]
        if not path.exists():
            pytest.skip("no shared samples beside the project")
    ours, theirs = run(program, path, "slidemill"), run(program, path, "slideio")
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(ours[key], value, err_msg=str(key))
        else:
            assert ours[key] == value, key
    gc.collect()


def test_the_drivers_of_slideio_are_listed() -> None:
    import slideio

    import slidemill

    assert set(slideio.get_driver_ids()) <= set(slidemill.get_driver_ids())
