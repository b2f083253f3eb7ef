"""DICOM: whole slides against wsidicom and OpenSlide, ordinary images against pydicom, and the traps of both."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
import wsidicom
from pydicom.dataset import Dataset

from drivers import open_slide, paint
from drivers.dicom.microscope import parsed_date
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath, Unsupported
from drivers.geometry import Box
from drivers.model import Level, Pixels, Slide
from tests.made.dicom import CANARY, CODECS, ICC, SIZES, Wsi, make_wsi, noise, ordinary, pictures, write
from tests.made.svs import tissue
from tests.support.oracles import by_pydicom

pytestmark = pytest.mark.usefixtures("files_closed")
SMALL = Wsi(size=(150, 130), tile=(64, 64), steps=(2,), roles=())


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def shown(level: Level, z: int = 0) -> Pixels:
    """A plane as (y, x, channels)."""
    return whole(level)[0, :, z].transpose(1, 2, 0)


def lossless(wsi: Wsi, number: int = 0) -> Pixels:
    """What a level made without loss must hold, with axes t, c, z, y, x."""
    level = pictures(wsi)[number]
    return level.transpose(0, 4, 1, 2, 3).reshape(1, -1, wsi.planes, *level.shape[2:4])


def edited(path: Path, change: Callable[[Dataset], object]) -> Path:
    """The file with its data set changed; the pixel data stays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        change(data)
        data.save_as(path)
    return path


def quiet_frames(path: Path) -> Pixels:
    """pydicom's pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path).pixel_array


# -- pixels --


@pytest.mark.parametrize("codec", [c for c in CODECS if not c.startswith("jpeg") or c in {"jpegls", "jpegxl"}])
def test_what_is_stored_without_loss_comes_back(tmp_path: Path, codec: str) -> None:
    wsi = replace(SMALL, codec=codec)
    with open_slide(make_wsi(tmp_path / "slide", wsi)) as slide:
        for number, level in enumerate(slide.scenes[0].levels):
            tolerance = 3 if codec == "j2k-ycbcr" else 0  # rounded to YCbCr and back
            off = np.abs(whole(level).astype(int) - lossless(wsi, number).astype(int))
            assert off.max() <= tolerance


@pytest.mark.parametrize("codec", ["none", "jpegls", "j2k", "htj2k", "rle", "ljpeg", "big", "implicit", "deflated"])
def test_16_bits(tmp_path: Path, codec: str) -> None:
    wsi = replace(SMALL, codec=codec, paths=2, dtype="u2")
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), lossless(wsi))


@pytest.mark.parametrize("codec", ["jpeg", "jpeg-rgb", "j2k", "none"])
def test_colours_equal_wsidicom(tmp_path: Path, codec: str) -> None:
    path = make_wsi(tmp_path / "slide.dcm", replace(SMALL, codec=codec))
    with open_slide(path) as slide, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with wsidicom.WsiDicom.open(tmp_path) as oracle:
            for number, level in enumerate(slide.scenes[0].levels):
                size = (level.shape.x, level.shape.y)
                expected = np.asarray(oracle.read_region((0, 0), oracle.levels[number].level, size))
                np.testing.assert_array_equal(shown(level), expected)


def test_jpeg_equals_openslide(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", SMALL)
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        expected = np.asarray(oracle.read_region((0, 0), 0, oracle.dimensions).convert("RGB"))
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]), expected)
        assert [level.scale for level in slide.scenes[0].levels] == [round(f) for f in oracle.level_downsamples]


def test_jpeg_of_rgb_that_says_ycbcr_and_the_other_way_round(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), (200, 60, 150), np.uint8)
    adobe = imagecodecs.jpeg8_encode(image, colorspace="RGB", outcolorspace="RGB", level=95)  # Adobe marker: RGB
    reduced = imagecodecs.jpeg8_encode(image, level=95, subsampling="420")  # chroma at half the size: YCbCr
    for data, lie in ((adobe, "YBR_FULL_422"), (reduced, "RGB")):
        path = write(tmp_path / "a.dcm", ordinary([image]), [image], "jpeg-rgb")

        def swap(dataset: Dataset, data: bytes = data, lie: str = lie) -> None:
            dataset.PixelData = pydicom.encaps.encapsulate([data])
            dataset.PhotometricInterpretation = lie

        with open_slide(edited(path, swap)) as slide:
            assert np.abs(shown(slide.scenes[0].levels[0]).astype(int) - image).max() < 6


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
@pytest.mark.parametrize("fragments", [1, 3])
def test_offset_tables_and_fragments(tmp_path: Path, table: str, fragments: int) -> None:
    wsi = replace(SMALL, codec="jpegls", table=table, fragments=1 if table == "extended" else fragments)
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), lossless(wsi))


def test_an_offset_table_of_zeros_is_not_believed(tmp_path: Path) -> None:
    wsi = replace(SMALL, codec="jpegls", steps=())
    path = make_wsi(tmp_path / "slide.dcm", wsi)
    data = bytearray(path.read_bytes())
    start = data.index(b"\xfe\xff\x00\xe0", data.index(PIXELS)) + 8
    data[start : start + 4 * 9] = bytes(4 * 9)
    path.write_bytes(data)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), lossless(wsi))


# -- tilings, channels, planes, parts --


@pytest.mark.parametrize("split", ["", "paths", "planes"])
@pytest.mark.parametrize("sparse", [False, True])
def test_optical_paths_are_channels_and_focal_planes_are_z(tmp_path: Path, split: str, sparse: bool) -> None:
    wsi = replace(SMALL, codec="jpegls", paths=3, planes=2, split=split, sparse=sparse)
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        scene = slide.scenes[0]
        for number, level in enumerate(scene.levels):
            np.testing.assert_array_equal(whole(level), lossless(wsi, number))
        assert [channel.name for channel in scene.channels] == ["Stain 0", "Stain 1", "Stain 2"]
        assert [channel.color for channel in scene.channels] == ["FF0000", "00FF00", "0000FF"]
        assert [channel.excitation_nm for channel in scene.channels] == [405, 485, 565]
        assert scene.icc is None
        assert not scene.rgb
        if not split:
            assert scene.pixel_size.z_um == 1.5


def test_slideio_reads_one_channel_of_three_where_all_are_read_here(shared_samples: Path) -> None:
    path = shared_samples / "dicom" / "wg26-FluorCell_4" / "5_0"
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        np.testing.assert_array_equal(whole(scene.levels[0]), by_pydicom(path))
        assert [level.scale for level in scene.levels] == [1, 2, 4, 8, 16, 32, 64, 128]
        assert [channel.color for channel in scene.channels] == ["0000FF", "00FF00", "FF0000"]
        assert scene.pixel_size.x_um == 1.29
        assert list(slide.associated) == ["label"]
        assert any("1_Map" in warning for warning in slide.warnings)
        assert len(slide.files) == 10


def test_sparse_tiles_off_the_grid(tmp_path: Path) -> None:
    wsi = replace(SMALL, codec="none", paths=1, sparse=True, shift=5, steps=())
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        out = np.zeros((150, 130), np.uint8)
        image = pictures(wsi)[0][0, 0, ..., 0]
        padded = np.pad(image, ((0, 64), (0, 64)), mode="edge")
        places = [(top, left) for top in (0, 64, 128) for left in (0, 64, 128)][::-1]
        for top, left in places:  # the maker writes the frames backwards, and later ones cover earlier ones
            at = max(0, left - 5)
            rows, columns = min(64, 150 - top), min(64, 130 - at)
            source = left - (5 if left else 0)
            out[top : top + rows, at : at + columns] = padded[top : top + rows, source : source + columns]
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0])[..., 0], out)


def test_tiles_a_sparse_slide_leaves_out_are_white(tmp_path: Path) -> None:
    wsi = replace(SMALL, codec="none", sparse=True, omit=(4,), steps=())
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        level = slide.scenes[0].levels[0]
        expected = lossless(wsi).copy()
        expected[..., 64:128, 64:128] = 255
        np.testing.assert_array_equal(whole(level), expected)
        assert len(level.index.gaps()) == 1


def test_concatenations(tmp_path: Path) -> None:
    wsi = replace(SMALL, codec="jpegls", concatenation=4)
    path = make_wsi(tmp_path / "slide.dcm", wsi)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), lossless(wsi))
    (tmp_path / "slide.dcm.0.2").unlink()
    with pytest.raises(Incomplete, match="part 3 of 3"):
        open_slide(path)


def test_factors_come_from_spacing_where_sizes_are_padded(tmp_path: Path) -> None:
    # Philips: every level is whole tiles, sizes say 1.7 and 2.6 (openslide/openslide#576)
    wsi = replace(SMALL, size=(300, 290), codec="none", steps=(2, 2), padded=True)
    with open_slide(make_wsi(tmp_path / "slide.dcm", wsi)) as slide:
        levels = slide.scenes[0].levels
        assert [level.scale for level in levels] == [1, 2, 4]
        assert [level.shape[3:] for level in levels] == [(320, 320), (160, 160), (80, 80)]
        np.testing.assert_array_equal(whole(levels[1]), lossless(wsi, 1)[..., :160, :160])


def test_levels_whose_origins_differ_slightly_stay_together(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", SMALL)  # imi-bigpicture/wsidicom#173

    def shift(data: Dataset) -> None:
        data.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = "12.5008"

    edited(tmp_path / "slide.dcm.1.0", shift)
    with open_slide(path) as slide:
        assert len(slide.scenes) == 1
        assert len(slide.scenes[0].levels) == 2


def test_two_regions_of_one_series_are_two_scenes(tmp_path: Path) -> None:
    make_wsi(tmp_path / "one.dcm", replace(SMALL, codec="none"))
    make_wsi(tmp_path / "two.dcm", replace(SMALL, codec="none", size=(180, 110), seed=90))
    first = pydicom.dcmread(tmp_path / "one.dcm")

    def join(data: Dataset) -> None:
        data.SeriesInstanceUID, data.StudyInstanceUID = first.SeriesInstanceUID, first.StudyInstanceUID
        data.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = "40"

    for name in ("two.dcm", "two.dcm.1.0"):
        edited(tmp_path / name, join)
    with open_slide(tmp_path / "one.dcm") as slide:
        assert sorted(scene.shape[3:] for scene in slide.scenes) == [(150, 130), (180, 110)]
        assert [len(scene.levels) for scene in slide.scenes] == [2, 2]


def test_a_level_of_other_channels_is_left_out(tmp_path: Path) -> None:
    wsi = replace(SMALL, codec="none", paths=2)
    path = make_wsi(tmp_path / "slide.dcm", wsi)
    make_wsi(tmp_path / "slide.dcm", replace(wsi, paths=1, steps=()))  # the same names, one path less at level 0
    with open_slide(path) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert any("other channels" in warning for warning in slide.warnings)


def test_a_localizer_is_no_picture_of_the_slide(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", SMALL)

    def rename(data: Dataset) -> None:
        data.ImageType = ["DERIVED", "PRIMARY", "LOCALIZER", "RESAMPLED"]

    edited(tmp_path / "slide.dcm.1.0", rename)
    with open_slide(path) as slide:
        assert len(slide.scenes) == len(slide.scenes[0].levels) == 1
        assert any("map of the slide" in warning for warning in slide.warnings)


def test_an_image_that_cannot_be_shown_does_not_stop_the_others_of_a_folder(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "u1")]
    write(tmp_path / "good.dcm", ordinary(frames), frames)

    def narrow(data: Dataset) -> None:
        data.BitsAllocated = data.BitsStored = 1

    edited(write(tmp_path / "mask.dcm", ordinary(frames), frames), narrow)
    with open_slide(tmp_path) as slide:
        assert [scene.name for scene in slide.scenes] == ["good.dcm"]
        assert any(warning.startswith("the image mask.dcm is left out") for warning in slide.warnings)


# -- files --


@pytest.fixture(params=["level 0", "another level", "label", "folder", "DICOMDIR"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A slide of five files beside strangers, by each way to name it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    make_wsi(folder / "slide", Wsi(codec="none", steps=(2,)))
    if request.param != "folder":
        make_wsi(folder / "stranger", replace(SMALL, codec="none"))
        (folder / "notes.txt").write_text("no DICOM")
        (folder / "torn.dcm").write_bytes(bytes(128) + b"DICMxx")
    if request.param == "DICOMDIR":
        dicomdir(folder / "DICOMDIR", sorted(p.name for p in folder.glob("slide*")))
    names = {"level 0": "slide", "another level": "slide.1.0", "label": "slide.label", "DICOMDIR": "DICOMDIR"}
    return folder / names[request.param] if request.param in names else folder


def dicomdir(path: Path, names: list[str]) -> Path:
    """A directory file that names images."""
    data = ordinary([])
    data.SOPClassUID = "1.2.840.10008.1.3.10"
    records: list[Dataset] = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record.ReferencedFileID = name.split("/")
        records.append(record)
    data.DirectoryRecordSequence = records
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, "1.2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_every_way_to_name_a_slide(entry: Path) -> None:
    with open_slide(entry) as slide:
        assert slide.driver == "dicom"
        assert len(slide.scenes) == 1
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), lossless(Wsi()))
        assert sorted(slide.associated) == ["label", "macro", "thumbnail"]
        names = {path.name for path in slide.files}
        assert {"slide", "slide.1.0", "slide.label", "slide.overview", "slide.thumbnail"} <= names
        assert not names & {"stranger", "notes.txt", "torn.dcm"}
        assert entry.is_dir() or slide.files[0] == entry


def test_a_copy_of_an_instance_is_left_out(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", SMALL)
    (tmp_path / "slide.dcm copy").write_bytes(path.read_bytes())
    with open_slide(path) as slide:
        assert len(slide.files) == 2
        assert any("copy" in warning for warning in slide.warnings)


@pytest.mark.parametrize(("name", "error"), [("../secret", UnsafePath), ("absent", Incomplete), ("link", UnsafePath)])
def test_a_directory_file_is_confined_to_its_folder(tmp_path: Path, name: str, error: type[DriverError]) -> None:
    make_wsi(tmp_path / "secret", SMALL)
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(error, match="DICOMDIR"):
        open_slide(dicomdir(folder / "DICOMDIR", [name]))


def test_folders_without_dicom_stay_refused(tmp_path: Path) -> None:
    (tmp_path / "x.svs").mkdir()
    with pytest.raises(UnsafePath, match=r"x\.svs"):
        open_slide(tmp_path / "x.svs")


# -- metadata --


def test_facts(tmp_path: Path) -> None:
    with open_slide(make_wsi(tmp_path / "slide.dcm", Wsi())) as slide:
        scene, facts = slide.scenes[0], slide.scenes[0].facts
        assert (scene.pixel_size.y_um, scene.pixel_size.x_um, scene.pixel_size.z_um) == (0.5, 0.5, None)
        assert scene.magnification == 20
        assert scene.position is not None
        assert (scene.position.y_um, scene.position.x_um) == (17250, 12500)
        assert scene.icc == ICC
        zone = timezone(timedelta(hours=1))
        assert facts.acquired == datetime(2024, 3, 28, 14, 5, 9, 250000, zone)
        assert (facts.microscope_manufacturer, facts.microscope_model) == ("Maker", "Scanner 3")
        assert (facts.microscope_serial, facts.objective_na, facts.software) == ("s1234", 0.75, "1.2, 3")
        assert slide.raw_metadata is not None
        assert CANARY in slide.raw_metadata
        assert "anary" not in repr(slide.scenes) + repr(slide.warnings)


def test_row_spacing_comes_first(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", replace(SMALL, steps=()))

    def stretch(data: Dataset) -> None:
        data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = ["0.0004", "0.0007"]

    with open_slide(edited(path, stretch)) as slide:
        size = slide.scenes[0].pixel_size
        assert (size.y_um, size.x_um) == (0.4, 0.7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240328", datetime(2024, 3, 28)),  # noqa: DTZ001
        ("20240328140509.5", datetime(2024, 3, 28, 14, 5, 9, 500000)),  # noqa: DTZ001
        ("20240328140509-0330", datetime(2024, 3, 28, 14, 5, 9, 0, timezone(-timedelta(hours=3, minutes=30)))),
        ("2024", None),
        ("?", None),
        ("20249999", None),
    ],
)
def test_dates(text: str, expected: datetime | None) -> None:
    assert parsed_date(text) == expected


def test_words_for_nothing_are_unknown(shared_samples: Path) -> None:
    with open_slide(shared_samples / "dicom" / "wg26-FluorCell_4") as slide:
        facts = slide.scenes[0].facts
        assert (facts.microscope_model, facts.microscope_serial) == (None, None)
        assert facts.acquired == datetime(2007, 9, 7, 9, 27, 16, 0, timezone(timedelta(hours=2)))


def test_the_date_of_a_derivation_is_not_that_of_the_scan(shared_samples: Path) -> None:
    with open_slide(shared_samples / "dicom" / "ezwsi-multiframe_camelyon.dcm") as slide:
        assert slide.scenes[0].facts.acquired is None


# -- ordinary images --


@pytest.mark.parametrize("codec", ["none", "implicit", "big", "deflated", "jpegls", "j2k", "rle", "ljpeg"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_frames_equal_pydicom(tmp_path: Path, codec: str, dtype: str) -> None:
    if dtype == "i2" and codec in {"ljpeg", "jpegls"}:
        pytest.skip("imagecodecs does not write signed samples so")
    frames = [noise((31, 43, 1), dtype) for _ in range(3)]
    path = write(tmp_path / "a.dcm", ordinary(frames), frames, codec)
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert scene.shape == (3, 1, 1, 31, 43)
        expected = np.stack(frames)[..., 0] if codec in {"ljpeg", "jpegls", "j2k"} else quiet_frames(path)
        np.testing.assert_array_equal(whole(scene.levels[0])[:, 0, 0], expected)


def test_frames_with_a_distance_are_slices(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "u1") for _ in range(4)]
    data = ordinary(frames, SpacingBetweenSlices="2.5", PixelSpacing=["0.1", "0.2"])
    with open_slide(write(tmp_path / "a.dcm", data, frames)) as slide:
        scene = slide.scenes[0]
        assert scene.shape == (1, 1, 4, 20, 30)
        assert (scene.pixel_size.z_um, scene.pixel_size.y_um, scene.pixel_size.x_um) == (2500, 100, 200)
    data = ordinary(frames, SpacingBetweenSlices="2.5", FrameTime="40")
    with open_slide(write(tmp_path / "a.dcm", data, frames)) as slide:
        assert slide.scenes[0].shape == (4, 1, 1, 20, 30)
        assert slide.scenes[0].time_step_s == 0.04


def test_slices_by_their_places(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "u1") for _ in range(2)]
    data = ordinary(frames)
    groups: list[Dataset] = []
    for z in (0, 3):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = ["0", "4", str(z)]
        group.PlanePositionSequence = [position]
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    with open_slide(write(tmp_path / "a.dcm", data, frames)) as slide:
        assert slide.scenes[0].shape.z == 2
        assert slide.scenes[0].pixel_size.z_um == 3000


def test_a_large_uncompressed_frame_is_read_in_bands(tmp_path: Path) -> None:
    frames = [noise((2100, 1100, 1), "u2") for _ in range(2)]
    with open_slide(write(tmp_path / "a.dcm", ordinary(frames), frames)) as slide:
        level = slide.scenes[0].levels[0]
        assert level.tile.y < 2100
        np.testing.assert_array_equal(whole(level)[:, 0, 0], np.stack(frames)[..., 0])


@pytest.mark.parametrize(("dtype", "paths"), [("u1", 1), ("u2", 2), ("i2", 1), ("i2", 2)])
def test_white_is_zero_of_whole_slides(tmp_path: Path, dtype: str, paths: int) -> None:
    """Unsigned values are inverted; signed ones are as pydicom reads them, and are told to be shown inverted."""
    frames = [noise((64, 64, 1), dtype) for _ in range(paths)]
    wsi = Wsi(size=(64, 64), tile=(64, 64), codec="none", steps=(), paths=paths, dtype="u2", roles=())
    file = make_wsi(tmp_path / "x.dcm", wsi)
    data = pydicom.dcmread(file)
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME1", int(dtype[0] == "i")
    data.BitsAllocated = data.BitsStored = frames[0].dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelData = b"".join(frame.tobytes() for frame in frames)
    data["PixelData"].VR = "OB" if dtype == "u1" else "OW"
    data.save_as(file)
    stored = pydicom.dcmread(file).pixel_array.reshape(paths, 64, 64)
    with open_slide(file) as slide:
        signed = dtype == "i2"
        want = stored if signed else np.iinfo(dtype).max - stored
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]).transpose(2, 0, 1), want)
        assert [channel.inverted for channel in slide.scenes[0].channels] == [signed] * paths
        assert any("omero" in warning for warning in slide.warnings) == signed


def test_white_is_zero_palettes_planes_and_chroma(tmp_path: Path) -> None:
    grey = [noise((20, 30, 1), "u1")]
    inverted = write(tmp_path / "inverted.dcm", ordinary(grey, PhotometricInterpretation="MONOCHROME1"), grey)
    with open_slide(inverted) as slide:
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]), 255 - grey[0])
        assert any("MONOCHROME1: the values are inverted (255 less" in warning for warning in slide.warnings)
        assert not slide.scenes[0].channels[0].inverted
    table = noise((256, 3), "u1")
    lookup = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    bytes_of = [(table[:, i].astype("<u2") << 8).tobytes() for i in range(3)]
    tables = {f"{c}PaletteColorLookupTableData": bytes_of[i] for i, c in enumerate(("Red", "Green", "Blue"))}
    data = ordinary(grey, PhotometricInterpretation="PALETTE COLOR", **lookup, **tables)
    with open_slide(write(tmp_path / "palette.dcm", data, grey)) as slide:
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]), table[grey[0][..., 0]])
        assert slide.scenes[0].rgb
    colour = [np.ascontiguousarray(tissue(20, 30, 5))]
    path = write(tmp_path / "planar.dcm", ordinary(colour), colour)

    def planar(data: Dataset) -> None:
        data.PlanarConfiguration, data.PixelData = 1, colour[0].transpose(2, 0, 1).tobytes()

    with open_slide(edited(path, planar)) as slide:
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]), colour[0])

    def halved(data: Dataset) -> None:
        y = np.full((20, 15, 2), 120, np.uint8)
        chroma = np.full((20, 15, 2), (90, 160), np.uint8)
        data.PlanarConfiguration, data.PhotometricInterpretation = 0, "YBR_FULL_422"
        data.PixelData = np.concatenate([y, chroma], axis=2).tobytes()

    with open_slide(edited(path, halved)) as slide:
        assert np.abs(shown(slide.scenes[0].levels[0])[0, 0].astype(int) - (165, 110, 53)).max() <= 1


def test_bits_beside_the_stored_ones_are_cut_off(tmp_path: Path) -> None:
    frames = [np.array([[[0x8FFF], [0x1800]]], "u2").repeat(4, axis=0)]
    with open_slide(write(tmp_path / "u.dcm", ordinary(frames, BitsStored=12), frames)) as slide:
        assert whole(slide.scenes[0].levels[0])[0, 0, 0, 0].tolist() == [0x0FFF, 0x0800]
        assert slide.scenes[0].significant_bits == 12
    signed = [frames[0].astype("i2")]
    with open_slide(write(tmp_path / "i.dcm", ordinary(signed, BitsStored=12), signed)) as slide:
        assert whole(slide.scenes[0].levels[0])[0, 0, 0, 0].tolist() == [-1, -2048]


def test_floats(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "f4")]
    with open_slide(write(tmp_path / "a.dcm", ordinary(frames), frames)) as slide:
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0]), frames[0])


def test_a_bare_data_set_of_former_times(shared_samples: Path) -> None:
    path = shared_samples / "dicom" / "notwsi-OT-MONO2-8-colon.dcm"
    with open_slide(path) as slide:
        assert slide.driver == "dicom"
        stored = np.frombuffer(path.read_bytes()[-262144:], np.uint8).reshape(512, 512)
        np.testing.assert_array_equal(shown(slide.scenes[0].levels[0])[..., 0], stored)
        assert slide.scenes[0].pixel_size.x_um is None


# -- what is refused --


def test_what_has_no_pixels_is_unsupported(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "u1")]
    path = write(tmp_path / "report.dcm", ordinary(frames), frames)

    def strip(data: Dataset) -> None:
        del data.PixelData

    with pytest.raises(Unsupported, match=r"report\.dcm.*no pixels"):
        open_slide(edited(path, strip))


def test_videos_and_odd_samples_are_unsupported(tmp_path: Path) -> None:
    frames = [noise((20, 30, 1), "u1")]
    path = write(tmp_path / "a.dcm", ordinary(frames), frames, "jpegls")
    data = path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.99")
    path.write_bytes(data)
    with pytest.raises(Unsupported, match=r"a\.dcm.*1\.2\.840\.10008\.1\.2\.4\.99"):
        open_slide(path)
    odd = write(tmp_path / "b.dcm", ordinary(frames), frames)

    def narrow(data: Dataset) -> None:
        data.BitsAllocated = data.BitsStored = 1

    with pytest.raises(Unsupported, match="1 bits"):
        open_slide(edited(odd, narrow))


def plain(path: Path) -> bytes:
    """A good image of 64 x 64 pixels."""
    frames = [noise((64, 64, 1), "u1")]
    write(path, ordinary(frames), frames)
    return path.read_bytes()


def value(data: bytes, tag: bytes, new: bytes) -> bytes:
    """The file with the value of a short element replaced."""
    at = data.index(tag) + 8
    return data[:at] + new + data[at + len(new) :]


def nested(data: bytes) -> bytes:
    sequence = struct.pack("<HH2sHI", 0x0040, 0x0555, b"SQ", 0, 0xFFFFFFFF)
    deep = (sequence + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 50_000
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    return data[:at] + deep


def deflated_bomb(data: bytes) -> bytes:
    import zlib

    at = data.index(struct.pack("<HH", 0x0008, 0x0016))
    packer = zlib.compressobj(1, wbits=-15)
    body = packer.compress(data[at:])
    for _ in range(260):
        body += packer.compress(bytes(1 << 20))
    syntax = data[:at].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    length = struct.pack("<H", 22)
    place = syntax.index(b"1.2.840.10008.1.2.1.99")
    return syntax[: place - 2] + length + syntax[place:] + body + packer.flush()


FRAMES, ROWS = struct.pack("<HH", 0x0028, 0x0008), struct.pack("<HH", 0x0028, 0x0010)
COLUMNS, PIXELS = struct.pack("<HH", 0x0028, 0x0011), struct.pack("<HH", 0x7FE0, 0x0010)
BROKEN: list[tuple[str, Callable[[bytes], bytes], tuple[type[DriverError], ...]]] = [
    ("B39-huge", lambda d: value(value(d, ROWS, b"\xff\xff"), COLUMNS, b"\xff\xff"), (LimitExceeded, Damaged)),
    ("B40-no-frames", lambda d: value(d, FRAMES, b"0 "), (Damaged,)),
    ("B41-negative", lambda d: value(d, FRAMES, b"-1"), (Damaged,)),
    ("B41-more-frames-than-bytes", lambda d: value(d, FRAMES, b"9 "), (Damaged,)),
    ("B41-truncated", lambda d: d[:-100], (Damaged,)),
    ("B42-length-4-GB", lambda d: d.replace(PIXELS + b"OB\0\0\0\x10\0\0", PIXELS + b"OB\0\0\xf0\xff\xff\xff"), (Damaged,)),
    (
        "B43-overlap",
        lambda d: d.replace(struct.pack("<HH", 8, 0x60) + b"CS\x02\0", struct.pack("<HH", 8, 0x60) + b"CS\xfe\xff"),
        (Damaged,),
    ),
    ("B44-nested", nested, (LimitExceeded,)),
    ("B45-deflated", deflated_bomb, (LimitExceeded,)),
    ("no-rows", lambda d: value(d, ROWS, b"\0\0"), (Damaged,)),
    ("cut-in-the-header", lambda d: d[:300], (Damaged, Unsupported)),
    ("only-magic", lambda d: d[:132], (Damaged,)),
    ("noise-behind-the-magic", lambda d: d[:132] + bytes(range(256)) * 4, (Damaged,)),
]


@pytest.mark.parametrize(("name", "change", "errors"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_broken(tmp_path: Path, name: str, change: Callable[[bytes], bytes], errors: tuple[type[DriverError], ...]) -> None:
    path = tmp_path / f"{name}.dcm"
    good = plain(path)
    bad = change(good)
    assert bad != good
    path.write_bytes(bad)
    with pytest.raises(errors, match=name) as caught, open_slide(path) as slide:
        whole(slide.scenes[0].levels[0])
    assert str(caught.value).isprintable()


def damaged_frame(slide: Slide) -> None:
    whole(slide.scenes[0].levels[0])


@pytest.mark.parametrize("codec", ["jpeg", "jpegls", "j2k", "htj2k", "rle", "ljpeg"])
def test_a_frame_that_is_cut_short_or_of_another_size_is_damage(tmp_path: Path, codec: str) -> None:
    encode = CODECS[codec][2]
    image = np.ascontiguousarray(tissue(64, 64, 3))
    other = np.ascontiguousarray(tissue(96, 96, 3))
    path = write(tmp_path / "a.dcm", ordinary([image]), [image], codec)
    for data in (encode(image)[: len(encode(image)) // 2], encode(other), b"\0\0\0\0"):

        def put(dataset: Dataset, data: bytes = data) -> None:
            dataset.PixelData = pydicom.encaps.encapsulate([data])

        with open_slide(edited(path, put)) as slide, pytest.raises(Damaged, match=r"a\.dcm: frame 1"):
            damaged_frame(slide)


def test_b46_rle_of_60000_squared(tmp_path: Path) -> None:
    image = np.ascontiguousarray(tissue(64, 64, 3)[..., :1])
    path = write(tmp_path / "a.dcm", ordinary([image]), [image], "rle")

    def grow(data: Dataset) -> None:
        data.Rows = data.Columns = 60000

    with pytest.raises(LimitExceeded, match=r"a\.dcm: the number of pixels of a frame"):
        open_slide(edited(path, grow))


def test_frames_and_size_that_do_not_agree(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", replace(SMALL, steps=()))

    def grow(data: Dataset) -> None:
        data.TotalPixelMatrixRows = 100_000

    with pytest.raises(Damaged, match=r"slide\.dcm: holds 9 frames"):
        open_slide(edited(path, grow))


def test_a_damaged_coarse_level_is_left_out(tmp_path: Path) -> None:
    path = make_wsi(tmp_path / "slide.dcm", SMALL)

    def grow(data: Dataset) -> None:
        data.TotalPixelMatrixRows = 100_000

    edited(tmp_path / "slide.dcm.1.0", grow)
    with open_slide(path) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert any("left out" in warning for warning in slide.warnings)


# -- all samples --


COLOUR = (
    "highdicom-sm_image.dcm",
    "highdicom-sm_image_jpegls.dcm",
    "ezwsi-multiframe_camelyon.dcm",
    "openslide-boxes/boxes_0.dcm",
)


@pytest.fixture(params=COLOUR)
def sample(request: pytest.FixtureRequest, shared_samples: Path) -> Path:
    """Each shared whole slide of colour."""
    return shared_samples / "dicom" / request.param


def test_shared_samples_equal_pydicom(sample: Path) -> None:
    with open_slide(sample) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0]), by_pydicom(sample))


def test_sizes_of_the_made_slide() -> None:
    assert [level.shape[2:4] for level in pictures(Wsi())] == SIZES
