"""Pixels as readers that we did not write have them: five axes t, c, z, y, x, one array a scene.

`level_0(path)` chooses the reader of a shared sample by its folder. Nothing of `drivers` is used here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[Any]


def on_five_axes(pixels: Pixels, axes: str) -> Pixels:
    """Axes as tifffile, liffile and nd2 name them. Samples are channels, pages without a meaning are times."""
    letters = ["C" if a == "S" else a if a in "TCZYX" else "T" for a in axes]
    assert len(set(letters)) == len(letters)
    missing = [a for a in "TCZYX" if a not in letters]
    full = pixels.reshape((1,) * len(missing) + pixels.shape)
    return full.transpose([(missing + letters).index(a) for a in "TCZYX"])


def picture(pixels: Pixels) -> Pixels:
    """An image (y, x) or (y, x, channels)."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels.transpose(2, 0, 1)[None, :, None]


_JPEGS = (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)

# -- TIFF kinds --


def by_tifffile(path: Path) -> Pixels:
    """Level 0 of the first series."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0].levels[0]
        return on_five_axes(series.asarray(), series.axes)


def by_pillow(path: Path) -> Pixels:
    """As it is to be shown: turned, palettes and CMYK as colours, with its alpha; up to 8 bits, and 16 of grey."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            kept = turned.mode in ("1", "L", "I;16", "LA", "RGBA")
            clear = turned.mode == "P" and "transparency" in turned.info
            return picture(np.asarray(turned if kept else turned.convert("RGBA" if clear else "RGB")))


def by_gdal(path: Path) -> Pixels:
    """Colours as GDAL shows them, with a libtiff of its own."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as dataset:
            return picture(dataset.read().transpose(1, 2, 0)[..., :3])


def by_openslide(path: Path) -> Pixels:
    """Colours of level 0."""
    import openslide

    with openslide.OpenSlide(path) as slide:
        return picture(np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3])


def _tiff(path: Path) -> list[Pixels]:
    """Pillow where tifffile gives samples as they are stored and not as they are to be shown, GDAL where it cannot."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        stored = page.tags.valueof(274, 1) == 1 and page.photometric != tifffile.PHOTOMETRIC.SEPARATED
        reduced = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression not in _JPEGS
    if reduced:
        return [by_gdal(path)]
    return [by_tifffile(path).astype("u1") if "1bit" in path.name else by_tifffile(path) if stored else by_pillow(path)]


def _ndpi(path: Path) -> list[Pixels]:
    """The one filter set of a fluorescence file, which is stored as blue."""
    return [by_openslide(path)[:, 2:]]


# -- pictures --


def _raster(path: Path) -> list[Pixels]:
    import imagecodecs

    if "_16" in path.name or "16bit" in path.name:  # Pillow has 8 bits for colours, and for JPEG 2000 another order
        decode = imagecodecs.png_decode if path.suffix == ".png" else imagecodecs.jpeg2k_decode
        return [picture(decode(path.read_bytes()))]
    return [by_pillow(path)]


# -- CZI --


def by_libczi(path: Path, *, white: bool = False) -> Iterator[tuple[int, dict[str, int], Pixels]]:
    """(scene, plane as {"T", "C", "Z"}, pixels (y, x, samples)), colours in the order red, green, blue."""
    from pylibCZIrw import czi

    background = (1.0, 1.0, 1.0) if white else (0.0, 0.0, 0.0)
    with czi.open_czi(str(path)) as reader:
        boxes, extents = reader.scenes_bounding_rectangle, reader.total_bounding_box
        counts = [range(extents.get(axis, (0, 1))[1]) for axis in "TCZ"]
        for number, key in enumerate(sorted(boxes) or [None]):
            roi = tuple(reader.total_bounding_rectangle if key is None else boxes[key])
            for t, c, z in np.ndindex(*map(len, counts)):
                plane = {"T": t, "C": c, "Z": z}
                yield number, plane, reader.read(roi, plane, key, background_pixel=background)[..., ::-1]


def _czi(path: Path) -> list[Pixels]:
    scenes: dict[int, dict[tuple[int, int, int], Pixels]] = {}
    for scene, plane, pixels in by_libczi(path):
        scenes.setdefault(scene, {})[plane["T"], plane["C"], plane["Z"]] = pixels
    found: list[Pixels] = []
    for planes in scenes.values():
        t, c, z = (max(place[i] for place in planes) + 1 for i in range(3))
        stack = np.stack([planes[place] for place in np.ndindex(t, c, z)])
        height, width, samples = stack.shape[1:]
        stack = stack.reshape(t, c, z, height, width, samples).transpose(0, 1, 5, 2, 3, 4)
        found.append(stack.reshape(t, c * samples, z, height, width))
    return found


# -- DICOM --


def by_pydicom(path: Path) -> Pixels:
    """A file of a whole slide with tiles in rows (TILED_FULL): optical paths are channels. Else its frames."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data: Any = pydicom.dcmread(path, force=True)
        if "TotalPixelMatrixRows" not in data:
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            return picture(data.pixel_array)
        frames = data.pixel_array.reshape(-1, data.Rows, data.Columns, data.SamplesPerPixel)
    height, width = data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns
    down, across = -(-height // data.Rows), -(-width // data.Columns)
    tiles = frames.reshape(-1, down, across, data.Rows, data.Columns, data.SamplesPerPixel)
    image = tiles.transpose(0, 5, 1, 3, 2, 4).reshape(-1, down * data.Rows, across * data.Columns)
    return image[None, :, None, :height, :width]


def _dicom(path: Path) -> list[Pixels]:
    files = {"openslide-boxes": "boxes_0.dcm", "wg26-FluorCell_4": "5_0"}  # level 0 of those that are folders
    return [by_pydicom(path / files[path.name] if path.is_dir() else path)]


# -- microscopes --


def _lif(path: Path) -> list[Pixels]:
    import liffile

    with liffile.LifFile(path) as file:
        return [_section(image.asarray(), "".join(image.dims)) for image in file.images]


def _section(pixels: Pixels, axes: str) -> Pixels:
    """Z is shown as y where an image has no y."""
    return on_five_axes(pixels, axes if "Y" in axes else axes.replace("Z", "Y"))


def _nd2(path: Path) -> list[Pixels]:
    import nd2

    with nd2.ND2File(path) as file:
        return [on_five_axes(file.asarray(), "".join(file.sizes))]


def by_slideio(path: Path, driver: str, slices: tuple[int, int] | None = None) -> Pixels:
    """The first scene, all its slices or some."""
    import slideio

    scene = slideio.open_slide(str(path), driver).get_scene(0)
    planes = range(*(slices or (0, scene.num_z_slices)))
    found = [scene.read_block(slices=(z, z + 1)).reshape(*scene.size[::-1], -1) for z in planes]
    return np.stack(found).transpose(3, 0, 1, 2)[None]


_BY_FOLDER: dict[str, Callable[[Path], Sequence[Pixels]]] = {
    "czi": _czi,
    "dicom": _dicom,
    "jp2": _raster,
    "lif": _lif,
    "nd2": _nd2,
    "ndpi": _ndpi,
    "ometiff": lambda path: [by_tifffile(path)],
    "qptiff": lambda path: [by_tifffile(path)],
    "raster": _raster,
    "svs": lambda path: [by_openslide(path)],
    "tiff": _tiff,
    "vsi": lambda path: [by_slideio(path, "VSI")],
}


def level_0(path: Path) -> Sequence[Pixels]:
    """Level 0 of every scene of a shared sample."""
    return _BY_FOLDER[path.parent.name](path)
