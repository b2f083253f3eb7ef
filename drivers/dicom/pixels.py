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
OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of overlay planes (PS3.3 C.9.2)."""
_ALPHA = 0x00281104, 0x00281204
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
    """Of a pixel as shown: 3 where the file stores indices of a palette, 4 where that has opacities too."""
    stored: np.dtype[Any]
    """Of a sample in the file, in its byte order."""
    dtype: np.dtype[Any]
    bits: int
    high_bit: int
    photometric: str
    planar: bool
    compression: str
    palette: NDArray[Any] | None
    """Of 8 bits, or of 16 where a part is made of `deep_palette`."""
    told: tuple[str, ...] = ()
    """What is left out of the samples."""
    deep_palette: NDArray[np.uint16] | None = None
    """The palette with all of its 16 bits, where the 8 of `palette` lose some."""

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
    def shown_inverted(self) -> bool:
        """Whether only the display is to be inverted: signed values are given as they are stored."""
        return self.inverted and self.dtype.kind != "u"

    @property
    def notes(self) -> list[str]:
        """What is to be said of it."""
        if not self.inverted:
            return list(self.told)
        unsigned = f"the values are inverted ({(1 << self.bits) - 1} less the stored value), so that low is dark"
        return [f"MONOCHROME1: {unsigned if self.dtype.kind == 'u' else SHOWN_INVERTED}", *self.told]

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
        return self.samples >= 3

    @property
    def significant_bits(self) -> int | None:
        """Bits of a shown sample that carry information, where they are fewer than it has."""
        return self.bits if self.palette is None and self.bits < self.dtype.itemsize * 8 else None

    @property
    def alpha(self) -> int | None:
        """The sample that is the opacity of the colours."""
        return 3 if self.samples == 4 else None


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
        samples=samples if palette is None else palette.shape[1],
        stored=stored,
        dtype=stored.newbyteorder("=") if palette is None else np.dtype("u1"),
        bits=bits,
        high_bit=data.whole(0x00280102) or bits - 1,
        photometric=photometric,
        planar=samples == 3 and data.whole(0x00280006) == 1,
        compression=compression,
        palette=palette,
        told=_told(data, bits, palette is not None),
        deep_palette=_deep_palette(data) if palette is not None else None,
    )


def _told(data: DataSet, bits: int, indexed: bool) -> tuple[str, ...]:
    """Words on what of the samples is not shown."""
    found = [
        f"the overlay plane {group:04X} lies in bits beside the {bits} of the values and is not drawn into the image"
        for group in OVERLAYS
        if group << 16 | 0x0010 in data and group << 16 | 0x3000 not in data
    ]
    if indexed and _deep_palette(data) is not None:
        found.append("the colours of the palette have 16 bits and are written with 8")
    if indexed and _ALPHA[1] in data and _table(data, *_ALPHA) is None:
        found.append("the opacities of the palette are not read and are left out")
    return tuple(found)


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
    """Shape (entries, 3), or 4 with opacities; the high byte of 16-bit entries (PS3.3 C.7.6.3.1.5 and 6, C.7.9)."""
    columns = [_table(data, descriptor, table) for descriptor, table in zip(*_PALETTE, strict=True)]
    opacities = _table(data, *_ALPHA)
    sound = [column for column in columns if column is not None]
    if len(sound) < 3 or len({len(column) for column in sound}) > 1:
        return None
    if opacities is not None and len(opacities) == len(sound[0]):
        sound.append(opacities)
    return np.stack(sound, axis=1)


def _deep_palette(data: DataSet) -> NDArray[np.uint16] | None:
    """As `_palette` with 16 bits; None where 8 bits lose nothing."""
    kinds = zip(*_PALETTE, strict=True), [_ALPHA]
    pairs = [pair for some in kinds for pair in some]
    if not any(_is_deep(data, *pair) for pair in pairs):
        return None
    columns = [_entries(data, *pair) for pair in pairs]
    wide = [
        column.astype(np.uint16) * (1 if _is_wide(data, pair[0]) else 257)
        for pair, column in zip(pairs, columns, strict=True)
        if column is not None
    ]
    sound = [column for column in wide if len(column) == len(wide[0])]
    return np.stack(sound, axis=1) if len(sound) >= 3 else None


def _table(data: DataSet, descriptor: int, table: int) -> NDArray[np.uint8] | None:
    values = _entries(data, descriptor, table)
    return None if values is None else (values >> 8 if _is_wide(data, descriptor) else values).astype(np.uint8)


def _is_wide(data: DataSet, descriptor: int) -> bool:
    return data.numbers(descriptor, "H")[2] == 16


def _is_deep(data: DataSet, descriptor: int, table: int) -> bool:
    """Whether the low bytes of 16-bit entries hold something: neither nothing nor the high bytes once more."""
    values = _entries(data, descriptor, table)
    if values is None or not _is_wide(data, descriptor):
        return False
    return bool((values & 255).any() and (values & 255 != values >> 8).any())


def _entries(data: DataSet, descriptor: int, table: int) -> NDArray[Any] | None:
    """As stored; None where they are not there or are for values from another than 0 on."""
    shape, raw = data.numbers(descriptor, "H"), data.raw(table)
    if len(shape) != 3 or raw is None or shape[1] != 0:
        return None
    count, wide = int(shape[0]) or 65536, shape[2] == 16
    values = np.frombuffer(raw, data.found[table].coding.order + "u2" if wide or len(raw) >= 2 * count else "u1")
    return values[:count] if len(values) >= count else None
