"""DICOM files made by the tests: whole slides in every tiling and codec, and ordinary images; `MADE` as in made_svs.

Data sets are written by pydicom, frames encoded by imagecodecs. A slide is a file for each level (and part), beside the
path that is given, with its name and a further word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.filewriter import dcmwrite
from pydicom.uid import generate_uid

from tests.made.svs import reduced, tissue, ycbcr

Image = NDArray[Any]
ICC = b"\0\0\0\x90test" + bytes(range(136))
WHOLE_SLIDE, SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.7.4"
CANARY = "Canary^Patient"


@dataclass(frozen=True, slots=True)
class Wsi:
    """What to make. Sizes are (height, width)."""

    size: tuple[int, int] = (300, 421)
    tile: tuple[int, int] = (128, 96)
    codec: str = "jpeg"
    steps: tuple[int, ...] = (2, 2)
    paths: int = 0
    """Optical paths of one sample each; 0: one path of colour."""
    planes: int = 1
    dtype: str = "u1"
    sparse: bool = False
    omit: tuple[int, ...] = ()
    """Frames that a sparse tiling leaves out."""
    shift: int = 0
    """Pixels by which sparse tiles lie off the grid."""
    concatenation: int = 1
    """Files that each level is split into."""
    split: str = ""
    """"paths" or "planes": a file for each of them."""
    table: str = "basic"
    """Offset table: basic, none, extended."""
    fragments: int = 1
    padded: bool = False
    """Sizes as Philips states them: whole tiles at every level."""
    roles: tuple[str, ...] = ("LABEL", "OVERVIEW", "THUMBNAIL")
    spacing: float = 0.0005
    """Millimetres of a level 0 pixel."""
    seed: int = 60


def pictures(wsi: Wsi) -> list[Image]:
    """Every level with axes path, plane, y, x, sample."""
    levels: list[Image] = []
    planes = [[_picture(wsi, c, z) for z in range(wsi.planes)] for c in range(wsi.paths or 1)]
    factor = 1
    for step in (1, *wsi.steps):
        factor *= step
        levels.append(np.array([[reduced(image, factor) if factor > 1 else image for image in row] for row in planes]))
    if wsi.padded:
        levels = [_whole_tiles(level, wsi.tile) for level in levels]
    return levels if wsi.paths == 0 else [level[..., None] for level in levels]


def _picture(wsi: Wsi, path: int, plane: int) -> Image:
    image = tissue(*wsi.size, wsi.seed + 10 * path + plane)
    if wsi.paths == 0:
        return np.ascontiguousarray(image)
    grey = np.ascontiguousarray(255 - image[..., path % 3])
    return grey if wsi.dtype == "u1" else grey.astype(wsi.dtype) * 13


def _whole_tiles(level: Image, tile: tuple[int, int]) -> Image:
    down, across = (-size % edge for size, edge in zip(level.shape[2:4], tile, strict=True))
    return np.pad(level, ((0, 0), (0, 0), (0, down), (0, across), (0, 0))[: level.ndim], constant_values=255)


CODECS: dict[str, tuple[str, str, Callable[[Image], bytes]]] = {
    # codec: (transfer syntax, photometric interpretation of colours, encoder)
    "none": ("1.2.840.10008.1.2.1", "RGB", lambda t: t.tobytes()),
    "implicit": ("1.2.840.10008.1.2", "RGB", lambda t: t.tobytes()),
    "big": ("1.2.840.10008.1.2.2", "RGB", lambda t: t.astype(t.dtype.newbyteorder(">")).tobytes()),
    "deflated": ("1.2.840.10008.1.2.1.99", "RGB", lambda t: t.tobytes()),
    "jpeg": ("1.2.840.10008.1.2.4.50", "YBR_FULL_422", lambda t: imagecodecs.jpeg8_encode(t, level=90, subsampling="420")),
    "jpeg-rgb": (
        "1.2.840.10008.1.2.4.50",
        "RGB",
        lambda t: imagecodecs.jpeg8_encode(t, level=90, colorspace="YCBCR", outcolorspace="YCBCR", subsampling="444"),
    ),
    "ljpeg": ("1.2.840.10008.1.2.4.70", "RGB", lambda t: lossless_jpeg(t)),  # noqa: PLW0108 - defined below
    "jpegls": ("1.2.840.10008.1.2.4.80", "RGB", imagecodecs.jpegls_encode),
    "j2k": ("1.2.840.10008.1.2.4.90", "YBR_RCT", lambda t: imagecodecs.jpeg2k_encode(t, codecformat="j2k", reversible=True)),
    "j2k-ycbcr": (  # stored as YCbCr, which the stream does not say
        "1.2.840.10008.1.2.4.91",
        "YBR_ICT",
        lambda t: imagecodecs.jpeg2k_encode(ycbcr(t), codecformat="j2k", mct=False, reversible=True),
    ),
    "htj2k": ("1.2.840.10008.1.2.4.201", "RGB", lambda t: imagecodecs.htj2k_encode(t, reversible=True)),
    "jpegxl": ("1.2.840.10008.1.2.4.110", "RGB", lambda t: imagecodecs.jpegxl_encode(t, lossless=True)),
    "rle": ("1.2.840.10008.1.2.5", "RGB", lambda t: rle(t)),  # noqa: PLW0108 - as above
}  # fmt: skip


def lossless_jpeg(tile: Image) -> bytes:
    """Process 14 of ITU-T T.81, colours not converted."""
    space = {"colorspace": "RGB", "outcolorspace": "RGB"} if tile.ndim == 3 and tile.shape[2] == 3 else {}
    return imagecodecs.jpeg8_encode(tile, lossless=True, **space)


def rle(tile: Image) -> bytes:
    """PS3.5 annex G by pydicom, segment by segment."""
    from pydicom.pixels.encoders.native import _encode_frame

    class Runner:
        samples_per_pixel, rows, columns = tile.shape[2], tile.shape[0], tile.shape[1]
        bits_allocated, pixel_keyword, transfer_syntax, photometric_interpretation = 8 * tile.itemsize, "PixelData", "", ""
        planar_configuration = 0

        def get_option(self, name: str, default: object = None) -> object:
            return "<" if name == "byteorder" else default

    return bytes(_encode_frame(tile.astype(tile.dtype.newbyteorder("<")).tobytes(), Runner()))  # type: ignore[arg-type]


def make_wsi(path: Path, wsi: Wsi) -> Path:
    """Write the slide; its finest level (or the first part of it) at `path`."""
    name, spacing, factor = path.name, wsi.spacing, 1
    for number, (level, step) in enumerate(zip(pictures(wsi), (1, *wsi.steps), strict=True)):
        factor *= step
        for part, (data, frames) in enumerate(_parts(name, wsi, level, number)):
            place = path if number == part == 0 else path.with_name(f"{name}.{number}.{part}")
            _describe(data, wsi, level, spacing * factor)
            write(place, data, frames, wsi.codec, table=wsi.table, fragments=wsi.fragments)
    for role in wsi.roles:
        image = tissue(40, 60, 7)[None, None]
        data = _instance(name, role, f"{role.lower()}")
        _describe(data, replace(wsi, tile=(40, 60), paths=0, planes=1), image, 0.05)
        write(path.with_name(f"{name}.{role.lower()}"), data, [image[0, 0]], "none")
    return path


def _instance(name: str, role: str, word: str) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.Modality = WHOLE_SLIDE, "SM"
    data.SOPInstanceUID = generate_uid(entropy_srcs=[name, word])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[name])
    data.StudyInstanceUID = generate_uid(entropy_srcs=[name, "study"])
    data.ImageType = ["ORIGINAL", "PRIMARY", role, "NONE"]
    data.PatientName, data.PatientID, data.AccessionNumber = CANARY, "canary-id", "canary-acc"
    data.Manufacturer, data.ManufacturerModelName, data.DeviceSerialNumber = "Maker", "Scanner 3", "s1234"
    data.SoftwareVersions = ["1.2", "3"]
    data.AcquisitionDateTime = "20240328140509.250000+0100"
    return data


def _parts(name: str, wsi: Wsi, level: Image, number: int) -> Iterator[tuple[Dataset, list[Image]]]:
    """(data set, frames) of every file of a level."""
    groups = [(list(range(wsi.paths or 1)), list(range(wsi.planes)))]
    if wsi.split == "paths":
        groups = [([c], groups[0][1]) for c in groups[0][0]]
    elif wsi.split == "planes":
        groups = [(groups[0][0], [z]) for z in groups[0][1]]
    for group, (paths, planes) in enumerate(groups):
        data = _instance(name, "VOLUME", f"{number}-{group}")
        data.OpticalPathSequence = [_optical_path(wsi, c) for c in paths]
        data.NumberOfOpticalPaths, data.TotalPixelMatrixFocalPlanes = len(paths), len(planes)
        placed = [(c, z, top, left) for c in paths for z in planes for top, left in _corners(wsi, level)]
        if wsi.sparse:
            placed = [place for i, place in enumerate(placed) if i not in wsi.omit][::-1]
            data.DimensionOrganizationType = "TILED_SPARSE"
        else:
            data.DimensionOrganizationType = "TILED_FULL"
        if wsi.split == "planes":
            data.SharedFunctionalGroupsSequence = [Dataset()]
            data.SharedFunctionalGroupsSequence[0].PlanePositionSlideSequence = [_position(planes[0] * 1.5, 0, 0)]
        yield from _concatenated(wsi, data, placed, level)


def _concatenated(wsi: Wsi, data: Dataset, placed: list[Any], level: Image) -> Iterator[tuple[Dataset, list[Image]]]:
    size, start = -(-len(placed) // wsi.concatenation), 0
    parts = -(-len(placed) // size)
    for part in range(parts):
        chosen = placed[start : start + size]
        own = deepcopy(data)
        if parts > 1:
            own.ConcatenationUID, own.InConcatenationNumber = data.SOPInstanceUID, part + 1
            own.InConcatenationTotalNumber, own.ConcatenationFrameOffsetNumber = parts, start
            own.SOPInstanceUID = generate_uid(entropy_srcs=[data.SOPInstanceUID, str(part)])
        if wsi.sparse:
            own.PerFrameFunctionalGroupsSequence = [_groups(wsi, *place) for place in chosen]
        yield own, [_frame(wsi, level, place) for place in chosen]
        start += size


def _corners(wsi: Wsi, level: Image) -> Iterator[tuple[int, int]]:
    for top in range(0, level.shape[2], wsi.tile[0]):
        for left in range(0, level.shape[3], wsi.tile[1]):
            yield top, left - (wsi.shift if left else 0)


def _frame(wsi: Wsi, level: Image, place: tuple[int, int, int, int]) -> Image:
    c, z, top, left = place
    part = level[c, z, top : top + wsi.tile[0], left : left + wsi.tile[1]]
    below, beside = wsi.tile[0] - part.shape[0], wsi.tile[1] - part.shape[1]
    return np.pad(part, ((0, below), (0, beside), (0, 0)), mode="edge")


def _position(z_um: float, top: int, left: int) -> Dataset:
    position = Dataset()
    position.ColumnPositionInTotalImagePixelMatrix, position.RowPositionInTotalImagePixelMatrix = left + 1, top + 1
    position.XOffsetInSlideCoordinateSystem = position.YOffsetInSlideCoordinateSystem = "0"
    position.ZOffsetInSlideCoordinateSystem = f"{z_um:g}"
    return position


def _groups(wsi: Wsi, c: int, z: int, top: int, left: int) -> Dataset:
    groups, path = Dataset(), Dataset()
    groups.PlanePositionSlideSequence = [_position(z * 1.5, top, left)]
    path.OpticalPathIdentifier = str(c)
    groups.OpticalPathIdentificationSequence = [path]
    return groups


def _optical_path(wsi: Wsi, c: int) -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier, path.ObjectiveLensPower, path.ObjectiveLensNumericalAperture = str(c), "20", "0.75"
    path.ICCProfile = ICC
    if wsi.paths:
        path.OpticalPathDescription, path.IlluminationWaveLength = f"Stain {c}", 405.0 + 80 * c
        palette = Dataset()
        for i, color in enumerate(("Red", "Green", "Blue")):
            setattr(palette, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = np.linspace(0, 65535 if i == c % 3 else 0, 256).astype("<u2").tobytes()
            setattr(palette, f"{color}PaletteColorLookupTableData", table)
        path.PaletteColorLookupTableSequence = [palette]
    return path


def _describe(data: Dataset, wsi: Wsi, level: Image, spacing: float) -> None:
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = level.shape[2], level.shape[3]
    data.ImagedVolumeHeight, data.ImagedVolumeWidth = level.shape[2] * spacing, level.shape[3] * spacing
    data.ImagedVolumeDepth = 1.0
    origin, measures = Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = "12.5", "17.25"
    data.TotalPixelMatrixOriginSequence = [origin]
    data.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
    measures.PixelSpacing, measures.SliceThickness = [f"{spacing:.10g}"] * 2, "0.001"
    if wsi.planes > 1 and wsi.split != "planes":
        measures.SpacingBetweenSlices = "0.0015"
    if "SharedFunctionalGroupsSequence" not in data:
        data.SharedFunctionalGroupsSequence = [Dataset()]
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]


def write(
    path: Path, data: Dataset, frames: Sequence[Image], codec: str = "none", *, table: str = "basic", fragments: int = 1
) -> Path:
    """Write frames (rows, columns, samples), which the data set is told of."""
    syntax, photometric, encode = CODECS[codec]
    first = frames[0]
    data.Rows, data.Columns, data.SamplesPerPixel = first.shape
    data.NumberOfFrames = len(frames)
    data.PhotometricInterpretation = (
        photometric if first.shape[2] == 3 else data.get("PhotometricInterpretation", "MONOCHROME2")
    )
    if first.shape[2] == 3:
        data.PlanarConfiguration = 0
    if first.dtype.kind == "f":
        data.FloatPixelData = b"".join(frame.tobytes() for frame in frames)
    else:
        data.BitsAllocated = 8 * first.itemsize
        data.BitsStored = data.get("BitsStored", data.BitsAllocated)
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(first.dtype.kind == "i")
        squeezed = [frame[..., 0] if frame.shape[2] == 1 and codec != "rle" else frame for frame in frames]
        encoded = [encode(np.ascontiguousarray(frame)) for frame in squeezed]
        if CODECS[codec][0].startswith(("1.2.840.10008.1.2.4", "1.2.840.10008.1.2.5")):
            _encapsulate(data, encoded, table, fragments)
        else:
            joined = b"".join(encoded)
            data.PixelData = joined + b"\0" * (len(joined) % 2)
            data["PixelData"].VR = "OW" if first.itemsize > 1 else "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    dcmwrite(path, data, enforce_file_format=True)
    return path


def _encapsulate(data: Dataset, encoded: list[bytes], table: str, fragments: int) -> None:
    if table == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(encoded)
    else:
        data.PixelData = encapsulate(encoded, fragments_per_frame=fragments, has_bot=table == "basic")
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"


def noise(shape: tuple[int, ...], dtype: str) -> Image:
    """Random samples over the range of the type, the same for the same shape."""
    random = np.random.default_rng(sum(shape))
    if dtype[0] == "f":
        return random.random(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype)


def ordinary(frames: Sequence[Image], **facts: Any) -> Dataset:
    """A data set for an image that is no whole slide."""
    _ = frames
    data = Dataset()
    data.SOPClassUID, data.Modality = SECONDARY_CAPTURE, "OT"
    data.SOPInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientName = CANARY
    for name, value in facts.items():
        setattr(data, name, value)
    return data


MADE: list[tuple[str, Callable[[Path], object], dict[str, Any]]] = []
SIZES = [(300, 421), (150, 210), (75, 105)]
_FACTS = {"driver": "dicom", "oracle": False, "magnification": 20.0, "pixel_size_um": 0.5}
_RGB = _FACTS | {"rgb": True, "dtype": "uint8", "fill": 255, "tile": (1, 3, 1, 128, 96)}
_RGB |= {"levels": [(1, 3, 1, *size) for size in SIZES], "scales": [1, 2, 4], "associated": ["label", "macro", "thumbnail"]}
_GREY = _FACTS | {"rgb": False, "fill": 0, "scales": [1, 2, 4], "tile": (1, 1, 1, 128, 96), "associated": []}


def _listed(name: str, wsi: Wsi, facts: dict[str, Any], **more: Any) -> None:
    MADE.append((name, lambda path: make_wsi(path, wsi), facts | more))


_listed("wsi-jpeg", Wsi(), _RGB, compression="jpeg")
_listed(
    "wsi-sparse-j2k.dcm", Wsi(codec="j2k", sparse=True, omit=(1, 4), roles=()), _RGB, compression="jpeg2000", associated=[]
)
_listed("wsi-rle-parts.dcm", Wsi(codec="rle", concatenation=3, roles=()), _RGB, compression="rle", associated=[])
_listed(
    "wsi-stains-u16.dcm",
    Wsi(codec="htj2k", paths=3, planes=2, dtype="u2", roles=()),
    _GREY,
    dtype="uint16",
    levels=[(1, 3, 2, *size) for size in SIZES],
    compression="htj2k",
)
_listed(
    "wsi-shifted.dcm",
    Wsi(codec="jpegls", paths=1, sparse=True, shift=7, steps=(), roles=()),
    _GREY,
    dtype="uint8",
    levels=[(1, 1, 1, 300, 421)],
    scales=[1],
    compression="jpegls",
)
_ORDINARY = {"driver": "dicom", "oracle": False, "rgb": False, "associated": [], "pixel_size_um": None, "scales": [1]}


def _cine(path: Path) -> None:
    frames = [_picture(Wsi(paths=1, size=(60, 70)), 0, i)[..., None] for i in range(5)]
    write(path, ordinary(frames, FrameTime="40"), frames)


MADE.append(("cine.dcm", _cine, _ORDINARY | {"dtype": "uint8", "levels": [(5, 1, 1, 60, 70)], "compression": "none"}))
