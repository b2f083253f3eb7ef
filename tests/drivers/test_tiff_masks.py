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
