"""QPTIFF files made by the tests, with their pages in the order of scanners: bands, thumbnail, reduced bands, the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.made.ndpi import cells
from tests.made.svs import reduced, tissue

BANDS = (("DAPI", "0,0,255"), ("FITC", "0,255,0"), ("Cy3", "255, 255, 0"), ("Cy5", "255,0,0"), ("AF", "128,128,128"))
FILTERS = "Semrock:FF01-453/571 Emission / Semrock:FF01-391/538 Excitation"
PROFILE = """<ScanProfile><root><ScanResolution><PixelSizeMicrons>0.5</PixelSizeMicrons><Magnification>20</Magnification>
</ScanResolution><ScanBands><ScanBands-i><ExcitedFilterPair><FilterPair><EmissionFilter><FixedFilter>
<Manufacturer>Semrock</Manufacturer><PartNumber>FF01-453/571 Emission</PartNumber><TransmissionBands>
<TransmissionBands-i><Min>438</Min><Max>468</Max></TransmissionBands-i>
<TransmissionBands-i><Min>510</Min><Max>720</Max></TransmissionBands-i></TransmissionBands></FixedFilter></EmissionFilter>
<ExcitationFilter><BandNames><BandNames-i>DAPI</BandNames-i><BandNames-i>FITC</BandNames-i></BandNames><FixedFilter>
<Manufacturer>Semrock</Manufacturer><PartNumber>FF01-391/538 Excitation</PartNumber><TransmissionBands>
<TransmissionBands-i><Min>375</Min><Max>407</Max></TransmissionBands-i>
<TransmissionBands-i><Min>470</Min><Max>490</Max></TransmissionBands-i></TransmissionBands></FixedFilter></ExcitationFilter>
</FilterPair></ExcitedFilterPair></ScanBands-i></ScanBands></root></ScanProfile>"""


@dataclass(frozen=True, slots=True)
class Qptiff:
    """What to make. Sizes are (height, width)."""

    size: tuple[int, int] = (601, 807)
    bands: int = 5
    """0: a brightfield scan, one RGB page a level."""
    depth: int = 3
    """Levels, each half of the one before, rounded down."""
    striped_below: int = 500
    """Levels of at most this width are strips of 16 rows, the others tiles."""
    dtype: str = "u1"
    codec: str = "lzw"
    associated: bool = True
    resolution: bool = True
    markers: bool = False
    """Name the antibody beside the dye, as files of antibody cycles do."""
    shuffled: bool = False
    """Reduced bands in another order than the full ones."""
    dropped: int = 0
    """Bands that the coarsest level lacks."""
    seed: int = 1


def band(kind: Qptiff, number: int) -> NDArray[Any]:
    """Level 0 of a channel."""
    if not kind.bands:
        return tissue(*kind.size, kind.seed)
    grey = cells(*kind.size, kind.seed + number)
    return grey if kind.dtype == "u1" else (grey.astype(np.float64) * 181).astype(kind.dtype)


def note(kind: Qptiff, number: int, what: str, *, profile: bool = False) -> str:
    """The XML of a page."""
    name, color = BANDS[number]
    channel = f"<Name>{name}</Name><Color>{color}</Color><ExposureTime>{2630 * (number + 1)}</ExposureTime>"
    channel += f"<Responsivity><Filter><FilterID>{name}_{FILTERS}</FilterID></Filter></Responsivity>"
    if kind.markers:
        channel += f"<Biomarker>CD{number + 3}</Biomarker>"
    described = channel if "Resolution" in what and kind.bands else ""
    return (
        '<?xml version="1.0" encoding="utf-16"?>\r\n<PerkinElmer-QPI-ImageDescription>'
        "<DescriptionVersion>2</DescriptionVersion><AcquisitionSoftware>VectraPolaris 1.0</AcquisitionSoftware>"
        f"<ImageType>{what}</ImageType><SlideID>Jane Doe</SlideID><Barcode />"
        f"<ComputerName>SECRET-PC</ComputerName>{described}"
        f"<Objective>20x</Objective>{PROFILE if profile else ''}</PerkinElmer-QPI-ImageDescription>"
    )


def make_qptiff(path: Path, kind: Qptiff) -> Path:
    """Write the file."""
    numbers = range(kind.bands or 1)
    images = [band(kind, number) for number in numbers]
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        for number in numbers:
            _write(writer, kind, images[number], note(kind, number, "FullResolution", profile=number == 0))
        thumbnail = np.ascontiguousarray(tissue(*kind.size, 90)[::2, ::2])  # as large as a level
        if kind.associated:
            _write(writer, kind, thumbnail, note(kind, 0, "Thumbnail"))
        for step in range(1, kind.depth):
            images = [reduced(image, 2) for image in images]
            order = list(reversed(numbers)) if kind.shuffled else list(numbers)
            for number in order[: len(order) - (kind.dropped if step == kind.depth - 1 else 0)]:
                _write(writer, kind, images[number], note(kind, number, "ReducedResolution"))
        for what, seed in (("Overview", 91), ("Label", 92)) if kind.associated else ():
            _write(writer, kind, tissue(90, 61, seed), note(kind, 0, what))
    return path


def _write(writer: tifffile.TiffWriter, kind: Qptiff, image: NDArray[Any], description: str) -> None:
    striped = image.shape[1] <= kind.striped_below
    per_um = 20000 * image.shape[1] / kind.size[1] if kind.resolution else 1
    writer.write(
        image,
        photometric="rgb" if image.ndim == 3 else "minisblack",
        compression=kind.codec,
        tile=None if striped else (256, 256),
        rowsperstrip=16 if striped else None,
        description=description.encode(),
        resolution=(per_um, per_um),
        resolutionunit="CENTIMETER" if kind.resolution else "NONE",
        datetime="2020:10:30 13:32:10",
        software="PerkinElmer-QPI",
        metadata=None,
        extratags=[(286, 5, 1, (3, 2), True), (287, 5, 1, (1, 4), True)],
    )


KINDS: dict[str, Qptiff] = {
    "five-bands": Qptiff(),
    "field": Qptiff(bands=3, depth=1, size=(300, 401), seed=3),
    "sixteen-bit": Qptiff(bands=2, dtype="u2", size=(530, 611), seed=4),
    "unmixed-float": Qptiff(bands=3, dtype="f4", depth=1, size=(300, 401), seed=5, codec="deflate", associated=False),
    "brightfield": Qptiff(bands=0, seed=6),
    "shuffled": Qptiff(bands=3, shuffled=True, size=(530, 611), seed=7),
    "antibodies": Qptiff(bands=3, markers=True, size=(530, 611), seed=8),
}


def _facts(kind: Qptiff) -> dict[str, Any]:
    sizes = [(kind.size[0] >> step, kind.size[1] >> step) for step in range(kind.depth)]
    rgb = not kind.bands
    return {
        "driver": "qptiff",
        "dtype": np.dtype(kind.dtype).name,
        "rgb": rgb,
        "levels": [(1, kind.bands or 3, 1, *size) for size in sizes],
        "scales": [float(1 << step) for step in range(kind.depth)],
        "fill": 255 if rgb else 0,
        "compression": {"lzw": "lzw", "deflate": "deflate"}[kind.codec],
        "associated": ["label", "overview", "thumbnail"] if kind.associated else [],
        "pixel_size_um": 0.5,
        "magnification": 20.0,
        "oracle": bool(kind.bands),  # of an RGB page tifffile makes two axes of channels
    }


def _maker(kind: Qptiff) -> Callable[[Path], Path]:
    return lambda path: make_qptiff(path, kind)


MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (f"{name}.qptiff", _maker(kind), _facts(kind)) for name, kind in KINDS.items()
]
