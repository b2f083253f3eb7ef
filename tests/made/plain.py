"""TIFF and OME-TIFF files for the conformance suite, as tifffile writes them; `MADE` as in made_svs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.svs import reduced, tissue

MADE: list[tuple[str, Callable[[Path], object], dict[str, Any]]] = []


def noise(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Random samples, the same for the same shape."""
    random = np.random.default_rng(sum(shape))
    return (random.random(shape) * 250 + 1).astype(dtype)


def listed(name: str, **facts: Any) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Put a maker on the list."""

    def put(maker: Callable[[Path], object]) -> Callable[[Path], object]:
        MADE.append((name, maker, {"oracle": True, "pixel_size_um": None, "magnification": None} | facts))
        return maker

    return put


GREY = {"driver": "tiff", "rgb": False, "fill": 0, "associated": []}
RGB = {"driver": "tiff", "rgb": True, "fill": 255, "dtype": "uint8", "associated": []}


@listed("strips-u16.tif", **GREY, dtype="uint16", levels=[(1, 1, 1, 301, 203)], scales=[1], compression="deflate")
def _strips(path: Path) -> None:
    tifffile.imwrite(path, noise((301, 203), "u2"), rowsperstrip=7, compression="deflate", metadata=None)


@listed("raw-big-endian.tif", **GREY, dtype="uint16", levels=[(1, 1, 1, 701, 203)], scales=[1], compression="none")
def _big_endian(path: Path) -> None:
    tifffile.imwrite(path, noise((701, 203), "u2"), byteorder=">", rowsperstrip=11, metadata=None)


@listed("float.tif", **GREY, dtype="float32", levels=[(1, 1, 1, 130, 140)], scales=[1], tile=(1, 1, 1, 64, 64))
def _float(path: Path) -> None:
    tifffile.imwrite(path, noise((130, 140), "f4"), tile=(64, 64), predictor=True, compression="zstd", metadata=None)


@listed("planar.tif", **RGB, levels=[(1, 3, 1, 150, 170)], scales=[1], tile=(1, 1, 1, 64, 64), compression="lzw")
def _planar(path: Path) -> None:
    planes = np.moveaxis(tissue(150, 170, 40), 2, 0)
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": "lzw"}
    tifffile.imwrite(path, planes, tile=(64, 64), metadata=None, **options)


PYRAMID = [(1, 3, 1, 601, 503), (1, 3, 1, 300, 251), (1, 3, 1, 150, 125)]


def _pyramid(path: Path, *, sub: bool, label: bool) -> None:
    images = [tissue(601, 503, 41)]
    for _ in range(2):
        images.append(reduced(images[-1], 2))
    options = {"photometric": "rgb", "compression": "deflate", "tile": (128, 128), "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(images[0], subifds=2 if sub else 0, resolution=(20000, 20000), resolutionunit=3, **options)
        for image in images[1:]:
            writer.write(image, subfiletype=1 if sub or label else 0, **options)


@listed("pyramid-sub-ifds.tif", **RGB | {"pixel_size_um": 0.5}, levels=PYRAMID, scales=[1, 2, 4])
def _sub(path: Path) -> None:
    _pyramid(path, sub=True, label=False)


@listed("pyramid-reduced-pages.tif", **RGB | {"pixel_size_um": 0.5}, levels=PYRAMID, scales=[1, 2, 4])
def _reduced(path: Path) -> None:
    _pyramid(path, sub=False, label=True)


@listed("pyramid-unlabelled.tif", **RGB | {"pixel_size_um": 0.5}, levels=PYRAMID, scales=[1, 2, 4])
def _unlabelled(path: Path) -> None:
    _pyramid(path, sub=False, label=False)


@listed("imagej.tif", **GREY, dtype="uint8", levels=[(2, 3, 4, 60, 50)], scales=[1])
def _imagej(path: Path) -> None:
    tifffile.imwrite(path, noise((2, 4, 3, 60, 50), "u1"), imagej=True, metadata={"axes": "TZCYX"})


OME = {"driver": "ometiff", "rgb": False, "associated": [], "dtype": "uint16"}
SIZES = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}


@listed("five-axes.ome.tif", **OME | {"pixel_size_um": 0.25}, levels=[(2, 3, 4, 70, 80)], scales=[1])
def _ome(path: Path) -> None:
    metadata = {"axes": "TCZYX", **SIZES}
    tifffile.imwrite(path, noise((2, 3, 4, 70, 80), "u2"), ome=True, photometric="minisblack", metadata=metadata)


LEVELS = [(1, 2, 3, 300, 260), (1, 2, 3, 150, 130)]


@listed("pyramid.ome.tif", **OME | {"pixel_size_um": 0.25}, levels=LEVELS, scales=[1, 2], tile=(1, 1, 1, 128, 128))
def _ome_pyramid(path: Path) -> None:
    full = noise((2, 3, 300, 260), "u2")
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(full, subifds=1, metadata={"axes": "CZYX", **SIZES}, **options)
        writer.write(np.ascontiguousarray(full[..., ::2, ::2]), subfiletype=1, metadata=None, **options)


@listed("rgb.ome.tif", **OME | {"rgb": True, "dtype": "uint8"}, levels=[(1, 3, 1, 200, 210)], scales=[1])
def _ome_rgb(path: Path) -> None:
    tifffile.imwrite(path, tissue(200, 210, 42), ome=True, photometric="rgb", metadata={"axes": "YXS"})
