"""Transparency masks (NewSubfileType bit 2) in every kind of TIFF. Truth: the arrays that tifffile wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide
from tests.made import ndpi
from tests.made.philips import Philips, make_philips
from tests.made.qptiff import Qptiff, make_qptiff
from tests.made.scn import Region, Scn, make_scn
from tests.made.svs import Svs, make_svs
from tests.made.tiff import PLAIN, noise

pytestmark = pytest.mark.usefixtures("files_closed")
SIZE = (96, 128)
Array = Any
Writer = tifffile.TiffWriter


def colour(seed: int = 0) -> Array:
    """(height, width, 3)."""
    return np.roll(noise((*SIZE, 3), "u1"), seed, 0)


def mask(seed: int = 0) -> Array:
    """(height, width) of bool."""
    return np.roll(noise((*SIZE, 2), "u1")[..., 1] > 90, seed, 1)


def opacity(masks: Array, most: float = 255) -> Array:
    """As a last channel."""
    return np.where(masks, most, 0)[..., None]


def page(file: Writer, image: Array, **tags: Any) -> None:
    """A page of an image."""
    options: dict[str, Any] = {"photometric": "rgb" if image.ndim == 3 else "minisblack"} | PLAIN | tags
    file.write(image, **options)


def hole(file: Writer, image: Array, **tags: Any) -> None:
    """A page of a mask."""
    options: dict[str, Any] = {"photometric": "mask", "subfiletype": 4} | PLAIN | tags
    file.write(image, **options)


XML = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="128" SizeY="96" {}/></Pixels>'
    "</Image></OME>"
)
ONE = '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData'
COLOUR = XML.format(f'SizeC="3" SizeZ="1" SizeT="1">{ONE}')
SLICES = XML.format(f'SizeC="3" SizeZ="2" SizeT="1">{ONE}')
NAMED = XML.format(f'SizeC="3" SizeZ="1" SizeT="1">{ONE} IFD="0" PlaneCount="1"')
APERIO = "Aperio Image Library v11.2.1 \r\n128x96 [0,0 128x96] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"


def ome(xml: str) -> Callable[[Writer], Array]:
    """An OME-TIFF of one plane."""

    def write(file: Writer) -> Array:
        page(file, colour(), description=xml)
        hole(file, mask())
        return np.concatenate([colour(), opacity(mask())], -1)

    return write


def ome_slices(file: Writer) -> Array:
    """An OME-TIFF of two slices, and behind them their masks: (z, height, width, 4)."""
    for z in range(2):
        page(file, colour(z), description=SLICES if z == 0 else None)
    for z in range(2):
        hole(file, mask(z))
    return np.stack([np.concatenate([colour(z), opacity(mask(z))], -1) for z in range(2)])


def aperio(file: Writer) -> Array:
    """An SVS of two levels, each with its mask behind it, and a thumbnail."""
    page(file, colour(), description=APERIO, tile=(64, 64))
    hole(file, mask(), tile=(64, 64))
    page(file, colour()[::3, ::3], description=APERIO)
    page(file, colour()[::2, ::2], description=APERIO, tile=(64, 64))
    hole(file, mask()[::2, ::2], subfiletype=5, tile=(64, 64))
    return np.concatenate([colour(), opacity(mask())], -1)


def imagej(file: Writer) -> Array:
    """An ImageJ stack of three slices and their masks: (z, height, width, 2)."""
    grey = [colour(z)[..., 0] for z in range(3)]
    for z in range(3):
        page(file, grey[z], description="ImageJ=1.53t\nimages=3\nslices=3\n" if z == 0 else None)
    for z in range(3):
        hole(file, mask(z))
    return np.stack([np.concatenate([grey[z][..., None], opacity(mask(z))], -1) for z in range(3)])


def pages(file: Writer) -> Array:
    """Equal pages, each with its mask behind it: (t, height, width, 4)."""
    for t in range(3):
        page(file, colour(t))
        hole(file, mask(t))
    return np.stack([np.concatenate([colour(t), opacity(mask(t))], -1) for t in range(3)])


def typed(dtype: str, most: float) -> Callable[[Writer], Array]:
    """A grey image of a type."""

    def write(file: Writer) -> Array:
        image = colour()[..., 0].astype(dtype)
        page(file, image)
        hole(file, mask())
        return np.concatenate([image[..., None], opacity(mask(), most).astype(dtype)], -1)

    return write


def turned(file: Writer) -> Array:
    """An image stored upside down (Orientation 3), and its mask."""
    page(file, colour(), extratags=[(274, 3, 1, 3, True)])
    hole(file, mask())
    return np.concatenate([colour(), opacity(mask())], -1)[::-1, ::-1]


def five(file: Writer) -> Array:
    """Five samples, of which none is called alpha."""
    image = noise((*SIZE, 5), "u1")
    page(file, image, extrasamples=("unspecified",) * 2)
    hole(file, mask())
    return np.concatenate([image, opacity(mask())], -1)


def below(description: str | None = None) -> Callable[[Writer], Array]:
    """The mask, a reduced image and its mask in SubIFDs."""

    def write(file: Writer) -> Array:
        page(file, colour(), subifds=3, description=description)
        hole(file, mask())
        page(file, colour()[::2, ::2], subfiletype=1)
        hole(file, mask()[::2, ::2], subfiletype=5)
        return np.concatenate([colour(), opacity(mask())], -1)

    return write


@dataclass(frozen=True, slots=True)
class Case:
    """A file by its name, and the driver that reads it."""

    name: str
    write: Callable[[Writer], Array]
    driver: str = "tiff"


CASES = [
    Case("bare.ome.tif", ome(COLOUR), "ometiff"),
    Case("named.ome.tif", ome(NAMED), "ometiff"),
    Case("slices.ome.tif", ome_slices, "ometiff"),
    Case("a.svs", aperio, "aperio"),
    Case("imagej.tif", imagej),
    Case("pages.tif", pages),
    Case("float.tif", typed("f4", 1.0)),
    Case("signed.tif", typed("i2", 32767)),
    Case("deep.tif", typed("u2", 65535)),
    Case("turned.tif", turned),
    Case("five.tif", five),
    Case("below.tif", below()),
    Case("below-imagej.tif", below("ImageJ=1.53t\n")),
    Case("below.ome.tif", below(COLOUR), "ometiff"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_masks_are_the_alpha(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    with Writer(path) as file:
        truth = case.write(file)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, scene.alpha) == (case.driver, truth.shape[-1] - 1)
        assert not [word for word in slide.warnings if "mask" in word]
        assert len(scene.levels) == (2 if case.name.startswith(("below", "a.svs")) else 1)
        planes = truth[None] if truth.ndim == 3 else truth
        shape = scene.shape
        assert shape.t * shape.z == len(planes)
        for i, plane in enumerate(planes):
            t, z = (i, 0) if shape.t > 1 else (0, i)
            np.testing.assert_array_equal(scene.read_block(slices=(z, z + 1), frames=(t, t + 1)), plane)


@pytest.mark.parametrize("count", [1, 2])
def test_masks_that_fit_no_plane_are_an_image_of_their_own(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.tif"
    with Writer(path) as file:
        for t in range(3):
            page(file, colour(t))
        for t in range(count):
            hole(file, mask(t))
    with open_slide(path) as slide:
        assert slide.scenes[0].alpha is None
        assert [word for word in slide.warnings if f"--associated mask writes {count}" in word]
        found = slide.associated["mask"]
        for t in range(count):
            np.testing.assert_array_equal(found.read_block(frames=(t, t + 1)), opacity(mask(t))[..., 0])


SLIDES: dict[str, Callable[[Path], Path]] = {
    "svs": lambda folder: make_svs(folder / "a.svs", Svs(size=(300, 400), steps=(4,))),
    "philips": lambda folder: make_philips(folder / "a.tiff", Philips(size=(512, 512))),
    "qptiff": lambda folder: make_qptiff(folder / "a.qptiff", Qptiff(size=(64, 96), bands=2, depth=2)),
    "scn": lambda folder: make_scn(folder / "a.scn", Scn(regions=(Region(size=(130, 140)), Region(size=(90, 70))))),
}


def added(path: Path, masks: list[Array]) -> None:
    """Put pages of masks at the end of a file."""
    with tifffile.TiffFile(path) as file:
        big = file.is_bigtiff
    with Writer(path, append=True, bigtiff=big) as file:
        for one in masks:
            hole(file, one, compression="deflate")


@pytest.mark.parametrize("kind", SLIDES)
@pytest.mark.parametrize("count", [1, 2])
def test_masks_of_slides(tmp_path: Path, kind: str, count: int) -> None:
    path = SLIDES[kind](tmp_path)
    with open_slide(path) as slide:
        before = [(scene.read_block(), list(scene.channels)) for scene in slide.scenes]
    height, width = before[-1][0].shape[:2]
    masks = [noise((height, width), "u1", seed) > 90 for seed in range(count)]
    added(path, masks)
    with open_slide(path) as slide:
        scenes = slide.scenes
        assert [w for w in slide.warnings if "mask" in w] or count == 1
        for scene, (pixels, channels) in zip(scenes[:-1], before, strict=False):
            assert (scene.alpha, list(scene.channels)) == (None, channels)
            np.testing.assert_array_equal(scene.read_block(), pixels)
        pixels = before[-1][0].reshape(height, width, -1)
        if count == 1:
            assert scenes[-1].alpha == pixels.shape[2]
            np.testing.assert_array_equal(scenes[-1].read_block(), np.concatenate([pixels, opacity(masks[0])], -1))
        else:
            np.testing.assert_array_equal(scenes[-1].read_block().reshape(pixels.shape), pixels)
            assert [word for word in slide.warnings if "--associated mask writes 2" in word]
            for t in range(2):
                found = slide.associated["mask"].read_block(frames=(t, t + 1))
                np.testing.assert_array_equal(found, opacity(masks[t])[..., 0])


@pytest.mark.parametrize("count", [1, 2])
def test_masks_of_an_ndpi(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, masks = ndpi.write_ndpi, [noise((300, 400), "u1", seed) for seed in range(count)]

    def with_masks(path: Path, pages: list[Any], gap: int = 0) -> Path:
        tags = ndpi._tags(masks[0], 1, 1) | {254: (4, [4])}
        return write(path, [*pages, *((one.tobytes(), dict(tags)) for one in masks)], gap)

    monkeypatch.setattr(ndpi, "write_ndpi", with_masks)
    path = ndpi.make_ndpi(tmp_path / "a.ndpi", ndpi.Ndpi(size=(300, 400), stripe=200))
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        if count == 1:
            np.testing.assert_array_equal(scene.read_block()[..., 3], masks[0])
        else:
            assert scene.alpha is None
            for t in range(2):
                np.testing.assert_array_equal(slide.associated["mask"].read_block(frames=(t, t + 1)), masks[t])


SET = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCTZ"'
    ' Type="uint8" SizeX="128" SizeY="96" SizeC="3" SizeZ="1" SizeT="3">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="3"/>{}</Pixels></Image></OME>'
)
RUN = '<TiffData IFD="0" PlaneCount="1" FirstT="{0}"><UUID FileName="t{0}.ome.tif">urn:uuid:{0}</UUID></TiffData>'


@pytest.mark.parametrize("asked", range(3))
@pytest.mark.parametrize("holes", [(0, 1, 2), (1,)])
def test_masks_in_the_files_of_an_ome_tiff_set(tmp_path: Path, asked: int, holes: tuple[int, ...]) -> None:
    for t in range(3):
        with Writer(tmp_path / f"t{t}.ome.tif") as file:
            page(file, colour(t), description=SET.format(t, "".join(RUN.format(i) for i in range(3))))
            if t in holes:
                hole(file, mask(t))
    with open_slide(tmp_path / f"t{asked}.ome.tif") as slide:
        (scene,) = slide.scenes
        for t in range(3):
            found = scene.read_block(frames=(t, t + 1))
            np.testing.assert_array_equal(found[..., :3], colour(t))
            if len(holes) == 3:
                np.testing.assert_array_equal(found[..., 3], opacity(mask(t))[..., 0])
        if len(holes) == 1:
            np.testing.assert_array_equal(slide.associated["mask"].read_block(), opacity(mask(1))[..., 0])
            assert [word for word in slide.warnings if "--associated mask writes 1" in word]


def test_masks_of_two_images_have_roles_of_their_own(tmp_path: Path) -> None:
    """Two stacks of a file, each with masks that fit none of its planes, and masks of two sizes beside one."""
    path, odd = tmp_path / "a.tif", noise((31, 47), "u1") > 90
    with Writer(path) as file:
        page(file, colour())
        for t in range(2):
            hole(file, mask(t))
        hole(file, odd)
    with open_slide(path) as slide:
        assert sorted(slide.associated) == ["mask", "mask-2"]
        np.testing.assert_array_equal(slide.associated["mask-2"].read_block(), opacity(odd)[..., 0])
        assert all(any(f"--associated {role} " in word for word in slide.warnings) for role in slide.associated)
