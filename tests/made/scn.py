"""Leica SCN files made by the tests after the published layout; no real one was met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.ndpi import cells
from tests.made.svs import reduced, tissue

NAMESPACE = "http://www.leica-microsystems.com/scn/2010/10/01"
SLIDE_NM = (76_000_000, 26_000_000)
NM_PER_PIXEL = 500


@dataclass(frozen=True, slots=True)
class Region:
    """An image of the slide; sizes are (height, width), the offset (y, x) in nanometres."""

    size: tuple[int, int] = (530, 611)
    offset: tuple[int, int] = (20_000_000, 5_000_000)
    channels: int = 0
    """0: one RGB page per plane."""
    slices: int = 1
    depth: int = 3
    objective: str = "20"
    missing: tuple[tuple[int, int, int], ...] = ()
    """(r, c, z) of planes that are not listed."""
    alike: bool = False
    """All channels show one picture."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Scn:
    """What to make."""

    regions: tuple[Region, ...] = (Region(),)
    macro: bool = True
    label: bool = False
    codec: str = "deflate"
    namespace: str = NAMESPACE
    before: str = ""
    """Text in front of the root element."""
    replaced: dict[str, str] = field(default_factory=dict)


def plane(region: Region, r: int, c: int, z: int) -> NDArray[Any]:
    """The pixels of a page."""
    if not region.channels:
        image: Any = tissue(*region.size, region.seed + z)
    else:
        image = cells(*region.size, region.seed + (0 if region.alike else 10 * c) + z)
    for _ in range(r):
        image = reduced(image, 4)
    return np.ascontiguousarray(image)


def make_scn(path: Path, scn: Scn) -> Path:
    """Write the file: macro, label, then the pages of each region by resolution, channel and plane."""
    pages: list[NDArray[Any]] = []
    images: list[str] = []
    macro = [np.ascontiguousarray(tissue(228, 78, 7)), np.ascontiguousarray(reduced(tissue(228, 78, 7), 4))]
    if scn.macro:
        listed = "".join(
            f'<dimension sizeX="{image.shape[1]}" sizeY="{image.shape[0]}" r="{r}" ifd="{len(pages) + r}"/>'
            for r, image in enumerate(macro)
        )
        pages += macro
        images.append(_image("overview", listed, (0, 0, *SLIDE_NM), "0.6083"))
    supplement = ""
    if scn.label:
        supplement = f'<supplementalImage type="label" ifd="{len(pages)}"/>'
        pages.append(tissue(60, 61, 8))
    for number, region in enumerate(scn.regions):
        listed = ""
        for r in range(region.depth):
            for c in range(region.channels or 1):
                for z in range(region.slices):
                    if (r, c, z) in region.missing:
                        continue
                    pages.append(plane(region, r, c, z))
                    height, width = pages[-1].shape[:2]
                    place = f'r="{r}" c="{c}" z="{z}" ifd="{len(pages) - 1}"'
                    listed += f'<dimension sizeX="{width}" sizeY="{height}" {place}/>'
        view = (*region.offset, region.size[0] * NM_PER_PIXEL, region.size[1] * NM_PER_PIXEL)
        images.append(_image(f"region {number}", listed, view, region.objective, region.channels))
    size = f'sizeX="{SLIDE_NM[1]}" sizeY="{SLIDE_NM[0]}"'
    xml = (
        f'<?xml version="1.0"?>{scn.before}<scn xmlns="{scn.namespace}" uuid="urn:uuid:1"><collection name="Jane Doe" {size}>'
        f"<barcode>SmFuZSBEb2U=</barcode>{supplement}{''.join(images)}</collection></scn>"
    )
    for old, new in scn.replaced.items():
        assert old in xml
        xml = xml.replace(old, new)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, image in enumerate(pages):
            _write(writer, image, scn.codec, xml if number == 0 else None)
    return path


def _image(name: str, dimensions: str, view: tuple[int, int, int, int], objective: str, channels: int = 0) -> str:
    """`view` is offset y, x and size y, x in nanometres."""
    source = "fluorescence" if channels else "brightfield"
    colors = ("0000ff", "00ff00", "ff0000")
    listed = "".join(f'<channel index="{c}" name="Ch {c}" rgb="#{colors[c]}"/>' for c in range(channels))
    return (
        f'<image name="{name}" uuid="urn:uuid:2"><creationDate>2012-11-29T16:38:25.6Z</creationDate>'
        '<device model="Leica SCN400;Leica SCN" version="1.5.1.10864"/>'
        f'<pixels sizeX="1" sizeY="1">{dimensions}</pixels>'
        f'<view sizeX="{view[3]}" sizeY="{view[2]}" offsetX="{view[1]}" offsetY="{view[0]}" spacingZ="1500"/>'
        f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
        f"<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>{source}</illuminationSource>"
        f"</illuminationSettings><channelSettings>{listed}</channelSettings></scanSettings></image>"
    )


def _write(writer: tifffile.TiffWriter, image: NDArray[Any], codec: str, description: str | None) -> None:
    writer.write(
        image,
        photometric="rgb" if image.ndim == 3 else "minisblack",
        compression=codec,
        tile=(256, 256),
        description=None if description is None else description.encode(),
        resolution=(20000, 20000),  # of OpenSlide's pixel size
        resolutionunit="CENTIMETER",
        software=False,
        metadata=None,
    )


KINDS: dict[str, Scn] = {
    "two-regions": Scn(regions=(Region(), Region(size=(300, 401), offset=(40_000_000, 7_000_000), seed=3))),
    "fluorescence": Scn(regions=(Region(channels=3, depth=2, seed=20),), label=True),
    "z-stack": Scn(regions=(Region(slices=3, depth=2, seed=30),)),
    "channels-and-z": Scn(regions=(Region(channels=2, slices=2, depth=2, size=(300, 401), seed=40),), macro=False),
    "old-schema": Scn(regions=(Region(depth=1, size=(100, 120)),), namespace=NAMESPACE.replace("10/01", "03/10")),
    "jpeg": Scn(regions=(Region(),), codec="jpeg"),
}


def _facts(scn: Scn) -> dict[str, Any]:
    region = scn.regions[0]
    channels = region.channels or 3
    sizes = [(region.size[0] // 4**r, region.size[1] // 4**r) for r in range(region.depth)]
    return {
        "driver": "scn",
        "dtype": "uint8",
        "rgb": not region.channels,
        "levels": [(1, channels, region.slices, *size) for size in sizes],
        "scales": [4.0**r for r in range(region.depth)],
        "fill": 0 if region.channels else 255,
        "compression": scn.codec,
        "associated": ["label"] * scn.label + ["macro"] * scn.macro,
        "pixel_size_um": 0.5,
        "magnification": 20.0,
        "oracle": False,  # the first series of tifffile is the macro, and it reads no z stacks
    }


def _maker(scn: Scn) -> Callable[[Path], Path]:
    return lambda path: make_scn(path, scn)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"{name}.scn", _maker(scn), _facts(scn)) for name, scn in KINDS.items()
]
