"""An associated image that cannot be read, in formats that have some: a warning that names it, never the end of a slide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from converter.options import Options
from converter.planning.slide import plan_slide
from drivers import open_slide
from tests.drivers.test_ometiff import ONE, data, noise, ome_image, ome_xml, write_ome
from tests.made import vsi
from tests.made.czi import Czi, make, picture
from tests.made.dicom import Wsi, make_wsi
from tests.made.ndpi import Ndpi, make_ndpi
from tests.made.qptiff import Qptiff, make_qptiff
from tests.made.scn import Region, Scn, make_scn
from tests.made.svs import Svs, make_svs

pytestmark = pytest.mark.usefixtures("files_closed")
COMPRESSION, PHOTOMETRIC, SAMPLE_FORMAT = 259, 262, 339


def ome(path: Path) -> Path:
    names = ("specimen", "label image", "macro")
    images = [ome_image(ONE, data(i), image=f'ID="Image:{i}" Name="{name}"') for i, name in enumerate(names)]
    return write_ome(path, ome_xml("".join(images)), [noise((8 + i, 9), seed=i) for i in range(3)])


TIFFS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "svs": ("a.svs", lambda path: make_svs(path, Svs(size=(500, 600)))),
    "ndpi": ("a.ndpi", lambda path: make_ndpi(path, Ndpi())),
    "scn": ("a.scn", lambda path: make_scn(path, Scn(regions=(Region(size=(130, 140)),), label=True))),
    "qptiff": ("a.qptiff", lambda path: make_qptiff(path, Qptiff(size=(201, 307)))),
    "ome-tiff": ("a.ome.tif", ome),
}


def left_out(path: Path, spoiled: set[str]) -> None:
    """The slide is planned without these images; each is named in a warning."""
    with open_slide(path) as slide:
        plan = plan_slide(slide, Options(associated=("label", "macro", "thumbnail", "overview")))
    kept = {image.name for image in plan.images if image.index is None}
    warnings = [*plan.warnings, *slide.warnings]
    assert not kept & spoiled
    assert [image.index for image in plan.images if image.index is not None]
    for role in spoiled:
        assert any(role in warning and "left out" in warning for warning in warnings), (role, warnings)


def spoil(path: Path, shapes: set[tuple[int, int]], how: str) -> int:
    """Spoil the pages of these sizes."""
    raw, found = bytearray(path.read_bytes()), 0
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            if (page.imagelength, page.imagewidth) not in shapes:
                continue
            found += 1
            value = {"compression": (COMPRESSION, 50123), "colour": (PHOTOMETRIC, 32803), "stream": (COMPRESSION, 8)}[how]
            at = page.tags[value[0]].valueoffset
            raw[at : at + 2] = value[1].to_bytes(2, "big" if file.byteorder == ">" else "little")
            if how == "stream":
                for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                    raw[start : start + count] = b"\xa5" * count
    path.write_bytes(raw)
    return found


@pytest.mark.parametrize("how", ["compression", "colour", "stream"])
@pytest.mark.parametrize("kind", TIFFS)
def test_of_tiffs(tmp_path: Path, kind: str, how: str) -> None:
    name, maker = TIFFS[kind]
    path = maker(tmp_path / name)
    with open_slide(path) as slide:
        shapes = {role: (scene.shape.y, scene.shape.x) for role, scene in slide.associated.items()}
        before = [scene.shape for scene in slide.scenes]
    assert shapes
    assert spoil(path, set(shapes.values()), how)
    left_out(path, set(shapes) - {"map"})  # a map of the focus is written for nobody
    with open_slide(path) as slide:
        assert [scene.shape for scene in slide.scenes] == before


@pytest.mark.parametrize("how", ["colour", "samples", "stream"])
def test_of_dicom(tmp_path: Path, how: str) -> None:
    path = make_wsi(tmp_path / "a.dcm", Wsi(size=(150, 130), steps=()))
    for role in ("label", "overview"):
        file = tmp_path / f"a.dcm.{role}"
        data = pydicom.dcmread(file)
        if how == "colour":
            data.PhotometricInterpretation = "HSV"
        elif how == "samples":
            data.BitsAllocated = 24
        else:
            data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
            data.PixelData = pydicom.encaps.encapsulate([b"\xa5" * 100])
            data["PixelData"].is_undefined_length = True
        data.save_as(file)
    left_out(path, {"label", "macro"})


@pytest.mark.parametrize("stream", [b"\xff\xd8\xff", b"no picture"])
@pytest.mark.parametrize("kind", ["JPG", "CZI"])
def test_of_czi(tmp_path: Path, kind: str, stream: bytes) -> None:
    block = replace(picture("Bgr24", "none"), at={"X": 0, "Y": 0, "C": 0})
    left_out(make(tmp_path / "a.czi", Czi([block], attachments=[("Label", kind, stream)])), {"label"})


@pytest.mark.parametrize("how", ["compression", "stream"])
def test_of_vsi(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = vsi.Stack(vsi.colour(), index=10001, compression=vsi.JPEG, samples=3, pyramid=True, order=(None,))
    kind = vsi.PNG if how == "stream" else 77
    macro = vsi.Stack(
        vsi.colour(64, 50, 1), kind=1, name="Overview", compression=kind, samples=3, order=(None,), pyramid=True
    )
    encoded = vsi.encoded
    monkeypatch.setattr(vsi, "encoded", lambda pixels, stack: b"\xa5" * 50 if stack.kind == 1 else encoded(pixels, stack))
    left_out(vsi.make_vsi(tmp_path / "a.vsi", vsi.Vsi((macro, slide))), {"overview"})


def test_of_omezarr(tmp_path: Path) -> None:
    import zarr

    root = zarr.create_group(tmp_path / "a.ome.zarr", zarr_format=2)
    for group, dtype in ((root, "u1"), (root.create_group("associated/label"), "c8")):
        group.create_array("0", data=np.ones((20, 30), dtype))
        axes = [{"name": name, "type": "space"} for name in "yx"]
        paths = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": paths}]
    left_out(tmp_path / "a.ome.zarr", {"label"})
