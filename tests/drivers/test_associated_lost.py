"""Associated images whose file is not there or ends early: a warning each, and the slide's pixels as they were.

A slide whose own pixels are cut short is refused, whatever lies behind them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile

from converter.options import Options
from converter.planning.slide import plan_slide
from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete
from drivers.geometry import Box
from drivers.model import Pixels, Slide
from tests.drivers.test_associated import TIFFS
from tests.drivers.test_dicom import dicomdir
from tests.drivers.test_ometiff import ONE, data, noise, ome_image, ome_xml, uuid_of, write_ome
from tests.made import vsi
from tests.made.dicom import Wsi, make_wsi
from tests.made.openslide import Mrxs, jpeg, make_mrxs, vms, vmu
from tests.made.svs import tissue

pytestmark = pytest.mark.usefixtures("files_closed")
ROLES = Options(associated=("label", "macro", "thumbnail", "overview"))


def pixels(slide: Slide) -> list[Pixels]:
    """Level 0 of every scene."""
    return [paint(scene.levels[0], Box.of(scene.levels[0].shape)) for scene in slide.scenes]


def before(path: Path) -> tuple[list[Pixels], dict[str, tuple[int, int]]]:
    """(pixels of the whole slide, sizes of its associated images by role)."""
    with open_slide(path) as slide:
        return pixels(slide), {role: (s.shape.y, s.shape.x) for role, s in slide.associated.items()}


def expect(path: Path, whole: list[Pixels], lost: set[str]) -> None:
    """The same pixels, none of the lost images, and a word for each."""
    with open_slide(path) as slide:
        found = pixels(slide)
        plan = plan_slide(slide, ROLES)
        warnings = [*slide.warnings, *plan.warnings]
    assert len(found) == len(whole)
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not lost & {image.name for image in plan.images if image.index is None}
    for role in lost:
        assert any(role in warning and "left out" in warning for warning in warnings), (role, warnings)


def moved_to_the_end(path: Path, shapes: set[tuple[int, int]]) -> int:
    """Put the stored data of the pages of these sizes at the end of the file; the bytes that were moved last."""
    raw, last = bytearray(path.read_bytes()), 0
    with tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
        for page in (page for page in pages if (page.imagelength, page.imagewidth) in shapes):
            tag = page.tags[324 if 324 in page.tags else 273]
            size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
            assert size > 2
            for i, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                at = tag.valueoffset + i * size
                raw[at : at + size] = struct.pack(file.byteorder + {4: "I", 8: "Q"}[size], len(raw))
                raw += raw[start : start + count]
                last = count
    path.write_bytes(raw)
    return last


@pytest.mark.parametrize("kind", TIFFS)
def test_data_past_the_end_of_a_tiff(tmp_path: Path, kind: str) -> None:
    name, maker = TIFFS[kind]
    path = maker(tmp_path / name)
    whole, shapes = before(path)
    main = {(one.shape[3], one.shape[4]) for one in whole}
    behind = moved_to_the_end(path, set(shapes.values()))
    expect(path, whole, set())
    kept = path.read_bytes()
    path.write_bytes(kept[: -(behind // 2)])
    with tifffile.TiffFile(path) as file:
        cut = {
            (page.imagelength, page.imagewidth)
            for page in file.pages
            if isinstance(page, tifffile.TiffPage)
            and max(a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)) > path.stat().st_size
        }
    assert cut
    assert not cut & main
    alone = {role for role, shape in shapes.items() if shape in cut and list(shapes.values()).count(shape) == 1}
    expect(path, whole, alone - {"map"})  # a map of the focus is written for nobody
    with open_slide(path) as slide:
        assert set(slide.associated) < set(shapes)
        assert any("image cannot be read and is left out" in warning for warning in slide.warnings)
    path.write_bytes(kept)
    behind = moved_to_the_end(path, main)
    path.write_bytes(path.read_bytes()[: -(behind // 2)])
    with pytest.raises(Damaged, match="truncated"), open_slide(path) as slide:
        pixels(slide)


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


SPOILS: list[Callable[[Path], None]] = [remove, halve, empty]


@pytest.mark.parametrize("spoil", SPOILS)
def test_the_ets_file_of_a_vsi(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    slide = vsi.Stack(vsi.colour(), index=10001, compression=vsi.JPEG, samples=3, pyramid=True, order=(None,))
    small = vsi.Stack(
        vsi.colour(64, 50, 1), kind=1, name="Overview", compression=vsi.PNG, samples=3, order=(None,), pyramid=True
    )
    path = vsi.make_vsi(tmp_path / "a.vsi", vsi.Vsi((small, slide)))
    whole, shapes = before(path)
    assert set(shapes) == {"overview"}
    for folder, role in (("stack1", "overview"), ("stack10001", "")):
        file = next((tmp_path / "_a_" / folder).glob("*.ets"))
        kept = file.read_bytes()
        spoil(file)
        if role:
            expect(path, whole, {role})
        else:
            with pytest.raises(DriverError, match=rf"{folder}|{file.name}"):
                open_slide(path)
        file.write_bytes(kept)


@pytest.mark.parametrize("spoil", [remove, halve])
def test_a_file_of_an_ome_tiff_set(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    images = [
        ome_image(ONE, data(0, uuid=uuid_of(f"{name}.ome.tif", i)), image=f'ID="Image:{i}" Name="{name}"')
        for i, name in enumerate(("specimen", "macro"))
    ]
    for i, name in enumerate(("specimen", "macro")):
        xml = ome_xml("".join(images)).replace("<OME ", f'<OME UUID="urn:uuid:{i}" ')
        write_ome(tmp_path / f"{name}.ome.tif", xml, [noise((8, 9), seed=i)])
    whole, shapes = before(tmp_path / "specimen.ome.tif")
    assert set(shapes) == {"macro"}
    spoil(tmp_path / "macro.ome.tif")
    expect(tmp_path / "specimen.ome.tif", whole, {"macro"})


def dicom(folder: Path, codec: str = "none") -> Path:
    return make_wsi(folder / "a.dcm", Wsi(size=(150, 130), steps=(2,), codec=codec))


@pytest.mark.parametrize("asked", ["a.dcm", "a.dcm.1.0", "", "DICOMDIR"])
@pytest.mark.parametrize("role", ["label", "overview"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_dicom_file_that_is_cut(tmp_path: Path, *, asked: str, role: str, coded: bool) -> None:
    dicom(tmp_path)
    if coded:
        file = pydicom.dcmread(tmp_path / f"a.dcm.{role}")
        file.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        file.save_as(tmp_path / f"a.dcm.{role}")
    if asked == "DICOMDIR":
        dicomdir(tmp_path / "DICOMDIR", sorted(p.name for p in tmp_path.iterdir()))
    whole, shapes = before(tmp_path / asked)
    assert set(shapes) == {"label", "macro", "thumbnail"}
    cut = tmp_path / f"a.dcm.{role}"
    cut.write_bytes(cut.read_bytes()[:-50])
    expect(tmp_path / asked, whole, {"macro" if role == "overview" else role})


@pytest.mark.parametrize("asked", ["a.dcm", "a.dcm.1.0", ""])
@pytest.mark.parametrize("codec", ["none", "jpeg"])
@pytest.mark.parametrize("level", ["a.dcm", "a.dcm.1.0"])
def test_a_dicom_level_that_is_cut_is_refused(tmp_path: Path, asked: str, codec: str, level: str) -> None:
    dicom(tmp_path, codec)
    cut = tmp_path / level
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(Damaged, match=level):
        open_slide(tmp_path / asked)


@pytest.mark.parametrize("asked", ["a.dcm", ""])
def test_a_torn_copy_of_a_dicom_level_is_left_out(tmp_path: Path, asked: str) -> None:
    path = dicom(tmp_path)
    whole, _ = before(path)
    (tmp_path / "0.part").write_bytes(path.read_bytes()[:-50])
    expect(tmp_path / asked, whole, set())


@pytest.mark.parametrize("stated", [True, False])
def test_a_dicom_file_that_a_directory_names_and_that_is_not_there(tmp_path: Path, *, stated: bool) -> None:
    path = dicom(tmp_path)
    whole, _ = before(path)
    index = dicomdir(tmp_path / "DICOMDIR", sorted(p.name for p in tmp_path.iterdir()))
    file = pydicom.dcmread(index)
    for record in file.DirectoryRecordSequence if stated else ():
        record.ImageType = pydicom.dcmread(tmp_path / "/".join(np.ravel(record.ReferencedFileID))).ImageType
    pydicom.dcmwrite(index, file)
    (tmp_path / "a.dcm.label").unlink()
    if stated:
        expect(index, whole, {"label"})
        path.unlink()
    with pytest.raises(Incomplete, match=r"a\.dcm"):
        open_slide(index)


NAMES = {"macro": "SlideThumbnail", "label": "SlideBarcode", "thumbnail": "SlidePreview"}
STREAMS = {role: jpeg(tissue(40 + i, 60 + i, 3 + i)) for i, role in enumerate(NAMES)}


def mrxs(folder: Path, streams: dict[str, bytes], **more: Any) -> Path:
    return make_mrxs(folder / "a.mrxs", Mrxs(images=tuple((NAMES[role], s) for role, s in streams.items()), **more))


@pytest.mark.parametrize("spoiled", [("macro",), ("label",), ("thumbnail",), tuple(NAMES)])
@pytest.mark.parametrize("stream", [b"\xa5" * 300])
def test_images_of_an_mrxs_that_openslide_does_not_open(tmp_path: Path, spoiled: tuple[str, ...], stream: bytes) -> None:
    (tmp_path / "whole").mkdir()
    whole, shapes = before(mrxs(tmp_path / "whole", STREAMS))
    assert set(shapes) == set(NAMES)
    path = mrxs(tmp_path, {role: stream if role in spoiled else s for role, s in STREAMS.items()})
    expect(path, whole, set(spoiled))
    with open_slide(path) as slide:
        assert set(slide.associated) == set(NAMES) - set(spoiled)


def test_an_image_of_an_mrxs_in_another_format(tmp_path: Path) -> None:
    path = mrxs(tmp_path, STREAMS)
    whole, _ = before(path)
    index = tmp_path / "a" / "Slidedat.ini"
    index.write_bytes(index.read_bytes().replace(b"BARCODE_IMAGE_TYPE = JPEG", b"BARCODE_IMAGE_TYPE = BMP24"))
    expect(path, whole, {"label"})
    with open_slide(path) as slide:
        assert set(slide.associated) == {"macro", "thumbnail"}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_data_file_of_an_mrxs_that_holds_nothing_else(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = mrxs(tmp_path, STREAMS, apart=True)
    whole, _ = before(path)
    spoil(tmp_path / "a" / "Data0001.dat")
    lost = set(NAMES) if spoil is not halve else {"thumbnail"}
    expect(path, whole, lost)
    (tmp_path / "a" / "Data0000.dat").unlink()
    with pytest.raises(Incomplete, match=r"a\.mrxs.*Data0000\.dat"):
        open_slide(path)


def test_a_data_file_of_an_mrxs_that_holds_tiles_too(tmp_path: Path) -> None:
    path = mrxs(tmp_path, STREAMS)
    (tmp_path / "a" / "Data0000.dat").unlink()
    with pytest.raises(Incomplete, match=r"a\.mrxs.*Data0000\.dat"):
        open_slide(path)


@pytest.mark.parametrize("spoil", [*SPOILS, lambda path: path.write_bytes(b"no JPEG")])
@pytest.mark.parametrize(("name", "maker"), [("a.vms", vms), ("a.vmu", vmu)])
def test_the_macro_file_of_hamamatsu(
    tmp_path: Path, name: str, maker: Callable[[Path], None], spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    maker(path)
    whole, shapes = before(path)
    assert set(shapes) == {"macro"}
    spoil(tmp_path / "a_macro.jpg")
    expect(path, whole, {"macro"})


def multiscale(group: Any, values: Pixels) -> None:
    group.create_array("0", data=values)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    paths = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": paths}]


@pytest.mark.parametrize("lost", [".zarray", "0.0"])
def test_an_associated_image_of_a_store(tmp_path: Path, lost: str) -> None:
    import zarr

    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=2)
    multiscale(root, tissue(20, 30, 1)[..., 0])
    multiscale(root.create_group("associated/label"), tissue(10, 12, 1)[..., 0])
    whole, shapes = before(path)
    assert set(shapes) == {"label"}
    (remove if lost == ".zarray" else halve)(path / "associated" / "label" / "0" / lost)
    expect(path, whole, {"label"})
    remove(path / "0" / ".zarray")
    with pytest.raises(Incomplete):
        open_slide(path)


@pytest.mark.parametrize("lost", ["1/.zattrs", "1/0/.zarray", "1"])
def test_an_image_of_a_store_that_its_ome_xml_calls_label(tmp_path: Path, lost: str) -> None:
    import shutil

    import zarr

    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for i in range(2):
        multiscale(root.create_group(str(i)), tissue(20 + i, 30, i)[..., 0])
    root.create_group("OME").attrs["series"] = ["0", "1"]
    xml = ome_xml("".join(ome_image(ONE, "", image=f'ID="Image:{i}" Name="{n}"') for i, n in enumerate(("x", "label image"))))
    (path / "OME" / "METADATA.ome.xml").write_text(xml)
    whole, shapes = before(path)
    assert set(shapes) == {"label"}
    if lost == "1":
        shutil.rmtree(path / lost)
    else:
        remove(path / lost)
    if lost != "1/.zattrs":  # a group without metadata of an image holds none
        expect(path, whole, {"label"})
