"""Pixels per length as microscopes, scanners, paint programs and libraries write them: which of them were measured.

A resolution tag without anything beside it is often a default: 1 per millimetre (libvips, also written 10/cm and 25.4/inch),
1 per inch or centimetre, and what screens and paper have (72, 96, 150, 300 dpi; as 28.35/cm, 37.8/cm, 59.06/cm, 118.11/cm,
or rounded to whole numbers). All that is coarser than 100 micrometres a pixel is unknown, which holds most of them.
"""

from __future__ import annotations

import math

UM_PER_INCH, UM_PER_CM = 25400.0, 10000.0
COARSEST_UM = 100.0
"""No microscope makes a larger pixel; a default of a library does."""
_FINEST_UM = 1e-4
_PAPER_DPI = (300.0, 350.0, 360.0, 400.0, 600.0, 1200.0)
"""Finer than 100 micrometres, and written by cameras and paint programs that have measured nothing."""
_ROUNDED = 0.51


def measured_um(pixels: float, unit_um: float) -> float | None:
    """Micrometres of a pixel of which `pixels` fit into `unit_um`; None for defaults, nonsense, and what is no number."""
    if not math.isfinite(pixels) or pixels <= 0:
        return None
    size = unit_um / pixels
    if not _FINEST_UM < size <= COARSEST_UM * (1 + 1e-9) or _is_paper(pixels, unit_um):
        return None
    return size


def _is_paper(pixels: float, unit_um: float) -> bool:
    """Whether it is a resolution of paper, in inches, or rounded to a whole number of another unit."""
    if any(abs(pixels * UM_PER_INCH / unit_um - dpi) < _ROUNDED for dpi in _PAPER_DPI):
        return True
    whole = abs(pixels - round(pixels)) < 1e-6
    return whole and any(abs(pixels - dpi * unit_um / UM_PER_INCH) < _ROUNDED for dpi in _PAPER_DPI)


def measured_pair(pixels: tuple[float, float], unit_um: float) -> tuple[float | None, float | None]:
    """(y, x) micrometres; both unknown where one is."""
    y, x = (measured_um(n, unit_um) for n in pixels)
    return (None, None) if y is None or x is None else (y, x)
