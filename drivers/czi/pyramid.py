"""Which level of the pyramid a sub-block belongs to: the one place that snaps factors of CZI.

A block says how large it is at full resolution and how large it is stored. Writers round the one or the other, so that
blocks of one level show quotients like 2.0, 1.994 and (at the edge) 1.5; a key made of the exact quotient tears levels
apart (Booritas/slideio#70). Older ZEN makes pyramids of factor 3 (ZEISS/libczi#13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.czi.directory import Block
from drivers.errors import Unsupported

_SURE = 64
"""Stored pixels from which on a quotient tells its factor: rounding changes it by less than 1/64."""


def factors_of(blocks: Sequence[Block]) -> NDArray[np.int64]:
    """The factor of every block, 1 at full resolution."""
    sizes = np.array([(b.height, b.width, b.stored_height, b.stored_width) for b in blocks], np.float64).reshape(-1, 4)
    full, stored = sizes[:, :2], sizes[:, 2:]
    along = np.argmax(stored, axis=1)[:, None]  # the longer side tells more
    quotient = np.take_along_axis(full / stored, along, 1)[:, 0]
    if (full < stored).any():
        raise Unsupported("sub-blocks that are stored larger than they show (super-sampled) are not read")
    sure = stored.max(axis=1) >= _SURE
    known = np.unique(np.rint(quotient[sure if sure.any() else slice(None)])).astype(np.int64)
    factors = np.rint(quotient).astype(np.int64)
    for i in np.flatnonzero((factors > 1) | (quotient != 1)):
        factors[i] = _fitting(full[i], stored[i], quotient[i], known, int(factors[i]))
    return factors


def _fitting(full: Any, stored: Any, quotient: float, known: NDArray[np.int64], rounded: int) -> int:
    """The known factor that explains both sizes by rounding and is nearest to the quotient."""
    fits = [int(k) for k in known if k > 1 and (np.abs(full - k * stored) < k).all()]
    return min(fits, key=lambda k: abs(k - quotient)) if fits else max(rounded, 1 if (full == stored).all() else 2)
