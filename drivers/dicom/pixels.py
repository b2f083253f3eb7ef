"""What an instance says of its samples (PS3.3 C.7.6.3), checked before anything is allocated for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.dicom.dataset import DataSet, required
from drivers.dicom.instance import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Instance
from drivers.errors import Damaged, Unsupported
from drivers.limits import LIMITS, check
from drivers.pictures.color import SHOWN_INVERTED

SYNTAXES = {
    IMPLICIT: "none", EXPLICIT: "none", DEFLATED: "none", BIG_ENDIAN: "none",
    "1.2.840.10008.1.2.4.50": "jpeg", "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "ljpeg", "1.2.840.10008.1.2.4.70": "ljpeg",
    "1.2.840.10008.1.2.4.80": "jpegls", "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2000", "1.2.840.10008.1.2.4.91": "jpeg2000",
    "1.2.840.10008.1.2.4.110": "jpegxl", "1.2.840.10008.1.2.4.111": "jpegxl", "1.2.840.10008.1.2.4.112": "jpegxl",
    "1.2.840.10008.1.2.4.201": "htj2k", "1.2.840.10008.1.2.4.202": "htj2k", "1.2.840.10008.1.2.4.203": "htj2k",
    "1.2.840.10008.1.2.5": "rle", "1.2.840.10008.1.2.8.1": "deflate",
}  # fmt: skip
"""Transfer syntaxes (PS3.6, annex A) by the compression of their frames."""
_FLOAT, _DOUBLE = 0x7FE00008, 0x7FE00009
_PALETTE = (0x00281101, 0x00281102, 0x00281103), (0x00281201, 0x00281202, 0x00281203)


_PHOTOMETRIC = {
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PixelFacts:
    """How a frame is stored, and the samples it decodes to."""

    rows: int
    columns: int
    stored_samples: int
    samples: int
    """Of a pixel as shown: 3 where the file stores indices of a palette."""
    stored: np.dtype[Any]
    """Of a sample in the file, in its byte order."""
    dtype: np.dtype[Any]
    bits: int
    high_bit: int
    photometric: str
    planar: bool
    compression: str
    palette: NDArray[np.uint8] | None

    @property
    def frame_bytes(self) -> int:
        """Size of an uncompressed frame in the file."""
        samples = 2 if self.subsampled else self.stored_samples
        return self.rows * self.columns * samples * self.stored.itemsize

    @property
    def subsampled(self) -> bool:
        """Uncompressed YCbCr with half of the chroma samples (PS3.3 C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422" and self.compression in ("none", "deflate")

    @property
    def inverted(self) -> bool:
        """Whether black is the highest stored value (MONOCHROME1): unsigned values are given the other way round."""
        return self.photometric == "MONOCHROME1"

    @property
    def notes(self) -> list[str]:
        """What is to be said of it."""
        if not self.inverted:
            return []
        unsigned = f"the values are inverted ({(1 << self.bits) - 1} less the stored value), so that low is dark"
        return [f"MONOCHROME1: {unsigned if self.dtype.kind == 'u' else SHOWN_INVERTED}"]

    @property
    def kind(self) -> tuple[object, ...]:
        """What the parts of a level must have in common."""
        return self.rows, self.columns, self.samples, self.dtype

    @property
    def interleaved(self) -> bool:
        """Whether a decoded frame keeps the samples of a pixel side by side."""
        return (
            self.samples > 1 and self.compression != "rle" and not (self.planar and self.compression in ("none", "deflate"))
        )

    @property
    def rgb(self) -> bool:
        """Whether a pixel is a colour."""
        return self.samples == 3


def pixel_facts(instance: Instance) -> PixelFacts:
    """Read the description of the pixels; raises Damaged, Unsupported or LimitExceeded."""
    data, pixels = instance.data, instance.pixels
    assert pixels is not None
    compression = SYNTAXES.get(instance.syntax)
    if compression is None:
        raise Unsupported(f"frames of transfer syntax {instance.syntax} (a video, or one not known here) are not read")
    rows, columns = required(data, 0x00280010, "Rows"), required(data, 0x00280011, "Columns")
    samples = data.whole(0x00280002) or 1
    check("the number of samples per pixel", samples, LIMITS.channels)
    order = ">" if instance.syntax == BIG_ENDIAN else "<"
    stored, bits = _sample(data, pixels.tag, order)
    photometric = data.text(0x00280004) or ("RGB" if samples == 3 else "MONOCHROME2")
    _require_known(photometric, compression, stored)
    palette = _palette(data) if photometric == "PALETTE COLOR" else None
    if photometric == "PALETTE COLOR" and palette is None:
        raise Damaged("a palette image without a sound palette")
    if samples not in (1, 3):
        raise Unsupported(f"{samples} samples per pixel ({photometric}) are not read")
    return PixelFacts(
        rows=rows,
        columns=columns,
        stored_samples=samples,
        samples=samples if palette is None else 3,
        stored=stored,
        dtype=stored.newbyteorder("=") if palette is None else np.dtype("u1"),
        bits=bits,
        high_bit=data.whole(0x00280102) or bits - 1,
        photometric=photometric,
        planar=samples == 3 and data.whole(0x00280006) == 1,
        compression=compression,
        palette=palette,
    )


def _require_known(photometric: str, compression: str, stored: np.dtype[Any]) -> None:
    """Raise Unsupported for colours that would be shown wrongly (PS3.3 C.7.6.3.1.2)."""
    if photometric not in _PHOTOMETRIC:
        raise Unsupported(f"colours of kind {photometric[:40]} are not read")
    wide = stored.itemsize > 1 and compression not in ("jpeg2000", "htj2k", "jpegxl")
    if wide and photometric in ("YBR_FULL", "YBR_FULL_422"):
        raise Unsupported(f"{photometric} of {stored.itemsize * 8} bits is not read: DICOM knows it with 8 bits only")


def _sample(data: DataSet, tag: int, order: str) -> tuple[np.dtype[Any], int]:
    if tag in (_FLOAT, _DOUBLE):
        dtype = np.dtype(f"{order}f{4 if tag == _FLOAT else 8}")
        return dtype, dtype.itemsize * 8
    allocated = required(data, 0x00280100, "BitsAllocated")
    if allocated not in (8, 16, 32):
        raise Unsupported(f"samples of {allocated} bits are not read")
    bits = data.whole(0x00280101) or allocated
    if not 0 < bits <= allocated:
        raise Damaged(f"{bits} bits stored of {allocated} allocated")
    kind = "i" if data.whole(0x00280103) == 1 else "u"
    return np.dtype(f"{order}{kind}{allocated // 8}"), bits


def _palette(data: DataSet) -> NDArray[np.uint8] | None:
    """Shape (entries, 3), the high byte of 16-bit entries (PS3.3 C.7.6.3.1.5 and 6)."""
    columns: list[NDArray[np.uint8]] = []
    for descriptor, table in zip(*_PALETTE, strict=True):
        shape, raw = data.numbers(descriptor, "H"), data.raw(table)
        if len(shape) != 3 or raw is None or shape[1] != 0:
            return None
        count, wide = int(shape[0]) or 65536, shape[2] == 16
        values = np.frombuffer(raw, data.found[table].coding.order + "u2" if wide or len(raw) >= 2 * count else "u1")
        if len(values) < count:
            return None
        columns.append((values[:count] >> 8 if wide else values[:count]).astype(np.uint8))
    return np.stack(columns, axis=1) if len({len(c) for c in columns}) == 1 else None
