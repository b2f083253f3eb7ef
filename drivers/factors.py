"""Down-sampling factors: the one place that says when a level's size fits an integer factor."""

from __future__ import annotations


def snapped(fine: tuple[int, int], coarse: tuple[int, int]) -> int | None:
    """The integer k for which `coarse` (height, width) is floor or ceil of `fine / k`, chained or not; else None.

    Vendors floor (or ceil) at every step, so the quotient is 4.00009 or 64.08; every chain of floors or of ceils
    satisfies |fine - k * coarse| < k on both axes. A small level allows several k (1215 -> 18 fits 64 to 71): the power
    of two among them is meant, else the one nearest to the quotient.
    """
    if min(*fine, *coarse) < 1:
        return None
    low = max(a // (b + 1) for a, b in zip(fine, coarse, strict=True)) + 1
    high = min((a - 1) // (b - 1) if b > 1 else 2 * max(fine) for a, b in zip(fine, coarse, strict=True))
    if low > high:
        return None
    power = 1 << (low - 1).bit_length()
    return power if power <= high else min(max(low, round(_quotient(fine, coarse))), high)


def nominal(fine: tuple[int, int], coarse: tuple[int, int]) -> float:
    """The snapped factor, else the mean quotient of both axes."""
    k = snapped(fine, coarse)
    return float(k) if k is not None else _quotient(fine, coarse)


def _quotient(fine: tuple[int, int], coarse: tuple[int, int]) -> float:
    return (fine[0] / coarse[0] + fine[1] / coarse[1]) / 2
