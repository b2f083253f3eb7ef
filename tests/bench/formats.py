"""The benchmark slide in other formats: its own tiles as DICOM, its pixels as CZI.

`python -m tests.bench.formats KIND OUT SLIDE.svs` writes one; KIND is one of KINDS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

SCENE = (4608, 4672)
"""(height, width) of each of the two scenes of a CZI, together 43 megapixels."""
_JPEG_BASELINE, _WHOLE_SLIDE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.5.1.4.1.1.77.1.6"
_BLOCK = 1024
_SPACING_MM = 0.000499


def write_dicom(folder: Path, slide: Path) -> None:
    """A file for each tiled level of a JPEG TIFF, its tiles as they are, TILED_FULL; written in `folder`."""
    import tifffile

    folder.mkdir()
    with tifffile.TiffFile(slide) as tiff:
        every: list[Any] = list(tiff.pages)
        pages = [page for page in every if page.is_tiled]
        for number, page in enumerate(pages):
            factor = round(pages[0].imagewidth / page.imagewidth)
            data = _data_set(page, number, factor)
            _with_frames(data, list(_streams(page, slide)))
            data.save_as(folder / f"level-{number}.dcm", enforce_file_format=True)


def _data_set(page: Any, number: int, factor: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    data, groups, measures, path = Dataset(), Dataset(), Dataset(), Dataset()
    data.SOPClassUID, data.Modality, data.ImageType = UID(_WHOLE_SLIDE), "SM", ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    data.SOPInstanceUID = generate_uid(entropy_srcs=["bench", str(number)])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["bench"])
    data.DimensionOrganizationType = "TILED_FULL"
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = page.imagelength, page.imagewidth
    data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = page.tilelength, page.tilewidth, 3, 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PhotometricInterpretation, data.NumberOfOpticalPaths = "RGB", 1
    path.OpticalPathIdentifier, path.ObjectiveLensPower = "0", "20"
    data.OpticalPathSequence = [path]
    measures.PixelSpacing = [f"{_SPACING_MM * factor:.8g}"] * 2
    groups.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [groups]
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(_JPEG_BASELINE)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def _streams(page: Any, slide: Path) -> Iterator[bytes]:
    """Every tile as a JPEG stream of its own."""
    tables = page.jpegtables
    with slide.open("rb") as file:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            stream = file.read(count)
            yield tables[:-2] + stream[2:] if tables else stream


def _with_frames(data: Any, streams: list[bytes]) -> None:
    from pydicom.encaps import encapsulate

    data.NumberOfFrames = len(streams)
    data.PixelData = encapsulate(streams, has_bot=True)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True


def write_czi(path: Path, slide: Path, kind: str, times: int = 1) -> None:
    """Two scenes of zstd1 blocks, 8 bit colour or 16 bit packed as high and low bytes, no pyramid, as libCZI writes it.

    `times` makes the sides of the scenes longer.
    """
    from tests.made.czi import Block, Czi, document, make

    blocks: list[Block] = []
    height, width = SCENE[0] * times, SCENE[1] * times
    for scene in range(2):
        pixels = _region(slide, scene * height, height, width)
        codec = "zstd1"
        if kind == "Gray16":
            pixels, codec = _grey(pixels, scene), "zstd1-hilo"
        for number, (top, left) in enumerate((y, x) for y in range(0, height, _BLOCK) for x in range(0, width, _BLOCK)):
            at = {"C": 0, "S": scene, "X": left + scene * 20000, "Y": top, "M": number}
            blocks.append(Block(pixels[top : top + _BLOCK, left : left + _BLOCK], kind, codec, at))
    make(path, Czi(blocks, document(channels="", display="")))


def _region(slide: Path, top: int, height: int, width: int) -> Any:
    """Rows of level 0 from `top` on, (height, width, 3); of a slide that is smaller, mirrored."""
    import numpy as np

    from drivers.discovery import open_slide
    from drivers.geometry import Box, Shape
    from drivers.paint import paint

    with open_slide(slide) as opened:
        level = opened.scenes[0].levels[0]
        bottom, right = min(top + height, level.shape.y), min(width, level.shape.x)
        first = max(0, min(top, bottom - min(height, level.shape.y)))
        pixels = paint(level, Box(Shape(0, 0, 0, first, 0), Shape(1, 3, 1, bottom, right)))[0, :, 0].transpose(1, 2, 0)
    return np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), mode="symmetric")


def _grey(pixels: Any, seed: int) -> Any:
    """Fluorescence of 14 bits: bright where tissue is dark, with the noise of a camera."""
    import numpy as np

    noise = np.random.default_rng(seed).normal(0, 12, pixels.shape[:2]).astype(np.float32)
    signal = (255 - pixels[..., 1].astype(np.float32)) * 40 + 100
    return np.clip(signal + noise, 0, 16383).astype(np.uint16)[..., None]


class Kind(NamedTuple):
    """A format that is made, and how."""

    suffix: str
    write: Callable[[Path, Path], None]


KINDS: dict[str, Kind] = {
    "czi-gray16": Kind(".czi", partial(write_czi, kind="Gray16")),
    "czi-bgr24": Kind(".czi", partial(write_czi, kind="Bgr24")),
    "czi-gray16-large": Kind(".czi", partial(write_czi, kind="Gray16", times=2)),
    "dicom": Kind("", write_dicom),
}


def making(kind: str, path: Path, slide: Path) -> list[str]:
    """The command that writes one."""
    return [sys.executable, "-m", "tests.bench.formats", kind, os.fspath(path), os.fspath(slide)]


if __name__ == "__main__":
    KINDS[sys.argv[1]].write(Path(sys.argv[2]), Path(sys.argv[3]))
