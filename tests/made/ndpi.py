"""NDPI and NDPIS files made by the tests, byte by byte: no library writes Hamamatsu's 64-bit pointers and markers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tests.made.svs import reduced, tissue

Image = NDArray[Any]
Tags = dict[int, tuple[int, Any]]
"""Tag to (type, values)."""
_FORMATS = {3: "H", 4: "I", 5: "I", 9: "i", 11: "f"}
NOTES = "Created=2011/05/23\r\nProduct=C9600-12\r\n;Name=x;ExcitationWaveLength=387;EmissionWaveLength=455;Date=2017/01/27"


@dataclass(frozen=True, slots=True)
class Ndpi:
    """What to make. Sizes are (height, width)."""

    size: tuple[int, int] = (1048, 1024)
    stripe: int = 512
    """Width of a restart interval; 0: whole rows."""
    steps: tuple[int, ...] = (2, 4)
    unmarked: int = 1
    """How many of the coarsest levels have no restart markers."""
    off: int = 0
    """Rows by which the tags of those levels claim more than the JPEG holds."""
    depths_nm: tuple[int | None, ...] = (0,)
    pictures: tuple[int, ...] | None = None
    """Which picture each slice shows, where they are not all different."""
    filter: str | None = None
    color: tuple[float, float, float] = (1, 1, 1)
    """Of a fluorescence image in false colour."""
    codec: str = "jpeg"
    """jpeg, jpeg-grey or jpegxr."""
    macro: bool = True
    lens: float = 20.0
    capture_mode: int = 0
    gap: int = 0
    """Offset of the first page, to make files of over 4 GiB (sparse)."""
    seed: int = 1
    extra: Tags = field(default_factory=dict)


def cells(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A grey fluorescence image: bright spots on black."""
    return (255 - tissue(height, width, seed).astype(int).mean(axis=2)).clip(0, 150).astype(np.uint8)


def picture(ndpi: Ndpi, seed: int) -> Image:
    """Level 0 of a slice before it is encoded."""
    if ndpi.filter is None:
        return tissue(*ndpi.size, seed)
    grey = cells(*ndpi.size, seed)
    if ndpi.codec == "jpegxr":
        return grey.astype(np.uint16) * 200 + 7
    if ndpi.codec == "jpeg-grey":
        return grey
    return np.rint(grey[..., None] * np.array(ndpi.color)).astype(np.uint8)


def levels(ndpi: Ndpi, seed: int) -> list[Image]:
    """The pixels of every level of a slice."""
    found = [picture(ndpi, seed)]
    for step in ndpi.steps:
        found.append(reduced(found[-1], step))
    return found


def jpeg(image: Image, interval: int) -> tuple[bytes, list[int]]:
    """A JPEG with a restart marker after every `interval` MCUs of 8x8, and where each interval starts."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    done, coded = cv2.imencode(".jpg", image[..., ::-1] if image.ndim == 3 else image, options)
    assert done
    data = coded.tobytes()
    scan = data.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")]
    at = data.find(b"\xff", starts[0])
    while at >= 0:
        if 0xD0 <= data[at + 1] <= 0xD7:
            starts.append(at + 2)
        at = data.find(b"\xff", at + 2)
    return data, starts


def make_ndpi(path: Path, ndpi: Ndpi) -> Path:
    """Write the file: the slices of each level, then macro and map."""
    pages: list[tuple[bytes, Tags]] = []
    stacks = [levels(ndpi, ndpi.seed + number) for number in ndpi.pictures or range(len(ndpi.depths_nm))]
    for step in range(len(ndpi.steps) + 1):
        marked = step < len(ndpi.steps) + 1 - ndpi.unmarked
        for depth, stack in zip(ndpi.depths_nm, stacks, strict=True):
            pages.append(_level_page(ndpi, stack[step], depth, marked=marked))
    if ndpi.macro:
        macro = np.ascontiguousarray(tissue(100, 300, 7))
        pages.append((jpeg(macro, 0)[0], _tags(macro, 7, 6) | {65421: (11, [-1.0]), 65441: (4, [8])}))
        grey = np.ascontiguousarray(macro[::2, ::2, 0])
        pages.append((grey.tobytes(), _tags(grey, 1, 1) | {65421: (11, [-2.0])}))
    return write_ndpi(path, pages, ndpi.gap)


def _level_page(ndpi: Ndpi, image: Image, depth: int | None, *, marked: bool) -> tuple[bytes, Tags]:
    height, width = image.shape[:2]
    per_um = 2_000_000 * width // ndpi.size[1] // 100  # 0.5 micrometres at level 0
    tags = {
        282: (5, [per_um, 1]),
        283: (5, [per_um, 1]),
        65421: (11, [ndpi.lens * width / ndpi.size[1]]),
        65422: (9, [12_538_720]),
        65423: (9, [-96_063]),
        65424: (9, [depth]),
        65427: (2, "Jane Doe 1970"),
        65441: (4, [ndpi.capture_mode]),
        65442: (2, "950291"),
        65449: (2, NOTES),
    }
    if depth is None:
        del tags[65424]
    if ndpi.filter is not None:
        tags |= {65434: (2, ndpi.filter), 65451: (11, [455.0])}
    if ndpi.codec == "jpegxr":
        return imagecodecs.jpegxr_encode(image, level=1.0), _tags(image, 22610, 1) | tags
    stripe = (ndpi.stripe or ndpi.size[1]) // 8
    data, starts = jpeg(image, min(stripe, -(-width // 8)) if marked else 0)
    found = _tags(image, 7, 6 if image.ndim == 3 else 1) | tags
    if marked:
        found[65426] = (4, starts)
    else:
        found[257] = found[278] = (4, [height + ndpi.off])
    return data, found | ndpi.extra


def _tags(image: Image, compression: int, photometric: int) -> Tags:
    height, width = image.shape[:2]
    samples = image.shape[2] if image.ndim == 3 else 1
    return {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * image.itemsize] * samples),
        259: (3, [compression]),
        262: (3, [photometric]),
        271: (2, "Hamamatsu"),
        272: (2, "C9600-12"),
        273: (4, [0]),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [0]),
        282: (5, [156, 1]),
        283: (5, [156, 1]),
        296: (3, [3]),
        305: (2, "NDP.scan 2.5.89"),
        306: (2, "2017:02:07 13:06:43"),
        65420: (3, [1]),
    }


def write_ndpi(path: Path, pages: Sequence[tuple[bytes, Tags]], gap: int = 0) -> Path:
    """A classic TIFF with 64-bit pointers: each page's picture, its long values, its directory, the high words."""
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(8))
        pointer = 4
        file.seek(max(12, gap))
        for data, tags in pages:
            start = file.tell()
            file.write(data)
            own = tags | {273: (4, [start]), 279: (4, [len(data)])}
            values = [_stored(file, kind, value) for _, (kind, value) in sorted(own.items())]
            directory = file.tell()
            file.seek(pointer)
            file.write(struct.pack("<Q", directory))
            file.seek(directory)
            file.write(struct.pack("<H", len(own)))
            for (code, (kind, _)), (count, value) in zip(sorted(own.items()), values, strict=True):
                file.write(struct.pack("<HHI4s", code, kind, count, value[:4]))
            pointer = file.tell()
            file.write(bytes(8) + b"".join(value[4:] for _, value in values))
    return path


def _stored(file: BinaryIO, kind: int, values: Any) -> tuple[int, bytes]:
    """(count, 8 bytes of the entry): text and what is over 4 bytes lies before the directory."""
    if kind == 2:
        packed, count = values.encode() + b"\0", len(values) + 1
    elif kind == 4 and len(values) == 1:
        return 1, struct.pack("<Q", values[0])
    else:
        packed, count = b"".join(struct.pack("<" + _FORMATS[kind], v) for v in values), len(values) // (2 if kind == 5 else 1)
        if len(packed) <= 4:
            return count, packed.ljust(8, b"\0")
    at = file.tell()
    file.write(packed)
    return count, struct.pack("<Q", at)


KINDS: dict[str, Ndpi] = {
    "columns": Ndpi(),
    "whole-rows": Ndpi(size=(1200, 616), stripe=0, steps=(2, 2), seed=2),
    "one-row-off": Ndpi(size=(1032, 512), stripe=256, steps=(4, 2), off=1, unmarked=2, seed=3),
    "one-row-under": Ndpi(size=(1032, 512), stripe=256, steps=(4, 2), off=-1, unmarked=2, seed=4),
    "z-planes": Ndpi(size=(616, 512), depths_nm=(2000, -1000, 500), steps=(4,), seed=5),
    "blue": Ndpi(filter="DAPI 2 (387)", color=(0, 0, 1), capture_mode=1, seed=8),
    "orange": Ndpi(size=(616, 512), filter="TRITC", color=(1, 0.6, 0), steps=(4,), seed=9),
    "grey-jpeg": Ndpi(size=(616, 512), filter="Cy5", codec="jpeg-grey", steps=(4,), seed=10),
    "jpegxr-16": Ndpi(size=(616, 512), filter="FITC", codec="jpegxr", capture_mode=17, steps=(4,), seed=11),
    "one-level": Ndpi(size=(104, 64), stripe=0, steps=(), unmarked=1, macro=False, seed=12),
}


def _facts(ndpi: Ndpi) -> dict[str, Any]:
    sizes, scales = [ndpi.size], [1.0]
    for step in ndpi.steps:
        sizes.append((sizes[-1][0] // step, sizes[-1][1] // step))
        scales.append(scales[-1] * step)
    rgb = ndpi.filter is None
    return {
        "driver": "ndpi",
        "dtype": "uint16" if ndpi.codec == "jpegxr" else "uint8",
        "rgb": rgb,
        "levels": [(1, 3 if rgb else 1, len(ndpi.depths_nm), *size) for size in sizes],
        "scales": scales,
        "fill": 255 if rgb else 0,
        "compression": "jpegxr" if ndpi.codec == "jpegxr" else "jpeg",
        "associated": ["macro", "map"] if ndpi.macro else [],
        "pixel_size_um": 0.5,
        "magnification": 20.0,
        "oracle": (rgb or ndpi.codec != "jpeg") and len(ndpi.depths_nm) == 1,  # tifffile shows slices in file order
    }


CHANNELS = (("DAPI 2 (387)", (0, 0, 1)), ("FITC", (0, 1, 0)), ("TRITC", (1, 0.3, 0)))


def make_set(path: Path, listed: Sequence[str] = ("DAPI", "FITC", "TRITC"), **sizes: tuple[int, int]) -> Path:
    """An NDPIS with a file per channel beside it."""
    for number, (word, (name, color)) in enumerate(zip(("DAPI", "FITC", "TRITC"), CHANNELS, strict=True)):
        kind = Ndpi(size=sizes.get(word, (616, 512)), steps=(4,), filter=name, color=color, seed=20 + number)  # type: ignore[arg-type]
        make_ndpi(path.parent / f"{path.stem}-{word}.ndpi", replace(kind, macro=number == 0))
    lines = [f"Image{i}={path.stem}-{word}.ndpi" for i, word in enumerate(listed)]
    text = "\r\n".join(["[NanoZoomer Digital Pathology Image Set]", f"NoImages={len(listed)}", *lines, ""])
    path.write_bytes(text.encode())
    return path


def _maker(ndpi: Ndpi) -> Callable[[Path], Path]:
    return lambda path: make_ndpi(path, ndpi)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"{name}.ndpi", _maker(ndpi), _facts(ndpi)) for name, ndpi in KINDS.items()
]
MADE.append(
    (
        "set.ndpis",
        make_set,
        {
            "driver": "ndpis",
            "dtype": "uint8",
            "rgb": False,
            "levels": [(1, 3, 1, 616, 512), (1, 3, 1, 154, 128)],
            "scales": [1.0, 4.0],
            "fill": 0,
            "compression": "jpeg",
            "associated": ["macro", "map"],
            "pixel_size_um": 0.5,
            "magnification": 20.0,
            "oracle": False,  # the list itself is no TIFF
        },
    )
)
