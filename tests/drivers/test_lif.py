"""LIF, LOF and XLEF: pixels against liffile, how dimensions are mapped, metadata, and what must be refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import liffile
import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath, Unsupported
from drivers.geometry import Box
from drivers.model import Pixels, Scene
from tests.made.lif import COLOUR, SECTION, STACK, Lif, make_lif, make_lof, make_xlef, numbers, text_block

pytestmark = pytest.mark.usefixtures("files_closed")


def whole(scene: Scene) -> Pixels:
    """All of level 0."""
    return paint(scene.levels[0], Box.of(scene.shape))


def five(lif: Lif, axes: str) -> Pixels:
    """The pixels of an image with five named axes; an axis that it has not is spelled _."""
    order = [lif.axes.index(a) for a in axes if a != "_"]
    pixels = lif.pixels.transpose(order)
    for i, axis in enumerate(axes):
        if axis == "_":
            pixels = np.expand_dims(pixels, i)
    return pixels


@pytest.mark.parametrize("version", [1, 2])
def test_lif(tmp_path: Path, version: int) -> None:
    path = make_lif(tmp_path / "many.lif", [STACK, COLOUR, SECTION], version)
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["stack", "folder/colour", "folder/section"]
        np.testing.assert_array_equal(whole(slide.scenes[0]), five(STACK, "TCZYX"))
        np.testing.assert_array_equal(whole(slide.scenes[1]), five(COLOUR, "_C_YX")[:, ::-1])  # stored blue first
        np.testing.assert_array_equal(whole(slide.scenes[2]), five(SECTION, "_C_ZX"))
        assert [scene.rgb for scene in slide.scenes] == [False, True, False]
    with liffile.LifFile(path) as file:
        np.testing.assert_array_equal(file.images[0].asarray(), five(STACK, "TZCYX"))


@pytest.mark.parametrize(
    ("axes", "shape", "mapped"),
    [
        ("YX", (9, 11), "___YX"),
        ("CTYX", (2, 3, 9, 11), "TC_YX"),
        ("YCZX", (7, 2, 9, 11), "_CZYX"),
        ("TCZX", (3, 2, 9, 11), "TC_ZX"),
        ("TX", (9, 11), "___TX"),
        ("LYX", (4, 9, 11), "_L_YX"),
        ("AZYX", (4, 2, 9, 11), "A_ZYX"),
    ],
)
def test_dimensions(tmp_path: Path, axes: str, shape: tuple[int, ...], mapped: str) -> None:
    lif = Lif("odd", axes, numbers(*shape, dtype="u2"), 16)
    with open_slide(make_lif(tmp_path / "odd.lif", [lif])) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0]), five(lif, mapped))


def test_wavelengths_are_channels(tmp_path: Path) -> None:
    lif = Lif("lambda", "LCYX", numbers(4, 2, 9, 11))
    with open_slide(make_lif(tmp_path / "lambda.lif", [lif])) as slide:
        assert len(slide.scenes[0].channels) == 8
        np.testing.assert_array_equal(whole(slide.scenes[0])[0, :, 0], lif.pixels.reshape(8, 9, 11))


def test_times_vary_faster_than_what_is_folded_into_them(tmp_path: Path) -> None:
    lif = Lif("turn", "ATYX", numbers(2, 3, 9, 11))
    with open_slide(make_lif(tmp_path / "turn.lif", [lif])) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0])[:, 0, 0], lif.pixels.reshape(6, 9, 11))


def test_tiles_of_a_tile_scan_are_scenes(tmp_path: Path) -> None:
    tiles = "".join(f'<Tile FieldX="{i}" FieldY="0" PosX="{i * 1e-3}" PosY="-2e-3"/>' for i in range(3))
    lif = Lif("scan", "MYX", numbers(3, 9, 11), more=f'<Attachment Name="TileScanInfo">{tiles}</Attachment>')
    with open_slide(make_lif(tmp_path / "scan.lif", [lif])) as slide:
        assert [scene.name for scene in slide.scenes] == ["scan, tile 0", "scan, tile 1", "scan, tile 2"]
        for i, scene in enumerate(slide.scenes):
            np.testing.assert_array_equal(whole(scene)[0, 0, 0], lif.pixels[i])
            assert scene.position is not None
            assert (scene.position.x_um, scene.position.y_um) == (1000 * i, -2000)


@pytest.mark.parametrize("dtype", ["f4", "f2", "u4"])
def test_types(tmp_path: Path, dtype: str) -> None:
    lif = Lif("type", "YX", numbers(9, 11, dtype=dtype), np.dtype(dtype).itemsize * 8)
    with open_slide(make_lif(tmp_path / "type.lif", [lif])) as slide:
        assert slide.scenes[0].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(whole(slide.scenes[0])[0, 0, 0], lif.pixels)


def test_bands_and_planar_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.lif.image.BLOCK_BYTES", 1500)
    planar = Lif("planar", "CYX", numbers(3, 45, 61), tags=(1, 2, 3))
    with open_slide(make_lif(tmp_path / "bands.lif", [planar, COLOUR, STACK])) as slide:
        assert slide.scenes[0].levels[0].tile.y == 8
        np.testing.assert_array_equal(whole(slide.scenes[0])[0, :, 0], planar.pixels)
        np.testing.assert_array_equal(whole(slide.scenes[1])[0, ::-1, 0], COLOUR.pixels.transpose(2, 0, 1))
        np.testing.assert_array_equal(whole(slide.scenes[2]), five(STACK, "TCZYX"))


def test_metadata(tmp_path: Path) -> None:
    with open_slide(make_lif(tmp_path / "meta.lif", [replace(STACK, dyes=("Leica/FITC", "DAPI"))])) as slide:
        (scene,) = slide.scenes
    size, facts = scene.pixel_size, scene.facts
    assert (size.x_um, size.y_um, size.z_um, scene.time_step_s) == (0.2, 0.2, 1.0, 3.0)
    assert (scene.magnification, scene.significant_bits) == (63.0, 12)
    assert [(c.name, c.color) for c in scene.channels] == [("FITC", "00FF00"), ("DAPI", "FF0000")]
    assert [c.window for c in scene.channels] == [(409.5, 2047.5), (0, 4095)]
    assert facts.acquired == datetime(2021, 3, 4, 16, 39, 17, 951000, UTC)
    assert (facts.microscope_model, facts.software, facts.immersion) == ("TCS SP8", "LAS X 3.5", "Glycerol")
    assert (facts.objective_model, facts.objective_na) == ("HC PL APO 63x/1.30", 1.3)


def test_unknown_stays_unknown(tmp_path: Path) -> None:
    lif = Lif("bare", "CYX", numbers(2, 9, 11), luts=("Fire",) * 6)
    with open_slide(make_lif(tmp_path / "bare.lif", [lif])) as slide:
        (scene,) = slide.scenes
    assert (scene.pixel_size.x_um, scene.magnification, scene.position, scene.time_step_s) == (None,) * 4
    assert (scene.channels[0].name, scene.channels[0].color, scene.channels[0].window) == (None,) * 3
    assert scene.facts.acquired is None


# -- LOF and XLEF --


@pytest.mark.parametrize("short", [True, False])
def test_lof(tmp_path: Path, short: bool) -> None:
    with open_slide(make_lof(tmp_path / "one.lof", STACK, short=short)) as slide:
        assert slide.scenes[0].name == ("one" if short else "stack")
        np.testing.assert_array_equal(whole(slide.scenes[0]), five(STACK, "TCZYX"))


def test_xlef(tmp_path: Path) -> None:
    path = make_xlef(tmp_path / "project.xlef", [STACK, SECTION])
    with open_slide(path) as slide:
        names = ["project.xlef", "im age0.xlif", "im age0.lof", "im age1.xlif", "im age1.lof"]
        assert [file.name for file in slide.files] == names
        np.testing.assert_array_equal(whole(slide.scenes[0]), five(STACK, "TCZYX"))
        np.testing.assert_array_equal(whole(slide.scenes[1]), five(SECTION, "_C_ZX"))


def test_a_missing_companion_is_named(tmp_path: Path) -> None:
    path = make_xlef(tmp_path / "project.xlef", [STACK])
    (tmp_path / "im age0.lof").unlink()
    with pytest.raises(Incomplete, match=r"^project\.xlef: .*im%20age0\.lof"):
        open_slide(path)


def test_a_companion_outside_the_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    make_lof(tmp_path / "im age0.lof", STACK)
    path = make_xlef(inner / "project.xlef", [STACK], block="../../{}.lof")
    with pytest.raises(UnsafePath):
        open_slide(path)


def test_files_that_refer_to_themselves_end(tmp_path: Path) -> None:
    path = make_xlef(tmp_path / "loop.xlef", [STACK], reference="loop.xlef")
    with pytest.raises(LimitExceeded, match="deeper"):
        open_slide(path)


def test_pixels_in_single_tiffs_are_refused(tmp_path: Path) -> None:
    path = make_xlef(tmp_path / "project.xlef", [STACK], block="{}.tif")
    with pytest.raises(Unsupported, match=r"\(tif\)"):
        open_slide(path)


# -- damage --


def changed(path: Path, old: str, new: str) -> Path:
    """A LIF whose XML has other words."""
    lif = Lif("bad", "CYX", numbers(2, 9, 11))
    make_lif(path, [lif])
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 9)[0]
    text = data[13 : 13 + 2 * count].decode("utf-16-le")
    assert old in text
    path.write_bytes(text_block(text.replace(old, new)) + data[13 + 2 * count :])
    return path


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('MemoryBlockID="MemBlock_0"', 'MemoryBlockID="MemBlock_7"', Damaged),
        ('NumberOfElements="11"', 'NumberOfElements="0"', Damaged),
        ('NumberOfElements="11"', 'NumberOfElements="-3"', Damaged),
        ('NumberOfElements="11"', 'NumberOfElements="1.5"', Damaged),
        ('NumberOfElements="11"', 'NumberOfElements="12"', Damaged),
        ('NumberOfElements="9"', 'NumberOfElements="2000000000"', Damaged),
        ('NumberOfElements="11"', 'NumberOfElements="2000000000"', Damaged),
        ('BytesInc="11"', 'BytesInc="-11"', Damaged),
        ('BytesInc="11"', 'BytesInc="0"', Damaged),
        ('BytesInc="99"', 'BytesInc="1e30"', Damaged),
        ('DimID="1"', 'DimID="2"', Damaged),
        ('DimID="1"', 'DimID="7"', Damaged),
        ('Resolution="8"', 'Resolution="99"', Damaged),
        ('DataType="0"', 'DataType="3"', Damaged),
        ("<ChannelDescription", "<Nothing", DriverError),
        ('Version="2"', 'Version="9"', Unsupported),
        ("<Image>", "<Picture>", Damaged),
    ],
)
def test_claims_are_checked_when_the_file_is_opened(tmp_path: Path, old: str, new: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^bad\.lif: ") as caught:
        open_slide(changed(tmp_path / "bad.lif", old, new))
    assert "\n" not in str(caught.value)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path / "bad.lif", "<LMSDataContainerHeader", '<!DOCTYPE a SYSTEM "x"><LMSDataContainerHeader')
    with pytest.raises(DriverError):
        open_slide(path)


@pytest.mark.parametrize("part", [0.01, 0.2, 0.7, 0.999])
def test_truncated_files(tmp_path: Path, part: float) -> None:
    path = make_lif(tmp_path / "short.lif", [STACK])
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(DriverError, match=r"^short\.lif: "):
        open_slide(path)


@pytest.mark.parametrize("size", [2**62, 2**63, 2**64 - 1])
def test_a_memory_block_of_any_size(tmp_path: Path, size: int) -> None:
    path = make_lif(tmp_path / "block.lif", [STACK])
    data = bytearray(path.read_bytes())
    at = data.rindex("MemBlock_0".encode("utf-16-le")) - 26 + 13
    data[at : at + 8] = struct.pack("<Q", size)
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"^block\.lif: "):
        open_slide(path)


@pytest.mark.parametrize("length", [2**31, 2**32 - 1])
def test_a_long_xml_is_not_read(tmp_path: Path, length: int) -> None:
    path = make_lif(tmp_path / "long.lif", [STACK])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 9, length)
    path.write_bytes(data)
    with pytest.raises(LimitExceeded, match=r"^long\.lif: "):
        open_slide(path)


# -- a real file --


def test_real_file_against_liffile(shared_samples: Path) -> None:
    path = shared_samples / "lif" / "testdata_2channel_xz.lif"
    mapped: list[Callable[[Pixels], Pixels]] = [
        lambda a: a[:, :, None],  # xzt: sections
        lambda a: a.transpose(1, 2, 0, 3)[None],  # xzy: a volume, stored section by section
        lambda a: a[None, :, None],  # xz
    ]
    with open_slide(path) as slide, liffile.LifFile(path) as file:
        assert [scene.name for scene in slide.scenes] == ["xzt", "xzy", "xz"]
        for scene, image, as_ours in zip(slide.scenes, file.images, mapped, strict=True):
            np.testing.assert_array_equal(whole(scene), as_ours(image.asarray()))
        scene = slide.scenes[0]
        assert scene.time_step_s == pytest.approx(0.53)
        assert scene.pixel_size.x_um == pytest.approx(0.14028, rel=1e-4)
        assert [c.color for c in scene.channels] == ["00FF00", "FF0000"]


@pytest.mark.parametrize("blank", [10, 400, -1])
def test_a_lof_of_an_xlef_that_is_blank_at_its_end(tmp_path: Path, blank: int) -> None:
    """Of a copy for which only the room was made; `-1`: so much that samples are missing, too."""
    path = make_xlef(tmp_path / "a.xlef", [STACK])
    lof = tmp_path / "im age0.lof"
    data = lof.read_bytes()
    at = data.rindex(b"\x70\0\0\0")  # its XML, behind the samples
    lost = len(data) - at + (1000 if blank < 0 else 0) if blank != 10 else 10
    lof.write_bytes(data[:-lost] + bytes(lost))
    if blank == 10:
        with open_slide(path) as slide:  # the XML of the LOF is not needed
            assert len(slide.scenes) == 1
        return
    with pytest.raises(Damaged, match="blank behind its memory block"):
        open_slide(path)
