"""Philips TIFFs made by the tests after the published layout; no real one was met."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.svs import patch_array, reduced, tissue

TILE = 128


@dataclass(frozen=True, slots=True)
class Philips:
    """What to make. Sizes are (height, width); the stored levels are padded to whole tiles."""

    size: tuple[int, int] = (640, 896)
    depth: int = 4
    spacing_mm: tuple[float, float] = (0.00025, 0.00025)
    """(row, column) of the slide."""
    codec: str = "deflate"
    absent: tuple[tuple[int, int], ...] = ((0, 3), (1, 2))
    """(level, tile) that are not stored."""
    pages: tuple[str, ...] = ()
    """Label and Macro as pages; else as pictures in the XML."""
    pictures: tuple[str, ...] = ("LABELIMAGE", "MACROIMAGE")
    unlisted: tuple[int, ...] = ()
    """Levels that the XML does not list."""
    skipped: tuple[int, ...] = ()
    """Levels that are not stored."""
    attributes: str = ""
    replaced: dict[str, str] = field(default_factory=dict)
    seed: int = 1


def level(kind: Philips, number: int) -> NDArray[Any]:
    """The pixels of a level, without its padding; black tiles are not stored."""
    image: Any = tissue(*kind.size, kind.seed)
    for _ in range(number):
        image = reduced(image, 2)
    return np.ascontiguousarray(image)


def padded(image: NDArray[Any]) -> NDArray[Any]:
    """Filled up to whole tiles with a colour that must never be seen."""
    below, beside = -image.shape[0] % TILE, -image.shape[1] % TILE
    return np.pad(image, ((0, below), (0, beside), (0, 0)), constant_values=99)


def jpeg_picture(kind: str) -> bytes:
    """The picture of a role inside the XML."""
    image = tissue(60, 70 if kind == "LABELIMAGE" else 200, 8)
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def _attribute(name: str, value: str, kind: str = "IString") -> str:
    return f'<Attribute Name="{name}" Group="0x0028" Element="0x0030" PMSVR="{kind}">{value}</Attribute>\n'


def _list(name: str, objects: str) -> str:
    return _attribute(name, f"<Array>{objects}</Array>", "IDataObjectArray")


def _spacing(row: float, column: float) -> str:
    return _attribute("DICOM_PIXEL_SPACING", f"&quot;{row:.9f}&quot; &quot;{column:.9f}&quot;", "IDoubleArray")


def document(kind: Philips) -> str:
    """The XML of the first page. The levels' spacings are rounded, as the scanner writes them."""
    represented = ""
    for number in range(kind.depth):
        if number in kind.unlisted:
            continue
        rows, columns = padded(level(kind, number)).shape[:2]
        represented += (
            '<DataObject ObjectType="PixelDataRepresentation">'
            + _spacing(0.000227273 * 2**number, 0.000227273 * 2**number)
            + _attribute("PIIM_PIXEL_DATA_REPRESENTATION_COLUMNS", str(columns), "IUInt32")
            + _attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(number), "IUInt16")
            + _attribute("PIIM_PIXEL_DATA_REPRESENTATION_ROWS", str(rows), "IUInt32")
            + "</DataObject>"
        )
    slide = '<DataObject ObjectType="DPScannedImage">' + _attribute("PIM_DP_IMAGE_TYPE", "WSI")
    slide += _spacing(*kind.spacing_mm) + _list("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", represented) + "</DataObject>"
    for name in kind.pictures:
        data = base64.b64encode(jpeg_picture(name)).decode()
        broken = "\n".join(data[i : i + 76] for i in range(0, len(data), 76))
        slide += '<DataObject ObjectType="DPScannedImage">' + _attribute("PIM_DP_IMAGE_TYPE", name)
        slide += _attribute("PIM_DP_IMAGE_DATA", broken) + "</DataObject>"
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<DataObject ObjectType="DPUfsImport">\n'
        + _attribute("DICOM_MANUFACTURER", "PHILIPS")
        + _attribute("DICOM_DEVICE_SERIAL_NUMBER", "FMT0123")
        + _attribute("DICOM_ACQUISITION_DATETIME", "20160718122300.000000")
        + _attribute("DICOM_SOFTWARE_VERSIONS", "&quot;1.6.6186&quot; &quot;x&quot;", "IStringArray")
        + _attribute("PIM_DP_UFS_BARCODE", "SmFuZSBEb2U=")
        + kind.attributes
        + _list("PIM_DP_SCANNED_IMAGES", slide)
        + "</DataObject>\n"
    )
    for old, new in kind.replaced.items():
        assert old in xml
        xml = xml.replace(old, new)
    return xml


def make_philips(path: Path, kind: Philips) -> Path:
    """Write the file: levels, then label and macro where they are pages."""
    stored = [number for number in range(kind.depth) if number not in kind.skipped]
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number in stored:
            writer.write(
                padded(level(kind, number)),
                photometric="rgb",  # which tifffile stores as YCbCr where the codec is JPEG
                compression=kind.codec,
                tile=(TILE, TILE),
                subfiletype=int(number > 0),
                description=document(kind) if number == 0 else None,
                software="Philips DP v1.0",
                metadata=None,
            )
        for name in kind.pages:
            image = tissue(60, 70, 8)
            writer.write(image, photometric="rgb", description=name, software=False, metadata=None)
    for number, tile in kind.absent:
        for code in (324, 325):
            patch_array(path, stored.index(number), code, {tile: 0})
    return path


KINDS: dict[str, Philips] = {
    "plain": Philips(),
    "jpeg": Philips(codec="jpeg", seed=2),
    "label-pages": Philips(size=(512, 640), depth=3, pages=("Label", "Macro"), pictures=(), seed=3),
    "many-levels": Philips(size=(640, 384), depth=6, absent=(), seed=4),
    "unlisted-level": Philips(unlisted=(2,), seed=5),
    "skipped-level": Philips(skipped=(1,), absent=(), seed=6),
}


def _facts(kind: Philips) -> dict[str, Any]:
    numbers = [number for number in range(kind.depth) if number not in kind.skipped]
    return {
        "driver": "philips",
        "dtype": "uint8",
        "rgb": True,
        "levels": [(1, 3, 1, kind.size[0] >> n, kind.size[1] >> n) for n in numbers],
        "scales": [float(1 << n) for n in numbers],
        "tile": (1, 3, 1, TILE, TILE),
        "fill": 255,
        "compression": kind.codec,
        "associated": ["label", "macro"],
        "pixel_size_um": 0.25,
        "magnification": None,
        "oracle": not kind.absent,  # tifffile shows tiles that are not stored black
    }


def _maker(kind: Philips) -> Callable[[Path], Path]:
    return lambda path: make_philips(path, kind)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"philips-{name}.tiff", _maker(kind), _facts(kind)) for name, kind in KINDS.items()
]
