"""Correct where slideio 2.10 is wrong: its known mistakes, each with the test that shows ours is none.

- zeros from `read_block(scene.rect)` of CZI and SCN: test_rect_is_of_the_scene
- a mutex around every read: test_reads_run_side_by_side, test_conformance.py::test_eight_threads_read_what_one_reads
- no zstd in CZI: test_zstd_czi, test_czi.py::test_types_and_compressions_against_libczi
- 32 scenes of an Airyscan: test_airyscan_is_one_scene, test_czi.py::test_phases_are_one_image
- blank areas where ZEN rounds level sizes up: test_czi.py::test_levels_of_odd_sizes_are_one_level_each,
  ::test_factors_are_snapped
- wrong colours of SVS 33003: test_aperio.py::test_ycbcr_of_33003_becomes_rgb
- blue and red mixed up: test_czi.py::test_what_libczi_writes, test_vsi.py::test_blue_green_red_is_turned_round
- no scene in a renamed OME-TIFF: test_every_ometiff_has_scenes, test_ometiff.py::test_renamed_single_file
- one of three optical paths of a DICOM slide, no pixel size: test_all_optical_paths,
  test_dicom.py::test_slideio_reads_one_channel_of_three_where_all_are_read_here
- a scene per channel of an AFI, no raw metadata: test_afi_is_one_scene_with_its_text
- fluorescence NDPI as false colours, no NDPIS: test_fluorescence_ndpi_is_one_channel,
  test_ndpi.py::test_set_is_one_scene_with_a_channel_per_file
- 0 for unknown, pixel sizes out of dots per inch: test_unknown_is_none_and_not_zero,
  test_metadata_general.py::test_pictures_have_no_pixel_size
- a picture is one tile of one level: test_pictures_have_levels_and_bands,
  test_gdal.py::test_rows_are_decoded_once_when_they_are_read_downwards
- EXIF that is not UTF-8 fails the picture: test_exif_that_is_not_utf_8
- .j2k is not recognised: test_codestream_without_a_box
- lossy, without associated images, ICC and raw text, RGB as three images: test_conversion_keeps_everything
- noise and build paths on stderr: test_errors_are_one_line_without_foreign_paths
- unchecked z of SCN: test_slices_that_are_not_there
- no LIF, XLEF, ND2, MRXS, BIF, iSyntax, VMS, VMU, Sakura, Trestle, LSM: test_formats_beyond; OIR, OIB and IMS are not
  read here either
- a crash on TIFFs without SamplesPerPixel: test_tiff_without_samples_per_pixel
- leaks, no `with` (its issue 1): test_conformance.py::test_close_closes
- only level 0 of DICOM as frames (24), no explicit level (69): test_every_level_can_be_read_by_itself
- reading at a magnification (26): test_reading_at_a_magnification
- VS200 slides fail on an incomplete label (34), channels missing in some scenes (50): test_vsi.py::test_several_images,
  ::test_tiles_left_out_are_background
- no channel names and colours of ImageJ and OME-TIFF (41): test_metadata_general.py::test_imagej, ::test_ometiff
- other edges for SVS than for NDPI (45): test_conformance.py::test_outside_is_fill
- spoiled tiles of VSI from several threads (46): test_conformance.py::test_eight_threads_read_what_one_reads
- no z of VSI (52): test_metadata.py::test_vsi
- ZVI item types it does not know (73, 74): test_zvi.py
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from drivers import open_slide, paint
from drivers.discovery import find_drivers
from drivers.files import ByteSource
from drivers.geometry import Box
from drivers.model import Pixels
from tests.made import afi as made_afi
from tests.made import scn as made_scn
from tests.made import svs as made_svs
from tests.made.gdal import exif, jpeg2000
from tests.made.lif import STACK, make_lif
from tests.made.tiff import grey_tags, noise, write_raw
from tests.support.shared import shared_samples
from tests.support.stores import five, images, stored
from tests.support.written import RGB, converted, told

pytestmark = pytest.mark.usefixtures("files_closed")
SHARED = {sample.name: sample.path for sample in shared_samples()}


def shared(name: str) -> Path:
    """A shared sample; the test is skipped where there are none."""
    if name not in SHARED:
        pytest.skip("no shared samples beside the project")
    path = SHARED[name]
    assert path is not None
    return path


def region(tmp_path: Path) -> Path:
    """An SCN whose image lies far off the slide's corner, of two focal planes."""
    kind = made_scn.Region(size=(130, 140), channels=1, slices=2, depth=1)
    return made_scn.make_scn(tmp_path / "a.scn", made_scn.Scn(regions=(kind,)))


@pytest.mark.parametrize("kind", ["czi", "scn"])
def test_rect_is_of_the_scene(tmp_path: Path, kind: str) -> None:
    path = shared("czi/czitools-1_tileregion.czi") if kind == "czi" else region(tmp_path)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert scene.rect == (0, 0, *scene.size)
        assert scene.position is not None  # where the scene lies is told apart from where to read
        pixels = scene.read_block(scene.rect)
        assert pixels.any()
        np.testing.assert_array_equal(pixels, scene.read_block())


@pytest.mark.parametrize("kind", ["svs", "czi", "dicom", "vsi", "ndpi", "lif", "qptiff"])
def test_reads_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    paths: dict[str, Callable[[], Path]] = {
        "svs": lambda: made_svs.make_svs(tmp_path / "a.svs", made_svs.Svs(size=(500, 500), steps=())),
        "czi": lambda: shared("czi/czitools-1_tileregion.czi"),
        "dicom": lambda: shared("dicom/wg26-FluorCell_4"),
        "vsi": lambda: shared("vsi/vsi-ets-test-jpg2k.vsi"),
        "ndpi": lambda: shared("ndpi/test3-DAPI-2-(387).ndpi"),
        "lif": lambda: make_lif(tmp_path / "a.lif", [STACK]),
        "qptiff": lambda: shared("qptiff/small_vectra.qptiff"),
    }
    both, read, met = threading.Barrier(2, timeout=100), ByteSource.read, threading.local()

    def waiting(source: ByteSource, offset: int, count: int) -> bytes:
        if not getattr(met, "met", False):
            met.met = True
            both.wait()  # breaks where one reader keeps the other out
        return read(source, offset, count)

    with open_slide(paths[kind]()) as slide:
        level = slide.scenes[0].levels[0]
        keys = [tile.key for tile in level.index.tiles(Box.of(level.shape))][:2]
        assert len(set(keys)) == 2
        monkeypatch.setattr(ByteSource, "read", waiting)
        with ThreadPoolExecutor(2) as pool:
            blocks = list(pool.map(level.read, keys))
        monkeypatch.setattr(ByteSource, "read", read)
        for key, block in zip(keys, blocks, strict=True):
            np.testing.assert_array_equal(block, level.read(key))


@pytest.mark.parametrize("name", ["newCZI_compressed", "CellDivision_T3_Z5_CH2_X240_Y170_comp1"])
def test_zstd_czi(name: str) -> None:
    with open_slide(shared(f"czi/czitools-{name}.czi")) as slide:
        assert slide.scenes[0].compression == "zstd"
        assert slide.scenes[0].read_block().any()


def test_airyscan_is_one_scene() -> None:
    with open_slide(shared("czi/czitools-LSM880_AiryScan.czi")) as slide:
        assert len(slide.scenes) == 1
        assert any("32 phases" in warning for warning in slide.warnings)


@pytest.mark.parametrize("name", ["4D-series.ome.tiff", "qupath-cells-2z.ome.tif", "qupath-cells.ome.tif"])
def test_every_ometiff_has_scenes(name: str) -> None:
    with open_slide(shared(f"ometiff/{name}")) as slide:  # two of them were renamed after they were written
        assert len(slide.scenes) == 1


def test_all_optical_paths() -> None:
    with open_slide(shared("dicom/wg26-FluorCell_4")) as slide:
        (scene,) = slide.scenes
        assert scene.num_channels == 3
        assert scene.resolution == pytest.approx((1.29e-6, 1.29e-6))
        assert scene.magnification is None  # not 0
        assert all(scene.read_block((0, 0, *scene.size), (64, 64), channels=[c]).any() for c in range(3))


def test_afi_is_one_scene_with_its_text(tmp_path: Path) -> None:
    path = made_afi.make_afi(tmp_path / "a.afi", made_afi.Afi(size=(130, 140)))
    with open_slide(path) as slide:
        assert [scene.num_channels for scene in slide.scenes] == [3]
        assert [slide.scenes[0].get_channel_name(i) for i in range(3)] == list(made_afi.WORDS)
        assert "<ImageList>" in (slide.raw_metadata or "")


def test_fluorescence_ndpi_is_one_channel() -> None:
    with open_slide(shared("ndpi/test3-DAPI-2-(387).ndpi")) as slide:
        (scene,) = slide.scenes
        assert (scene.num_channels, scene.rgb, scene.get_channel_name(0)) == (1, False, "DAPI 2 (387)")


def test_unknown_is_none_and_not_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((30, 40)), resolution=(72, 72), resolutionunit="inch", metadata=None)
    Image.fromarray(noise((30, 40, 3))).save(tmp_path / "a.png", dpi=(300, 300))
    for name in ("a.tif", "a.png"):
        with open_slide(tmp_path / name) as slide:
            scene = slide.scenes[0]
            assert scene.resolution == (None, None)
            assert (scene.magnification, scene.z_resolution, scene.t_resolution) == (None, None, None)


def test_pictures_have_levels_and_bands(tmp_path: Path) -> None:
    jpeg2000(tmp_path / "a.jp2")
    with open_slide(tmp_path / "a.jp2") as slide:
        assert slide.scenes[0].num_zoom_levels > 1
    with open_slide(shared("raster/large_image-yb10kx5k.png")) as slide:
        level = slide.scenes[0].levels[0]
        assert level.tile.y < level.shape.y


def test_exif_that_is_not_utf_8(tmp_path: Path) -> None:
    Image.fromarray(noise((30, 40, 3))).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif(1, b"Caf\xe9 \xff\xfe"))
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.scenes[0].size == (40, 30)
        assert (slide.scenes[0].facts.microscope_model or "").startswith("Caf")


def test_codestream_without_a_box(tmp_path: Path) -> None:
    jpeg2000(tmp_path / "a.j2k", codestream=True)
    with open_slide(tmp_path / "a.j2k") as slide:
        assert (slide.driver, slide.scenes[0].compression) == ("gdal", "jpeg2000")


def test_conversion_keeps_everything(tmp_path: Path) -> None:
    path = made_svs.make_svs(tmp_path / "a.svs", made_svs.Svs(size=(300, 400), icc=made_svs.ICC))
    store = converted(path, tmp_path, associated="thumbnail,label,macro", privacy="keep")
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert slide.raw_metadata is not None
        assert (store / "OME" / "raw" / "metadata.txt").read_bytes().decode() == slide.raw_metadata
        assert (store / "OME" / "icc" / "0.icc").read_bytes() == scene.icc
        pixels = paint(scene.levels[0], Box.of(scene.shape))
        np.testing.assert_array_equal(five(stored(store, "0"), "cyx"), pixels)  # lossless
        for role, image in slide.associated.items():
            pixels = paint(image.levels[0], Box.of(image.shape))
            np.testing.assert_array_equal(five(stored(store, f"associated/{role}/0"), "cyx"), pixels)
    assert len(images(store)) == 4
    assert told(store)[0].channels == RGB


def test_errors_are_one_line_without_foreign_paths(tmp_path: Path) -> None:
    path = made_svs.make_svs(tmp_path / "a.svs", made_svs.Svs(size=(300, 400)))
    path.write_bytes(path.read_bytes()[:-500])
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    for name in ("a.svs", "b.png"):
        command = [sys.executable, "-m", "flows.cli", "inspect", str(tmp_path / name)]
        ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        assert ran.returncode in (0, 4)
        lines = ran.stderr.splitlines()
        assert len(lines) == (ran.returncode != 0), lines
        assert all(name in line for line in lines)
        assert not any(word in ran.stderr for word in ("Traceback", ".cpp", ".py", "site-packages"))


def test_slices_that_are_not_there(tmp_path: Path) -> None:
    with open_slide(region(tmp_path)) as slide:
        scene = slide.scenes[0]
        assert scene.num_z_slices == 2
        for slices in ((0, 3), (2, 3), (-1, 1)):
            with pytest.raises(ValueError, match="the scene has 2"):
                scene.read_block(slices=slices)


def test_formats_beyond() -> None:
    drivers = [found.driver for found in find_drivers()]
    known = {suffix for driver in drivers if driver is not None for suffix in driver.suffixes}
    wanted = {".lif", ".xlef", ".nd2", ".mrxs", ".bif", ".isyntax", ".vms", ".vmu", ".svslide", ".tif", ".lsm", ".ndpis"}
    assert wanted <= known
    assert known >= {".afi", ".czi", ".dcm", ".ndpi", ".ome.tif", ".qptiff", ".scn", ".svs", ".vsi", ".zvi"}  # slideio's own


def test_tiff_without_samples_per_pixel(tmp_path: Path) -> None:
    pixels = noise((20, 30))
    tags = grey_tags(20, 30)
    del tags[277]
    path = write_raw(tmp_path / "a.tif", [(tags, pixels.tobytes())])
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0, 0, 0], pixels)


def test_old_jpeg_without_samples_per_pixel_is_read_all_the_same(shared_samples: Path) -> None:
    found: list[Pixels] = []
    for name in ("", "-no-samplesperpixel"):
        with open_slide(shared_samples / "broken" / f"pillow-old-style-jpeg-compression{name}.tif") as slide:
            level = slide.scenes[0].levels[0]
            found.append(paint(level, Box.of(level.shape)))
    np.testing.assert_array_equal(found[1], found[0])


def test_every_level_can_be_read_by_itself() -> None:
    with open_slide(shared("dicom/wg26-FluorCell_4")) as slide:
        scene = slide.scenes[0]
        for number, level in enumerate(scene.levels):
            assert scene.get_zoom_level_info(number).size == (level.shape.x, level.shape.y)
            assert level.read(next(iter(level.index.tiles(Box.of(level.shape)))).key).any()


def test_reading_at_a_magnification(tmp_path: Path) -> None:
    path = made_svs.make_svs(tmp_path / "a.svs", made_svs.Svs(size=(400, 600), steps=(4,)))
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert scene.magnification == 20
        at_5x = scene.read_block(scene.rect, (scene.size[0] // 4, scene.size[1] // 4))
        coarse = paint(scene.levels[1], Box.of(scene.levels[1].shape))
        np.testing.assert_array_equal(at_5x, coarse[0, :, 0].transpose(1, 2, 0))
