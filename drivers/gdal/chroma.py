"""JPEG 2000 pictures with reduced chroma that GDAL does not open (4:2:2, and 4:2:0 of odd sizes): OpenJPEG decodes them.

The whole picture at once, into a temporary file, as RGB; without the reduced resolutions that the stream holds.
"""

from __future__ import annotations

import math

import numpy as np

from drivers.errors import Unsupported
from drivers.gdal import jp2
from drivers.gdal.dataset import Source
from drivers.gdal.level import Bands, Spooled, spooled
from drivers.gdal.spool import Spool
from drivers.limits import LIMITS, check
from drivers.pictures.frames import picture_size

_JPEG2000 = 34712
"""The TIFF compression by which `picture_size` knows the codec."""
_READ = ([(1, 1), (2, 1), (2, 1)], [(1, 1), (2, 2), (2, 2)])
"""XRsiz and YRsiz of the components of 4:2:2 and 4:2:0."""


def chroma_level(source: Source, header: bytes) -> Spooled:
    """The picture whose codestream begins with `header`, SIZ in full. Raises Unsupported, LimitExceeded."""
    size = picture_size(_JPEG2000, header)
    count = int.from_bytes(header[40:42], "big")  # behind SOC, SIZ, its length and 36 bytes of it (ISO 15444-1 A.5.1)
    components = [header[42 + 3 * i : 45 + 3 * i] for i in range(min(count, LIMITS.channels))]
    steps = [tuple(one[1:]) for one in components]
    if size is None or steps not in _READ or len({one[0] for one in components}) > 1 or components[0][0] > 15:
        raise Unsupported(
            f"{source.name}: JPEG 2000 with {count} components of such sizes and types ({steps[:5]}) is not read; "
            "4:4:4, 4:2:2 and 4:2:0 are"
        )
    bits = components[0][0] + 1
    dtype = np.dtype("u1" if bits <= 8 else "u2")
    shape = (*size, 3)
    check(
        f"{source.name}: the number of bytes to decode the picture at once",
        jp2.memory(math.prod(shape), dtype),
        jp2.MOST_BYTES,
    )
    if not jp2.fits(math.prod(shape), dtype):
        raise Unsupported(
            f"{source.name}: JPEG 2000 with reduced chroma of {size[1]}x{size[0]} pixels takes more memory than is here"
        )
    bands = Bands((1, 2, 3), dtype, rgb=True, colors=True, significant_bits=bits if bits < 8 * dtype.itemsize else None)
    spool = Spool(shape, dtype, lambda first: iter([jp2.decode(source, shape, dtype)[first:]]))
    return spooled(spool, bands, source)
